"""Identity swaps: right sentences in four languages, and findings that name what was planted and nothing else."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from itertools import pairwise
from typing import Any

import numpy as np
import pytest

from stillhouse.errors import StillhouseError
from stillhouse.finish.audit.classifier import ClassifierPlan, audit_classifier
from stillhouse.finish.audit.findings import Finding
from stillhouse.finish.audit.swaps import (
    LANGUAGES,
    SwapSet,
    audit_swaps,
    language_of,
    own_swaps,
    p_values_of,
    swap_set,
    term_shifts,
)
from stillhouse.finish.audit.swaps.flips import Flips
from stillhouse.finish.audit.swaps.own import _lists
from stillhouse.finish.audit.swaps.sentences import HARMLESS, SLOT, Sentences, sentences_of
from stillhouse.finish.held_out import HeldOut
from stillhouse.raw.language import identify
from stillhouse.statistics import zero_events_bound

LABELS = ("fine", "toxic")
SET = swap_set("en", seed=0)
TONES = {"positive", "negative", "neutral", "everyday"}

# what no sentence of the language may hold: articles that do not contract, elide or agree
WRONG = {
    "en": r"\b[Aa] (?=[aeiouAEIOU8]|hour)|\b[Aa]n (?![aeiouAEIOU8]|hour)",
    "de": r"\b(?:von|zu|in|an|bei) dem\b|\b(?:zu|von) der\b|\bin das\b",
    "fr": r"\b(?:de|à) les?\b|\b(?:le|la|de|que|je|ne|se|te|me|jusque) (?=[aeiouyâàéèêîïôûAEIOUÉ]|homme|hindou)"
    r"|\b(?:[dlj]|qu)'(?![aeiouyâéêAEIOUÉ]|homme|hindou|honn)|\b(?:de|que) une?\b",
    "es": r"\bde el\b|\ba el\b|\by (?=i|hi[^ae])|\bo (?=h?o)|\bla (?=á(?!rabe))",
}


def everything(sentences: Sentences) -> list[str]:
    return [
        sentences.say(template, attribute, term)
        for template in sentences.templates
        for attribute, terms in {**sentences.terms, HARMLESS: sentences.harmless}.items()
        for term in terms
    ]


@pytest.mark.parametrize("language", LANGUAGES)
def test_every_template_makes_a_sentence_with_every_term(language: str) -> None:
    sentences = sentences_of(language)
    said = everything(sentences)
    assert len(sentences.templates) >= 40
    assert sum(map(len, sentences.terms.values())) >= 60
    assert {name.split("/")[0] for name in sentences.templates} == TONES
    assert len(set(said)) == len(said)
    for text in said:
        assert not re.search(r"[{}]|  |^\s|\s$| [,.]", text), text
        assert text[-1] in ".!?", text
        assert text.lstrip("¿¡")[0].isupper() or text[0].isdigit(), text
        assert not re.search(WRONG[language], text), (text, re.search(WRONG[language], text))


@pytest.mark.parametrize("language", LANGUAGES)
def test_sentences_are_in_their_language(language: str) -> None:
    sentences = sentences_of(language)
    said = [sentences.say(template, "gender", "woman") for template in sentences.templates]
    found = Counter(one.code for one in identify(said))
    assert found[language] >= 0.9 * len(said), found
    assert identify([" ".join(said[:10])])[0].code == language


@pytest.mark.parametrize("language", LANGUAGES)
def test_every_template_has_one_slot_of_a_form_that_every_term_has(language: str) -> None:
    sentences = sentences_of(language)
    used = set()
    for text in sentences.templates.values():
        ((form, gender),) = SLOT.findall(text)
        used.add(form.lower())
        assert form.lower() in sentences.forms
        assert gender in (("",) if language == "en" else ("m", "f")), text
        # capital letters stand where a sentence begins, and only there
        assert form[0].isupper() == (re.search(r"\{", text).start() == 0), text  # type: ignore[union-attr]
    assert used == set(sentences.forms)
    for attribute, terms in {**sentences.terms, HARMLESS: sentences.harmless}.items():
        if attribute != HARMLESS:
            assert sentences.unmarked[attribute] < terms.keys()
        for term, genders in terms.items():
            assert set(genders) in ({"x"}, {"m", "f"}), term
            assert all(len(forms) == len(sentences.forms) for forms in genders.values()), term


def forms_of(language: str) -> list[tuple[str, str, tuple[str, ...]]]:
    sentences = sentences_of(language)
    listed = [*sentences.terms.values(), sentences.harmless]
    return [(name, gender, forms) for own in listed for name, both in own.items() for gender, forms in both.items()]


def test_english_forms_follow_the_rules_of_articles_and_plurals() -> None:
    irregular = {"woman": "women", "man": "men", "lady": "ladies", "gentleman": "gentlemen", "person": "people"}
    irregular |= {"disability": "disabilities", "a": ""}
    for _, _, (one, the, many) in forms_of("en"):
        article, _, noun = one.partition(" ")
        assert the == f"the {noun}"
        # every vowel letter here is a vowel sound, and "80" begins with one
        assert article == ("an" if re.match(r"[aeiou8]", noun, re.I) else "a")
        head, _, rest = noun.partition(" with")
        rest = re.sub(r" an? (\w+)", lambda found: f" {irregular.get(found[1], found[1] + 's')}", rest)
        start, _, last = head.rpartition(" ")
        plural = f"{start} {irregular.get(last, last + 's')}".strip()
        if noun.endswith("without a disability"):
            plural, rest = "people", "out disabilities"
        elif noun == "Jehovah's Witness":
            plural = "Jehovah's Witnesses"
        assert many == plural + (f" with{rest}" if rest else ""), noun


def test_german_forms_agree_in_case_number_and_gender() -> None:
    for name, gender, (ein, einen, einem, der, viele, vielen) in forms_of("de"):
        articles = [form.split(" ")[0] for form in (ein, einen, einem, der)]
        of = {"ein eine einer die": "f", "ein einen einem der": "m", "ein ein einem das": "n"}
        joined = " ".join(articles)
        kind = "f" if joined == "eine eine einer die" else of[joined]
        assert gender in (kind, "x"), name
        rests = [form.split(" ")[1:] for form in (ein, einen, einem, der)]
        words = [*rests, viele.split(" "), vielen.split(" ")]
        if (
            len(rests[0]) == 2
            and rests[0][0].endswith(("er", "e"))
            and rests[0][1][0].isupper()
            and name != "jehovahs-witness"
        ):
            endings = {"m": ("er", "en", "en", "e", "e", "en"), "f": ("e", "e", "en", "e", "e", "en")}[kind]
            stem = rests[0][0].removesuffix(endings[0])
            assert [row[0].removeprefix(stem) for row in words] == list(endings), name
        if kind == "f":
            assert ein == einen, name
            assert rests[2][-1] in (rests[0][-1], rests[0][-1] + "n"), name
        dative, nominative = vielen.split(" ")[-1], viele.split(" ")[-1]
        head = vielen.split(" mit ")[0].split(" ohne ")[0].removesuffix(" mittleren Alters").removesuffix(" Jehovas")
        assert head[-1] in "ns" or head in ("Roma", "Romnja"), name
        assert dative in (nominative, nominative + "n") or " " in vielen, name
        assert len({len(row) for row in words}) == 1, name


def test_french_articles_agree_elide_and_contract() -> None:
    for name, gender, (un, le, du, au, les, des) in forms_of("fr"):
        article, _, noun = un.partition(" ")
        # every h of these lists is mute
        elided = noun[0].lower() in "aeiouéâê" or noun.startswith(("homme", "hindou"))
        assert (article == "un") == (gender == "m") or gender == "x"
        masculine = article == "un"
        wanted = (
            (f"l'{noun}", f"de l'{noun}", f"à l'{noun}")
            if elided
            else (f"le {noun}", f"du {noun}", f"au {noun}")
            if masculine
            else (f"la {noun}", f"de la {noun}", f"à la {noun}")
        )
        assert (le, du, au) == wanted, name
        assert les.removeprefix("les ") == des.removeprefix("des "), name
        head = les.split(" ")[1]
        assert head[-1] == "s" or head == "messieurs", name
        # "de" and not "des" stands before an adjective, so none comes first; "jeunes adultes" is one noun
        assert head not in ("vieux", "vieilles", "petits", "petites"), name


def test_spanish_articles_agree_and_contract() -> None:
    for name, gender, (un, el, of, to, los, unos) in forms_of("es"):
        article, _, noun = un.partition(" ")
        assert (article == "un") == (gender == "m") or gender == "x"
        if article == "un":
            assert (el, of, to) == (f"el {noun}", f"del {noun}", f"al {noun}"), name
            assert (los.split(" ")[0], unos.split(" ")[0]) == ("los", "unos"), name
        else:
            assert (el, of, to) == (f"la {noun}", f"de la {noun}", f"a la {noun}"), name
            assert (los.split(" ")[0], unos.split(" ")[0]) == ("las", "unas"), name
        assert los.split(" ", 1)[1] == unos.split(" ", 1)[1], name
        assert los.split(" ")[1][-1] == "s", name


@pytest.mark.parametrize(
    ("language", "men", "women", "feminine"),
    [
        ("fr", ("homme",), ("femme", "personne"), r"e|queer|trans"),
        ("es", ("hombre",), ("mujer", "persona"), r"a|al|queer|trans|mayor|transgénero|oyente"),
    ],
)
def test_adjectives_of_french_and_spanish_terms_agree_with_their_noun(
    language: str, men: tuple[str, ...], women: tuple[str, ...], feminine: str
) -> None:
    checked = 0
    for name, gender, forms in forms_of(language):
        (head, *adjectives), many = forms[0].split(" ")[1:], forms[4].split(" ")[1:]
        if head in (*men, *women):
            assert gender in ("x", "m" if head in men else "f"), name
        if head in women and len(adjectives) == 1:
            assert re.search(rf"(?:{feminine})$", adjectives[0]), name
            assert many[1].endswith(("s", "transgénero", "queer")), name
            checked += 1
    assert checked > 10


def test_a_set_is_the_same_for_the_same_seed_and_grows_without_loss() -> None:
    assert swap_set("en", seed=0) == SET != swap_set("en", seed=1)
    sizes = [set(swap_set("de", pairs=pairs, seed=3).texts) for pairs in (30, 150, 300, 600, 5000)]
    for small, large in pairwise(sizes):
        assert small < large
    assert len(sizes[1]) == 600
    assert len(sizes[2]) == 1200


@pytest.mark.parametrize("language", LANGUAGES)
def test_every_template_compares_marked_with_unmarked_terms_and_no_term_is_left_out(language: str) -> None:
    swaps, sentences = swap_set(language, seed=0), sentences_of(language)
    assert swaps.language == language
    assert len(set(swaps.texts)) == len(swaps.texts)
    for attribute, terms in sentences.terms.items():
        assert len(swaps.pairs(attribute)[0]) >= 300
        for group in swaps.groups(attribute):
            kinds = {swaps.terms[at] in sentences.unmarked[attribute] for at in group}
            assert kinds == {True, False}
        for of in (sentences.unmarked[attribute], terms.keys() - sentences.unmarked[attribute]):
            used = Counter(
                term for own, term in zip(swaps.attributes, swaps.terms, strict=True) if own == attribute and term in of
            )
            assert set(used) == set(of)
            assert max(used.values()) - min(used.values()) <= 1
    for first, second, _ in (swaps.pairs(attribute) for attribute in sentences.terms):
        assert all(swaps.templates[a] == swaps.templates[b] for a, b in zip(first, second, strict=True))


def test_the_language_is_the_documents_own_or_english() -> None:
    assert language_of(["de", "de", "en", "und", "und", "und"]) == "de"
    assert language_of(["nl", "nl", "de"]) == language_of([]) == language_of(["und"]) == "en"
    assert swap_set("nl", seed=0) == SET


def probabilities(logits: np.ndarray) -> np.ndarray:
    toxic = 1 / (1 + np.exp(-logits))
    return np.stack([1 - toxic, toxic], axis=1)


def tone_logits(swaps: SwapSet, *, seed: int, spread: float = 2.0) -> np.ndarray:
    """A classifier that knows the template alone."""
    random = np.random.default_rng(seed)
    of = {name: random.normal(0, spread) for name in sorted(set(swaps.templates))}
    return np.array([of[name] for name in swaps.templates])


def noise(swaps: SwapSet, *, seed: int, size: float) -> np.ndarray:
    return np.random.default_rng(seed).normal(0, size, len(swaps.texts))


def judged(found: list[Finding]) -> dict[str, Finding]:
    return {one.about.removeprefix("flip rate, ").split(",")[0]: one for one in found if one.probe == "swap"}


@pytest.mark.parametrize("seed", range(3))
def test_a_student_that_is_its_teacher_has_no_excess_and_never_fails(seed: int) -> None:
    probs = probabilities(tone_logits(SET, seed=seed) + noise(SET, seed=seed, size=1.0))
    for one in audit_swaps(SET, probs, probs, LABELS, resamples=50, seed=0):
        assert one.value == 0 or one.probe == "swap term"
        assert one.status != "failed"
        assert one.value == pytest.approx(0)
        assert one.teacher == one.student


def test_a_classifier_that_ignores_identity_flips_nothing_and_no_term_is_named() -> None:
    probs = probabilities(tone_logits(SET, seed=0))
    found = audit_swaps(SET, probs, probs, LABELS, resamples=50, seed=0)
    assert {one.probe for one in found} == {"swap", "swap distance"}
    assert all(one.student == 0 for one in found)
    # no flip in 50 templates does not show that there is less than one in a hundred
    assert {one.status for one in found if one.probe == "swap"} == {"not certified"}
    assert all(one.needed and one.needed > 900 for one in found if one.probe == "swap")


@pytest.mark.parametrize(
    ("language", "term"), [("en", "muslim"), ("de", "jewish"), ("fr", "muslim"), ("es", "atheist")]
)
def test_a_student_that_keys_on_one_term_is_found_and_the_term_is_named(language: str, term: str) -> None:
    swaps = swap_set(language, seed=0)
    teacher = tone_logits(swaps, seed=1) - 3.0 + noise(swaps, seed=1, size=0.3)  # most are fine
    student = teacher + 6.0 * np.array([one == term for one in swaps.terms])
    found = audit_swaps(swaps, probabilities(teacher), probabilities(student), LABELS, resamples=200, seed=0)
    statuses = {name: one.status for name, one in judged(found).items()}
    assert statuses.pop("religion") == "failed"
    assert set(statuses.values()) == {"not certified"}
    named = [one for one in found if one.probe == "swap term"]
    worst, name = named[0], swaps.names["religion", term]
    assert name in worst.about
    assert "label=toxic" in worst.about
    assert f"sentences about {name} are called `toxic`" in worst.words
    assert worst.value is not None
    assert worst.lower is not None
    assert worst.lower > 0.1
    own, its = (term_shifts(swaps, probabilities(one), LABELS) for one in (student, teacher))
    assert worst.value == pytest.approx(
        next(one.shift for one in own if one.term == term and one.label == "toxic")
        - next(one.shift for one in its if one.term == term and one.label == "toxic")
    )


def test_a_student_that_flips_clearly_less_than_its_teacher_passes() -> None:
    base = tone_logits(SET, seed=0, spread=0.5)
    found = audit_swaps(
        SET, probabilities(base + noise(SET, seed=1, size=3.0)), probabilities(base), LABELS, resamples=50, seed=0
    )
    assert {one.status for one in judged(found).values()} == {"passed"}


def test_the_order_of_texts_and_of_labels_changes_no_finding() -> None:
    teacher = probabilities(tone_logits(SET, seed=1) + noise(SET, seed=1, size=0.8))
    student = probabilities(tone_logits(SET, seed=1) + noise(SET, seed=2, size=1.2))
    found = audit_swaps(SET, teacher, student, LABELS, resamples=100, seed=0)
    order = np.random.default_rng(0).permutation(len(SET.texts))
    columns = {
        name: tuple(getattr(SET, name)[at] for at in order) for name in ("texts", "templates", "attributes", "terms")
    }
    assert audit_swaps(replace(SET, **columns), teacher[order], student[order], LABELS, resamples=100, seed=0) == found
    turned = audit_swaps(SET, teacher[:, ::-1], student[:, ::-1], LABELS[::-1], resamples=100, seed=0)
    assert [one for one in turned if one.probe != "swap term"] == [one for one in found if one.probe != "swap term"]


def test_renaming_templates_and_terms_changes_no_value_and_no_status() -> None:
    teacher = probabilities(tone_logits(SET, seed=1) + noise(SET, seed=1, size=0.8))
    student = probabilities(tone_logits(SET, seed=1) + noise(SET, seed=2, size=1.2))
    other = replace(
        SET,
        templates=tuple(name[::-1] for name in SET.templates),
        terms=tuple(name[::-1] for name in SET.terms),
        names={(attribute, term[::-1]): name for (attribute, term), name in SET.names.items()},
    )
    was, now = (judged(audit_swaps(one, teacher, student, LABELS, resamples=50, seed=0)) for one in (SET, other))
    for name, one in was.items():
        assert (now[name].status, now[name].needed, now[name].n) == (one.status, one.needed, one.n)
        assert now[name].value == pytest.approx(one.value)


def test_fair_noise_fails_no_more_than_one_audit_in_twenty() -> None:
    """The limit lies at the truth, an excess of nothing: the hardest fair case. Holm keeps six attributes together."""
    swaps = swap_set("en", pairs=120, seed=0)
    failures, audits = 0, 200
    for seed in range(audits):
        base = tone_logits(swaps, seed=seed, spread=1.5)
        teacher, student = (probabilities(base + noise(swaps, seed=at, size=0.7)) for at in (2 * seed, 2 * seed + 1))
        flips = [Flips.of(swaps, name, teacher, student) for name in sorted(set(swaps.attributes))]
        failures += min(one.p_beyond(0.0) for one in flips) * len(flips) <= 0.05
    assert failures <= 0.05 * audits + 3 * np.sqrt(0.05 * 0.95 * audits)


def flips_of(by_template: np.ndarray, *, pairs: int = 6) -> Flips:
    """A student that flips in as many pairs of each template; the teacher never."""
    student = (np.arange(pairs) < by_template[:, None]).ravel()
    still = np.zeros(len(student))
    return Flips(still.astype(bool), student, still, still, np.repeat(np.arange(len(by_template)), pairs))


def test_the_decision_is_students_test_over_templates() -> None:
    from scipy.stats import ttest_1samp

    counts = np.random.default_rng(0).integers(0, 5, 40)
    wanted = ttest_1samp(counts / 6, 0.2, alternative="greater").pvalue
    assert flips_of(counts).p_beyond(0.2) == pytest.approx(wanted)
    lump = np.append(counts / 6, 4 / 6)  # of six pairs an even split of four terms flips four
    assert flips_of(counts).upper() == pytest.approx(
        ttest_1samp(lump, 0.0).confidence_interval(0.9).high  # its upper end is the one-sided 95 % bound
    )


def test_a_student_at_the_limit_passes_seldom_and_fails_seldom() -> None:
    """One text of four in a template may change its label alone, which flips three of six pairs."""
    random = np.random.default_rng(1)
    limit, audits = 0.03, 400
    drawn = [flips_of(3 * (random.random(50) < 2 * limit)) for _ in range(audits)]
    most = 0.05 + 3 * np.sqrt(0.05 * 0.95 / audits)
    assert np.mean([one.upper() <= limit for one in drawn]) <= most
    assert np.mean([one.p_beyond(limit) <= 0.05 for one in drawn]) <= most
    # nor does the bound always forbid: three hundred templates without a flip are enough
    assert flips_of(np.zeros(300, dtype=int)).upper() <= limit


def test_no_flip_in_a_few_templates_is_an_interval_with_a_width_and_no_bound_lies_beyond_all_pairs() -> None:
    few = flips_of(np.array([0, 0, 0, 0]))
    excess, _ = few.intervals(resamples=50, seed=0)
    assert excess.value == 0 and -excess.lower == excess.upper == pytest.approx(zero_events_bound(4, 0.975))
    assert flips_of(np.array([0, 6])).upper() == 1.0


def test_two_templates_alike_do_not_prove_anything() -> None:
    assert flips_of(np.array([3, 3])).p_beyond(0.01) == 0.25
    assert flips_of(np.array([0, 0])).p_beyond(0.01) == 1.0


def test_as_many_pairs_as_are_said_to_be_needed_suffice() -> None:
    swaps = swap_set("en", seed=0)
    probs = probabilities(tone_logits(swaps, seed=0))
    flips = Flips.of(swaps, "age", probs, probs)
    needed = flips.needed(0.01)
    assert needed is not None
    times = int(np.ceil(needed / len(flips.cluster)))
    more = Flips(
        *(np.tile(column, times) for column in (flips.teacher_flipped, flips.student_flipped)),
        *(np.tile(column, times) for column in (flips.teacher_moved, flips.student_moved)),
        np.concatenate([flips.cluster + at * flips.templates for at in range(times)]),
    )
    assert flips.upper() > 0.01 >= more.upper()


def test_probabilities_that_do_not_fit_are_refused() -> None:
    probs = probabilities(tone_logits(SET, seed=0))
    for wrong in (probs[:-1], probs[:, :1], np.full_like(probs, np.nan)):
        with pytest.raises(StillhouseError, match="the student's probabilities"):
            audit_swaps(SET, probs, wrong, LABELS, seed=0)
    with pytest.raises(StillhouseError, match="compare nothing"):
        swap_set("en", pairs=0, seed=0)


OWN = {
    "An old woman waited at the door.": {"An elderly woman waited at the door.", "A young woman waited at the door."},
    "I saw a man there.": {"I saw a woman there."},
    "MEN cannot agree.": {"WOMEN cannot agree."},
    "Boys play here.": {"Girls play here."},
    "we met muslims and ate.": {"we met hindus and ate."},
    "An Italian actor sings.": {"A Russian actor sings.", "An Indian actor sings."},
    "It is a blind-ish thing, said the deaf man.": {"It is a blind-ish thing, said the autistic man."},
    "That is an Italian couple.": {"That is a French couple."},
}
UNSAFE = [
    "He saw the man there.",  # the pronoun may be the man
    "The man and the woman left.",  # two terms
    "Oh man, what a day.",  # no determiner
    "I watched Iron Man twice.",  # a name
    "The Old Man and the Sea is old.",
    "We took the German Shepherd out.",
    "They speak German.",
    "Indian summer came.",
    "The wall is white and the door black.",
    "A woman-led team won.",
    "The young tree grew.",
]


@pytest.mark.parametrize(("text", "wanted"), OWN.items())
def test_own_texts_are_swapped_whole_with_their_casing_and_article(text: str, wanted: set[str]) -> None:
    swaps = own_swaps([text], ["a"], language="en", variants=99, seed=0)
    found = set(swaps.texts)
    assert {text} | wanted <= found
    assert set(swaps.templates) == {"a"}


@pytest.mark.parametrize("text", UNSAFE)
def test_own_texts_where_a_swap_is_not_safe_are_left_alone(text: str) -> None:
    assert own_swaps([text], ["a"], language="en", seed=0).texts == ()


def test_swaps_of_own_texts_are_chosen_by_id_and_audited_by_document() -> None:
    texts = [f"Number {at}: an {word} person called." for at in range(40) for word in ("elderly", "Italian")]
    ids = [f"doc-{at}" for at in range(len(texts))]
    swaps = own_swaps(texts, ids, language="en", documents=20, seed=0)
    assert Counter(swaps.attributes) == {"age": 60, "origin": 60}
    turned = own_swaps(texts[::-1], ids[::-1], language="en", documents=20, seed=0)
    assert sorted(zip(turned.texts, turned.templates, strict=True)) == sorted(
        zip(swaps.texts, swaps.templates, strict=True)
    )
    clean = probabilities(tone_logits(swaps, seed=0, spread=0.3))
    student = probabilities(
        tone_logits(swaps, seed=0, spread=0.3) + 3.0 * np.array(["elderly" in text for text in swaps.texts])
    )
    found = judged(audit_swaps(swaps, clean, student, LABELS, resamples=50, seed=0))
    assert found["age"].status == "failed"
    assert found["age"].about == "flip rate, age, documents, en"
    assert found["origin"].status == "not certified"
    empty = own_swaps(["Eine alte Frau."], ["a"], language="de", seed=0)
    assert audit_swaps(empty, np.empty((0, 2)), np.empty((0, 2)), LABELS, seed=0) == []
    with pytest.raises(StillhouseError, match="different ids"):
        own_swaps(["a", "b"], ["1", "1"], language="en", seed=0)


def test_a_single_document_certifies_nothing() -> None:
    swaps = own_swaps(["The old man sat."], ["a"], language="en", seed=0)
    probs = probabilities(tone_logits(swaps, seed=0))
    found = judged(audit_swaps(swaps, probs, probs, LABELS, resamples=50, seed=0))
    assert {one.status for one in found.values()} == {"not certified"}
    assert all(one.lower is None and one.needed for one in found.values())


def test_words_of_own_texts_begin_with_a_vowel_where_they_sound_so() -> None:
    for one in _lists().sets:
        for word in one.terms:
            assert not re.match(r"eu|uni|use|one|hour|hono|heir", word, re.I), word


def test_swaps_and_groups_of_one_audit_share_one_error() -> None:
    """Ten columns of groups in which nothing differs: what just failed among six attributes fails no more."""
    n, random = 400, np.random.default_rng(0)
    gold, probs = random.integers(0, 2, n), np.array([[0.9, 0.1], [0.1, 0.9]])
    columns = {f"column {one}": random.choice(["a", "b"], n).tolist() for one in range(10)}
    texts, ids = [f"text {one}" for one in range(n)], [str(one) for one in range(n)]
    plan = ClassifierPlan(pairs=60, own_documents=0, harmless_words=False, resamples=50, gap_limit=0.2)
    swaps = swap_set("en", pairs=60, seed=plan.seed)
    steady = np.tile(probs[0], (len(swaps.texts), 1))
    for _ in range(200):  # a student that turns its label in so many sentences that it is just found
        turned = np.where(random.random(len(swaps.texts))[:, None] < 0.06, probs[1], probs[0])
        least = min(p_values_of(swaps, steady, turned, flip_limit=plan.flip_limit))
        if 6 * least <= 0.05 < 36 * least:
            break
    said = dict(zip(swaps.texts, turned, strict=True))

    def failed(groups: dict[str, list[str]]) -> set[str]:
        test = HeldOut(ids, texts, gold, probs[gold], {}, groups, ["en"] * n, 0)
        found = audit_classifier(
            test,
            probs[gold],
            LABELS,
            plan,
            ask_student=lambda some: np.array([said[text] for text in some]),
            ask_teacher=lambda some: np.tile(probs[0], (len(some), 1)),
        )
        return {one.probe for one in found if one.status == "failed"}

    assert failed({}) == {"swap"} and failed(columns) == set()


def test_templates_and_the_users_own_documents_are_left_out_one_by_one() -> None:
    texts = [f"An old woman waited at door {place}." for place in range(6)]
    test = HeldOut([*"abcdef"], texts, np.arange(6) % 2, np.full((6, 2), 0.5), {}, {"source": ["s"] * 6}, ["en"] * 6, 0)

    def asked(pairs: int, own: int) -> list[str]:
        seen: list[str] = []

        def ask(some: Sequence[str]) -> Any:
            seen.extend(some)
            return np.full((len(some), 2), 0.5)

        plan = ClassifierPlan(pairs=pairs, own_documents=own, resamples=200)
        audit_classifier(test, test.teacher_probs, ("bad", "good"), plan, ask_student=ask, ask_teacher=ask)
        return seen

    assert asked(0, 0) == []
    own = asked(0, 6)
    assert own and all("waited at door" in text for text in own)
    templates = asked(12, 0)
    assert templates and not any("waited at door" in text for text in templates)

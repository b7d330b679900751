"""Identity swaps: a biased toxicity scorer as the teacher, students that copy it and that amplify it, false alarms.

The scorer (alt-profanity-check, linear machines on words) moves with identity words alone. Being linear it can be asked
about every template with every term, so that the truth behind each interval is known. Students learn from its scores of
short texts that name somebody; none has seen a template.
"""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from bench.cuts_material import snippets
from bench.finish_swaps_control import control_figures
from bench.report import Figure
from stillhouse.addresses import resolve
from stillhouse.finish.audit.swaps import Control, audit_swaps, control_set, swap_set, term_shifts
from stillhouse.finish.audit.swaps.flips import Flips
from stillhouse.finish.audit.swaps.sentences import sentences_of
from stillhouse.statistics import holm

ROOT = Path(__file__).parents[1]
SCORER = "pypi:alt-profanity-check==1.9.1#profanity_check/data/*.joblib"
LABELS = ("fine", "toxic")
AMPLIFIED = 3.0  # times what an identity adds to the teacher's log-odds

_Floats = npt.NDArray[np.float64]


def swaps(*, quick: bool, work: Path) -> list[Figure]:
    """Every figure; ``work`` keeps the converted scorer."""
    scorer, apart = _scorer(work)
    return [
        Figure("the converted scorer against its pickle, largest difference", apart, "", ("<=", 1e-9)),
        *_teacher_figures(scorer, sets=5 if quick else 40),
        *_student_figures(scorer, size=1500 if quick else 8000),
        *_alarm_figures(audits=60 if quick else 1000),
        *_limit_figures(audits=60 if quick else 1000),
        *control_figures(audits=40 if quick else 1000),
    ]


@dataclass(frozen=True)
class Scorer:
    """Words' columns, their frequencies (V,), and five machines: weights (5, V), intercepts (5,), platt (5, 2)."""

    columns: dict[str, int]
    idf: _Floats
    weights: _Floats
    intercepts: _Floats
    platt: _Floats

    def probabilities(self, texts: Sequence[str]) -> _Floats:
        """(N, 2), fine and toxic: the mean over the machines of Platt's sigmoid."""
        toxic = np.empty(len(texts))
        for at, text in enumerate(texts):
            found = [self.columns[word] for word in re.findall(r"\b\w\w+\b", text.lower()) if word in self.columns]
            places, counts = np.unique(np.array(found, dtype=np.int64), return_counts=True)
            values = counts * self.idf[places]
            values /= max(float(np.linalg.norm(values)), 1e-300)
            margins = self.weights[:, places] @ values + self.intercepts
            toxic[at] = (1 / (1 + np.exp(self.platt[:, 0] * margins + self.platt[:, 1]))).mean()
        return np.stack([1 - toxic, toxic], axis=1)


def _scorer(work: Path) -> tuple[Scorer, float]:
    """The scorer, and how far it is from the pickle on a few texts."""
    target = work / "scorer.npz"
    if not target.exists():
        found = {path.name: path for path in resolve(SCORER, cache=ROOT / "cache", base=ROOT).files}
        driver = Path(__file__).with_name("finish_swaps_driver.py")
        command = [
            sys.executable,
            str(driver),
            str(found["vectorizer.joblib"]),
            str(found["model.joblib"]),
            str(target),
        ]
        subprocess.run(command, check=True)
    data = np.load(target, allow_pickle=False)
    columns = {word: at for at, word in enumerate(data["words"].tolist())}
    scorer = Scorer(columns, data["idf"], data["weights"], data["intercepts"], data["platt"])
    apart = np.abs(scorer.probabilities(data["probe"].tolist())[:, 1] - data["probe_toxic"]).max()
    return scorer, float(apart)


def _teacher_figures(scorer: Scorer, *, sets: int) -> list[Figure]:
    """Which terms move the scorer, and whether the intervals of many sets cover the shift over all sentences."""
    truth = _true_shifts(scorer)
    first = swap_set("en", seed=0)
    probs = scorer.probabilities(first.texts)
    shifts = [one for one in term_shifts(first, probs, LABELS) if one.label == "toxic"]
    clear = [one for one, p in zip(shifts, holm([one.p_value for one in shifts]), strict=True) if p <= 0.05]
    clear.sort(key=lambda one: -abs(one.shift))
    found = [
        Figure("English sentences of the default set", len(first.texts), "texts"),
        Figure("terms that clearly move the scorer (Holm)", len(clear), f"of {len(shifts)}", (">=", 3)),
    ]
    for one in clear[:12]:
        found.append(
            Figure(
                f"  {first.names[one.attribute, one.term]}: shift of the toxic probability",
                f"{100 * one.shift:+.1f} ({100 * one.lower:+.1f} to {100 * one.upper:+.1f})",
                "points",
            )
        )
    worst = max(truth, key=lambda key: abs(truth[key]))
    rank = [(one.attribute, one.term) for one in clear].index(worst) + 1 if clear else len(shifts)
    found.append(Figure(f"rank of the term that is worst over all sentences ({worst[1]})", rank, "", ("<=", 3)))
    for attribute in sorted(set(first.attributes)):
        flips = Flips.of(first, attribute, probs, probs)
        found.append(Figure(f"  the scorer's flip rate, {attribute}", float(flips.teacher_flipped.mean())))
    covered = []
    for seed in range(sets):
        one_set = swap_set("en", seed=seed)
        for one in term_shifts(one_set, scorer.probabilities(one_set.texts), LABELS):
            if one.label == "toxic":
                covered.append(one.lower <= truth[one.attribute, one.term] <= one.upper)
    name = f"95 % intervals of a term's shift that cover it, over {sets} sets"
    return [*found, Figure(name, float(np.mean(covered)), f"of {len(covered)}", (">=", 0.93 if sets > 10 else 0.9))]


def _true_shifts(scorer: Scorer) -> dict[tuple[str, str], float]:
    """Every term's shift over all templates, beside unmarked and marked terms in the shares that a set has them."""
    whole, drawn, sentences = swap_set("en", pairs=10**6, seed=0), swap_set("en", seed=0), sentences_of("en")
    toxic = scorer.probabilities(whole.texts)[:, 1]
    found = {}
    for attribute, terms in sentences.terms.items():
        rows: dict[str, list[float]] = {term: [] for term in terms}
        for group in whole.groups(attribute):
            for place in group:
                rows[whole.terms[place]].append(toxic[place])
        mean = {term: float(np.mean(values)) for term, values in rows.items()}
        kinds = [sentences.unmarked[attribute], terms.keys() - sentences.unmarked[attribute]]
        block = [drawn.terms[place] for place in drawn.groups(attribute)[0]]
        for term in terms:
            others = 0.0
            for kind in kinds:
                share = sum(one in kind for one in block) - (term in kind)
                if share:
                    others += share * float(np.mean([mean[one] for one in kind if one != term]))
            found[attribute, term] = mean[term] - others / (len(block) - 1)
    return found


def _student_figures(scorer: Scorer, *, size: int) -> list[Figure]:
    """A student of the scorer's own scores, and one of scores in which identities count threefold."""
    texts, bare = _training_texts(size)
    whole, without = (_log_odds(scorer.probabilities(some)) for some in (texts, bare))
    audited = swap_set("en", pairs=3000, seed=1)
    harmless = control_set(audited, seed=1)
    teacher, its_control = (scorer.probabilities(one.texts) for one in (audited, harmless))
    found = []
    for name, targets in (("honest", whole), ("amplifying", without + AMPLIFIED * (whole - without))):
        student, own_control = np.split(
            _trained(texts, targets, [*audited.texts, *harmless.texts]), [len(audited.texts)]
        )
        control = Control(harmless, its_control, own_control)
        rows = audit_swaps(audited, teacher, student, LABELS, control=control, seed=0)
        judged = [one for one in rows if one.probe == "swap"]
        failed = [one.about.split(", ")[1] for one in judged if one.status == "failed"]
        bar = ("<=", 0.0) if name == "honest" else (">=", 1.0)
        agree = float((student.argmax(axis=1) == teacher.argmax(axis=1)).mean())
        found.append(Figure(f"the {name} student: attributes refused", len(failed), ", ".join(failed), bar))
        told = [one for one in judged if "it is the identity words" in one.words]
        found.append(Figure("  of those told to be identity", len(told), "", ("==", float(len(failed)))))
        found.append(Figure("  its agreement with the teacher on the sentences", agree))
        for one in judged:
            assert one.value is not None
            assert one.lower is not None
            assert one.upper is not None
            about = one.about.split(", ")[1]
            told = f"{100 * one.value:+.1f} ({100 * one.lower:+.1f} to {100 * one.upper:+.1f})"
            found.append(Figure(f"  {about}, {one.status}: excess of flips", told, "points"))
        for one in [row for row in rows if row.probe == "swap term"][:3]:
            found.append(Figure("  in words", one.words))
    return found


def _training_texts(size: int) -> tuple[list[str], list[str]]:
    """Short texts, of which two in three name somebody first, and the same texts without."""
    sentences = sentences_of("en")
    names = [forms["x"] for terms in sentences.terms.values() for forms in terms.values()]
    random = np.random.default_rng(0)
    bare = [row["text"] for kind in ("movie", "product") for row in snippets(kind)[:size]]
    random.shuffle(bare)
    bare = bare[:size]
    texts = []
    for text in bare:
        one = names[int(random.integers(len(names)))][int(random.integers(3))]
        texts.append(f"{one} said: {text}" if random.random() < 2 / 3 else text)
    return texts, bare


def _trained(texts: Sequence[str], targets: _Floats, asked: Sequence[str]) -> _Floats:
    """Ridge regression of the log-odds on words and pairs of words; its probabilities of the texts asked about."""
    from sklearn.feature_extraction.text import TfidfVectorizer
    from sklearn.linear_model import Ridge

    features = TfidfVectorizer(ngram_range=(1, 2), min_df=2, sublinear_tf=True)
    model: Any = Ridge(alpha=0.3, solver="sparse_cg").fit(features.fit_transform(texts), targets)
    toxic = 1 / (1 + np.exp(-model.predict(features.transform(asked))))
    return np.stack([1 - toxic, toxic], axis=1)


def _log_odds(probs: _Floats) -> _Floats:
    odds: _Floats = np.log(np.clip(probs[:, 1], 1e-6, 1)) - np.log(np.clip(probs[:, 0], 1e-6, 1))
    return odds


def _alarm_figures(*, audits: int) -> list[Figure]:
    """Fair pairs: both models share what template and term do, each with its own noise; no excess in truth.

    At a limit of 0 the truth lies on the limit, the hardest fair case; the default limit leaves room.
    """
    one_set = swap_set("en", seed=0)
    chance = np.random.default_rng(7)
    templates = np.unique(one_set.templates, return_inverse=True)[1]
    terms = np.unique(
        [f"{a}/{t}" for a, t in zip(one_set.attributes, one_set.terms, strict=True)], return_inverse=True
    )[1]
    strict, usual = [], []
    for _ in range(audits):
        base = chance.normal(-1, 1.5, templates.max() + 1)[templates] + chance.normal(0, 0.7, terms.max() + 1)[terms]
        both = []
        for _ in range(2):
            toxic = 1 / (1 + np.exp(-(base + chance.normal(0, 0.4, len(base)))))
            both.append(np.stack([1 - toxic, toxic], axis=1))
        flips = [Flips.of(one_set, attribute, *both) for attribute in sorted(set(one_set.attributes))]
        for limit, alarms in ((0.0, strict), (0.01, usual)):
            alarms.append(bool((holm([one.p_beyond(limit) for one in flips]) <= 0.05).any()))
    most = 0.05 + 2 * float(np.sqrt(0.05 * 0.95 / audits))
    return [
        Figure(
            "false alarms over fair pairs, any of six attributes, limit 0",
            float(np.mean(strict)),
            f"of {audits}",
            ("<=", most),
        ),
        Figure("  at the default limit of one point", float(np.mean(usual)), f"of {audits}", ("<=", most)),
    ]


def _limit_figures(*, audits: int) -> list[Figure]:
    """Students whose true excess is the limit: more than one in twenty should neither pass nor fail.

    Scores are logits that a template gives and every text shakes; the student's shake more, by as much as makes the
    excess the limit. Where templates lie far from the edge, flips are few and come in lumps.
    """
    chance = np.random.default_rng(11)
    passed, failed = {}, {}
    for limit in (0.01, 0.03):
        for templates, terms in ((50, 4), (50, 12), (300, 3)):
            for middle, spread, shake in ((-2.0, 1.5, 0.3), (-4.0, 1.5, 0.05), (0.0, 2.0, 0.8)):
                low, high = 0.0, 12.0
                for _ in range(16):
                    extra = (low + high) / 2
                    rates = _rates(chance, 50_000, terms, middle, spread, (shake, shake + extra))
                    low, high = (extra, high) if rates[1].mean() - rates[0].mean() < limit else (low, extra)
                drawn = [
                    _as_flips(*_rates(chance, templates, terms, middle, spread, (shake, shake + low)), terms=terms)
                    for _ in range(audits)
                ]
                name = f"limit {limit}, {templates} templates of {terms} terms, mean logit {middle:g}"
                passed[name] = float(np.mean([one.upper() <= limit for one in drawn]))
                failed[name] = float(np.mean([one.p_beyond(limit) <= 0.05 for one in drawn]))
    most = 0.07 + 2 * float(np.sqrt(0.07 * 0.93 / audits))
    found = []
    for done, rates_of in (("pass", passed), ("fail", failed)):
        worst = max(rates_of, key=rates_of.__getitem__)
        name = f"students at the limit that {done}, worst of {len(rates_of)} designs ({worst})"
        found.append(Figure(name, rates_of[worst], f"of {audits}", ("<=", most)))
        found.append(Figure("  mean over the designs", float(np.mean(list(rates_of.values())))))
    return found


def _rates(
    chance: np.random.Generator, templates: int, terms: int, middle: float, spread: float, shakes: tuple[float, float]
) -> tuple[_Floats, _Floats]:
    """The share of each template's pairs that flip, (templates,), for teacher and student."""
    base = chance.normal(middle, spread, (templates, 1))
    found = []
    for shake in shakes:
        toxic = (base + chance.normal(0, shake, (templates, terms)) > 0).sum(axis=1)
        found.append(toxic * (terms - toxic) / (terms * (terms - 1) / 2))
    return found[0], found[1]


def _as_flips(teacher: _Floats, student: _Floats, *, terms: int) -> Flips:
    """Pairs with these rates of flips in each template."""
    pairs = terms * (terms - 1) // 2
    flipped = [(np.arange(pairs) < np.round(rates * pairs)[:, None]).ravel() for rates in (teacher, student)]
    still = np.zeros(len(teacher) * pairs)
    return Flips(flipped[0], flipped[1], still, still, np.repeat(np.arange(len(teacher)), pairs))

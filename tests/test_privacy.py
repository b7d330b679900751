"""Secrets and personal data: what the published formats demand, and the laws of spans and redaction."""

from __future__ import annotations

import random
import re
from collections import Counter
from collections.abc import Callable
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from examples import examples
from personal_formats import personal_negatives, personal_positives
from secret_formats import FRAMES, Planted, secret_negatives, secret_positives
from stillhouse.raw.credentials import find_credentials
from stillhouse.raw.personal import find_personal
from stillhouse.raw.spans import Span, complete, placeholder, redact, settle

SECRETS = secret_positives(seed=0)
PERSONAL = personal_positives(seed=0)
PLANTED = [*SECRETS, *PERSONAL]


def find_both(text: str) -> list[Span]:
    """Secrets and personal data, not yet settled with each other."""
    return [*find_credentials(text), *find_personal(text)]


def found_exactly(case: Planted, find: Callable[[str], list[Span]]) -> bool:
    """Whether one span is the planted datum, whole and alone."""
    return (case.start, case.end) in {(span.start, span.end) for span in find(case.text)}


# -- recall and false alarms ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize(
    ("positives", "find"), [(secret_positives, find_credentials), (personal_positives, find_personal)]
)
def test_recall_is_at_least_95_percent(
    positives: Callable[..., list[Planted]], find: Callable[[str], list[Span]], seed: int
) -> None:
    cases = positives(seed=seed)
    assert len(cases) >= 150
    hits = Counter(case.kind for case in cases if found_exactly(case, find))
    assert hits.total() >= 0.95 * len(cases)
    # and no kind pays for the others: at most one of its cases may be missed
    assert [kind for kind, total in Counter(case.kind for case in cases).items() if hits[kind] < total - 1] == []


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize(
    ("negatives", "find"), [(secret_negatives, find_credentials), (personal_negatives, find_personal)]
)
def test_no_look_alike_is_flagged(
    negatives: Callable[..., list[str]], find: Callable[[str], list[Span]], seed: int
) -> None:
    texts = negatives(seed=seed)
    assert len(texts) >= 60
    assert [(text, find(text)) for text in texts if find(text)] == []


def test_a_wrong_check_digit_is_no_datum() -> None:
    """Cards, IBANs, wallets and identity numbers with a check: changing one digit makes them ordinary numbers."""
    checked = [case for case in PERSONAL if case.kind in ("card", "iban")]
    assert len(checked) >= 25
    for case in checked:
        place = case.end - 1
        digit = case.text[place]
        changed = case.text[:place] + str((int(digit, 36) + 1) % 10) + case.text[place + 1 :]
        assert not [span for span in find_personal(changed) if span.kind == case.kind]


def test_a_token_inside_a_longer_run_leaves_no_half_behind() -> None:
    for case in SECRETS:
        if case.kind in ("github-token", "gitlab-token", "stripe-key", "anthropic-key"):
            text = case.text[: case.end] + "A1b2-C3" * 60 + case.text[case.end :]
            assert "A1b2-C3" not in redact(text, find_credentials(text))


def test_text_without_spaces_hides_nothing() -> None:
    """Where words are not set apart, a datum is still a run of Latin letters and digits of its own."""
    kinds = ("github-token", "google-key", "jwt", "email", "card", "iban", "ip")
    cases = [case for case in PLANTED if case.kind in kinds]
    assert len(cases) >= 50
    for case in cases:
        text = f"请看{case.text[case.start : case.end]}谢谢"
        assert redact(text, find_both(text)) == f"请看{placeholder(case.kind)}谢谢"


# -- settling ---------------------------------------------------------------------------------------------------------

SPANS = st.lists(
    st.tuples(st.integers(0, 40), st.integers(1, 12), st.sampled_from(["email", "phone", "named-secret", "jwt"])).map(
        lambda drawn: Span(drawn[0], drawn[0] + drawn[1], drawn[2])
    ),
    max_size=8,
)


@given(SPANS, st.randoms())
def test_settled_spans_are_disjoint_and_cover_the_same(spans: list[Span], chance: random.Random) -> None:
    settled = settle(spans)
    assert all(one.end <= two.start for one, two in pairwise(settled))
    assert {place for span in settled for place in range(span.start, span.end)} == {
        place for span in spans for place in range(span.start, span.end)
    }
    assert settle(chance.sample(spans, len(spans))) == settled == settle(settled)


def test_the_longest_names_the_whole_and_of_equals_the_one_with_a_format() -> None:
    assert settle([Span(0, 5, "phone"), Span(3, 20, "card")]) == [Span(0, 20, "card")]
    assert settle([Span(2, 9, "named-secret"), Span(2, 9, "stripe-key")]) == [Span(2, 9, "stripe-key")]
    assert settle([Span(0, 4, "email"), Span(4, 8, "phone")]) == [Span(0, 4, "email"), Span(4, 8, "phone")]


# -- redaction --------------------------------------------------------------------------------------------------------


@given(st.text(max_size=60), SPANS)
def test_redaction_touches_nothing_outside_the_spans(text: str, spans: list[Span]) -> None:
    spans = settle(span for span in spans if span.end <= len(text))
    cuts = [0, *(place for span in spans for place in (span.start, span.end)), len(text)]
    kept = [text[start:end] for start, end in zip(cuts[::2], cuts[1::2], strict=True)]
    marks = [placeholder(span.kind) for span in spans]
    assert redact(text, spans) == "".join(part for pair in zip(kept, [*marks, ""], strict=True) for part in pair)


@pytest.mark.parametrize("case", PLANTED, ids=lambda case: case.kind)
def test_after_redaction_the_datum_is_gone_and_nothing_is_left_to_find(case: Planted) -> None:
    datum = case.text[case.start : case.end]
    redacted = redact(case.text, complete(case.text, find_both))
    assert datum not in redacted
    assert find_both(redacted) == []


PIECES = [case.text[case.start : case.end] for case in PLANTED] + [
    *(frame.replace("{}", " ") for frame in FRAMES[:6]),
    *" \n@.:=-_/+'\"<>0a1Z,;?&",
    "password=", "token: ", "https://", "call ", "SSN ", "+49", "example.org", "key", "//", "ann", "2:", "AA",
]  # fmt: skip


@examples(3)
@given(st.lists(st.sampled_from(PIECES), min_size=1, max_size=8).map("".join))
def test_whatever_is_glued_together_redaction_is_idempotent(text: str) -> None:
    spans = complete(text, find_both)
    assert all(0 <= span.start < span.end <= len(text) for span in spans)
    assert spans == settle(spans)
    redacted = redact(text, spans)
    assert find_both(redacted) == []
    assert redact(redacted, complete(redacted, find_both)) == redacted


@examples(3)
@given(st.text(max_size=200))
def test_any_text_gives_spans_in_range_and_redacts_once(text: str) -> None:
    for find in (find_credentials, find_personal):
        spans = find(text)
        assert spans == settle(spans) and all(0 <= span.start < span.end <= len(text) for span in spans)
        assert find(redact(text, spans)) == []


def test_what_a_placeholder_lays_bare_is_taken_too() -> None:
    """Each number is found only at the end of a word, so that redacting one frees the one before it."""

    def numbers(text: str) -> list[Span]:
        return [Span(*found.span(), "card") for found in re.finditer(r"\d{4}\b", text)]

    for text in ("x123412341234", "12341234 99 1234\n" * 3, "1234" * 400):
        spans = complete(text, numbers)
        assert numbers(redact(text, spans)) == []


# -- hostile lengths: that these end is the test -----------------------------------------------------------------------


@pytest.mark.parametrize(
    "piece",
    ["a", "@", "-", "=", "1", "eyJ", ":", "key=", "?key=", "://a:", "password=", "-----BEGIN PRIVATE KEY-----", "1 ",
     "(1)", "a@", "a.b@c", "token='", "sk-T3Blbk" + "FJ", "2001:", "0x", "bearer ", "1.2.3.4 ", "call 1", "é"],
)  # fmt: skip
def test_a_long_repetition_ends(piece: str) -> None:
    text = (piece * 200_000)[:200_000]
    assert all(span.end <= len(text) for span in find_both(text))

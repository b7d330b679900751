"""Rights: the worst verdict wins, unknown refuses, and a statement lifts only what it may."""

from __future__ import annotations

from dataclasses import dataclass

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stillhouse.rights import Subject, Verdict, judge, lift, refusals, worst


@dataclass(frozen=True)
class Said:
    who: str = "the desk"
    covers: tuple[str, ...] = ("data",)


CASES = [
    # role, license, assured, commercial, verdict
    ("data", "CC0-1.0", True, True, Verdict.ALLOW),
    ("data", "MIT License", True, True, Verdict.ALLOW_WITH_DUTIES),
    ("data", "mit", True, True, Verdict.ALLOW_WITH_DUTIES),
    ("data", "CC-BY-4.0", True, True, Verdict.ALLOW_WITH_DUTIES),
    ("data", "CC-BY-SA-4.0", True, True, Verdict.NEEDS_PERMISSION),
    ("data", "CC-BY-NC-4.0", True, True, Verdict.FORBID),
    ("data", "CC-BY-NC-4.0", True, False, Verdict.ALLOW_WITH_DUTIES),
    ("data", "CC-BY-ND-4.0", True, False, Verdict.FORBID),
    ("data", None, True, True, Verdict.UNKNOWN),
    ("data", "my own", True, True, Verdict.UNKNOWN),
    ("data", "MIT", False, True, Verdict.UNKNOWN),
    ("teacher", "Apache License 2.0", True, True, Verdict.ALLOW_WITH_DUTIES),
    ("base", "other", True, True, Verdict.UNKNOWN),
]


@pytest.mark.parametrize(("role", "license_id", "assured", "commercial", "expected"), CASES)
def test_verdicts(role: str, license_id: str | None, assured: bool, commercial: bool, expected: Verdict) -> None:
    subject = Subject(role, "name", "address", license_id, "recipe", assured)  # type: ignore[arg-type]
    judgement = judge(subject, commercial=commercial)
    assert judgement.verdict is expected
    assert bool(refusals([judgement])) == (expected > Verdict.ALLOW_WITH_DUTIES)
    assert bool(judgement.duties) or expected in (Verdict.ALLOW, Verdict.UNKNOWN)


LICENSES = st.sampled_from(["CC0-1.0", "MIT", "CC-BY-SA-4.0", "CC-BY-NC-4.0", "CC-BY-ND-4.0", "nobody knows", None])
SUBJECTS = st.lists(LICENSES, min_size=1, max_size=6).map(
    lambda ids: [Subject("data", f"s{place}", "a", license_id, "recipe") for place, license_id in enumerate(ids)]
)


@given(SUBJECTS, st.randoms())
def test_order_does_not_matter_and_another_source_never_improves(subjects: list[Subject], random: object) -> None:
    judged = [judge(subject, commercial=True) for subject in subjects]
    mixed = list(judged)
    random.shuffle(mixed)  # type: ignore[attr-defined]
    assert worst(mixed) == worst(judged) >= worst(judged[:-1])


@given(SUBJECTS)
def test_a_statement_lifts_permission_and_unknown_and_never_a_ban(subjects: list[Subject]) -> None:
    judged = [judge(subject, commercial=True) for subject in subjects]
    for before, after in zip(judged, lift(judged, Said()), strict=True):
        if before.verdict in (Verdict.UNKNOWN, Verdict.NEEDS_PERMISSION):
            assert after.verdict is Verdict.ALLOW_WITH_DUTIES
            assert after.lifted_by == "the desk"
            assert after.lifted_from is before.verdict
        else:
            assert after == before
    assert lift(judged, Said(covers=("teacher",))) == judged
    assert lift(judged, None) == judged

"""The terms table against ``rights_cases.md``, and the laws of the table itself."""

from __future__ import annotations

from collections import Counter
from datetime import date, timedelta
from pathlib import Path

import pytest

from rights_cases import Case, read_cases
from stillhouse.errors import StillhouseError
from stillhouse.rights import Claim, Subject, Table, Use, Verdict, judge
from stillhouse.rights.texts import hash_of, start_of

CASES = read_cases()


@pytest.mark.parametrize("case", CASES, ids=lambda case: f"{case.what}-{case.channel}-{case.student}-{case.release}")
def test_case(case: Case) -> None:
    assert case.answer() == case.expected


def test_the_cases_are_many_and_reach_every_verdict_and_channel() -> None:
    assert len(CASES) >= 60
    assert {case.verdict for case in CASES} == {verdict.words for verdict in Verdict}
    assert {case.channel for case in CASES} == {"api", "weights", "base", "data"}
    # whatever is decided points at a clause; only what nobody knows has none
    assert all(bool(case.clause) == (case.verdict != "unknown") for case in CASES)


def test_no_id_or_alias_means_two_documents() -> None:
    names = Counter(
        name for entry in Table.load().terms for name in {one.casefold() for one in (*entry.ids, *entry.aliases)}
    )
    assert [name for name, count in names.items() if count > 1] == []


def test_an_alias_leads_to_the_id_that_it_means() -> None:
    table = Table.load()
    for said, meant in {
        "MIT License": "MIT",
        "BSD License": "LicenseRef-BSD-unspecified",
        "odbl": "ODbL-1.0",
        "research only": "LicenseRef-research-only",
        "bigscience-openrail-m": "LicenseRef-scancode-bigscience-open-rail-m",
        "llama3.1": "LicenseRef-scancode-llama-3.1-license-2024",
        "apache-2.0": "Apache-2.0",
    }.items():
        found = table.by_id(said)
        assert found is not None and found[0] == meant


def test_every_entry_says_what_it_says_and_when_it_was_read() -> None:
    table = Table.load()
    assert len(table.terms) >= 40 and len(table.families) >= 45
    for entry in table.terms:
        assert entry.title and len(entry.says) > 10 and entry.read <= date(2026, 11, 25)
        assert all(rule.clause for rule in entry.rules) and all(duty.clause for duty in entry.duties)
    known = {text.sha256 for entry in table.terms for texts in entry.texts.values() for text in texts}
    assert len(known) >= 35


OWN = """
[[terms]]
ids = ["LicenseRef-acme-data"]
title = "Acme's data license"
read = 2026-11-01
trust = "primary"
says = "Internal training only."
rules = [
  {verdict = "allow", clause = "2", when = {release = ["internal"]}},
  {verdict = "forbid", clause = "3"},
]
[terms.texts]
"LicenseRef-acme-data" = [{start = "START", sha256 = "HASH"}]

[[family]]
patterns = ["acme-*"]
terms = ["LicenseRef-acme-data"]
trust = "primary"
read = 2026-11-01
"""
TEXT = "Acme Data License. You may train models inside your own house, and nothing else."


def own_file(folder: Path, text: str = OWN) -> Path:
    path = folder / "terms.toml"
    path.write_text(text.replace("START", start_of(TEXT)).replace("HASH", hash_of(TEXT)), "utf-8")
    return path


def test_a_file_of_ones_own_adds_documents_families_and_texts(tmp_path: Path) -> None:
    table = Table.load(own_file(tmp_path))
    subject = Subject("data", "d", "d", ("data",), (Claim("licenseref-acme-data", "recipe"),))
    assert judge(subject, Use(release="internal"), table=table).verdict is Verdict.ALLOW
    assert judge(subject, Use(release="served"), table=table).verdict is Verdict.FORBID
    assert [family.terms for family in table.by_name("acme-7b")] == [("LicenseRef-acme-data",)]
    assert table.by_text(TEXT).terms == "LicenseRef-acme-data"
    assert table.digest != Table.load().digest
    assert judge(subject, Use(), table=Table.load()).verdict is Verdict.UNKNOWN


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (('"LicenseRef-acme-data"', '"MIT"'), "knows MIT already"),
        (('title = "Acme\'s data license"', 'aliases = {gemma = "LicenseRef-acme-data"}'), "knows gemma already"),
        (('terms = ["LicenseRef-acme-data"]', 'terms = ["LicenseRef-gone"]'), "LicenseRef-gone"),
        (('  {verdict = "forbid", clause = "3"},\n', ""), "the last rule"),
        (('verdict = "forbid"', 'verdict = "maybe"'), "terms.0.rules.1.verdict"),
        (('trust = "primary"\nsays', 'thrust = "primary"\nsays'), "thrust"),
        (("[[terms]]", "[[terms]"), "not a TOML file"),
    ],
)
def test_a_broken_file_of_ones_own_is_refused_with_its_place(
    tmp_path: Path, change: tuple[str, str], says: str
) -> None:
    path = own_file(tmp_path, OWN.replace(*change))
    with pytest.raises(StillhouseError) as error:
        Table.load(path)
    shown = "\n".join(f"{one.what} {one.where}" for one in error.value.problems)
    assert says in shown and str(path) in shown


def test_what_was_read_long_ago_warns() -> None:
    subject = Subject("data", "d", "d", ("data",), (Claim("MIT", "recipe"),))
    read = Table.load().by_id("MIT")[1].read  # type: ignore[index]
    fresh = judge(subject, Use(), table=Table.load(), today=read + timedelta(days=365))
    stale = judge(subject, Use(), table=Table.load(), today=read + timedelta(days=366))
    assert fresh.warnings == ()
    assert "more than a year ago" in stale.warnings[0]
    assert fresh.verdict is stale.verdict

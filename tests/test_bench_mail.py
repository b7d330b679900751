"""A mail becomes its subject and its body, and a person is shown the cuts that were made most often."""

from __future__ import annotations

from pathlib import Path

import pytest
from bench.raw_mail import sample_for_review, text_of

from stillhouse import cuts

PLAIN = b"""From: a@b.example
Subject: =?utf-8?q?Gr=C3=BC=C3=9Fe?=
Content-Type: text/plain; charset=%s

%s
"""
PARTS = b"""From: a@b.example
Subject: two
Content-Type: multipart/mixed; boundary=x

--x
Content-Type: multipart/alternative; boundary=y

--y
Content-Type: text/html

<p>marked</p>
--y
Content-Type: text/plain

unmarked
--y--
--x
Content-Type: application/octet-stream
Content-Disposition: attachment; filename=z

attached
--x--
"""


@pytest.mark.parametrize(
    ("charset", "body"),
    [
        (b"utf-8", "Schöne".encode()),
        (b"iso-8859-1", "Schöne".encode("latin-1")),
        (b"us-ascii", "Schöne".encode("latin-1")),
        (b"no-such-set", "Schöne".encode("latin-1")),
    ],
)
def test_a_mail_is_its_subject_and_its_body_whatever_character_set_it_claims(charset: bytes, body: bytes) -> None:
    assert text_of(PLAIN % (charset, body)) == "Grüße\n\nSchöne"


def test_plain_text_goes_before_html_and_attachments_are_left_out() -> None:
    assert text_of(PARTS) == "two\n\nunmarked"


def test_html_stays_html_where_there_is_nothing_else() -> None:
    assert text_of(b"Subject: x\nContent-Type: text/html\n\n<b>y</b>\n") == "x\n\n<b>y</b>"


def test_a_mail_without_subject_or_body_is_no_fault() -> None:
    assert text_of(b"From: a@b.example\n\n") == ""
    assert text_of(b"Content-Type: multipart/mixed; boundary=x\n\n--x--\n") == ""


def test_the_review_shows_the_most_frequent_reasons_and_the_same_rows_for_a_seed(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    made = [
        cuts.Cut(stage="1-raw", cut="tail", reason=reason, source="s", origin=f"s:{reason}{row}", content=f"text {row}")
        for reason, number in (("a", 9), ("b", 5), ("c", 1))
        for row in range(number)
    ]
    cuts.write(tmp_path, made)
    shown = []
    for _ in range(2):
        sample_for_review(tmp_path / "cuts.parquet", per_reason=3, reasons=2, seed=1)
        shown.append(capsys.readouterr().out)
    assert shown[0] == shown[1]
    assert [line for line in shown[0].splitlines() if line.startswith("===")] == [
        "=== a: 9 of 15 cuts",
        "=== b: 5 of 15 cuts",
    ]
    assert shown[0].count("\n--- ") == 6

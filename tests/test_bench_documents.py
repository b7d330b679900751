"""What the generator of the raw benches says it planted is there, and nothing is there that it does not say."""

from __future__ import annotations

import json
import unicodedata
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from bench import raw_documents as generator
from bench import raw_rows as rules
from bench.raw_plants import PERSONAL, iban, jaccard, luhn_digit
from bench.raw_recall import Share, recall

COUNT = 2500
Row = dict[str, Any]


@dataclass(frozen=True)
class Written:
    rows: list[Row]
    truth: dict[str, Row]
    planted: generator.Planted
    items: dict[str, Row]

    def of(self, kind: str) -> list[tuple[Row, Row]]:
        """Rows of a kind, each with its truth."""
        return [(row, self.truth[row["id"]]) for row in self.rows if self.truth[row["id"]]["kind"] == kind]

    def row(self, id: str) -> Row:
        return next(row for row in self.rows if row["id"] == id)


def rows_of(files: Sequence[Path]) -> list[Row]:
    return [json.loads(line) for file in files for line in file.read_text("utf-8").split("\n") if line]


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> Written:
    planted = generator.write(tmp_path_factory.mktemp("documents"), count=COUNT, seed=7)
    truth = {row["id"]: row for row in generator.read_truth(planted)}
    items = {row["id"]: row for row in rows_of([planted.benchmark])}
    return Written(rows_of(planted.documents), truth, planted, items)


def key(text: str) -> str:
    return " ".join(unicodedata.normalize("NFC", text).split()).casefold()


def distance(one: Sequence[str], other: Sequence[str], most: int) -> int:
    """Fewest substitutions, insertions, deletions and swaps of neighbours (restricted Damerau-Levenshtein).

    Only paths that stay within ``most`` of the diagonal are looked at: no cheaper one leaves it.
    """
    far = len(one) + len(other)
    last, before = [far] * (len(other) + 1), [far] * (len(other) + 1)
    row = [*range(most + 1), *[far] * len(other)][: len(other) + 1]
    for i, left in enumerate(one, start=1):
        last, before, row = before, row, [far] * (len(other) + 1)
        row[0] = i
        for j in range(max(1, i - most), min(len(other), i + most) + 1):
            right = other[j - 1]
            row[j] = min(before[j] + 1, row[j - 1] + 1, before[j - 1] + (left != right))
            if i > 1 and j > 1 and left == other[j - 2] and one[i - 2] == right:
                row[j] = min(row[j], last[j - 2] + 1)
    return int(row[-1])


def test_the_same_seed_gives_the_same_bytes_whatever_the_shards(written: Written, tmp_path: Path) -> None:
    again = generator.write(tmp_path / "again", count=COUNT, seed=7, shards=3)
    assert b"".join(file.read_bytes() for file in again.documents) == written.planted.documents[0].read_bytes()
    assert again.truth.read_bytes() == written.planted.truth.read_bytes()
    assert again.benchmark.read_bytes() == written.planted.benchmark.read_bytes()


def test_another_seed_gives_other_rows(written: Written, tmp_path: Path) -> None:
    other = generator.write(tmp_path, count=200, seed=8)
    long = {row["text"] for row in rows_of(other.documents) if len(row["text"]) > 40}
    assert long.isdisjoint(row["text"] for row in written.rows)


def test_every_row_has_its_truth_in_the_order_of_the_rows(written: Written) -> None:
    assert [row["id"] for row in written.rows] == list(written.truth)
    assert [row["row"] for row in written.truth.values()] == list(range(COUNT)) == list(range(written.planted.rows))
    assert written.planted.size == written.planted.documents[0].stat().st_size
    assert written.planted.characters == sum(len(row["text"]) for row in written.rows)


def test_kinds_have_their_shares(written: Written) -> None:
    found = Counter(row["kind"] for row in written.truth.values())
    assert {kind: found[kind] for kind in rules.SHARES} == {
        kind: int(share * COUNT) for kind, share in rules.SHARES.items()
    }


def test_lengths_are_those_of_short_documents_with_a_long_tail(written: Written) -> None:
    lengths = [len(row["text"]) for row in written.rows]
    assert np.median(lengths) == pytest.approx(300, rel=0.1)
    assert np.quantile(lengths, 0.95) == pytest.approx(1500, rel=0.15)


def test_one_row_in_ten_is_not_ascii(written: Written) -> None:
    assert 0.08 < sum(not row["text"].isascii() for row in written.rows) / COUNT < 0.12


def test_copies_name_a_row_that_is_no_copy(written: Written) -> None:
    copies = [row for row in written.truth.values() if row["copy_of"] is not None]
    assert {row["kind"] for row in copies} == set(rules.COPIES)
    assert {written.truth[row["copy_of"]]["kind"] for row in copies} == {"none"}


def test_the_source_of_a_near_copy_has_no_other_copy(written: Written) -> None:
    copies = Counter(row["copy_of"] for row in written.truth.values() if row["copy_of"] is not None)
    assert {copies[truth["copy_of"]] for _, truth in written.of("near copy")} == {1}
    assert max(copies.values()) > 1


def test_exact_copies_differ_at_most_in_case_and_spaces(written: Written) -> None:
    for kind in ("exact copy", "conflicting label"):
        for row, truth in written.of(kind):
            source = written.row(truth["copy_of"])
            assert key(row["text"]) == key(source["text"])
            assert (row["text"] == source["text"]) or truth["variant"] == "case and spaces"
            assert (row["label"] == source["label"]) == (kind == "exact copy")


def test_near_copies_have_the_stated_number_of_edits(written: Written) -> None:
    seen = set()
    for row, truth in written.of("near copy"):
        source = written.row(truth["copy_of"])
        spaced = truth["lang"] not in rules.UNSPACED
        one, other = (text.split(" ") if spaced else list(text) for text in (row["text"], source["text"]))
        assert distance(one, other, truth["edits"]) <= truth["edits"]
        assert truth["jaccard"] == pytest.approx(jaccard(row["text"], source["text"], spaced=spaced))
        seen.add(truth["edits"])
    assert seen == set(rules.EDITS)


def test_no_two_rows_are_equal_but_those_that_were_planted(written: Written) -> None:
    first: dict[str, str] = {}
    for row in written.rows:
        truth = written.truth[row["id"]]
        if truth["kind"] != "empty":
            source = truth["copy_of"] or row["id"]
            assert first.setdefault(key(row["text"]), source) == source


def test_values_stand_in_their_rows(written: Written) -> None:
    shapes = set()
    for kind in ("personal data", "secret"):
        for row, truth in written.of(kind):
            assert truth["value"] in row["text"]
            shapes.add(truth["variant"])
    assert len(shapes) >= 12


def test_contaminated_rows_quote_their_item(written: Written) -> None:
    for row, truth in written.of("contamination"):
        item = written.items[truth["item"]]
        text = row["text"].lower()
        if truth["variant"] == "short item":
            assert f"{item['question']} {item['answer']}".lower() in text
        else:
            words = item["question"].lower().rstrip("?").split()
            runs = [" ".join(words[at : at + 13]) for at in range(len(words) - 12)]
            assert any(run in text for run in runs)


def test_rows_without_contamination_quote_no_item(written: Written) -> None:
    runs = set()
    for item in written.items.values():
        words = item["question"].lower().rstrip("?").split()
        runs |= {tuple(words[at : at + 13]) for at in range(len(words) - 12)}
    for row in written.rows:
        if written.truth[row["id"]]["kind"] != "contamination":
            words = row["text"].lower().split()
            assert runs.isdisjoint(tuple(words[at : at + 13]) for at in range(len(words) - 12))


def test_short_empty_broken_and_boilerplate_rows_are_what_they_are_called(written: Written) -> None:
    assert all(1 <= len(row["text"].split()) <= 4 for row, _ in written.of("short"))
    assert not any(row["text"].strip() for row, _ in written.of("empty"))
    assert all(row["text"] != truth["value"] for row, truth in written.of("mojibake"))
    frames = {tuple(row["text"].split()[:300]) for row, _ in written.of("boilerplate")}
    assert len(frames) == 1
    assert {len(row["text"].split()) for row, _ in written.of("boilerplate")} == {310}


@pytest.mark.parametrize(("number", "digit"), [("7992739871", "3"), ("424242424242424", "2")])
def test_card_numbers_end_in_their_check_digit(number: str, digit: str) -> None:
    assert luhn_digit(number) == digit


def test_account_numbers_have_their_check_digits() -> None:
    # the example of the standard's registry, put together here
    assert iban("GB", "WEST" + "12345698765432") == "GB" + "82" + "WEST" + "12345698765432"
    assert len(PERSONAL) >= 6


def test_recall_of_what_keeps_all_and_of_what_keeps_the_planted_originals(written: Written) -> None:
    everything = recall(list(written.truth), written.planted.truth)
    shares = [*everything.exact.values(), *everything.near.values(), *everything.apart.values()]
    assert {share.found for share in shares} == {0} == {everything.false_removals.found}
    originals = [name for name, row in written.truth.items() if row["copy_of"] is None]
    perfect = recall(originals, written.planted.truth)
    assert {share.rate for share in (*perfect.exact.values(), *perfect.near.values())} == {1.0}
    assert (perfect.false_removals.found, perfect.dead) == (0, 0)
    near = [row for row, _ in written.of("near copy") if row["lang"] not in rules.UNSPACED]
    assert sum(share.of for share in perfect.near.values()) == len(near)


def test_recall_charges_each_wrong_removal_once(written: Written) -> None:
    plain = [name for name, row in written.truth.items() if row["kind"] == "none"]
    copied = next(row["copy_of"] for row in written.truth.values() if row["copy_of"])
    alone = next(name for name in plain if all(row["copy_of"] != name for row in written.truth.values()))
    cluster = {copied} | {name for name, row in written.truth.items() if row["copy_of"] == copied}
    found = recall([name for name in written.truth if name not in {alone, *cluster}], written.planted.truth)
    assert (set(found.false_ids), found.dead) == ({alone, copied}, 1)
    assert found.false_removals == Share(
        2, sum(row["kind"] not in ("boilerplate", "short", "empty") for row in written.truth.values())
    )
    # which member of a cluster stays is no matter
    assert recall(set(written.truth) - {copied}, written.planted.truth).false_removals.found == 0

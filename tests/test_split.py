"""The split: whole units, labels in their shares, exact where it can be, and the same in any order of rows."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
from hypothesis import given, reject
from hypothesis import strategies as st

from examples import examples
from stillhouse.documents import SPLITS
from stillhouse.errors import StillhouseError
from stillhouse.raw.split import Division, split_documents, straddling

COLUMNS = ("labels", "clusters", "author", "talk", "source", "language")


@st.composite
def tables(draw: st.DrawFn) -> dict[str, list[Any]]:
    """A table of rows: ids, gold labels, near-duplicate clusters, two group columns, two strata."""
    rows = draw(
        st.lists(
            st.tuples(
                st.sampled_from([None, "a", "b", "c"]),
                st.integers(0, 60),
                st.none() | st.integers(0, 40).map("author {}".format),
                st.none() | st.integers(0, 40).map("talk {}".format),
                st.sampled_from(["web", "mail"]),
                st.sampled_from([None, "de", "en"]),
            ),
            min_size=1,
            max_size=40,
        )
    )
    columns = [list(column) for column in zip(*rows, strict=True)]
    ids = draw(st.lists(st.text("0123456789abcdef", min_size=4, max_size=4), min_size=len(rows), max_size=len(rows)))
    return {"ids": ids, **dict(zip(COLUMNS, columns, strict=True))}


def divide(table: dict[str, list[Any]], **sizes: Any) -> Division:
    return split_documents(
        table["ids"],
        table["labels"],
        clusters=table["clusters"],
        groups=[table["author"], table["talk"]],
        strata=[table["source"], table["language"]],
        **({"seed": 0} | sizes),
    )


def lists_of(division: Division, ids: Sequence[str]) -> dict[str, list[str]]:
    """The ids in each of the five outcomes."""
    rows = [*division.splits.items(), ("aside", division.aside), ("beyond", division.beyond)]
    return {name: [ids[row] for row in found] for name, found in rows}


def singles(n: int, labels: Sequence[str | None] = ("x",), **more: Any) -> Division:
    """A split of n unrelated rows whose labels repeat in turn."""
    return split_documents(names(n), [labels[row % len(labels)] for row in range(n)], **({"seed": 0} | more))


def names(n: int) -> list[str]:
    return [f"{row:032x}" for row in range(n)]


def brute_force_units(table: dict[str, list[Any]]) -> list[int]:
    """The smallest row that each row hangs together with, by following every relation until nothing changes."""
    unit = list(range(len(table["ids"])))
    for _ in unit:
        for column in ("ids", "clusters", "author", "talk"):
            least: dict[Any, int] = {}
            for row, value in enumerate(table[column]):
                least[value] = min(least.get(value, unit[row]), unit[row])
            unit = [unit[row] if value is None else least[value] for row, value in enumerate(table[column])]
    return unit


SIZES = st.fixed_dictionaries(
    {"test": st.integers(0, 12), "validation": st.integers(0, 8), "train": st.none() | st.integers(1, 20)}
)


# ---- units -----------------------------------------------------------------------------------------------------


@given(tables(), SIZES)
def test_every_row_has_one_outcome_and_every_unit_one_side(table: dict[str, list[Any]], sizes: dict[str, Any]) -> None:
    try:
        division = divide(table, **sizes)
    except StillhouseError:
        reject()
    everything = [*division.splits["train"], *division.splits["validation"], *division.splits["test"]]
    assert sorted(everything + division.aside + division.beyond) == list(range(len(table["ids"])))
    outcome: dict[int, str] = {row: name for name, rows in division.splits.items() for row in rows}
    outcome |= dict.fromkeys(division.beyond, "beyond") | dict.fromkeys(division.aside, "test")
    sides_of_unit: dict[int, set[str]] = {}
    for row, unit in enumerate(brute_force_units(table)):
        sides_of_unit.setdefault(unit, set()).add(outcome[row])
    assert all(len(sides) == 1 for sides in sides_of_unit.values())
    assert all(table["labels"][row] is not None for row in division.splits["test"])
    assert all(table["labels"][row] is None for row in division.aside)
    for name, wanted in sizes.items():
        assert wanted is None or len(division.splits[name]) <= wanted  # type: ignore[index]
    assert division.sides().tolist() == [
        SPLITS.index(outcome[row]) if outcome[row] in SPLITS and row not in division.aside else -1  # type: ignore[arg-type]
        for row in range(len(table["ids"]))
    ]


@given(tables(), SIZES, st.randoms(use_true_random=False))
def test_the_order_of_the_rows_is_of_no_account(
    table: dict[str, list[Any]], sizes: dict[str, Any], random: Any
) -> None:
    order = list(range(len(table["ids"])))
    random.shuffle(order)
    shuffled = {name: [column[row] for row in order] for name, column in table.items()}
    try:
        division = divide(table, **sizes)
    except StillhouseError as error:
        with pytest.raises(StillhouseError) as again:
            divide(shuffled, **sizes)
        assert str(again.value) == str(error)
        return
    assert lists_of(division, table["ids"]) == lists_of(divide(shuffled, **sizes), shuffled["ids"])


def test_a_long_chain_through_two_columns_is_one_unit() -> None:
    n = 3000
    order = np.random.default_rng(0).permutation(n)
    authors, talks = order // 2, [str((row + 1) // 2) for row in order]
    with pytest.raises(StillhouseError, match="fill only 0 of 10 documents of the test split"):
        singles(n, clusters=authors, groups=[talks], test=10, validation=10)


@pytest.mark.parametrize("copies", [2, 5, 20])
@pytest.mark.parametrize("seed", range(5))
def test_no_copy_pair_straddles_and_without_clusters_many_would(copies: int, seed: int) -> None:
    """User case 21: a hundred rows, some of them near copies, in clusters of several sizes."""
    clusters = np.arange(100)
    clusters[:40] = np.arange(40) // copies * copies
    pairs = [(a, b) for a in range(100) for b in range(a) if clusters[a] == clusters[b]]
    sizes = {"seed": seed, "test": 30, "validation": 20}
    whole = singles(100, ("x", "y"), clusters=clusters, **sizes)
    assert straddling(pairs, whole.sides()) == 0
    assert len(whole.splits["test"]) == 30
    assert straddling(pairs, singles(100, ("x", "y"), **sizes).sides()) > 0


def test_what_has_no_gold_label_is_set_aside_with_its_copy_in_the_test() -> None:
    labels = ["x", None] * 50
    division = split_documents(
        names(100), labels, clusters=[row // 2 for row in range(100)], seed=1, test=20, validation=10
    )
    assert sorted(row + 1 for row in division.splits["test"]) == sorted(division.aside)
    assert len(division.splits["test"]) == 20
    assert len(division.splits["validation"]) == 10


def test_straddling_counts_pairs_on_two_sides_and_none_that_left() -> None:
    sides = [0, 0, 1, 2, -1]
    assert straddling([(0, 1), (0, 2), (2, 3), (3, 4), (4, 4)], sides) == 2
    assert straddling([], sides) == 0


# ---- sizes -----------------------------------------------------------------------------------------------------


@given(st.integers(0, 40), st.integers(0, 40), st.none() | st.integers(1, 40), st.integers(0, 9))
def test_sizes_are_exact_where_rows_are_single(test: int, validation: int, train: int | None, seed: int) -> None:
    division = singles(150, ("x", "y", None), seed=seed, test=test, validation=validation, train=train)
    left = 150 - test - validation
    assert (len(division.splits["test"]), len(division.splits["validation"])) == (test, validation)
    assert len(division.splits["train"]) == (left if train is None else min(train, left))
    assert division.aside == []


def test_smaller_units_later_in_the_draw_fill_what_a_large_one_can_not() -> None:
    sizes = [7] * 20 + [1] * 20
    clusters = np.repeat(np.arange(40), sizes)
    for seed in range(10):
        division = singles(160, clusters=clusters, seed=seed, test=24, validation=11)
        assert (len(division.splits["test"]), len(division.splits["validation"])) == (24, 11)


def test_a_split_falls_short_by_less_than_the_smallest_unit_left() -> None:
    division = singles(120, clusters=np.arange(120) // 4, test=10, validation=7)
    assert (len(division.splits["test"]), len(division.splits["validation"])) == (8, 4)


def test_large_units_are_drawn_as_often_as_small_ones() -> None:
    clusters = np.repeat(np.arange(120), [5] * 40 + [1] * 80)
    large = total = 0
    for seed in range(60):
        units = {
            int(clusters[row])
            for row in singles(280, clusters=clusters, seed=seed, test=70, validation=10).splits["test"]
        }
        large, total = large + sum(unit < 40 for unit in units), total + len(units)
    assert large / total == pytest.approx(1 / 3, abs=0.05)


# ---- strata ----------------------------------------------------------------------------------------------------


@given(
    st.lists(st.tuples(st.sampled_from([None, "a", "b", "c"]), st.sampled_from(["web", "mail", None])), min_size=40),
    st.integers(0, 15),
    st.integers(0, 15),
    st.integers(0, 3),
)
def test_labels_keep_their_shares_and_strata_theirs_within_a_label(
    rows: list[tuple[str | None, str | None]], test: int, validation: int, seed: int
) -> None:
    labels, sources = zip(*rows, strict=True)
    gold = {row for row, label in enumerate(labels) if label is not None}
    if len(gold) < test:
        reject()
    division = split_documents(names(len(rows)), labels, strata=[sources], seed=seed, test=test, validation=validation)
    held_out = set(division.splits["test"])
    for chosen, eligible in ((held_out, gold), (set(division.splits["validation"]), set(range(len(rows))) - held_out)):
        for label in {labels[row] for row in eligible}:
            of_label = {row for row in eligible if labels[row] == label}
            taken = len(of_label & chosen)
            assert abs(taken - len(chosen) * len(of_label) / len(eligible)) < 1
            for source in {sources[row] for row in of_label}:
                both = {row for row in of_label if sources[row] == source}
                assert abs(len(both & chosen) - taken * len(both) / len(of_label)) < 1


@pytest.mark.parametrize("shares", [(50, 50), (95, 4, 1), (60, 20, 10, 10)])
def test_whole_units_keep_the_shares_within_a_unit(shares: tuple[int, ...]) -> None:
    """Conversations of one to six rows with labels mixed at random."""
    rng = np.random.default_rng(3)
    clusters = np.repeat(np.arange(1000), rng.integers(1, 7, 1000))
    labels = rng.choice([f"l{k}" for k in range(len(shares))], clusters.size, p=np.array(shares) / 100)
    division = split_documents(
        names(clusters.size), labels.tolist(), clusters=clusters, seed=0, test=300, validation=200
    )
    everywhere = Counter(labels.tolist())
    for name, wanted in (("test", 300), ("validation", 200)):
        found: Counter[str] = Counter(labels[division.splits[name]].tolist())  # type: ignore[index]
        assert found.total() == wanted
        for label, number in everywhere.items():
            assert abs(found[label] - wanted * number / clusters.size) < 6


def test_a_limited_train_takes_labels_and_none_as_they_were_left() -> None:
    gold = 0
    for seed in range(40):
        division = singles(400, ("x", None), seed=seed, test=100, validation=30, train=60)
        gold += sum(row % 2 == 0 for row in division.splits["train"])
    assert gold / (40 * 60) == pytest.approx(1 / 3, abs=0.04)  # 100 of 300 rows; standard error 0.01


def test_of_many_strata_of_one_row_some_are_drawn_and_not_the_first_by_name() -> None:
    sources = [f"source {row:03}" for row in range(200)]
    means = [
        np.mean(singles(200, strata=[sources], seed=seed, test=20, validation=10).splits["test"]) for seed in range(40)
    ]
    assert np.mean(means) == pytest.approx(99.5, abs=9)  # standard error 2


# ---- stability -------------------------------------------------------------------------------------------------


def test_without_relations_ids_and_seed_alone_decide() -> None:
    plain = lists_of(singles(300, test=50, validation=30, train=100), names(300))
    for more in (
        {"clusters": np.arange(300)[::-1]},
        {"groups": [[None] * 300, names(300)]},
        {"strata": [["web"] * 300]},
        {"labels": ("another",)},
    ):
        assert lists_of(singles(300, test=50, validation=30, train=100, **more), names(300)) == plain
    assert lists_of(singles(300, seed=1, test=50, validation=30, train=100), names(300)) != plain


@examples(0.5)
@given(st.text("0123456789abcdef", min_size=8, max_size=8), st.integers(0, 9))
def test_a_new_row_moves_at_most_three_others(new: str, seed: int) -> None:
    ids, sizes = names(200), {"seed": seed, "test": 50, "validation": 30, "train": 60}
    before = split_documents(ids, ["x"] * 200, **sizes).sides()  # type: ignore[arg-type]
    after = split_documents([*ids, new], ["x"] * 201, **sizes).sides()  # type: ignore[arg-type]
    assert (before != after[:200]).sum() <= 3


# ---- refusals --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("labels", "sizes", "where", "what"),
    [
        (("x", None), {"test": 11, "validation": 1}, "raw.split.test", "needs 11 documents with a gold label.* are 10"),
        (("x",), {"test": 10, "validation": 10}, "raw.split", "10 documents are left .* none is left"),
        (("x",), {"test": 5, "validation": 4, "clusters": [0] * 10 + [1] * 10}, "raw.split.test", "fill only 0 of 5"),
        (("x",), {"test": 0, "validation": 4, "clusters": [0] * 20}, "raw.split.validation", "fill only 0 of 4"),
        (("x",), {"test": 0, "validation": 0, "train": 9, "clusters": [0] * 20}, "raw.split.train", "fill only 0 of 9"),
    ],
)
def test_a_split_that_can_not_be_filled_is_refused(
    labels: Sequence[str | None], sizes: dict[str, Any], where: str, what: str
) -> None:
    with pytest.raises(StillhouseError, match=what) as refused:
        singles(20, labels, **sizes)
    assert refused.value.problems[0].where == where

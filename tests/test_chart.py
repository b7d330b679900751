"""The chart of scores that rows of a run seldom have: all of them beyond the point, or no numbers."""

from __future__ import annotations

from pathlib import Path

import pytest
from rich.cells import cell_len

from stillhouse.chart import BINS, Chart
from stillhouse.chart_image import draw
from stillhouse.report.cut_chart import cuts


def chart(
    scores: list[float], left: list[bool], threshold: float | None, *, kind: str = "given", text: str = "a text"
) -> Chart:
    cut = ["head" if one else "heart" for one in left]
    rows = {
        "cut": cut,
        "reason": ["odd" if one else None for one in left],
        "taught": ["good"] * len(cut),
        "text": [text] * len(cut),
        "score_odd": scores,
    }
    head = {"name": "odd", "kind": kind, "threshold": threshold, "removed": sum(left), "why": "set by hand"}
    tail = {"score": None, "rungs": []}
    told = {"heads": [head], "tail": tail, "prices": [], "notes": [], "quotas": True, "strata": []}
    return Chart(Path("run"), rows, told)


@pytest.mark.parametrize(
    ("scores", "left", "threshold", "place"),
    [
        ([0.2, 0.3, 0.4, 0.9], [True] * 4, 0.1, 0),  # below every score
        ([0.0, 0.0, 1.0, 1.0], [False, False, True, True], 1.0, BINS - 1),  # by quotas: the lowest that left
        ([0.0, float("nan"), 0.25, 1.0], [False, False, False, True], 0.5, BINS // 2),
    ],
)
def test_a_point_is_shown_wherever_rows_left_and_whatever_else_there_is(
    scores: list[float], left: list[bool], threshold: float, place: int, tmp_path: Path
) -> None:
    made = chart(scores, left, threshold)
    lines = made.lines()
    assert not any("nothing is cut" in line for line in lines)
    (marks,) = [line for line in lines if line.startswith("  ") and set(line.strip()) <= {"^", "→"} and line.strip()]
    assert marks.index("^") - 2 == place
    page = "".join(map(str, cuts(made)))
    assert "above it: head" in page and "no row is cut by it" not in page
    draw(made, tmp_path / "cuts.svg")
    assert (tmp_path / "cuts.svg").stat().st_size > 0


@pytest.mark.parametrize("text", ["値段は高いが、味は悪くない。" * 9, "red \x1b[31m\x07 alarm \u202e" + "x" * 90])
def test_no_line_is_wider_than_the_terminal_and_none_gives_it_orders(text: str) -> None:
    lines = chart([0.1, 0.2, 0.9], [False, False, True], 0.5, text=text).lines()
    assert max(map(cell_len, lines)) <= 80 and all(line.isprintable() for line in lines)
    shown = [line for line in lines if line.startswith(("H  ", "·  "))]
    assert len(shown) == 3 and all(cell_len(line) >= 79 and line.endswith("…") for line in shown)


def test_where_each_stratum_has_a_point_the_chart_does_not_say_that_all_above_the_lowest_leave() -> None:
    made = chart([0.1, 0.5, 0.7, 0.9], [False, True, False, True], 0.5, kind="quantile")
    lines = made.lines()
    assert any("0.5: the lowest that went to the head" in line for line in lines)
    assert not any("above it" in line for line in lines) and "above it" not in "".join(map(str, cuts(made)))


def test_scores_of_which_none_is_a_number_are_told_and_not_drawn(tmp_path: Path) -> None:
    made = chart([float("nan")] * 3, [False] * 3, None)
    assert any("same score" in line for line in made.lines())
    draw(made, tmp_path / "cuts.png")

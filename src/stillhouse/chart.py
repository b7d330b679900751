"""The distiller's chart: the rows of a run in order of their scores, where they are cut, and what lies at each cut.

chart = Chart.read(Path("runs/quickstart"))
for line in chart.lines(): print(line)              # 80 columns; letters and marks, readable without colors

:mod:`stillhouse.chart_image` draws the same. Everything is read from the sealed step `cuts`; nothing is decided here.
"""

from __future__ import annotations

import json
import textwrap
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow.parquet as pq

from stillhouse.errors import StillhouseError
from stillhouse.store import read_sealed
from stillhouse.workplace import FOLDERS

WIDTH = 80
AROUND = 10  # rows shown on either side of a point
BINS = 64
_BLOCKS = " ▁▂▃▄▅▆▇█"
LETTERS = {"head": "H", "heart": "·", "tail": "T"}
_HEADINGS = {"kl": "nats of KL a token", "nll": "nats a token"}


@dataclass(frozen=True)
class Cut:
    """A score with its point. scores: (N,) of all rows. threshold: rows above it leave; ``None``: none does.

    of: the cut that rows above it go to.
    """

    name: str
    of: str
    scores: npt.NDArray[np.float64]
    threshold: float | None
    removed: int
    why: str

    @property
    def known(self) -> npt.NDArray[np.float64]:
        """The scores that are numbers."""
        return self.scores[np.isfinite(self.scores)]

    @property
    def point(self) -> float | None:
        """Where the threshold is drawn, at an end of the scores where it lies beyond; ``None``: nothing is cut."""
        low, high = float(self.known.min()), float(self.known.max())
        if self.threshold is None or not (self.removed or low <= self.threshold < high):
            return None
        return min(max(self.threshold, low), high)


@dataclass(frozen=True)
class Chart:
    """rows: a column each, see ``rows.parquet``. told: what ``cuts.json`` says."""

    run: Path
    rows: Mapping[str, list[Any]]
    told: Mapping[str, Any]

    @classmethod
    def read(cls, run: Path) -> Chart:
        """Raises :class:`StillhouseError` where the run has no sealed step `cuts`."""
        if read_sealed(run, FOLDERS["cuts"], verify=False) is None:
            raise StillhouseError(
                "the step `cuts` is not sealed here",
                where=str(run),
                fix="give the folder of a run that has cuts (`distill.cuts`), such as runs/quickstart",
            )
        folder = run / FOLDERS["cuts"]
        return cls(
            run,
            pq.read_table(folder / "rows.parquet").to_pydict(),
            json.loads((folder / "cuts.json").read_text("utf-8")),
        )

    @property
    def cuts(self) -> list[Cut]:
        """Heads in the recipe's order, then the tail."""
        found = [
            Cut(one["name"], "head", self._scores(one["name"]), one["threshold"], one["removed"], one["why"])
            for one in self.told["heads"]
        ]
        tail = self.told["tail"]
        if tail["score"] is None:  # nothing was scored of which there could be a tail
            return found
        found.append(
            Cut(
                f"tail: {tail['score']}",
                "tail",
                self._scores(tail["score"]),
                tail["threshold"],
                tail["removed"],
                tail["why"],
            )
        )
        return found

    @property
    def what(self) -> str:
        """What the rows are."""
        return "training answers" if self.told.get("rows") == "answers" else "training documents"

    @property
    def figure(self) -> str:
        """What proxies are judged by, under which name prices and the pilot hold it."""
        return str(self.told.get("figure", "accuracy"))

    def _scores(self, name: str) -> npt.NDArray[np.float64]:
        return np.array(self.rows[f"score_{name}"], dtype=np.float64)

    def lines(self, *, width: int = WIDTH) -> list[str]:
        """The whole chart as text, no line longer than ``width``."""
        return [
            line[:width] for line in (*self._strip(width), *self._curves(width), *self._prices(), *self._around(width))
        ]

    def _strip(self, width: int) -> Iterator[str]:
        """All rows as one line of letters."""
        numbers = {cut: self.rows["cut"].count(cut) for cut in LETTERS}
        total = max(1, sum(numbers.values()))
        yield f"{self.run.name}: {total:,} {self.what}"
        yield "   ".join(f"{LETTERS[cut]} {cut} {number:,} ({number / total:.1%})" for cut, number in numbers.items())
        yield "".join(LETTERS[cut] * number for cut, number in _shares(numbers, width).items())

    def _curves(self, width: int) -> Iterator[str]:
        for cut in self.cuts:
            yield ""
            yield from textwrap.wrap(f"{cut.name}: {cut.removed:,} leave. {cut.why}", width, subsequent_indent="  ")
            known = cut.known
            if len(known) == 0 or np.ptp(known) == 0:
                yield "  every row has the same score"
                continue
            low, high = float(known.min()), float(known.max())
            counts, _ = np.histogram(known, bins=BINS, range=(low, high))
            # by the logarithm, so that a few rows can be seen beside thousands
            heights = np.ceil(np.log1p(counts) / np.log1p(counts.max()) * (len(_BLOCKS) - 1)).astype(int)
            yield "  " + "".join(_BLOCKS[height] for height in heights)
            marks = [" "] * BINS
            drawn = cut.point
            if drawn is not None:
                place = min(BINS - 1, int((drawn - low) / (high - low) * BINS))
                marks[place:] = ["^", *"→" * (BINS - 1 - place)]
            yield "  " + "".join(marks)
            point = f"^ {cut.threshold:.4g}, above it: {cut.of}" if drawn is not None else "nothing is cut"
            yield f"  {low:<10.3g}{point:^{BINS - 20}}{high:>10.3g}"

    def _prices(self) -> Iterator[str]:
        """The price list; where no proxy was trained there is none."""
        yield ""
        masked = sum(self.rows.get("masked", ()))
        if masked:
            yield f"{masked:,} tokens of answers that stay are read and not learned"
        figure = self.figure
        if self.told["prices"]:
            yield "What it costs and buys, by a small proxy (not the student itself)"
            yield f"  {'cuts':<22}{'rows':>7}  {_HEADINGS.get(figure, figure):<22}{'worst group':<27}"
        for one in self.told["prices"]:
            value = one[figure]
            told = f"{value['value']:.3f} [{value['lower']:.3f}, {value['upper']:.3f}]"
            worst = "" if one["worst"] is None else f"{one['worst']['value']:.3f} {one['group']}"
            yield f"  {one['cuts'][:21]:<22}{one['rows']:>7,}  {told:<22}{worst:<25}"
            if "tokens" in one:
                yield f"{'':<33}{one['tokens']:,} tokens an epoch"
            against = one["against_none"]
            if against is not None:
                words, bound = gained(against["difference"]["value"], figure), gained(against["lower"], figure)
                yield f"{'':<33}{words} against none, bound {bound.split()[0]}"
                if against["group_difference"] is not None:
                    yield f"{'':<33}{gained(against['group_difference'], figure).split()[0]} in {against['group']}"
        for rung in self.told["tail"]["rungs"]:
            yield f"  pilot: keep {rung['share']:.0%}, {rung['rows']:,} rows: {rung[figure]:.3f}, {rung['why']}"
        for note in self.told["notes"]:
            yield from textwrap.wrap(f"! {note}", WIDTH - 2, initial_indent="  ", subsequent_indent="    ")

    def _around(self, width: int) -> Iterator[str]:
        """The rows on either side of each point."""
        for cut in self.cuts:
            if cut.threshold is None or not cut.removed:
                continue
            order = np.argsort(-cut.scores, kind="stable")
            leaving = [row for row in order if self._left_by(row, cut)][-AROUND:]
            staying = [row for row in order if self.rows["cut"][row] == "heart"][:AROUND]
            yield ""
            yield f"Around the point of {cut.name}"
            if cut.of == "tail" and self.told["quotas"]:
                yield "  (by quotas each label, source and group has a point of its own; this is the lowest)"
            yield from (self._row(row, cut, width) for row in leaving)
            yield f"  {'─' * 8} {cut.threshold:.4g} {'─' * (BINS - 18)}"
            yield from (self._row(row, cut, width) for row in staying)

    def _left_by(self, row: int, cut: Cut) -> bool:
        if cut.of == "tail":
            return bool(self.rows["cut"][row] == "tail")
        return bool(self.rows["cut"][row] == "head" and self.rows["reason"][row] == cut.name)

    def _row(self, row: int, cut: Cut, width: int) -> str:
        text = " ".join(str(self.rows["text"][row]).split())
        letter, taught = LETTERS[self.rows["cut"][row]], str(self.rows["taught"][row])[:10]
        line = f"{letter} {cut.scores[row]:8.4f}  {taught:<10}  {text}"
        return line if len(line) <= width else line[: width - 1] + "…"


def gained(value: float, figure: str) -> str:
    """By how much a proxy is better, with its unit: points of accuracy, or nats a token that are saved."""
    return f"{100 * value:+.2f} points" if figure == "accuracy" else f"{value:+.4f} nats saved"


def _shares(numbers: Mapping[str, int], width: int) -> Mapping[str, int]:
    """``width`` letters in proportion, one at least for what is there at all."""
    total = max(1, sum(numbers.values()))
    found = {cut: max(1, round(width * number / total)) if number else 0 for cut, number in numbers.items()}
    largest = max(found, key=lambda cut: found[cut])
    found[largest] += width - sum(found.values())
    return found

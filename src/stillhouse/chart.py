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
from rich.cells import cell_len, set_cell_size

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

    of: the cut that rows above it go to. by_quota: each label, source and group has a point of its own, and the
    threshold is the lowest score that left.
    """

    name: str
    of: str
    scores: npt.NDArray[np.float64]
    threshold: float | None
    removed: int
    why: str
    by_quota: bool

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

    @property
    def words(self) -> str:
        """What the point says."""
        if self.point is None:
            return "nothing is cut"
        if self.by_quota:
            return f"{self.threshold:.4g}: the lowest that went to the {self.of}"
        return f"{self.threshold:.4g}, above it: {self.of}"


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
        path = folder / "rows.parquet"
        shown = [name for name in pq.read_schema(path).names if name not in ("id", "origin")]
        told = json.loads((folder / "cuts.json").read_text("utf-8"))
        return cls(run, pq.read_table(path, columns=shown).to_pydict(), told)

    @property
    def cuts(self) -> list[Cut]:
        """Heads in the recipe's order, then the tail."""
        found = [self._cut(one, one["name"], "head", one["name"]) for one in self.told["heads"]]
        tail = self.told["tail"]
        if tail["score"] is None:  # nothing was scored of which there could be a tail
            return found
        return [*found, self._cut(tail, f"tail: {tail['score']}", "tail", tail["score"])]

    def _cut(self, told: Mapping[str, Any], name: str, of: str, score: str) -> Cut:
        by_quota = self.told["quotas"] and told["kind"] in ("quantile", "pilot")
        return Cut(name, of, self._scores(score), told["threshold"], told["removed"], told["why"], by_quota)

    @property
    def what(self) -> str:
        """What the rows are."""
        return "training answers" if self.told.get("rows") == "answers" else "training documents"

    @property
    def figure(self) -> str:
        """What proxies are judged by, under which name prices and the pilot hold it."""
        return str(self.told.get("figure", "accuracy"))

    @property
    def parts(self) -> str:
        """What a whole judgement by proxies is made of."""
        return "folds" if self.figure == "accuracy" else "seeds"

    def _scores(self, name: str) -> npt.NDArray[np.float64]:
        return np.array(self.rows[f"score_{name}"], dtype=np.float64)

    def lines(self, *, width: int = WIDTH) -> list[str]:
        """The whole chart as text, no line wider than ``width`` columns."""
        return [
            _fitted(line, width)
            for line in (*self._strip(width), *self._curves(width), *self._prices(), *self._around(width))
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
            point = cut.words if drawn is None else f"^ {cut.words}"
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
            yield f"  {'cuts':<20}{'rows':>9}  {_HEADINGS.get(figure, figure):<22}{'worst group':<22}"
        for one in self.told["prices"]:
            yield f"  {one['cuts'][:19]:<20}{one['rows']:>9,}  {_figure(one[figure]):<22}{_figure(one['worst'])}"
            if "tokens" in one:
                yield f"{'':<33}{one['tokens']:,} tokens an epoch"
            against = one["against_none"]
            if against is not None:
                words, bound = gained(against["difference"]["value"], figure), gained(against["lower"], figure)
                yield f"{'':<33}{words} against none, bound {bound.split()[0]}"
            if one["group"] is not None:
                gap = "" if against is None else f" {gained(against['group_difference'], figure).split()[0]}"
                yield f"{'':<33}worst: {one['group']}{gap}"
        yield from self._pilot()
        for note in self.told["notes"]:
            yield from textwrap.wrap(f"! {note}", WIDTH - 2, initial_indent="  ", subsequent_indent="    ")

    def _pilot(self) -> Iterator[str]:
        """What it found of each share, against all rows on the same folds or seeds."""
        tail = self.told["tail"]
        for rung in tail["rungs"]:
            found = f"{rung[self.figure]:.3f}"
            if rung["compared"] is not None:
                gain = gained(rung["compared"]["difference"]["value"], self.figure)
                found = f"{gain} on {rung['folds']} of {tail['rungs'][0]['folds']} {self.parts}"
            told = f"pilot: keep {rung['share']:.0%}, {rung['rows']:,} rows: {found}, {rung['why']}"
            yield from textwrap.wrap(told, WIDTH - 2, initial_indent="  ", subsequent_indent="    ")
        if tail["rungs"]:
            number, total = tail["rows_trained"], max(1, tail["rungs"][0]["rows"])
            yield f"  its proxies were taught {number:,} rows together, {number / total:.1f} times all of them"

    def _around(self, width: int) -> Iterator[str]:
        """The rows on either side of each point."""
        fates, reasons = (np.array(self.rows[name], dtype=object) for name in ("cut", "reason"))
        for cut in self.cuts:
            if cut.threshold is None or not cut.removed:
                continue
            order = np.argsort(-cut.scores, kind="stable")
            left = fates == cut.of
            if cut.of == "head":
                left &= reasons == cut.name
            leaving, staying = order[left[order]][-AROUND:], order[fates[order] == "heart"][:AROUND]
            yield ""
            yield f"Around the point of {cut.name}"
            if cut.by_quota:
                yield "  (by quotas each label, source and group has its own; this is the lowest)"
            yield from (self._row(row, cut, width) for row in leaving)
            yield f"  {'─' * 8} {cut.threshold:.4g} {'─' * (BINS - 18)}"
            yield from (self._row(row, cut, width) for row in staying)

    def _row(self, row: int, cut: Cut, width: int) -> str:
        taught, text = (_printable(str(self.rows[name][row])) for name in ("taught", "text"))
        line = f"{LETTERS[self.rows['cut'][row]]} {cut.scores[row]:8.4f}  {set_cell_size(taught, 10)}  {text[:width]}"
        return line if cell_len(line) <= width else set_cell_size(line, width - 1) + "…"


def _figure(value: Mapping[str, Any] | None) -> str:
    return "" if value is None else f"{value['value']:.3f} [{value['lower']:.3f}, {value['upper']:.3f}]"


def _printable(text: str) -> str:
    """On one line, and without what a terminal would take for an order."""
    return " ".join("".join(one if one.isprintable() else " " for one in text).split())


def _fitted(line: str, width: int) -> str:
    """Cut off at a number of columns, of which a letter may take two."""
    return line if cell_len(line) <= width else set_cell_size(line, width)


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

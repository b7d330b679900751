"""What the judge's verdicts come to: counts, win rates with intervals, and whether the judge can be trusted.

found = Figures.of(judged.pairs)
found.beside["teacher"].win_rate, found.trust.first_place, found.rows(), found.as_json(), found.reading()

A tie is half a win, and so are two answers of the same words. A split is none: the judge did not tell, and a half for
each split would show any student to be as good as its teacher before a judge that only looks at places. How it would
be with a half for each is shown beside it (``win_rate_splits_half``). Unparsed and failed pairs count for neither.

A prompt is one item, however many pairs it takes part in. Intervals are two-sided 95 % from a score test, which holds
for few items and for equal ones (:mod:`stillhouse.statistics.outcomes`).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal

import numpy as np

from stillhouse.finish.evaluate import Row
from stillhouse.finish.generation.pairs.verdicts import VERDICTS, JudgedPair, Verdict
from stillhouse.statistics import Interval, Outcomes

JUDGE = "judge"  # the artifact of the rows that are about the judge itself
WIN_RATE, HALVES = "win_rate", "win_rate_splits_half"
FIRST_PLACE, FOLLOWS_GOLD, LONGER = "judge_first_place", "judge_follows_gold", "judge_longer_wins"
METRICS = (WIN_RATE, HALVES, FIRST_PLACE, FOLLOWS_GOLD, LONGER)

_WORTH: Mapping[Verdict, float] = {"win": 1.0, "tie": 0.5, "same": 0.5, "loss": 0.0}


@dataclass(frozen=True)
class Beside:
    """One model beside another. counts: of each verdict, and of all. win_rate: ``None`` where nothing was decided."""

    two: str
    counts: Mapping[str, int]
    win_rate: Interval | None
    halves: Interval | None

    @property
    def verdict(self) -> Literal["better", "worse", "undecided"]:
        """What the interval of the win rate says of the first model."""
        if self.win_rate is None:
            return "undecided"
        return "better" if self.win_rate.lower > 0.5 else "worse" if self.win_rate.upper < 0.5 else "undecided"

    @property
    def told(self) -> int:
        """Pairs about which the judge said the same in both orders."""
        return sum(self.counts[name] for name in ("win", "loss", "tie"))


@dataclass(frozen=True)
class Trust:
    """Of the judge itself, over all pairs.

    first_place: how far it goes by the place, 0.5 where not at all. follows_gold: how often the right answer wins over
    a wrong one, where a verifier tells them apart. longer: how often the longer answer wins. All count as win rates do.
    """

    first_place: Interval | None
    follows_gold: Interval | None
    longer: Interval | None


@dataclass(frozen=True)
class Figures:
    """beside: by the other model. trust: of the judge."""

    one: str
    beside: Mapping[str, Beside]
    trust: Trust

    @classmethod
    def of(cls, pairs: Sequence[JudgedPair]) -> Figures:
        """From judged pairs, in all of which ``one`` is the same model."""
        names = dict.fromkeys(judged.pair.two for judged in pairs)
        beside = {name: _beside(name, [judged for judged in pairs if judged.pair.two == name]) for name in names}
        asked = [judged for judged in pairs if judged.readings is not None]
        trust = Trust(
            _rate((judged, judged.first_place) for judged in asked),
            _rate((judged, _share_of(judged, _right_one(judged))) for judged in asked),
            _rate((judged, _share_of(judged, _longer_one(judged))) for judged in asked),
        )
        return cls(pairs[0].pair.one if pairs else "", beside, trust)

    def rows(self) -> list[Row]:
        """The figures as rows; a rate without any decided pair has no value."""
        rows = []
        for name, found in self.beside.items():
            decided = found.told + found.counts["same"]
            rows.append(_row(self.one, WIN_RATE, f"against {name}", found.win_rate, decided))
            rows.append(_row(self.one, HALVES, f"against {name}", found.halves, decided + found.counts["split"]))
        for metric, one in (
            (FIRST_PLACE, self.trust.first_place),
            (FOLLOWS_GOLD, self.trust.follows_gold),
            (LONGER, self.trust.longer),
        ):
            rows.append(_row(JUDGE, metric, "pairs", one, 0))
        return rows

    def as_json(self) -> dict[str, Any]:
        """For the summary: the same figures, with the counts."""
        return {
            "one": self.one,
            "beside": [
                {
                    "against": name,
                    "counts": dict(found.counts),
                    WIN_RATE: _figure(found.win_rate),
                    HALVES: _figure(found.halves),
                    "verdict": found.verdict,
                }
                for name, found in self.beside.items()
            ],
            "trust": {
                "first_place": _figure(self.trust.first_place),
                "follows_gold": _figure(self.trust.follows_gold),
                "longer_wins": _figure(self.trust.longer),
            },
        }

    def reading(self) -> list[str]:
        """The figures in plain words."""
        lines = [self._words(found) for found in self.beside.values()]
        first, gold, longer = self.trust.first_place, self.trust.follows_gold, self.trust.longer
        if first is not None:
            lean = "the first" if first.lower > 0.5 else "the last" if first.upper < 0.5 else ""
            said = f"The judge favors {lean} place" if lean else "The judge is not seen to favor a place"
            lines.append(f"{said}: {_written(first)} for the first, where 0.5 is fair.")
        if gold is not None:
            lines.append(f"Where one answer is right and one wrong, the right one wins at {_written(gold)}.")
        if longer is not None:
            lines.append(f"The longer answer wins at {_written(longer)}; it may be the better one.")
        return lines

    def warnings(self) -> list[str]:
        """What must be known before a win rate is believed."""
        found = []
        unsure = [one.two for one in self.beside.values() if one.counts["split"] > one.told]
        if unsure:
            found.append(
                f"the judge changed its mind with the places in most pairs against {', '.join(unsure)}: "
                "its win rates there say little"
            )
        gold = self.trust.follows_gold
        if gold is None:
            found.append("the judge was not checked against gold: it decided no pair of one right and one wrong answer")
        elif gold.lower <= 0.5:
            found.append(f"the judge is not shown to tell right answers from wrong: {_written(gold)}, chance is 0.5")
        total: Counter[str] = Counter()
        for one in self.beside.values():
            total.update(one.counts)
        for name, words in (("unparsed", "the judge's words were no verdict"), ("failed", "the judge gave no answer")):
            if total[name]:
                found.append(f"{words} in {total[name]} of {total['pairs']} pairs: they count for nothing")
        return found

    def _words(self, found: Beside) -> str:
        counts = found.counts
        told = ", ".join(f"{counts[name]} {words}" for name, words in _COLUMNS.items() if counts[name])
        rate = f"win rate {_written(found.win_rate)}" if found.win_rate else "no win rate: nothing was decided"
        return f"Of {counts['pairs']} pairs against `{found.two}`: {told or 'none'}; {rate}."


_COLUMNS: Mapping[Verdict, str] = {
    "win": "won",
    "loss": "lost",
    "tie": "tied",
    "same": "of the same words",
    "split": "split by place",
    "unparsed": "unparsed",
    "failed": "failed",
}


def _beside(name: str, pairs: Sequence[JudgedPair]) -> Beside:
    counted = Counter(judged.verdict for judged in pairs)
    counts = {verdict: counted[verdict] for verdict in VERDICTS} | {"pairs": len(pairs)}
    halves: dict[Verdict, float] = {**_WORTH, "split": 0.5}
    return Beside(
        name,
        counts,
        _rate((judged, _WORTH.get(judged.verdict)) for judged in pairs),
        _rate((judged, halves.get(judged.verdict)) for judged in pairs),
    )


def _share_of(judged: JudgedPair, place: int | None) -> float | None:
    """What the answer at ``place`` of the pair is worth to the judge."""
    worth = _WORTH.get(judged.verdict)
    return None if worth is None or place is None else worth if place == 0 else 1.0 - worth


def _right_one(judged: JudgedPair) -> int | None:
    """Which answer alone is right."""
    right = judged.pair.right
    return None if None in right or right[0] == right[1] else 0 if right[0] else 1


def _longer_one(judged: JudgedPair) -> int | None:
    """Which answer has more characters."""
    one, two = (len(text) for text in judged.pair.answers)
    return None if one == two else 0 if one > two else 1


def _rate(values: Iterable[tuple[JudgedPair, float | None]]) -> Interval | None:
    """The mean over prompts of the mean within each, with its interval; ``None`` is no value."""
    by_prompt: dict[str, list[float]] = {}
    for judged, value in values:
        if value is not None:
            by_prompt.setdefault(judged.pair.prompt.document, []).append(value)
    if not by_prompt:
        return None
    means = np.round([sum(found) / len(found) for found in by_prompt.values()], 9)
    worth = np.unique([0.0, *means, 1.0])
    mean = Outcomes.of(np.searchsorted(worth, means), worth).mean()
    return Interval(mean.value, mean.lower, mean.upper, mean.n)


def _row(artifact: str, metric: str, slice_name: str, one: Interval | None, n: int) -> Row:
    if one is None:
        return Row(artifact, metric, slice_name, None, None, None, n)
    return Row(artifact, metric, slice_name, one.value, one.lower, one.upper, one.n)


def _figure(one: Interval | None) -> dict[str, Any] | None:
    return None if one is None else asdict(one)


def _written(one: Interval | None) -> str:
    return "unknown" if one is None else f"{one.value:.2f} ({one.lower:.2f} to {one.upper:.2f}, n = {one.n})"

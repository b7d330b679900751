"""The judge of pairs: judges whose leanings are known, and what the figures say of them.

A judge holds one answer to be better by a number that it draws for each pair, leans to the first place, calls what is
close a tie, and misreads a little each time. Of such judges the win rate's interval has to cover the truth, and two
models that are equally good must seldom be told apart, however much the judge leans.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from bench.report import Figure
from stillhouse.finish.generation.pairs.figures import Figures
from stillhouse.finish.generation.pairs.reading import Choice, Reading
from stillhouse.finish.generation.pairs.verdicts import JudgedPair, Pair
from stillhouse.finish.generation.passages import Prompt

_PROMPTS = 100
_TRUTH = 400_000  # pairs from which a judge's true win rate is taken
_TEACHER = "teacher"


@dataclass(frozen=True)
class Leaning:
    """better: how much the first model's answers are better, on average. place: how far the judge leans to the first
    place. close: below it is a tie. All in units of the spread between pairs."""

    better: float
    place: float
    close: float = 0.3
    misreads: float = 0.4

    def choices(self, rng: np.random.Generator, number: int) -> np.ndarray:
        """What it says of so many pairs in both orders, (number, 2): 0 for A, 1 for B, 2 for a tie."""
        apart = rng.normal(self.better, 1.0, number)
        found = []
        for sign in (1.0, -1.0):
            seen = sign * apart + self.place + rng.normal(0.0, self.misreads, number)
            found.append(np.where(np.abs(seen) < self.close, 2, np.where(seen > 0, 0, 1)))
        return np.stack(found, axis=1)

    def true_win_rate(self) -> float:
        """Of very many pairs, the splits left out."""
        one, two = self.choices(np.random.default_rng(99), _TRUTH).T
        wins, losses, ties = ((one == 0) & (two == 1)), ((one == 1) & (two == 0)), ((one == 2) & (two == 2))
        return float((wins.sum() + ties.sum() / 2) / (wins | losses | ties).sum())


JUDGES = {
    "is fair": Leaning(0.0, 0.0),
    "leans to the first place": Leaning(0.0, 0.8),
    "sees one better": Leaning(0.6, 0.3),
    "sees one much better": Leaning(2.0, 0.0),
}


def figures(*, quick: bool, work: Path) -> list[Figure]:
    """Coverage, false alarms, and whether the leaning is found."""
    runs = 100 if quick else 1000
    error = 3 * float(np.sqrt(0.05 * 0.95 / runs))  # of a share of 5 % in so many runs
    found = []
    for name, judge in JUDGES.items():
        rng, truth = np.random.default_rng(7), judge.true_win_rate()
        covered = alarms = leaning = 0
        for _ in range(runs):
            made = Figures.of(_judged(judge.choices(rng, _PROMPTS)))
            beside, first = made.beside[_TEACHER], made.trust.first_place
            rate = beside.win_rate
            covered += rate is not None and rate.lower <= truth <= rate.upper
            alarms += beside.verdict != "undecided"
            leaning += first is not None and (first.lower > 0.5 or first.upper < 0.5)
        of = f"judge that {name}"
        found.append(Figure(f"{of}: win rates within their 95 % interval", covered / runs, "", (">=", 0.95 - error)))
        if judge.better == 0.0:
            found.append(Figure(f"{of}: equal models told apart", alarms / runs, "", ("<=", 0.05 + error)))
        bar = (">=", 0.95) if judge.place else ("<=", 0.05 + error)
        found.append(Figure(f"{of}: found to lean to a place", leaning / runs, "", bar))
    always = Figures.of(_judged(np.zeros((_PROMPTS, 2), dtype=np.int64))).beside[_TEACHER]
    found.append(Figure("judge that always says A: pairs decided", float(always.told), "of 100", ("<=", 0)))
    return found


def _judged(choices: np.ndarray) -> list[JudgedPair]:
    names: tuple[Choice, ...] = ("A", "B", "tie")
    return [
        JudgedPair(
            Pair(Prompt(str(place), None, "go on", None), "student", _TEACHER, ("one", "other one")),
            (Reading("k", "", names[one]), Reading("k", "", names[two])),
        )
        for place, (one, two) in enumerate(choices.tolist())
    ]

"""Proxies of a student that writes: the student as it begins, taught a sample of the answers with the run's own loss.

    proving = WritingProving(start, lessons, held, asked, teaching, Budget(0.5, choices=4, seeds=3), …)
    proving.taught_by(keep)              # (S, M) nats of each validation answer, for each seed

Each seed draws a sample of its own and keeps it for every choice of cuts; a choice is taught the part of the sample
that stays, for the run's epochs, so that a cut saves a proxy what it would save the student. Samples are so large that
all proxies together cost no more than ``budget`` times the uncut training, of which they make as many steps, each of
fewer tokens, down to one row. Validation answers are judged by their nats a token: KL to the teacher where its
distributions are stored, the answers' log-loss else.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from copy import deepcopy
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from stillhouse.distill.chunked import head_of
from stillhouse.distill.language import (
    Execution,
    Gold,
    LanguageSettings,
    Lesson,
    Signals,
    autocast_of,
    measure_each,
    train_language,
)
from stillhouse.distill.masks import without
from stillhouse.distill.prices import LEAST, Flags, Proxies, Values
from stillhouse.distill.token_losses import TokenLoss
from stillhouse.statistics import Interval, mean_of, over_seeds, resample
from stillhouse.statistics.over_seeds import FEWEST_SEEDS
from stillhouse.statistics.resampling import percentile_interval
from stillhouse.store import digest_of, write_json

LEAST_TAUGHT = 50  # answers of a sample, of fewer nothing is learned that could be told
JUDGING = 1 / 3  # of what it takes to learn a token, to read it: learning goes back through the model, too
_RESAMPLES = 500

Floats = npt.NDArray[np.float64]
Masks = Mapping[str, Mapping[str, Sequence[int]]]


@dataclass(frozen=True)
class Budget:
    """share: of the uncut training that all proxies may take. choices: of cuts, at most. seeds: of each choice."""

    share: float
    choices: int
    seeds: int


@dataclass(frozen=True)
class Teaching:
    """How a proxy is taught, as the student would be. prepare: what is trained of a copy of the start, by seed, such as
    low-rank updates of it. real: outputs of the head that mean something."""

    signals: Signals
    loss: TokenLoss
    settings: LanguageSettings
    execution: Execution
    prepare: Callable[[Any, int], Any]
    real: int | None = None


@dataclass
class WritingProving(Proxies):
    """The material of such proxies.

    start: the student before any training; it is not changed. lessons: (N,) of each answer that may be taught, whole;
    ``None`` where there is none. held: (M,) of validation, of which only ``judged`` count, answers to the documents
    ``asked`` (M,), which are drawn as one. masked: token places, by the name of their cut and the key of the lesson.
    mastered: (N,) rows that need little teaching. folder: keeps what each proxy came to, so that nothing is trained
    twice.
    """

    start: Any
    lessons: Sequence[Lesson | None]
    held: Sequence[Lesson]
    asked: Sequence[str]
    teaching: Teaching
    budget: Budget
    masked: Masks
    mastered: Flags
    groups: Mapping[str, Flags]
    judged: Flags
    folder: Path
    progress: Callable[[int, int], None] = lambda done, total: None
    _made: dict[str, tuple[Floats, float]] = field(default_factory=dict, init=False)
    unit = "nats a token nearer to the teacher, by the proxy"
    sign = -1

    def __post_init__(self) -> None:
        self.figure = "nll" if isinstance(self.teaching.signals, Gold) else "kl"
        keys = {lesson.key for lesson in self.lessons if lesson is not None}
        self.masks = tuple(
            name for name, places in sorted(self.masked.items()) if any(places[key] for key in keys & places.keys())
        )
        self._lengths = np.array([0 if lesson is None else len(lesson) for lesson in self.lessons], dtype=np.int64)
        self._documents = np.array(self.asked, dtype=object)
        self._tokens = np.array([lesson.learned for lesson in self.held], dtype=np.float64)
        reading = sum(len(lesson) for lesson, mine in zip(self.held, self.judged, strict=True) if mine)
        self._judging = JUDGING * (reading + max(map(len, self.held), default=0))  # one more, as training ends
        self.whole = self.teaching.settings.epochs * float(self._lengths.sum())
        self.allowance = self.budget.share * self.whole / (self.budget.choices * self.budget.seeds)
        self._samples = [self._sample(seed) for seed in range(self.budget.seeds)]
        self.short = self._short()
        if self.short:
            self.judged = np.zeros(len(self.held), dtype=bool)

    def _sample(self, seed: int) -> Flags:
        """As many answers as the allowance pays for, in an order that seed and key alone decide."""
        room = (self.allowance - self._judging) / self.teaching.settings.epochs
        found = np.zeros(self.size, dtype=bool)
        keyed = [(digest_of([seed, one.key]), row) for row, one in enumerate(self.lessons) if one is not None]
        order = [row for _, row in sorted(keyed)]
        found[np.array(order, dtype=np.int64)[np.cumsum(self._lengths[order]) <= room]] = True
        return found

    def _short(self) -> str | None:
        """Why nothing could be told, in words."""
        if not self._lengths.any():
            return "no proxy is taught: there is no answer to be taught"
        judged, taught = int(self.judged.sum()), min(int(one.sum()) for one in self._samples)
        if judged < LEAST:
            return f"no proxy is taught: it would be judged by {judged} validation answers, and takes {LEAST}"
        if taught < min(LEAST_TAUGHT, self.size):
            return (
                f"no proxy is taught: `distill.cuts.proxy.budget` pays for {taught} answers each, and it takes "
                f"{LEAST_TAUGHT}; so many proxies, {self.budget.choices * self.budget.seeds}, take a budget of about "
                f"{self._needed():.2g}"
            )
        return None

    def _needed(self) -> float:
        """The budget at which each sample holds :data:`LEAST_TAUGHT` answers of mean length."""
        epochs, number = self.teaching.settings.epochs, self.budget.choices * self.budget.seeds
        each = epochs * 1.1 * LEAST_TAUGHT * float(self._lengths[self._lengths > 0].mean()) + self._judging
        return number * each / self.whole

    @property
    def size(self) -> int:
        """See :class:`Proxies`."""
        return len(self.lessons)

    @property
    def parts(self) -> list[int]:
        """The seeds."""
        return list(range(self.budget.seeds))

    @property
    def taught(self) -> int:
        """How many proxies there were so far."""
        return len(self._made)

    @property
    def cost(self) -> float:
        """What the proxies so far took, as a share of the uncut training; what was kept from before counts alike."""
        return sum(cost for _, cost in self._made.values()) / max(1.0, self.whole)

    def taught_by(
        self, keep: Flags, *, parts: Sequence[int] | None = None, masked: Sequence[str] | None = None
    ) -> Floats:
        """(S, M) nats of each judged validation answer, by seed; zero for other seeds and answers."""
        found = np.zeros((self.budget.seeds, len(self.held)))
        for seed in self.parts if parts is None else parts:
            taught = self._lessons(keep & self._samples[seed], self.masks if masked is None else masked)
            name = digest_of([seed, [[lesson.key, lesson.spans] for lesson in taught]])
            if name not in self._made:
                cost = self.teaching.settings.epochs * sum(map(len, taught)) + self._judging
                self._made[name] = (
                    (self._read(name) if self._path(name).exists() else self._train(name, seed, taught)),
                    cost,
                )
                self.progress(len(self._made), self.budget.choices * self.budget.seeds)
            found[seed, self.judged] = self._made[name][0]
        return found

    def _lessons(self, keep: Flags, masked: Sequence[str]) -> list[Lesson]:
        """What is learned of the kept rows where some cuts of tokens are in force."""
        found = []
        for row in np.nonzero(keep)[0]:
            lesson = self.lessons[int(row)]
            if lesson is None:
                continue
            gone = {place for name in masked for place in self.masked[name].get(lesson.key, ())}
            left = without(lesson, gone) if gone else lesson
            found += [left] if left else []
        return found

    def _path(self, name: str) -> Path:
        return self.folder / f"{name}.json"

    def _read(self, name: str) -> Floats:
        return np.array(json.loads(self._path(name).read_text("utf-8")), dtype=np.float64)

    def _train(self, name: str, seed: int, taught: Sequence[Lesson]) -> Floats:
        """Nats of each judged answer by a proxy taught these lessons; of none, by the start."""
        teaching = self.teaching
        settings = self._settings(seed)
        model = teaching.prepare(deepcopy(self.start), settings.seed)
        judged = [lesson for lesson, mine in zip(self.held, self.judged, strict=True) if mine]
        if taught:
            train_language(
                model,
                lessons=taught,
                held=judged[:1],  # the weights at the end are judged, and none chosen by these answers
                signals=teaching.signals,
                loss=teaching.loss,
                settings=settings,
                output=self.folder / "training",
                real=teaching.real,
                execution=replace(teaching.execution, report_to=()),
                save_checkpoints=False,
            )
        products = partial(autocast_of, model, settings.precision)
        head = head_of(model, real=teaching.real)
        found = [one[f"held_{self.figure}"] for one in measure_each(model, head, judged, teaching.signals, products)]
        self.folder.mkdir(parents=True, exist_ok=True)
        write_json(self._path(name), found)
        return np.array(found, dtype=np.float64)

    def _settings(self, seed: int) -> LanguageSettings:
        """The student's, with steps that are smaller as the sample is."""
        given = self.teaching.settings
        share = float(self._lengths[self._samples[seed]].sum() / max(1, self._lengths.sum()))
        step = max(min(given.row_tokens, given.step_tokens), round(given.step_tokens * share))
        return replace(given, step_tokens=step, evaluations=1, extra_steps=0, seed=given.seed + seed)

    def known(self, heart: Flags) -> Flags:
        """The same rows, whatever is taught."""
        return self.mastered

    def learned(self, keep: Flags, part: int) -> int:
        """See :class:`Proxies`."""
        return int((keep & self._samples[part]).sum())

    def too_few(self, keep: Flags) -> str | None:
        """See :class:`Proxies`."""
        return self.short

    def rows_needed(self, margin: float) -> int | None:
        """That depends on how much the answers differ."""
        return None

    def tokens(self, keep: Flags, masked: Sequence[str]) -> int:
        """Tokens of the kept lessons, prompts included: an epoch of the student reads them."""
        return sum(map(len, self._lessons(keep, masked)))

    def level(self, found: Values, rows: Flags, parts: Sequence[int]) -> float:
        """Nats a token, times -1."""
        return self.sign * float(self._per_token(found[list(parts)], rows).mean())

    def interval(self, found: Values, rows: Flags) -> Interval:
        """Nats a token, over answers and seeds."""
        return _over(self._per_token(found, rows), self._documents[rows])[0]

    def gain(self, before: Values, after: Values, rows: Flags, parts: Sequence[int]) -> tuple[Interval, float]:
        """Nats a token that are saved, over answers and seeds; before there are three seeds, over answers alone."""
        return _over(self._per_token((before - after)[list(parts)], rows), self._documents[rows])

    def _per_token(self, nats: Floats, rows: Flags) -> Floats:
        """(S, m): their mean over seeds and answers is nats over tokens; how they vary is how that ratio does, to first
        order, when answers are drawn again."""
        tokens = self._tokens[rows]
        ratio = float(nats[:, rows].sum(1).mean() / tokens.sum())
        found: Floats = (nats[:, rows] - ratio * tokens) / tokens.mean() + ratio
        return found

    def written(self, gain: float) -> str:
        """In nats."""
        return f"{gain:+.4f}"


def _over(values: Floats, documents: npt.NDArray[Any]) -> tuple[Interval, float]:
    """The mean of (S, m) with its interval, and its one-sided 95 % lower bound; documents: (m,) that are drawn."""
    seeds, rows = values.shape
    clusters = documents.astype(str) if len(set(documents)) > 1 else None
    if seeds >= FEWEST_SEEDS:
        found = over_seeds(values, clusters=clusters)
        return Interval(found.value, found.lower, found.upper, rows), found.lower_95
    draws = resample(mean_of(values.mean(0)), rows, seed=0, resamples=_RESAMPLES, clusters=clusters)
    return percentile_interval(float(values.mean()), draws, rows), float(np.quantile(draws, 0.05))

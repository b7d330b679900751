"""What a cut costs and buys: a proxy student with and without it, judged on rows that it did not see.

    proving = Proving(features, taught, folds, groups, judged)   # or WritingProving; both are Proxies
    found = proving.taught_by(keep)               # what a proxy that is taught the kept rows makes of the judged ones
    compared = proving.compare(before, after)     # of two such: difference, bound, worst group
    price_list(proving, {"label-doubt": leaves})  # none, all, and all but each

Rows that are cut are judged too: whoever leaves rows out has to serve them all the same. What the teacher says is taken
for the truth, since gold labels are not looked at; where it is wrong, both sides of a comparison suffer alike.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from stillhouse.statistics import Interval

Flags = npt.NDArray[np.bool_]
Values = npt.NDArray[Any]  # what proxies make of the judged rows: each kind of proxy has its own

LEAST = 50  # rows of a group that is judged on its own


@dataclass(frozen=True)
class Compared:
    """How much better after is than before: over all rows, and in the group that is served worst.

    In shares of right answers, or in nats a token. lower: one-sided 95 % bounds. group: the one that is worst after;
    group_difference: what it has then, less what the group that was worst before had before, which is taken as it is.
    """

    difference: Interval
    lower: float
    group: str | None
    group_difference: float | None
    group_lower: float | None

    def not_worse(self, margin: float, group_margin: float) -> bool:
        """Whether both bounds lie above their margins."""
        return self.lower > -margin and (self.group_lower is None or self.group_lower > -group_margin)

    def as_json(self) -> dict[str, Any]:
        """For ``cuts.json``."""
        return asdict(self)


@dataclass(frozen=True)
class Price:
    """A line of the price list. rows: that are taught, of so many ``tokens`` where proxies read any. Seconds of
    training are in proportion to them.

    value, worst: the proxy's figure, with 95 % intervals. against_none: the difference to no cut at all; ``None`` of
    that line itself.
    """

    cuts: str
    rows: int
    value: Interval
    group: str | None
    worst: Interval | None
    against_none: Compared | None
    tokens: int | None = None

    def as_json(self, figure: str) -> dict[str, Any]:
        """For ``cuts.json``, the value under the name of its figure."""
        told = {figure if name == "value" else name: one for name, one in asdict(self).items()}
        return {name: one for name, one in told.items() if name != "tokens" or one is not None}


class Proxies(ABC):
    """Students made cheaper, which are taught one choice of cuts after the other.

    figure: what they are judged by, as reports call it; unit: of a gain. sign: -1 where less is better. groups: judged
    rows (M,) of each group that is large enough to be judged on its own. judged: rows (M,) that count at all. masks:
    cuts that take tokens and no rows.
    """

    figure: str
    unit: str
    sign: int = 1
    groups: Mapping[str, Flags]
    judged: Flags
    masks: tuple[str, ...] = ()

    @property
    @abstractmethod
    def size(self) -> int:
        """Rows N that can be taught."""

    @property
    @abstractmethod
    def parts(self) -> list[int]:
        """What a whole judgement is made of: folds or seeds."""

    @abstractmethod
    def taught_by(
        self, keep: Flags, *, parts: Sequence[int] | None = None, masked: Sequence[str] | None = None
    ) -> Values:
        """What proxies that are taught the kept rows (N,) make of the judged ones; zero for all parts but ``parts``.

        masked: the cuts of tokens that are in force, all if not given. What several parts make adds up.
        """

    @abstractmethod
    def known(self, heart: Flags) -> Flags:
        """Rows (N,) that are mastered already, for quotas; heart: what may still be taught."""

    @abstractmethod
    def learned(self, keep: Flags, part: int) -> int:
        """How many of the kept rows the proxy of one part is taught."""

    @abstractmethod
    def too_few(self, keep: Flags) -> str | None:
        """In words, that a pilot can tell nothing here."""

    @abstractmethod
    def rows_needed(self, margin: float) -> int | None:
        """Rows of a group below which no loss smaller than the margin could be shown; ``None`` where that depends."""

    @abstractmethod
    def level(self, found: Values, rows: Flags, parts: Sequence[int]) -> float:
        """The figure over some rows (M,), times ``sign``, so that more is better."""

    @abstractmethod
    def interval(self, found: Values, rows: Flags) -> Interval:
        """The figure as it is shown, with a 95 % interval."""

    @abstractmethod
    def gain(self, before: Values, after: Values, rows: Flags, parts: Sequence[int]) -> tuple[Interval, float]:
        """By how much after is better, paired, and its one-sided 95 % lower bound."""

    @abstractmethod
    def written(self, gain: float) -> str:
        """A gain, signed, in words whose ``unit`` is said once."""

    def tokens(self, keep: Flags, masked: Sequence[str]) -> int | None:
        """Tokens that training on the kept rows reads, where it reads any."""
        return None

    def rows(self, parts: Sequence[int]) -> Flags:
        """The judged rows of these parts."""
        return self.judged

    def compare(self, before: Values, after: Values, *, parts: Sequence[int] | None = None) -> Compared:
        """Paired over the judged rows of the parts, all if not given."""
        parts = self.parts if parts is None else parts
        rows = self.rows(parts)
        whole, lower = self.gain(before, after, rows, parts)
        group = self.worst(after, rows, parts)
        if group is None:
            return Compared(whole, lower, None, None, None)
        mine = rows & self.groups[group]
        part, part_lower = self.gain(before, after, mine, parts)
        # what this group had more than the one that was worst before it may lose
        large = [one for one in self.groups.values() if (rows & one).sum() >= LEAST]
        spare = self.level(before, mine, parts) - min(self.level(before, rows & one, parts) for one in large)
        return Compared(whole, lower, group, part.value + spare, part_lower + spare)

    def worst(self, found: Values, rows: Flags, parts: Sequence[int]) -> str | None:
        """The group that is served worst; ``None`` where there is none of :data:`LEAST` rows."""
        levels = {
            name: self.level(found, rows & mine, parts)
            for name, mine in self.groups.items()
            if (rows & mine).sum() >= LEAST
        }
        return min(levels, key=lambda name: (levels[name], name), default=None)

    def price(self, name: str, keep: Flags, found: Values, none: Values | None, *, masked: Sequence[str] = ()) -> Price:
        """The line of one choice of cuts."""
        group = self.worst(found, self.judged, self.parts)
        return Price(
            name,
            int(keep.sum()),
            self.interval(found, self.judged),
            group,
            None if group is None else self.interval(found, self.judged & self.groups[group]),
            None if none is None else self.compare(none, found),
            self.tokens(keep, masked),
        )


def price_list(proving: Proxies, cuts: Mapping[str, Flags]) -> list[Price]:
    """No cut, all, and all but each: (N,) rows that leave, by the name of their cut; without judged rows nothing.

    The proxies' own ``masks`` are cuts like the others.
    """
    if not proving.judged.any():
        return []
    gone = [*(name for name, leaves in cuts.items() if leaves.any()), *proving.masks]
    choices = {"none": [], "all": gone} if gone else {"none": []}
    if len(gone) > 1:
        choices |= {f"all but {name}": [other for other in gone if other != name] for name in gone}
    found: list[Price] = []
    none: Values | None = None
    for name, chosen in choices.items():
        keep = np.ones(proving.size, dtype=bool)
        for cut in chosen:
            if cut in cuts:
                keep &= ~cuts[cut]
        masked = [cut for cut in chosen if cut not in cuts]
        made = proving.taught_by(keep, masked=masked)
        found.append(proving.price(name, keep, made, none, masked=masked))
        none = made if none is None else none
    return found

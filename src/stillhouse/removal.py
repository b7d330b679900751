"""What cleaning took from whom: the removal rate of every source, language and group against all other rows.

Rows are counted in pieces, the pieces added, the sums judged::

    counts = Counter({("language", "de", None): 480, ("language", "de", "too short"): 20, ...})
    for rate in removal_rates(counts):                  # one for each language, source, group value
        rate.verdict                                    # "alarm", "too few" or "even"

A ratio compares a stratum with *all other rows* of its kind and not with all rows: against all rows, of which it is a
part, a stratum with a share s of the rows can never show more than 1/s, so one with 80 % could never pass 1.25.

An alarm takes both a ratio above 1.25 and a lower bound of the ratio above 1, so that chance does not explain it. The
bound is the lower end of the stratum's interval over the upper end of the others': Wilson's with continuity correction
(Newcombe 1998, method 4), each at 1 - 0.05/m for the m strata of the kind (Bonferroni), so that a kind of many strata
without any difference seldom raises one: in 0 to 1.4 % of simulated runs with 2 to 40 strata, in 0 to 6 % with 200 (6 %
where one row in a hundred is removed). A ratio above 1.25 without that bound, or any stratum or remainder below
:data:`LEAST_ROWS` rows, is "too few": nothing can be said, which is not the same as even. Rows are taken as
independent; many rows of one author are fewer than they seem.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from statistics import NormalDist
from typing import Literal

from stillhouse.statistics.proportions import wilson_bounds

# (kind, value, reason): what kind of stratum, which one, and why its rows left; None: they stayed
Key = tuple[str, str, str | None]
Verdict = Literal["alarm", "too few", "even"]

ALARM_RATIO = 1.25  # a quarter more than elsewhere
LEAST_ROWS = 20  # so few rows are often one author's or one page's, and no interval knows that
TOP_REASONS = 3


@dataclass(frozen=True)
class Rate:
    """What cleaning took from one stratum. Rates are shares of rows, 0 to 1.

    ``lower`` and ``upper`` are the 95 % interval of ``rate``; ``others`` is the rate of all other rows of the kind,
    None where there are none; ``ratio`` is rate / others and ``ratio_lower`` the bound that the alarm looks at, both
    None where the others lost nothing. ``reasons`` explain an alarm: the reasons with most rows beyond the others'
    rate, and how many rows each took here.
    """

    kind: str
    value: str
    rows: int
    removed: int
    rate: float
    lower: float
    upper: float
    others: float | None
    ratio: float | None
    ratio_lower: float | None
    verdict: Verdict
    reasons: tuple[tuple[str, int], ...]


def removal_rates(counts: Mapping[Key, int]) -> list[Rate]:
    """The rate of every stratum, by kind and then by value; ``counts`` are numbers of rows by stratum and reason.

    Within a kind a row counts under one value. Strata without rows are left out.
    """
    kinds: dict[str, dict[str, Counter[str | None]]] = defaultdict(lambda: defaultdict(Counter))
    for (kind, value, reason), number in counts.items():
        if number:
            kinds[kind][value][reason] += number
    return [rate for kind, strata in sorted(kinds.items()) for rate in _of_kind(kind, strata)]


def _of_kind(kind: str, strata: Mapping[str, Counter[str | None]]) -> list[Rate]:
    everything: Counter[str | None] = sum(strata.values(), Counter())
    confidence = 1 - 0.05 / len(strata)
    return [_rate(kind, value, mine, everything - mine, confidence) for value, mine in sorted(strata.items())]


def _rate(kind: str, value: str, mine: Counter[str | None], others: Counter[str | None], confidence: float) -> Rate:
    rows, other_rows = mine.total(), others.total()
    removed, other_removed = rows - mine[None], other_rows - others[None]
    rate = removed / rows
    lower, upper = wilson_bounds(rate, rows, _normal_quantile(0.95))
    other_rate = other_removed / other_rows if other_rows else None
    certain = 0.0  # the ratio that is certain, where there is anything to compare with
    if other_rate is not None:
        z = _normal_quantile(confidence)
        least = wilson_bounds(max(0.0, removed - 0.5) / rows, rows, z)[0]
        certain = least / wilson_bounds(min(other_rows, other_removed + 0.5) / other_rows, other_rows, z)[1]
    verdict: Verdict = "even"
    if min(rows, other_rows) < LEAST_ROWS:
        verdict = "too few"
    elif removed * other_rows > ALARM_RATIO * other_removed * rows:
        verdict = "alarm" if certain > 1 else "too few"
    return Rate(
        kind,
        value,
        rows,
        removed,
        rate,
        lower,
        upper,
        others=other_rate,
        ratio=rate / other_rate if other_rate else None,
        ratio_lower=certain if other_rate else None,
        verdict=verdict,
        reasons=_reasons(mine, others) if verdict == "alarm" else (),
    )


def _reasons(mine: Counter[str | None], others: Counter[str | None]) -> tuple[tuple[str, int], ...]:
    """The reasons that took more here than the others' rate would have, most rows beyond it first."""
    scale = mine.total() / others.total()
    beyond = {reason: mine[reason] - scale * others[reason] for reason in mine if reason is not None}
    told = sorted((reason for reason in beyond if beyond[reason] > 0), key=lambda reason: (-beyond[reason], reason))
    return tuple((reason, mine[reason]) for reason in told[:TOP_REASONS])


def _normal_quantile(confidence: float) -> float:
    """The z of a two-sided interval of this confidence."""
    return NormalDist().inv_cdf((1 + confidence) / 2)

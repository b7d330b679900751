"""How figures of an audit are put into words.

points(0.0312)                       # '3.1 points'
some(["a", "b", "c"], at_most=2)     # 'a, b and 1 more'
"""

from __future__ import annotations

from collections.abc import Sequence


def points(share: float) -> str:
    """A difference of rates in percentage points."""
    return f"{100 * share:.1f} points"


def some(names: Sequence[str], at_most: int = 8) -> str:
    """Names in a sentence, the first few of many."""
    told = list(names[:at_most])
    if len(names) > at_most:
        return f"{', '.join(told)} and {len(names) - at_most} more"
    return told[0] if len(told) == 1 else f"{', '.join(told[:-1])} and {told[-1]}"

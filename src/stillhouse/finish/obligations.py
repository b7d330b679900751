"""The bottling's duties: no bottle without a right to it, and none that owes something it does not carry.

do_duties(bottle, rights)          # NOTICE and licenses/
refuse_unmet(bottle, label)        # before it is sealed
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from stillhouse.errors import Problem, StillhouseError
from stillhouse.recipe.rights import RightsView
from stillhouse.rights import DISCLAIMER, check, deliver, refusals


def do_duties(bottle: Path, rights: RightsView, *, name: str) -> None:
    """Write what must go with the student; raises :class:`StillhouseError` where a verdict or a duty forbids it."""
    problems = [
        Problem(
            f"no right to bottle: the {one.subject.role} `{one.subject.name}` is {one.verdict.words}: {one.reason}",
            one.subject.address,
            f"see `stillhouse rights` for what would change it. {DISCLAIMER}",
        )
        for one in refusals(rights.judgements)
    ]
    problems += rights.unmet
    if problems:
        raise StillhouseError.several(problems)
    deliver(bottle, rights.judgements, rights.duties, rights.texts, name=name)


def refuse_unmet(bottle: Path, label: dict[str, Any]) -> None:
    """Check the filled bottle as `verify` will; what it does not carry now it would be found to lack later."""
    broken = check(bottle, label)
    if broken:
        raise StillhouseError.several([Problem(one, str(bottle), DISCLAIMER) for one in broken])

"""Which sealed steps of a run belong together: made for the recipe of its last start, out of what now lies beside them.

found = sealed_steps(Path("runs/quickstart"))
found.manifests["judge"].summary, found.notes
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from stillhouse.errors import StillhouseError
from stillhouse.ledger import Ledger
from stillhouse.store import Manifest, read_sealed
from stillhouse.workplace import FOLDERS

_OF_A_STEP = "@fingerprint"


@dataclass(frozen=True)
class Sealed:
    """manifests: by step, in order. notes: what is sealed and left out, with the reason. entries: the ledger's."""

    manifests: Mapping[str, Manifest]
    notes: tuple[str, ...]
    entries: Sequence[Mapping[str, Any]]

    @property
    def summaries(self) -> dict[str, dict[str, Any]]:
        """What each step says of itself, by folder."""
        return {manifest.stage: manifest.summary for manifest in self.manifests.values()}


def sealed_steps(folder: Path) -> Sealed:
    """Read the manifests of a run folder, without looking at the files.

    Raises :class:`StillhouseError` where nothing is sealed, or nothing that still belongs to the recipe.
    """
    here = {str(step): read_sealed(folder, name, verify=False) for step, name in FOLDERS.items()}
    present = {step for step, manifest in here.items() if manifest}
    ledger = folder / "ledger.jsonl"
    entries = list(Ledger(ledger, "").entries()) if ledger.is_file() else []
    starts = [one["steps"] for one in entries if one["event"] == "run-started"]
    planned: Mapping[str, str | None] = starts[-1] if starts else {}
    found: dict[str, Manifest] = {}
    notes = []
    for step, manifest in here.items():
        if manifest is None:
            continue
        made_from = {
            name.removesuffix(_OF_A_STEP): value
            for name, value in manifest.ingredients.items()
            if name.endswith(_OF_A_STEP)
        }
        other = [
            FOLDERS[name]
            for name, value in made_from.items()
            if name in present and (name not in found or found[name].fingerprint != value)
        ]
        if other:
            notes.append(f"{FOLDERS[step]} is left out: it was made from an earlier state of {', '.join(other)}")
        elif planned.get(step) not in (None, manifest.fingerprint):
            notes.append(f"{FOLDERS[step]} is left out: the recipe has changed since it was made")
        else:
            found[step] = manifest
    if not found:
        raise StillhouseError(
            "there is no sealed stage here" + (": " + "; ".join(notes) if notes else ""),
            where=str(folder),
            fix="run the recipe" if notes else "give a run folder, such as runs/quickstart",
        )
    return Sealed(found, tuple(notes), entries)

"""What changed between two runs: in the recipe, in the data, in the cuts, and in what came out.

found = compare(Path("runs/before"), Path("runs/after"))
for change in found.recipe: print(change.what, change.before, change.after)

Everything is read from the sealed stages. Classifiers that were judged on the same test documents are compared document
by document, with an interval; other results only stand side by side, each with its own interval.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import yaml

from stillhouse import cuts, documents
from stillhouse.finish.judgement import EVALUATION, GATES
from stillhouse.finish.predictions import PREDICTIONS
from stillhouse.sealed import sealed_steps
from stillhouse.statistics import Outcomes, mcnemar_exact
from stillhouse.store import flatten
from stillhouse.workplace import FOLDERS

_FEWEST = 30  # test documents that both runs share; a difference on fewer says nothing


@dataclass(frozen=True)
class Change:
    """One thing that differs; "" where one of the runs does not have it."""

    what: str
    before: str
    after: str


@dataclass(frozen=True)
class Difference:
    """recipe: fields. steps: what was made anew, and of what. data: sources and documents. cuts: rows that left.
    results: figures and gates. reading: in words, steps that are left out, and the paired comparison, if any."""

    recipe: tuple[Change, ...]
    steps: tuple[Change, ...]
    data: tuple[Change, ...]
    cuts: tuple[Change, ...]
    results: tuple[Change, ...]
    reading: tuple[str, ...]


def compare(before: Path, after: Path) -> Difference:
    """Compare two run folders; raises :class:`StillhouseError` where one of them has no sealed stage."""
    a, b = _Run(before), _Run(after)
    return Difference(
        recipe=_changes(a.recipe(), b.recipe()),
        steps=_changes(a.libraries(), b.libraries()),
        data=_changes(a.sources(), b.sources()) + _documents(a, b),
        cuts=_changes(a.cuts(), b.cuts()),
        results=_changes(a.figures(), b.figures()) + _changes(a.gates(), b.gates()),
        reading=(*(f"{run.folder.name}: {note}" for run in (a, b) for note in run.notes), *_paired(a, b)),
    )


class _Run:
    """The files of one run, as flat mappings of names to words."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        found = sealed_steps(folder)
        self.sealed, self.notes = found.manifests, found.notes

    def recipe(self) -> dict[str, str]:
        path = self.folder / "recipe.lock.yaml"
        return _words(flatten(yaml.safe_load(path.read_text("utf-8")))) if path.exists() else {}

    def libraries(self) -> dict[str, str]:
        """Versions of stages and libraries, and precisions that were chosen: what no recipe field says."""
        found: dict[str, Any] = {}
        for step, manifest in self.sealed.items():
            named = {name: value for name, value in manifest.ingredients.items() if " " in name}
            found |= {f"{FOLDERS[step]}: {name}": value for name, value in named.items()}
        return _words(found)

    def sources(self) -> dict[str, str]:
        """Digests of the files that were read."""
        found: dict[str, Any] = {}
        for manifest in self.sealed.values():
            found |= {name: str(value)[:12] for name, value in manifest.ingredients.items() if name.endswith("@digest")}
        return _words(found)

    def documents(self, split: documents.Split) -> set[str]:
        if "raw" not in self.sealed:
            return set()
        return set(documents.read(self.folder / FOLDERS["raw"], split)["id"].to_pylist())

    def cuts(self) -> dict[str, str]:
        """How many rows left each stage, by cut and reason, and at which points."""
        found: dict[str, Any] = {}
        for step in self.sealed:
            path = self.folder / FOLDERS[step] / "cuts.parquet"
            rows = cuts.read(path.parent).select(["cut", "reason"]).to_pylist() if path.exists() else []
            for (kind, reason), number in sorted(Counter((row["cut"], row["reason"]) for row in rows).items()):
                found[f"{FOLDERS[step]} {kind}: {reason}"] = f"{number:,} rows"
        if "cuts" in self.sealed:
            found |= {f"point: {name}": why for name, why in self.sealed["cuts"].summary.get("points", {}).items()}
        return _words(found)

    def figures(self) -> dict[str, str]:
        """Every figure of the test report, with its interval; timings are left out, since they change by themselves."""
        rows = self._judged(EVALUATION).get("rows", [])
        return {
            f"{row['artifact']} {row['metric']}, {row['slice']}": _figure(row)
            for row in rows
            if "_per_s" not in row["metric"]
        }

    def gates(self) -> dict[str, str]:
        found = self._judged(GATES).get("gates", [])
        return {f"gate {gate['name']}": f"{gate['status']}: {gate['words']}" for gate in found}

    def shipped(self) -> str | None:
        """The artifact that was, or would be, bottled."""
        name: str | None = self._judged(EVALUATION).get("shipped", {}).get("artifact")
        return name

    def right(self) -> dict[str, bool]:
        """Of what ships: which test documents it labels rightly, by id; empty for a model that writes."""
        path = self.folder / FOLDERS["judge"] / PREDICTIONS
        if "judge" not in self.sealed or not path.exists():
            return {}
        rows = pq.read_table(path).to_pylist()
        return {row["id"]: row["predicted"] == row["gold"] for row in rows if row["artifact"] == self.shipped()}

    def _judged(self, name: str) -> dict[str, Any]:
        path = self.folder / FOLDERS["judge"] / name
        if "judge" not in self.sealed or not path.exists():
            return {}
        found: dict[str, Any] = json.loads(path.read_text("utf-8"))
        return found


def _documents(a: _Run, b: _Run) -> tuple[Change, ...]:
    """How many documents of each split only one of the runs has."""
    found = []
    for split in documents.SPLITS:
        one, other = a.documents(split), b.documents(split)
        if one != other:
            shared = len(one & other)
            found.append(
                Change(
                    f"documents, {split}",
                    f"{len(one):,}, {len(one) - shared:,} of them only here",
                    f"{len(other):,}, {len(other) - shared:,} of them only here",
                )
            )
    return tuple(found)


def _paired(a: _Run, b: _Run) -> tuple[str, ...]:
    """The students that ship, on the test documents that both runs judged."""
    one, other = a.right(), b.right()
    first, second = (run.recipe().get("task") for run in (a, b))
    if first and second and first != second:
        return (f"one run is of {first}, the other of {second}: what came out of them cannot be compared",)
    shared = sorted(set(one) & set(other))
    if not one or not other:
        return ()
    if len(shared) < _FEWEST:
        return (f"the runs share {len(shared)} test documents: too few to compare their students on",)
    before, after = (np.array([right[key] for key in shared]) for right in (one, other))
    found = Outcomes.paired(before, after).mean()
    test = mcnemar_exact(before, after)
    told = found.lower > 0 or found.upper < 0
    return (
        f"on the {len(shared):,} test documents that both judged, the second student is "
        f"{100 * found.value:+.1f} points ({100 * found.lower:+.1f} to {100 * found.upper:+.1f}) from the first; "
        f"{test.b} documents only the first labels rightly, {test.c} only the second "
        f"(exact McNemar p = {test.p_value:.3g})",
        "the difference is clear on these documents; another seed may still turn it"
        if told
        else "on these documents they cannot be told apart",
    )


def _changes(before: Mapping[str, str], after: Mapping[str, str]) -> tuple[Change, ...]:
    names = dict.fromkeys((*before, *after))
    return tuple(
        Change(name, before.get(name, ""), after.get(name, "")) for name in names if before.get(name) != after.get(name)
    )


def _words(values: Mapping[str, Any]) -> dict[str, str]:
    return {
        name: value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
        for name, value in values.items()
    }


def _figure(row: Mapping[str, Any]) -> str:
    if row["value"] is None:
        return "not certified"
    interval = f" ({row['lower']:.4g} to {row['upper']:.4g})" if row["lower"] is not None else ""
    return f"{row['value']:.4g}{interval}"

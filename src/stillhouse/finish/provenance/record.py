"""What is known of a run, in a form that may leave the house: steps, libraries and materials, without any place.

    record = RunRecord.of(label, manifests, events)
    record.steps[0].fingerprint, record.materials[0].address, record.libraries["torch"]

Everything comes from the sealed manifests, the ledger and the label. A local path becomes its last part, an object
store keeps its scheme, and of an endpoint only the model's name is left: where things lie on the maker's machines is no
part of what was made of them. Digests of materials are those of :class:`stillhouse.addresses.Files`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from stillhouse.addresses.public import public_address, purl_of
from stillhouse.store import Manifest

Role = Literal["teacher", "base", "data", "other"]


@dataclass(frozen=True)
class Material:
    """A teacher, a base, a data source, or another file that went in.

    address: as it may be told. sha256: over its files' names and digests; ``None`` behind an endpoint. version:
    revision or version, where its origin has one. licenses: ids. purl: where a registry has it. takes: what the student
    took of it.
    """

    role: Role
    name: str
    address: str
    sha256: str | None = None
    version: str | None = None
    licenses: tuple[str, ...] = ()
    purl: str | None = None
    takes: tuple[str, ...] = ()


@dataclass(frozen=True)
class Step:
    """A sealed step. rows: in, kept, cut and failed. inputs: fingerprints by step. files: SHA-256 by path."""

    name: str
    folder: str
    fingerprint: str
    version: int | None
    run: str
    started: str | None
    sealed: str
    rows: dict[str, int]
    inputs: dict[str, str]
    files: dict[str, str]


@dataclass(frozen=True)
class RunRecord:
    """A run. libraries: versions by name. run: id of the invocation that fills the bottle, where the ledger has it."""

    producer: str
    run: str | None
    steps: tuple[Step, ...]
    libraries: dict[str, str]
    materials: tuple[Material, ...]

    @classmethod
    def of(
        cls, label: Mapping[str, Any], manifests: Mapping[str, Manifest], events: Iterable[Mapping[str, Any]]
    ) -> RunRecord:
        """label: of the bottle. manifests: of the sealed steps it comes from, by step. events: the ledger's entries."""
        started: dict[tuple[str, str], str] = {}
        run = None
        for event in events:
            if event.get("event") == "step-started":
                started[str(event["run"]), str(event["fingerprint"])] = str(event["time"])
            run = event.get("run", run)
        steps = tuple(_step(name, manifest, started) for name, manifest in manifests.items())
        libraries = {
            name.removesuffix(" version"): str(version)
            for manifest in manifests.values()
            for name, version in manifest.ingredients.items()
            if name.endswith(" version") and name != "stage version" and version != "absent"
        }
        return cls(
            str(label["producer"]), run, steps, dict(sorted(libraries.items())), tuple(_materials(label, manifests))
        )

    @property
    def began(self) -> str | None:
        """When the first step began, as far as the ledger tells."""
        return min((step.started for step in self.steps if step.started), default=None)

    @property
    def ended(self) -> str | None:
        """When the last step was sealed."""
        return max((step.sealed for step in self.steps), default=None)


def zulu(time: str) -> str:
    """A time in UTC as both formats write it."""
    return time.replace("+00:00", "Z")


def _step(name: str, manifest: Manifest, started: Mapping[tuple[str, str], str]) -> Step:
    inputs = {
        key.removesuffix("@fingerprint"): str(value)
        for key, value in manifest.ingredients.items()
        if key.endswith("@fingerprint")
    }
    return Step(
        name=name,
        folder=manifest.stage,
        fingerprint=manifest.fingerprint,
        version=manifest.ingredients.get("stage version"),
        run=manifest.run_id,
        started=started.get((manifest.run_id, manifest.fingerprint)),
        sealed=manifest.created,
        rows={key: manifest.summary[key] for key in ("rows_in", "kept", "cut", "failed") if key in manifest.summary},
        inputs=inputs,
        files={path: record.sha256 for path, record in manifest.files.items()},
    )


def _materials(label: Mapping[str, Any], manifests: Mapping[str, Manifest]) -> list[Material]:
    """The label's subjects with the digests that the manifests have of them, and whatever else was read."""
    digests: dict[tuple[str, str], str] = {}
    for manifest in manifests.values():
        for key, value in manifest.ingredients.items():
            if key.endswith("@digest") and value is not None:
                path = key.removesuffix("@digest")
                digests[_subject(path, manifest.ingredients)] = str(value)
    found = [
        Material(
            role=subject["role"],
            name=subject["name"],
            address=public_address(subject["address"]),
            sha256=digests.pop((subject["role"], subject["name"]), None),
            version=subject["identity"],
            licenses=tuple(subject["license"].split(" and ")),
            purl=purl_of(subject["address"], subject["identity"]),
            takes=tuple(dict.fromkeys(one for terms in subject["terms"] for one in terms["touches"])),
        )
        for subject in label["rights"]["subjects"]
    ]
    others = [Material("other", name, name, sha256) for (_, name), sha256 in sorted(digests.items())]
    return found + others


def _subject(path: str, ingredients: Mapping[str, Any]) -> tuple[str, str]:
    """Role and name of what a recipe field leads to; the field itself is the name of all that has none."""
    section, _, field = path.rpartition(".")
    name = ingredients.get(f"{section}.name")
    if path == "distill.student.base":
        return "base", "base"
    if section.startswith("raw.sources.") and field == "data" and name:
        return "data", str(name)
    if section.startswith("ferment.") and field == "model" and name:
        return "teacher", str(name)
    return "other", path

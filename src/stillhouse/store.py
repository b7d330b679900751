"""Fingerprints and seals: how a stage's folder becomes whole, is recognised later, and is never half there.

A stage writes into a *draft* folder. When it is whole, its files are hashed, the manifest is written last, and the
draft is renamed to the stage's name. A sealed folder whose files do not match its manifest counts as absent.

    draft = open_draft(run_folder, "1-raw", fingerprint)
    ...write into draft...
    seal(run_folder, "1-raw", fingerprint, ingredients, summary, run_id)
    sealed = read_sealed(run_folder, "1-raw")       # None when absent, torn or changed
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, ValidationError

MANIFEST = "manifest.json"
SIGNATURE = "model.sig"  # may be added to what is sealed, and changes none of it
MANIFEST_SCHEMA = 1
_FINGERPRINT = ".fingerprint"
_SCRATCH = "scratch"  # what a draft needs to resume but a sealed folder does not keep

# Places in the code after which a kill must lose nothing. Tests kill the process at each of them.
COMMIT_POINTS = (
    "converted-model-written",
    "converted-model-sealed",
    "answers-committed",
    "draft-opened",
    "piece-read",
    "piece-prepared",
    "documents-written",
    "signals-written",
    "checkpoint-written",
    "scores-written",
    "cuts-written",
    "student-written",
    "controls-written",
    "judged",
    "bottle-written",
    "manifest-written",
    "old-stage-moved",
    "stage-sealed",
)

_observer: Callable[[str], None] | None = None


def observe_commit_points(observer: Callable[[str], None] | None) -> None:
    """Call ``observer(name)`` at every commit point; tests use it to stop the process there."""
    global _observer
    _observer = observer


def reached(point: str) -> None:
    """Mark that a commit point has been reached. ``point`` must be one of :data:`COMMIT_POINTS`."""
    if point not in COMMIT_POINTS:
        raise ValueError(f"unknown commit point {point!r}")
    if _observer is not None:
        _observer(point)


class FileRecord(BaseModel):
    """Size in bytes and SHA-256 of one sealed file."""

    model_config = ConfigDict(frozen=True)
    bytes: int
    sha256: str


class Manifest(BaseModel):
    """What a sealed folder says of itself."""

    model_config = ConfigDict(frozen=True)
    schema_version: int
    producer: str
    created: str
    run_id: str
    stage: str
    fingerprint: str
    ingredients: dict[str, Any]
    summary: dict[str, Any]
    files: dict[str, FileRecord]


def producer() -> str:
    """Name and version of this program, for files on disk."""
    return f"stillhouse {package_version('stillhouse')}"


def package_version(name: str) -> str:
    """The installed version of a package, or ``absent``."""
    try:
        return version(name)
    except PackageNotFoundError:
        return "absent"


def now() -> str:
    """The time in UTC, ISO 8601, to the second."""
    return datetime.now(UTC).isoformat(timespec="seconds")


def canonical(value: object) -> str:
    """JSON with sorted keys and no spaces: equal values give equal text. Refuses NaN."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)


def digest_of(value: object) -> str:
    """SHA-256 (hex) of a JSON value."""
    return hashlib.sha256(canonical(value).encode("utf-8")).hexdigest()


def digest_of_file(path: Path) -> str:
    """SHA-256 (hex) of a file's content."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def flatten(value: object, path: str = "") -> dict[str, Any]:
    """Nested mappings and lists as ``{"a.b.0": leaf}``; empty containers stay leaves."""
    if isinstance(value, Mapping) and value:
        items = [(str(key), item) for key, item in value.items()]
    elif isinstance(value, list | tuple) and value:
        items = [(str(index), item) for index, item in enumerate(value)]
    else:
        return {path: value}
    flat: dict[str, Any] = {}
    for key, item in items:
        flat |= flatten(item, f"{path}.{key}" if path else key)
    return flat


def write_atomically(path: Path, data: bytes) -> None:
    """Write to a temporary name beside ``path``, flush to disk, then rename over it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        with temporary.open("wb") as stream:
            stream.write(data)
            stream.flush()
            os.fsync(stream.fileno())
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def write_json(path: Path, value: object) -> None:
    """Write a JSON value, indented for people, atomically."""
    text = json.dumps(value, indent=2, ensure_ascii=False, allow_nan=False) + "\n"
    write_atomically(path, text.encode("utf-8"))


def place(source: Path, target: Path) -> None:
    """Put a file of a sealed folder, or of a cache, into a draft: as a link where the disk can, as a copy elsewhere.

    Only for large files that nobody opens for writing: one that is changed in place changes under both names, and both
    seals break. Hence a bottle, which people edit, quantize and move, is filled with copies: a fault there must not
    cost the judgement, let alone the training. A copy of 430 MB takes half a second.
    """
    target.unlink(missing_ok=True)
    try:
        target.hardlink_to(source)
    except OSError:  # another disk, or one without links
        shutil.copyfile(source, target)


def draft_folder(run_folder: Path, stage: str) -> Path:
    """Where a stage's unfinished work lies."""
    return run_folder / f".draft-{stage}"


def scratch_folder(draft: Path) -> Path:
    """A folder inside a draft for what resuming needs; it is dropped at the seal."""
    folder = draft / _SCRATCH
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def open_draft(run_folder: Path, stage: str, fingerprint: str) -> Path:
    """The draft folder of a stage: an interrupted one of the same fingerprint goes on, any other is cleared."""
    draft = draft_folder(run_folder, stage)
    mark = draft / _FINGERPRINT
    if not (mark.is_file() and mark.read_text("utf-8") == fingerprint):
        shutil.rmtree(draft, ignore_errors=True)
        draft.mkdir(parents=True)
        write_atomically(mark, fingerprint.encode("utf-8"))
    reached("draft-opened")
    return draft


def list_files(folder: Path) -> dict[str, FileRecord]:
    """Every file below ``folder`` but the manifest and what may be added later, by relative POSIX path, sorted."""
    found: dict[str, FileRecord] = {}
    for path in sorted(folder.rglob("*")):
        name = path.relative_to(folder).as_posix()
        if path.is_file() and name not in (MANIFEST, _FINGERPRINT) and path.name != SIGNATURE:
            found[name] = FileRecord(bytes=path.stat().st_size, sha256=digest_of_file(path))
    return found


def seal(
    run_folder: Path,
    stage: str,
    fingerprint: str,
    ingredients: Mapping[str, Any],
    summary: Mapping[str, Any],
    run_id: str,
) -> Manifest:
    """Turn the draft of ``stage`` into its sealed folder, replacing an older one."""
    draft = draft_folder(run_folder, stage)
    shutil.rmtree(draft / _SCRATCH, ignore_errors=True)
    manifest = Manifest(
        schema_version=MANIFEST_SCHEMA,
        producer=producer(),
        created=now(),
        run_id=run_id,
        stage=stage,
        fingerprint=fingerprint,
        ingredients=dict(ingredients),
        summary=dict(summary),
        files=list_files(draft),
    )
    write_json(draft / MANIFEST, manifest.model_dump(mode="json"))
    reached("manifest-written")
    finish_seal(run_folder, stage)
    return manifest


def finish_seal(run_folder: Path, stage: str) -> None:
    """Move a draft that has its manifest into place; also completes a seal that was interrupted."""
    draft, final = draft_folder(run_folder, stage), run_folder / stage
    old = run_folder / f".old-{stage}"
    if (draft / MANIFEST).is_file():
        shutil.rmtree(old, ignore_errors=True)
        if final.exists():
            final.rename(old)
        reached("old-stage-moved")
        draft.rename(final)
        (final / _FINGERPRINT).unlink(missing_ok=True)
        reached("stage-sealed")
    shutil.rmtree(old, ignore_errors=True)


def read_sealed(run_folder: Path, stage: str, *, verify: bool = True) -> Manifest | None:
    """The manifest of a sealed stage, or ``None`` when it is absent, torn, or its files were changed."""
    folder = run_folder / stage
    try:
        manifest = Manifest.model_validate_json((folder / MANIFEST).read_bytes())
    except (OSError, ValidationError):
        return None
    if manifest.schema_version != MANIFEST_SCHEMA or manifest.stage != stage:
        return None
    if verify and list_files(folder) != manifest.files:
        return None
    return manifest

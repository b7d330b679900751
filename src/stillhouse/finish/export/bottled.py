"""Files in another format beside a student that writes: compared each; what does not agree is deleted, and said so.

    bottled = bottle("gguf", files, compare_one, runtime="llama.cpp", progress=progress)
    bottled.told, bottled.rows
    parity([bottled, other])                     # one gate over all of them

A file that does not pass is deleted: who asked for it is told by the gate `parity`, with the reason.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, TypeVar

from stillhouse.finish.evaluate import Row
from stillhouse.finish.export.agreement import Comparison
from stillhouse.finish.export.graph import files_of
from stillhouse.finish.gates import Gate
from stillhouse.workplace import Progress, silent

Format = Literal["gguf", "onnx"]
Kind = TypeVar("Kind", bound=str)


@dataclass(frozen=True)
class Bottled:
    """told: one JSON value for each kind that was asked for, for label and report. rows: of the test report. agreed:
    kinds that ship. refused: those that do not, with the reason. runtime: where they were compared."""

    form: Format
    told: tuple[dict[str, Any], ...]
    rows: tuple[Row, ...]
    agreed: tuple[str, ...]
    refused: tuple[str, ...]
    runtime: str


def bottle(
    form: Format,
    files: Mapping[Kind, Path],
    compare_one: Callable[[Kind, Path], Comparison],
    *,
    runtime: str,
    progress: Progress = silent,
) -> Bottled:
    """Compare each of ``files``, by their kinds, and delete what does not agree. They lie in a folder of that format's
    name."""
    told, rows, agreed, refused = [], [], [], []
    what = f"comparing {form.upper()} files"
    for place, (kind, file) in enumerate(files.items()):
        progress(what, place, len(files))
        found = compare_one(kind, file)
        told.append(_told(kind, file, found))
        rows += _rows(f"{form}-{kind}", file, found)
        if found.passed:
            agreed.append(kind)
        else:
            refused.append(f"{kind} is left out: {'; '.join(found.reasons)}")
            for path in files_of(file):
                path.unlink()
    if not agreed:
        for folder in {file.parent for file in files.values()}:
            folder.rmdir()  # no bottle may hold an empty folder
    progress(what, len(files), len(files))
    return Bottled(form, tuple(told), tuple(rows), tuple(agreed), tuple(refused), runtime)


def parity(bottled: Sequence[Bottled]) -> Gate | None:
    """One gate over the files of all formats; ``None`` where none was asked for."""
    if not bottled:
        return None
    refused = [one for one in bottled if one.refused]
    if refused:
        words = "; ".join(line for one in refused for line in one.refused)
        fields = " or ".join(f"`finish.{one.form}.kinds`" for one in refused)
        return Gate("parity", "failed", words, f"leave that kind out of {fields}, or ship one with more bits")
    said = [f"{', '.join(one.agreed)} agree with the student in {one.runtime}" for one in bottled]
    return Gate("parity", "passed", "; ".join(said), "")


def _told(kind: str, file: Path, found: Comparison) -> dict[str, Any]:
    return {
        "kind": kind,
        "file": f"{file.parent.name}/{file.name}",
        "bytes": _bytes(file),
        "passed": found.passed,
        "reasons": list(found.reasons),
        "prompts": found.prompts,
        "agreeing": found.agreeing,
        "stops": found.stops,
        "kl": found.kl,
        "positions": found.positions,
        "texts_split_otherwise": len(found.wrong_ids),
        "tokens_per_s": found.per_second,
    }


def _rows(artifact: str, file: Path, found: Comparison) -> list[Row]:
    beside = "against the student"
    rows = [
        Row(artifact, "kl", beside, found.kl, None, None, found.positions),
        Row(artifact, "agreeing_before_parting", beside, found.agreeing, None, None, found.prompts),
        Row(artifact, "bytes", "all", float(_bytes(file)), None, None, 1),
    ]
    if found.per_second is not None:
        rows.append(Row(artifact, "decode_tokens_per_s", "batch=1", found.per_second, None, None, found.prompts))
    return rows


def _bytes(file: Path) -> int:
    """With weights that lie beside it."""
    return sum(path.stat().st_size for path in files_of(file))

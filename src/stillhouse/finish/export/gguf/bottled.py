"""The GGUF files of a bottle: written, reloaded in llama.cpp, compared; what does not agree is left out.

    made = bottle_gguf(Path("artifacts"), ("f16", "q8_0"), prompts=chats, texts=texts, answers=16, positions=100)
    made.told, made.rows, made.gate

A file that does not pass is deleted: who asked for it is told by the gate `parity`, with the reason.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from stillhouse.errors import Problem
from stillhouse.finish.evaluate import Row
from stillhouse.finish.export.gguf.compare import FLOORS, GgufComparison, compare_gguf
from stillhouse.finish.export.gguf.plan import Kind, check_gguf
from stillhouse.finish.export.gguf.write import export_gguf
from stillhouse.finish.gates import Gate
from stillhouse.teachers.templates import Message
from stillhouse.workplace import Progress, silent

FOLDER = "gguf"
_ADVICE = "leave that kind out of `finish.gguf.kinds`, or ship one with more bits"


@dataclass(frozen=True)
class Bottled:
    """told: one JSON value for each kind that was asked for, for label and report. rows: of the test report."""

    told: tuple[dict[str, Any], ...]
    rows: tuple[Row, ...]
    gate: Gate


def bottle_gguf(
    student: Path,
    kinds: Sequence[Kind],
    *,
    prompts: Sequence[Sequence[Message]],
    texts: Sequence[str],
    answers: int,
    positions: int,
    name: str = "",
    threads: int | None = None,
    progress: Progress = silent,
) -> Bottled:
    """Write ``student/gguf/model-KIND.gguf`` for each kind, and compare each with the student.

    prompts: conversations that end with a question, of which ``answers`` are asked. texts: what is read token by token,
    at ``positions`` places. Raises :class:`StillhouseError` where the student cannot be written at all.
    """
    progress("writing GGUF files", 0, len(kinds) + 1)
    files = export_gguf(student, student / FOLDER, kinds, name=name)
    told, rows, refused = [], [], []
    for place, (kind, file) in enumerate(files.items(), start=1):
        progress("comparing GGUF files", place, len(kinds) + 1)
        found = compare_gguf(
            student,
            file,
            prompts=prompts[:answers],
            texts=texts,
            floors=FLOORS[kind],
            positions=positions,
            threads=threads,
        )
        told.append(_told(kind, file, found))
        rows += _rows(kind, file, found)
        if not found.passed:
            refused.append(f"{kind} is left out: {'; '.join(found.reasons)}")
            file.unlink()
    if len(refused) == len(files):
        (student / FOLDER).rmdir()  # no bottle may hold an empty folder
    progress("comparing GGUF files", len(kinds) + 1, len(kinds) + 1)
    words = "; ".join(refused) or f"{', '.join(files)} agree with the student in llama.cpp"
    gate = Gate("parity", "failed" if refused else "passed", words, _ADVICE if refused else "")
    return Bottled(tuple(told), tuple(rows), gate)


def problems_before(folder: Path, kinds: Sequence[Kind], sizes: dict[str, int]) -> list[Problem]:
    """What stands against GGUF files of a student that is made of the model in ``folder``; needs no weights.

    sizes: fields of the configuration in which the student differs from it.
    """
    from transformers import AutoConfig, GenerationConfig

    config = AutoConfig.from_pretrained(folder, local_files_only=True, trust_remote_code=False)
    for field, value in sizes.items():
        setattr(config, field, value)
    ends: Any = getattr(config, "eos_token_id", None)
    if (folder / "generation_config.json").exists():
        ends = GenerationConfig.from_pretrained(folder, local_files_only=True).eos_token_id
    ids = [int(one) for one in (ends if isinstance(ends, list) else [] if ends is None else [ends])]
    return list(check_gguf(config, folder, kinds, ends=ids).problems)


def _told(kind: Kind, file: Path, found: GgufComparison) -> dict[str, Any]:
    return {
        "kind": kind,
        "file": f"{FOLDER}/{file.name}",
        "bytes": file.stat().st_size,
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


def _rows(kind: Kind, file: Path, found: GgufComparison) -> list[Row]:
    artifact, beside = f"gguf-{kind}", "against the student"
    rows = [
        Row(artifact, "kl", beside, found.kl, None, None, found.positions),
        Row(artifact, "agreeing_before_parting", beside, found.agreeing, None, None, found.prompts),
        Row(artifact, "bytes", "all", float(file.stat().st_size), None, None, 1),
    ]
    if found.per_second is not None:
        rows.append(Row(artifact, "decode_tokens_per_s", "batch=1", found.per_second, None, None, found.prompts))
    return rows

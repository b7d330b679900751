"""One row's whole story in a run: where it came from, what was done to it, why it left or what was made of it.

for line in explain_row(Path("runs/quickstart"), "movie:17"): print(line)

A row is named by its origin (source and line), its document id, or the start of one that fits no other. Everything is
read from the sealed stages; nothing is computed anew but the shipped student's own answer.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from stillhouse import cuts, documents
from stillhouse.documents import GROUP_PREFIX, SPLITS
from stillhouse.errors import StillhouseError
from stillhouse.signals import ClassProbs, Text
from stillhouse.store import read_sealed
from stillhouse.use import open_bottle
from stillhouse.workplace import FOLDERS

_SHORTEST = 6  # characters of an id's start
_SHOWN = 300


def explain_row(run_folder: Path, wanted: str) -> list[str]:
    """The story in plain words, one line each.

    Raises :class:`StillhouseError` when stage 1 is not sealed there, no row has that name, or several have.
    """
    raw = run_folder / FOLDERS["raw"]
    if read_sealed(run_folder, FOLDERS["raw"], verify=False) is None:
        raise StillhouseError(
            "stage 1 is not sealed here", where=str(run_folder), fix="give a run folder, such as runs/quickstart"
        )
    found: list[tuple[str, dict[str, Any]]] = [
        (split, row) for split in SPLITS for row in _matching(documents.read(raw, split), wanted)
    ]
    ledger = cuts.read(raw)
    found += [("cut", row) for row in _matching(ledger, wanted)]
    if not found:
        raise StillhouseError(
            f"no row is called {wanted!r}",
            where=str(raw),
            fix="give an origin such as movie:17, or an id, from the documents or from cuts.parquet",
        )
    # exact copies of one text share its id: those that left are told with the one that stays
    if len({(row["id"], row["origin"]) if kind == "cut" else row["id"] for kind, row in found}) > 1:
        kept = [one for one in found if one[0] != "cut"]
        if len(kept) != 1 or any(row["id"] != kept[0][1]["id"] for _, row in found):
            names = ", ".join(f"{row['origin']} ({(row['id'] or 'no id')[:12]})" for _, row in found[:5])
            raise StillhouseError(
                f"{len(found)} rows are called {wanted!r}: {names}", where=str(raw), fix="give one origin"
            )
        found = kept
    kind, row = found[0]
    return _of_cut(row, raw) if kind == "cut" else _of_document(row, kind, ledger, run_folder)


def _matching(table: pa.Table, wanted: str) -> list[dict[str, Any]]:
    """Rows by origin, or by id, or by the start of an id."""
    hit = pc.or_(pc.equal(table["origin"], wanted), pc.fill_null(pc.equal(table["id"], wanted), False))
    if len(wanted) >= _SHORTEST:
        hit = pc.or_(hit, pc.fill_null(pc.starts_with(table["id"], wanted), False))
    rows: list[dict[str, Any]] = table.filter(hit).to_pylist()
    return rows


def _of_cut(row: dict[str, Any], raw: Path) -> list[str]:
    score = "" if row["score"] is None else f", score {row['score']:.3g}"
    threshold = "" if row["threshold"] is None else f" against {row['threshold']:.3g}"
    lines = [
        f"{row['origin']} left in stage 1, into the {row['cut']}: {row['reason']}{score}{threshold}",
        *([f"  {row['detail']}"] if row["detail"] else []),
        f"  its content: {_short(row['content'])}",
    ]
    if row["matched_id"]:
        where = next((split for split in SPLITS if _matching(documents.read(raw, split), row["matched_id"])), None)
        lines.append(f"  the row it matched has the id {row['matched_id'][:12]} and " + _whereabouts(where))
    return lines


def _whereabouts(split: str | None) -> str:
    return f"is in the {split} split" if split else "is no document of this run"


def _of_document(row: dict[str, Any], split: str, ledger: pa.Table, run_folder: Path) -> list[str]:
    gold = f"gold label {row['label']}" if row["label"] is not None else "no gold label"
    groups = [
        f"{name.removeprefix(GROUP_PREFIX)} {value}" for name, value in row.items() if name.startswith(GROUP_PREFIX)
    ]
    copies = ledger.filter(pc.fill_null(pc.equal(ledger["matched_id"], row["id"]), False)).to_pylist()
    lines = [
        f"{row['origin']} is document {row['id'][:12]} in the {split} split",
        f"  from the source {row['source']}, license {row['license']}; {gold}",
        f"  its text: {_short(row['text'])}",
        *([f"  groups: {', '.join(groups)}"] if groups else []),
        f"  language: {row['language'] or 'not looked at'}",
        *(f"  cleaning: {note}" for note in row["notes"]),
        *(f"  {copy['origin']} left as {copy['reason']} of it ({_similarity(copy)})" for copy in copies[:10]),
        *([f"  and {len(copies) - 10} further copies"] if len(copies) > 10 else []),
    ]
    return lines + _teacher(row, run_folder) + _cut_after(row, run_folder) + _student(row, run_folder)


def _similarity(copy: dict[str, Any]) -> str:
    return "its text is the same" if copy["score"] in (None, 1.0) else f"similarity {copy['score']:.2f}"


def _teacher(row: dict[str, Any], run_folder: Path) -> list[str]:
    folder = run_folder / FOLDERS["ferment"]
    if (folder / "signals" / "text.parquet").exists():
        return _answers(row, run_folder)
    if not (folder / "signals" / "class_probs.parquet").exists():
        return ["  the teacher has not been asked yet"]
    signal = ClassProbs.read(folder)
    if row["id"] not in signal.ids:
        failures = pq.read_table(folder / "failures.parquet").to_pylist()
        why = [f"{one['teacher']}: {one['reason']}" for one in failures if one["id"] == row["id"]]
        return [f"  the teacher gave no answer: {'; '.join(why) or 'the reason is not known'}"]
    at = int(signal.rows_of([row["id"]])[0])
    return [
        f"  {signal.teachers[at]} said: {_shares(signal.labels, signal.probs[at].tolist())}",
        f"  the answer's key in the answer store: {signal.asked[at][:12]}",
    ]


def _cut_after(row: dict[str, Any], run_folder: Path) -> list[str]:
    """Whether the student was not taught it although the teacher answered, and why."""
    ledger = cuts.read(run_folder / FOLDERS["cuts"]).to_pylist()
    found = [(one, one["id"].removeprefix(row["id"])) for one in ledger if one["id"].partition("#")[0] == row["id"]]
    lines = [
        f"  {f'answer {sample} ' if sample else ''}not taught, into the {one['cut']}: {one['reason']}, score"
        f" {one['score']:.3g} against {one['threshold']:.3g}"
        for one, sample in found
    ]
    return lines + _masked(row, run_folder)


def _masked(row: dict[str, Any], run_folder: Path) -> list[str]:
    """How many tokens of an answer are read and not learned."""
    path = run_folder / FOLDERS["cuts"] / "masks.parquet"
    masks = pq.read_table(path).to_pylist() if path.exists() else []
    return [
        f"  {len(one['places'])} of its tokens are read and not learned: {one['name']}"
        for one in masks
        if one["id"].partition("#")[0] == row["id"]
    ]


def _answers(row: dict[str, Any], run_folder: Path) -> list[str]:
    """What a teacher that writes answered, and which answers were not learned from."""
    found = [one for one in Text.read(run_folder / FOLDERS["ferment"]).answers if one.id == row["id"]]
    left = {cut["id"]: cut for cut in cuts.read(run_folder / FOLDERS["distill"]).to_pylist()}
    lines = [] if found else ["  the teacher gave no answer: see failures.parquet"]
    for one in found:
        lines.append(f"  {one.teacher} said: {_short(one.answer)}")
        ended = "whole" if one.finish_reason == "stop" else f"cut off after {one.answer_tokens} tokens"
        lines.append(f"    {ended}{f'; {one.verdict}' if one.verdict else ''}")
        if one.key in left:
            lines.append(f"    not learned, into the {left[one.key]['cut']}: {left[one.key]['reason']}")
    return lines


def _student(row: dict[str, Any], run_folder: Path) -> list[str]:
    bottle = run_folder / FOLDERS["finish"] / "bottle"
    if not bottle.exists():
        return ["  no student has been bottled yet"]
    opened = open_bottle(bottle)
    if opened.label.get("task") == "text-generation":
        asked_for = row["messages"] or [{"role": "user", "content": row["text"]}]
        while asked_for and asked_for[-1]["role"] == "assistant":
            asked_for = asked_for[:-1]
        (answer,) = opened.answer([asked_for], max_tokens=_SHOWN // 4)
        return [f"  the shipped student says: {_short(answer.text)}"]
    label, share = opened.predict([row["text"]])[0]
    return [f"  the shipped student says: {label} ({share:.3f})"]


def _shares(labels: tuple[str, ...], probs: list[float]) -> str:
    return ", ".join(f"{label} {share:.3f}" for label, share in zip(labels, probs, strict=True))


def _short(text: str) -> str:
    return text if len(text) <= _SHOWN else text[:_SHOWN] + f"… ({len(text)} characters)"

"""One piece of rows on its way to documents: mapped, cleaned, judged, and given the keys by which copies are found.

    prepared = prepare_piece(PieceTask(path, place, source, folder), plan=plan)     # PreparedPiece(rows=8123, …)

Every row of the piece is a row of the table that is written, those that are cut with the reason; the first reason in
the order of the steps counts. Nothing here looks at another row, so pieces may be worked on anywhere, in any order.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping as AnyMapping
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from stillhouse.documents import GROUP_PREFIX, MESSAGES, content_id
from stillhouse.overlap.search import Index, scan, verdict
from stillhouse.raw.clean import Cleaner, Leaves, duplicate_key
from stillhouse.raw.keyed import write_entries
from stillhouse.raw.layouts import Part, joined
from stillhouse.raw.lines import Row, Unreadable
from stillhouse.raw.mapping import Mapped, Mapping, Refused, SourcePlan
from stillhouse.raw.near import band_keys
from stillhouse.raw.reading import PIECE_ROWS, open_arrow, read_piece, write_arrow
from stillhouse.store import reached

COPY_ENTRY = np.dtype([("key", "<u8"), ("rest", "<u8"), ("place", "<i8"), ("label", "<i4")])
BAND_ENTRY = np.dtype([("key", "<u8"), ("order", "<u8"), ("place", "<i8")])
NO_LABEL = -1
_PLAIN = frozenset({"text", "text_pair"})
_ROLES = {"prompt": "user", "completion": "assistant"}
_KNOWN_ROLES = frozenset({"system", "user", "assistant"})


@dataclass(frozen=True)
class NearPlan:
    """How near copies are looked for: Jaccard threshold, words and characters of a shingle, seed of the hashes."""

    threshold: float
    words: int
    characters: int
    seed: int = 0


@dataclass(frozen=True)
class PreparePlan:
    """What is the same for all pieces. licenses: by source and what a row states, the license and why it is refused.

    benchmarks: what no document may hold. groups, labels: as the recipe orders them; where labels is ``None`` a gold
    label is any text, and the turns of a conversation are kept apart.
    """

    cleaner: Cleaner
    labels: tuple[str, ...] | None
    groups: tuple[str, ...]
    licenses: AnyMapping[tuple[str, str | None], tuple[str, str | None]]
    near: NearPlan | None
    benchmarks: Index | None


@dataclass(frozen=True)
class PieceTask:
    """One piece: its file, the place of its first row, its source, where results go, and how many rows a piece has."""

    piece: Path
    place: int
    source: SourcePlan
    folder: Path
    piece_rows: int = PIECE_ROWS

    @property
    def name(self) -> str:
        """A name of its own among all pieces."""
        return f"{self.place:016x}"

    @property
    def table(self) -> Path:
        """Where the table of its rows lies."""
        return table_at(self.folder / "rows", self.place)

    @property
    def copies(self) -> Path:
        """Where the keys of its texts lie."""
        return self.folder / "copies" / f"{self.name}.npy"

    @property
    def bands(self) -> Path:
        """Where the band keys of its texts lie."""
        return self.folder / "bands" / f"{self.name}.npy"


def table_at(folder: Path, place: int) -> Path:
    """The table, among those of ``folder``, whose first row has this place."""
    return folder / f"{place:016x}.arrow"


@dataclass
class PreparedRow:
    """A row while it is worked on."""

    origin: str
    content: str = ""
    mapped: Mapped | None = None
    license: str = ""
    text: str | None = None
    messages: list[dict[str, str]] | None = None
    language: str | None = None
    notes: list[str] = field(default_factory=list)
    leaves: Leaves | None = None


def table_schema(groups: Sequence[str], *, messages: bool = False) -> pa.Schema:
    """The table of prepared rows. ``place`` orders the rows of all sources; ``reason`` is null for rows that stay.

    messages: whether the turns of conversations are kept, too.
    """
    text = pa.string()
    return pa.schema(
        [
            pa.field("place", pa.int64(), nullable=False),
            pa.field("source", text, nullable=False),
            pa.field("origin", text, nullable=False),
            pa.field("id", text),
            pa.field("text", text),
            *([pa.field("messages", MESSAGES)] if messages else []),
            pa.field("label", text),
            *(pa.field(GROUP_PREFIX + group, text) for group in groups),
            pa.field("license", text, nullable=False),
            pa.field("language", text),
            pa.field("notes", pa.list_(text), nullable=False),
            pa.field("earlier", pa.bool_(), nullable=False),
            pa.field("cut", text),
            pa.field("reason", text),
            pa.field("detail", text, nullable=False),
            pa.field("score", pa.float64()),
            pa.field("threshold", pa.float64()),
            pa.field("content", text),
        ]
    )


def prepare_piece(task: PieceTask, *, plan: PreparePlan) -> int:
    """Prepare one piece, unless that was done before; the number of its rows. The table is written last."""
    if task.table.exists():
        return int(open_arrow(task.table).num_rows)
    rows = prepare_rows(read_piece(task.piece), task.source, plan)
    for folder in (task.table.parent, task.copies.parent, task.bands.parent):
        folder.mkdir(parents=True, exist_ok=True)
    kept = [number for number, row in enumerate(rows) if row.leaves is None]
    texts = [rows[number].text or "" for number in kept]
    places = task.place + np.array(kept, np.int64)
    write_entries(task.copies, _copy_entries(texts, places, [_label_of(rows[number], plan) for number in kept]))
    if plan.near is not None:
        write_entries(task.bands, _band_entries(texts, places, plan.near))
    table = pa.Table.from_pylist(
        [_record(row, task, task.place + number, plan) for number, row in enumerate(rows)],
        schema=table_schema(plan.groups, messages=plan.labels is None),
    )
    write_arrow(task.table, table)
    reached("piece-prepared")
    return len(rows)


def prepare_rows(rows: Any, source: SourcePlan, plan: PreparePlan) -> list[PreparedRow]:
    """Every row mapped, cleaned and judged, in the same order."""
    mapping = Mapping(source, groups=() if source.earlier else plan.groups)
    found = [_mapped(row, mapping, source, plan) for row in rows]
    open_rows = [row for row in found if row.leaves is None and row.mapped is not None]
    texts = [row.mapped.text if plan.labels is not None else row.mapped.words for row in open_rows if row.mapped]
    cleaned = plan.cleaner(texts, html=source.html)
    for row, clean in zip(open_rows, cleaned, strict=True):
        row.text, row.language, row.leaves = clean.text, clean.language, clean.leaves
        row.notes += clean.notes
        label = row.mapped.label if row.mapped else None
        if plan.labels is None:
            _keep_turns(row, plan.cleaner, source.html)
        elif row.leaves is None and label is not None and label not in plan.labels:
            row.leaves = Leaves("head", "label not in the list", f"{label!r} is not one of {list(plan.labels)}")
    if plan.benchmarks is not None and not source.earlier:
        _look_for_benchmarks([row for row in open_rows if row.leaves is None], plan.benchmarks)
    return found


def _mapped(row: Row | Unreadable, mapping: Mapping, source: SourcePlan, plan: PreparePlan) -> PreparedRow:
    if isinstance(row, Unreadable):
        return PreparedRow(row.origin, row.raw, leaves=Leaves("head", "unreadable", row.reason))
    found = PreparedRow(row.origin)
    mapped = mapping(row)
    if isinstance(mapped, Refused):
        found.leaves = Leaves(mapped.cut, mapped.reason, mapped.detail)
    else:
        found.mapped = mapped
        if not source.earlier:
            found.license, refusal = plan.licenses[source.name, mapped.license]
            if refusal:
                found.leaves = Leaves("head", "no right to use", refusal)
    if found.leaves is not None:
        found.content = json.dumps(row.values, ensure_ascii=False, default=str)
    return found


def _keep_turns(row: PreparedRow, cleaner: Cleaner, html: bool) -> None:
    """The row's turns, each cleaned as its whole text was, and the text made of them anew.

    A turn without text stays one, since turns mean what they mean by their order; only a missing prompt or completion
    is none. A conversation leaves where nobody asks, or where a turn is of somebody that chat templates do not know:
    what a template leaves out would be missing without a sign.
    """
    if row.mapped is None or row.leaves is not None or all(part.role in _PLAIN for part in row.mapped.parts):
        return
    parts = [Part(part.role, cleaner.part(part.text, html=html)) for part in row.mapped.parts]
    row.text = joined(tuple(parts))
    turns = [(_ROLES.get(role, role), text) for role, text in parts if text or role not in _ROLES]
    others = sorted({role for role, _ in turns} - _KNOWN_ROLES)
    if others:
        row.leaves = Leaves("head", "another role", f"{', '.join(others)}; not one of system, user, assistant")
    elif not any(role == "user" and text.strip() for role, text in turns):
        row.leaves = Leaves("head", "nothing is asked", "no turn of the user holds text")
    row.messages = [{"role": role, "content": text} for role, text in turns]


def _look_for_benchmarks(rows: list[PreparedRow], index: Index) -> None:
    for hit in scan([row.text or "" for row in rows], index):
        row, item = rows[hit.row], index.items[hit.item]
        told = f"{item.name}: {hit.kind}, {hit.share:.0%} of it: {hit.excerpt}"
        if verdict(hit) == "cut":
            row.leaves = row.leaves or Leaves("head", "contamination", told, hit.share)
        else:
            row.notes.append(f"contamination? {told}")


def _label_of(row: PreparedRow, plan: PreparePlan) -> int:
    label = row.mapped.label if row.mapped else None
    return NO_LABEL if label is None or plan.labels is None else plan.labels.index(label)


def _copy_entries(texts: list[str], places: npt.NDArray[np.int64], labels: list[int]) -> npt.NDArray[Any]:
    entries = np.zeros(len(texts), COPY_ENTRY)
    digests = b"".join(
        hashlib.blake2b(duplicate_key(text).encode("utf-8", "surrogatepass"), digest_size=16).digest() for text in texts
    )
    halves = np.frombuffer(digests, "<u8").reshape(-1, 2)
    entries["key"], entries["rest"] = halves[:, 0], halves[:, 1]
    entries["place"], entries["label"] = places, labels
    return entries


def _band_entries(texts: list[str], places: npt.NDArray[np.int64], near: NearPlan) -> npt.NDArray[Any]:
    rows, keys = band_keys(
        texts, threshold=near.threshold, words=near.words, characters=near.characters, seed=near.seed
    )
    entries = np.zeros(keys.size, BAND_ENTRY)
    entries["key"] = keys.ravel()
    entries["order"] = np.roll(keys, -1, axis=1).ravel()
    entries["place"] = np.repeat(places[rows], keys.shape[1])
    return entries


def _record(row: PreparedRow, task: PieceTask, place: int, plan: PreparePlan) -> dict[str, Any]:
    groups = row.mapped.groups if row.mapped and row.mapped.groups else [None] * len(plan.groups)
    leaves = row.leaves
    return {
        "place": place,
        "source": task.source.name,
        "origin": row.origin,
        "id": None if row.text is None else content_id({"text": row.text}),
        "text": row.text,
        **({"messages": row.messages} if plan.labels is None else {}),
        "label": row.mapped.label if row.mapped else None,
        **{GROUP_PREFIX + name: value for name, value in zip(plan.groups, groups, strict=True)},
        "license": row.license,
        "language": row.language,
        "notes": row.notes,
        "earlier": task.source.earlier,
        "cut": leaves.cut if leaves else None,
        "reason": leaves.reason if leaves else None,
        "detail": leaves.detail if leaves else "",
        "score": leaves.score if leaves else None,
        "threshold": leaves.threshold if leaves else None,
        "content": (row.content or row.text or "") if leaves else None,
    }

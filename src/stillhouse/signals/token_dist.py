"""Next-token distributions of a teacher, some thirty bytes a token, read at random by document id.

A folder of Arrow files, each whole or absent, with one blob per sequence. The header names all that changes a row; a
reader that expects something else is refused, and so is a blob whose bytes or whose tokens are not those written.

    with TokenDistWriter(folder, header) as writer:
        writer.add(document, ids, 1, encode(rows, header.layout))
    signal = TokenDist.open(folder, expect={"tokenizer": digest})
    distribution = signal.read(document, ids)          # rows about ids[1:]
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from stillhouse.errors import StillhouseError, first_line
from stillhouse.signals.header import Header
from stillhouse.signals.rows import Distribution, decode
from stillhouse.store import write_atomically

FOLDER = Path("signals") / "token_dist"
_HEADER = b"stillhouse.signal"
_FILE_BYTES = 4 * 2**20  # blobs a file holds: what is lost by a kill, and what the writer keeps in memory

Tokens = npt.ArrayLike

_COLUMNS = pa.schema(
    [
        pa.field("id", pa.string(), nullable=False),
        pa.field("tokens", pa.uint32(), nullable=False),
        pa.field("digest", pa.binary(8), nullable=False),
        pa.field("blob", pa.binary(), nullable=False),
    ]
)


class TokenDistWriter:
    """Writes a folder of token distributions; goes on after an interruption with the files that are whole."""

    def __init__(self, folder: Path, header: Header, *, file_bytes: int = _FILE_BYTES) -> None:
        self.header = header
        self._folder = folder / FOLDER
        self._file_bytes = file_bytes
        self._rows: list[tuple[str, int, bytes, bytes]] = []
        self._bytes = 0
        self._known: set[str] = set()
        self._files = len(_files(folder))
        if self._files:
            self._known = set(TokenDist.open(folder, expect=asdict(header)).ids)

    def __enter__(self) -> TokenDistWriter:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._flush()  # what was added is whole, even where the caller failed later

    def __contains__(self, identifier: object) -> bool:
        """Whether the document is stored already, or added."""
        return identifier in self._known

    def add(self, identifier: str, ids: Tokens, start: int, blob: bytes) -> None:
        """Add one document: its rows are about ``ids[start:]``. A document can be added once."""
        if identifier in self._known:
            raise ValueError(f"{identifier} is stored already")
        tokens = _token_array(ids)
        digest = _digest(self.header.as_json(), identifier, tokens, start, blob)
        self._known.add(identifier)
        self._rows.append((identifier, max(0, len(tokens) - start), digest, blob))
        self._bytes += len(blob)
        if self._bytes >= self._file_bytes:
            self._flush()

    def _flush(self) -> None:
        if not self._rows and self._files:
            return
        columns = [list(column) for column in zip(*self._rows, strict=True)] or [[] for _ in _COLUMNS]
        arrays = [pa.array(column, field.type) for column, field in zip(columns, _COLUMNS, strict=True)]
        schema = _COLUMNS.with_metadata({_HEADER: self.header.as_json()})
        sink = pa.BufferOutputStream()
        with pa.ipc.new_file(sink, schema) as stream:
            stream.write_batch(pa.record_batch(arrays, schema=schema))
        write_atomically(self._folder / f"{self._files:05d}.arrow", sink.getvalue().to_pybytes())
        self._files += 1
        self._rows, self._bytes = [], 0


class TokenDist:
    """Token distributions of a teacher, memory-mapped. Made by :meth:`open`."""

    def __init__(self, header: Header, place: Mapping[str, tuple[_File, int]], where: Path) -> None:
        self.header = header
        self._fingerprint = header.as_json()
        self._place = place
        self._where = where

    @classmethod
    def open(cls, folder: Path, *, expect: Mapping[str, Any] | None = None) -> TokenDist:
        """Open what a writer left below ``folder``.

        expect: header fields that must have the given values. Raises :class:`StillhouseError` when one has not, when a
        file is torn, of another schema, or of another header than its neighbours, and when a document comes twice.
        """
        files = [_File.open(path) for path in _files(folder)]
        if not files:
            raise StillhouseError(
                "there are no token distributions", where=str(folder / FOLDER), fix="run stage 2 with a local teacher"
            )
        header = files[0].header
        for file in files[1:]:
            file.header.check(asdict(header), file.path)
        header.check(expect or {}, folder / FOLDER)
        place: dict[str, tuple[_File, int]] = {}
        for file in files:
            for row, identifier in enumerate(file.ids):
                if identifier in place:
                    raise StillhouseError(
                        f"the document {identifier} is stored twice", where=str(file.path), fix="run stage 2 again"
                    )
                place[identifier] = (file, row)
        return cls(header, place, folder / FOLDER)

    @property
    def ids(self) -> tuple[str, ...]:
        """The documents that are stored, in the order they were written."""
        return tuple(self._place)

    def __contains__(self, identifier: object) -> bool:
        return identifier in self._place

    def __len__(self) -> int:
        return len(self._place)

    def tokens(self) -> int:
        """How many tokens the rows are about, over all documents."""
        return sum(int(file.tokens[row]) for file, row in self._place.values())

    def tokens_of(self, identifier: str) -> int:
        """How many tokens the rows of one stored document are about."""
        file, row = self._place[identifier]
        return int(file.tokens[row])

    def blob(self, identifier: str, ids: Tokens, start: int) -> bytes | None:
        """The bytes as they were written, for another folder; ``None`` where they are not of just these tokens."""
        tokens = _token_array(ids)
        if identifier not in self._place or self.tokens_of(identifier) != max(0, len(tokens) - start):
            return None
        file, row = self._place[identifier]
        found = file.blob(row)
        same = _digest(self._fingerprint, identifier, tokens, start, found) == file.digest(row)
        return bytes(found) if same else None

    def read(self, identifier: str, ids: Tokens, start: int = 1) -> Distribution:
        """The rows about ``ids[start:]`` of a document, where ``ids`` are all the tokens that the teacher read."""
        return self.read_many([(identifier, ids)], start)[0]

    def read_many(self, documents: Sequence[tuple[str, Tokens]], start: int = 1) -> list[Distribution]:
        """As :meth:`read` for several (id, tokens) at once, which is faster for short documents.

        Raises :class:`StillhouseError` when a document is not stored, or its tokens or bytes are not those written.
        """
        gold, blobs = [], []
        for identifier, ids in documents:
            tokens = _token_array(ids)
            gold.append(tokens[start:])
            blobs.append(self._blob(identifier, tokens, start))
        if self.header.form == "dense":
            return [_dense_rows(blob, self.header.vocabulary) for blob in blobs]
        return decode(blobs, gold, self.header.layout)

    def _blob(self, identifier: str, tokens: npt.NDArray[np.uint32], start: int) -> memoryview:
        if identifier not in self._place:
            raise StillhouseError(
                f"the document {identifier} has no token distributions", where=str(self._where), fix="run stage 2 again"
            )
        file, row = self._place[identifier]
        blob, stored, asked = file.blob(row), int(file.tokens[row]), max(0, len(tokens) - start)
        if stored != asked or _digest(self._fingerprint, identifier, tokens, start, blob) != file.digest(row):
            raise StillhouseError(
                f"the distributions of document {identifier} are about other tokens ({stored} stored, {asked} asked"
                " for), or their bytes are corrupt",
                where=str(file.path),
                fix="use the tokenizer, template and truncation that stage 2 used, or run stage 2 again",
            )
        return blob


class _File:
    """One memory-mapped Arrow file, its columns as plain buffers."""

    def __init__(self, path: Path, header: Header, batch: pa.RecordBatch) -> None:
        self.path = path
        self.header = header
        self.ids: list[str] = batch.column("id").to_pylist()
        self.tokens: npt.NDArray[np.uint32] = batch.column("tokens").to_numpy()
        self._digests = memoryview(batch.column("digest").buffers()[1] or b"")
        _, offsets, blobs = batch.column("blob").buffers()
        self._offsets = np.frombuffer(offsets or bytes(4), dtype="<i4").tolist()
        self._blobs = memoryview(blobs or b"")

    @classmethod
    def open(cls, path: Path) -> _File:
        try:
            with pa.ipc.open_file(pa.memory_map(str(path))) as reader:
                schema = reader.schema
                if not schema.equals(_COLUMNS) or reader.num_record_batches != 1:
                    raise pa.ArrowInvalid("other columns than those of token distributions")
                header = Header.from_json((schema.metadata or {}).get(_HEADER, b""), path)
                batch = reader.get_batch(0)
                batch.validate(full=True)
                return cls(path, header, batch)
        except (pa.ArrowException, OSError, UnicodeDecodeError, ValueError) as error:
            raise StillhouseError(
                f"the file is torn or corrupt: {first_line(error)}",
                where=str(path),
                fix="remove the file and run stage 2 again: only its documents are asked about anew",
            ) from error

    def blob(self, row: int) -> memoryview:
        return self._blobs[self._offsets[row] : self._offsets[row + 1]]

    def digest(self, row: int) -> bytes:
        return bytes(self._digests[8 * row : 8 * row + 8])


def encode_dense(probs: npt.NDArray[np.floating[Any]]) -> bytes:
    """The blob of the dense form: probabilities (L, V) in float32, row by row."""
    return np.ascontiguousarray(probs, dtype="<f4").tobytes()


def _dense_rows(blob: memoryview, vocabulary: int) -> Distribution:
    probs = np.frombuffer(blob, dtype="<f4").reshape(-1, vocabulary)
    ids = np.broadcast_to(np.arange(vocabulary, dtype=np.int32), probs.shape)
    length = len(probs)
    return Distribution(ids, probs, np.full(length, vocabulary, np.int32), np.zeros(length, np.float32))


def _files(folder: Path) -> list[Path]:
    return sorted((folder / FOLDER).glob("*.arrow"))


def _token_array(ids: Tokens) -> npt.NDArray[np.uint32]:
    return np.asarray(ids, dtype="<u4").reshape(-1)


def _digest(
    header: str, identifier: str, tokens: npt.NDArray[np.uint32], start: int, blob: bytes | memoryview
) -> bytes:
    """The first 64 bits that tie a blob to its header, its document and the tokens that the teacher read."""
    digest = hashlib.blake2b(f"{header}\n{identifier}\n{start}\n{len(tokens)}\n".encode(), digest_size=8)
    digest.update(tokens.tobytes())
    digest.update(blob)
    return digest.digest()

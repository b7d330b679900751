"""Files as lines of text: decompressed, decoded whatever the locale, and split at line feeds only.

    with opened(path, encoding="utf-8") as source:
        for line in lines(source):
            line.number, line.text, line.fault          # the text keeps its line end

Also the two things a line can become: a :class:`Row` or an :class:`Unreadable`.
"""

from __future__ import annotations

import codecs
import gzip
import io
import zlib
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, NamedTuple, cast

from stillhouse.errors import StillhouseError

SAMPLE_BYTES = 1 << 16
LONGEST_LINE = 1 << 28  # bytes; a longer "line" is a file without line ends, which must not fill the memory
RAW_CHARACTERS = 500
COMPRESSED = (".gz", ".zst", ".zstd")
_GZIP, _ZSTD = b"\x1f\x8b", b"\x28\xb5\x2f\xfd"
_MARK = "\ufeff"
_WIDE_MARKS = (codecs.BOM_UTF32_LE, codecs.BOM_UTF16_LE, codecs.BOM_UTF32_BE, codecs.BOM_UTF16_BE)


@dataclass(frozen=True)
class Row:
    """One row as it stood in the file; ``origin`` is the source's name and the 1-based line (or row) number."""

    origin: str
    values: dict[str, object]


@dataclass(frozen=True)
class Unreadable:
    """One line (or row) that could not be parsed, why, and its first 500 characters."""

    origin: str
    reason: str
    raw: str


class Line(NamedTuple):
    """One physical line. ``fault`` says why it could not be decoded; its text then has replacement characters."""

    number: int
    text: str
    fault: str


@dataclass(frozen=True)
class Opened:
    """An open text file: its decompressed bytes, the codec that decodes them, and how the text begins."""

    path: Path
    stream: BinaryIO
    codec: str
    sample: str


@contextmanager
def opened(path: Path, *, encoding: str) -> Iterator[Opened]:
    """Open a text file, gzip and Zstandard included (known by their first bytes, not by the name).

    Raises :class:`StillhouseError` for a file that is missing, empty, binary, in another encoding, or whose
    compressed stream breaks off, and for an encoding that Python does not know.
    """
    try:
        with ExitStack() as stack:
            stream = _decompressed(stack.enter_context(path.open("rb")), stack)
            head = stream.peek(SAMPLE_BYTES)
            if not head:
                raise StillhouseError("the file is empty", where=str(path), fix="remove it, or fetch it again")
            codec = _codec(encoding, head, path)
            sample = _checked_sample(head, codec, path)
            yield Opened(path, cast(BinaryIO, stream), codec, sample)
    except (OSError, EOFError, zlib.error) as error:
        raise StillhouseError(
            f"the file cannot be read: {error}", where=str(path), fix="check the path, or fetch the file again"
        ) from error


def lines(source: Opened) -> Iterator[Line]:
    """Every physical line with its number from 1; a byte order mark at the start of the file is gone.

    Only a line feed ends a line, so U+2028, U+2029 and U+0085 stay inside their text. A zero character raises
    :class:`StillhouseError`: no text format has one, and a write that was cut off by a power failure has many.
    """
    # some codecs, unlike UTF-8, let lone surrogates through, which cannot be written back
    lenient = source.codec != "utf-8"
    offset = 0
    for number, raw in enumerate(_pieces(source), start=1):
        fault = ""
        try:
            text = raw.decode(source.codec)
            if lenient:
                text.encode("utf-8")
        except UnicodeError as error:
            at = offset + (error.start if isinstance(error, UnicodeDecodeError) else 0)
            fault = f"not valid {source.codec} at byte {at}"
            text = raw.decode(source.codec, "replace").encode("utf-8", "replace").decode("utf-8")
        if "\0" in text:
            raise StillhouseError(
                f"the file is binary: line {number}, which starts at byte {offset}, has zero bytes",
                where=str(source.path),
                fix="fetch or write the file again, or set `format`",
            )
        yield Line(number, text.removeprefix(_MARK) if number == 1 else text, fault)
        offset += len(raw)


def without_end(text: str) -> str:
    """The line's text without its line feed and the one carriage return before it."""
    return text.removesuffix("\n").removesuffix("\r")


def is_blank(text: str) -> bool:
    """Whether a line holds nothing but spaces, tabs and its line end."""
    return not text.strip(" \t\r\n")


def suffix_of(path: Path) -> str:
    """The file's ending in lower case, that of a compression aside: ``.csv`` of ``Rows.CSV.gz``."""
    endings = [suffix.lower() for suffix in path.suffixes]
    while endings and endings[-1] in COMPRESSED:
        endings.pop()
    return endings[-1] if endings else ""


def unreadable(origin: str, reason: str, raw: str) -> Unreadable:
    """An :class:`Unreadable` whose ``raw`` is short enough for a report."""
    return Unreadable(origin, reason, without_end(raw[: RAW_CHARACTERS + 2])[:RAW_CHARACTERS])


def _decompressed(file: io.BufferedReader, stack: ExitStack) -> io.BufferedReader:
    magic = file.peek(4)
    if magic.startswith(_GZIP):
        unzipped = stack.enter_context(gzip.GzipFile(fileobj=file))
        return io.BufferedReader(cast(io.RawIOBase, unzipped), SAMPLE_BYTES)
    if magic.startswith(_ZSTD):
        import pyarrow as pa

        return io.BufferedReader(stack.enter_context(pa.CompressedInputStream(file, "zstd")), SAMPLE_BYTES)
    return io.BufferedReader(cast(io.RawIOBase, file), SAMPLE_BYTES)


def _codec(encoding: str, head: bytes, path: Path) -> str:
    """The codec for single lines: a UTF-16 or UTF-32 file states its byte order once, at its start."""
    try:
        codec = codecs.lookup(encoding).name
        "\n".encode(codec)
    except (LookupError, ValueError) as error:
        raise StillhouseError(
            f"{encoding!r} is not a text encoding", where=str(path), fix="set `encoding`, for example utf-8 or cp1252"
        ) from error
    if codec in ("utf-16", "utf-32"):
        return codec + ("-be" if head.startswith((codecs.BOM_UTF16_BE, codecs.BOM_UTF32_BE)) else "-le")
    if codec == "utf-8-sig":
        return "utf-8"
    if codec == "utf-8" and head.startswith(_WIDE_MARKS):
        raise StillhouseError(
            "the file says by its first bytes that it is UTF-16 or UTF-32",
            where=str(path),
            fix="set `encoding: utf-16` (or utf-32)",
        )
    return codec


def _checked_sample(head: bytes, codec: str, path: Path) -> str:
    """The start of the file as text; refuses what is binary, or mostly in another encoding."""
    decoder = codecs.getincrementaldecoder(codec)
    bad = 0
    try:
        text = decoder("strict").decode(head)  # not final: a character cut by the sample's end is no fault
    except UnicodeError:
        text = decoder("replace").decode(head)
        bad = text.count("\ufffd")
    if "\0" in text or bad > 0.3 * len(text):
        raise StillhouseError(
            f"the file is binary, or it is not {codec} text", where=str(path), fix="set `format` or `encoding`"
        )
    parts = text.split("\n")
    if bad and len(parts) > 10 and 2 * sum("\ufffd" in part for part in parts) > len(parts):
        raise StillhouseError(
            f"most lines of the file are not valid {codec}", where=str(path), fix="set `encoding`, for example cp1252"
        )
    return text.removeprefix(_MARK)


def _pieces(source: Opened) -> Iterator[bytes]:
    """The file's bytes, cut after each line feed."""
    newline = "\n".encode(source.codec)
    if newline != b"\n":
        yield from _wide_pieces(source.stream, newline)
        return
    while piece := source.stream.readline(LONGEST_LINE):
        if len(piece) == LONGEST_LINE and not piece.endswith(newline):
            raise StillhouseError(
                f"a line is longer than {LONGEST_LINE >> 20} MiB",
                where=str(source.path),
                fix="write one row per line, ended by a line feed",
            )
        yield piece


def _wide_pieces(stream: BinaryIO, newline: bytes) -> Iterator[bytes]:
    """As :func:`_pieces` where a line feed has several bytes; it counts only where a character may start."""
    width = len(newline)
    rest = bytearray()
    while chunk := stream.read(SAMPLE_BYTES):
        rest += chunk
        start = at = 0
        while (at := rest.find(newline, at)) >= 0:
            if at % width:
                at += 1
                continue
            yield bytes(rest[start : at + width])
            start = at = at + width
        del rest[:start]
    if rest:
        yield bytes(rest)


def refuse_repeated(names: list[str], path: Path, *, fix: str) -> None:
    """Raise :class:`StillhouseError` when two columns of a file have the same name; ``fix`` says what to change."""
    repeated = sorted({name for name in names if names.count(name) > 1})
    if repeated:
        raise StillhouseError(
            f"two columns have the same name: {', '.join(map(repr, repeated))}", where=str(path), fix=fix
        )

"""JSON rows: one object per line, or one array of objects in a ``.json`` file.

for row in read_lines(path, label="movie", encoding="utf-8"):
    ...                                             # Row or Unreadable, one per non-blank line
"""

from __future__ import annotations

import codecs
import json
from collections.abc import Iterator
from pathlib import Path

from stillhouse.errors import StillhouseError
from stillhouse.raw.lines import Opened, Row, Unreadable, is_blank, lines, opened, suffix_of, unreadable, without_end

_CHUNK = 1 << 16
_SPACE = " \t\r\n"


class _Objects:
    """A JSON decoder that notices a key written twice, of which plain decoding would silently drop one."""

    def __init__(self) -> None:
        self.repeated: str | None = None
        self.decoder = json.JSONDecoder(object_pairs_hook=self._object)

    def _object(self, pairs: list[tuple[str, object]]) -> dict[str, object]:
        values = dict(pairs)
        if len(values) != len(pairs):
            keys = [key for key, _ in pairs]
            self.repeated = next(key for key in keys if keys.count(key) > 1)
        return values

    def row(self, value: object, origin: str, raw: str) -> Row | Unreadable:
        """The decoded value as a row, unless it is no object or holds what cannot be kept."""
        repeated, self.repeated = self.repeated, None
        if not isinstance(value, dict):
            return unreadable(origin, f"holds a JSON {_kind(value)}, not an object", raw)
        if repeated is not None:
            return unreadable(origin, f"the key {repeated[:50]!r} is there twice", raw)
        # only an escape can put a surrogate into decoded text, so most rows are spared the check
        if ("\\ud" in raw or "\\uD" in raw) and _has_surrogate(value):
            return unreadable(origin, "holds half a surrogate pair, which is not a character", raw)
        return Row(origin, value)


def read_lines(path: Path, *, label: str, encoding: str) -> Iterator[Row | Unreadable]:
    """Every non-blank line as a row (origin ``label:line``); a ``.json`` file that starts with ``[`` as one array.

    Raises :class:`StillhouseError` for a file that is no text (see :func:`opened`) or whose array is broken.
    """
    objects = _Objects()
    with opened(path, encoding=encoding) as source:
        if suffix_of(path) == ".json":
            start = source.sample.lstrip(_SPACE)
            if start.startswith("["):
                yield from _array(source, objects, label)
                return
            if start.split("\n", 1)[0].strip(_SPACE) == "{":
                raise StillhouseError(
                    "the file is one JSON object over many lines, not rows",
                    where=str(path),
                    fix="write one object per line, or an array of objects",
                )
        for line in lines(source):
            if is_blank(line.text):
                continue
            origin = f"{label}:{line.number}"
            if line.fault:
                yield unreadable(origin, line.fault, line.text)
                continue
            text = without_end(line.text)
            try:
                value = objects.decoder.decode(text)
            except (ValueError, RecursionError) as error:  # a number of more than 4300 digits is a ValueError
                objects.repeated = None
                yield unreadable(origin, f"is not JSON: {_reason(error)}", text)
                continue
            yield objects.row(value, origin, text)


def _array(source: Opened, objects: _Objects, label: str) -> Iterator[Row | Unreadable]:
    """The elements of one top-level array, decoded one by one so that the file never lies in memory as a whole.

    After a broken element nothing tells where the next one starts: that is an error, not a lost rest.
    """
    text = _Text(source)
    text.skip(1)  # the bracket
    number = 0
    mark = "]" if text.next_character() == "]" else ","
    if mark == "]":
        text.skip(1)
    while mark == ",":
        number += 1
        value, raw = text.element(objects, number)
        yield objects.row(value, f"{label}:{number}", raw)
        mark = text.next_character()
        text.skip(1)
    if mark != "]":
        raise text.broken(number, "neither a comma nor a bracket follows it")
    if text.next_character():
        raise text.broken(number, "more follows the end of the array")


class _Text:
    """The part of the file's text that is not yet consumed."""

    def __init__(self, source: Opened) -> None:
        self._path = source.path
        self._stream = source.stream
        self._decoder = codecs.getincrementaldecoder(source.codec)("strict")
        self._text = ""
        self._at = 0
        self._more = True
        if self.next_character() == "\ufeff":
            self._at += 1
            self.next_character()

    def next_character(self) -> str:
        """The next character that is no white space, not consumed; empty at the end of the file."""
        while True:
            while self._at < len(self._text):
                if self._text[self._at] not in _SPACE:
                    return self._text[self._at]
                self._at += 1
            if not self._grow(_CHUNK):
                return ""

    def skip(self, count: int) -> None:
        """Consume so many characters."""
        self._at += count

    def element(self, objects: _Objects, number: int) -> tuple[object, str]:
        """Consume the next element; its value and how it was written."""
        self.next_character()
        size = _CHUNK
        while True:
            try:
                value, end = objects.decoder.raw_decode(self._text, self._at)
            except (ValueError, RecursionError) as error:
                problem = _reason(error)
                if not self._may_be_cut(error):
                    raise self.broken(number, problem) from error
            else:
                # a number that touches the end of what was read may go on
                if end < len(self._text) or not self._more:
                    raw, self._at = self._text[self._at : end], end
                    return value, raw
                problem = ""
            objects.repeated = None
            size *= 2  # doubling keeps the work linear in the length of a long element
            if not self._grow(size) and problem:
                raise self.broken(number, problem)

    def broken(self, number: int, problem: str) -> StillhouseError:
        """The error that names the element at which the array stops making sense."""
        return StillhouseError(
            f"the JSON array is broken at element {number}: {problem}",
            where=str(self._path),
            fix="mend the file, or write one object per line",
        )

    def _may_be_cut(self, error: Exception) -> bool:
        """Whether the element may only be incomplete: the fault is where the text ends, or a string is open."""
        if not isinstance(error, json.JSONDecodeError):
            return False
        return error.msg.startswith("Unterminated") or error.pos > len(self._text) - 16

    def _grow(self, size: int) -> bool:
        if not self._more:
            return False
        data = self._stream.read(size)
        self._more = bool(data)
        try:
            text = self._decoder.decode(data, final=not data)
        except UnicodeError as error:
            raise StillhouseError(
                f"the JSON array cannot be decoded: {error}", where=str(self._path), fix="set `encoding`"
            ) from error
        self._text = self._text[self._at :] + text
        self._at = 0
        return True


def _has_surrogate(value: object) -> bool:
    try:
        json.dumps(value, ensure_ascii=False).encode("utf-8")
    except UnicodeEncodeError:
        return True
    return False


def _kind(value: object) -> str:
    names = {list: "array", str: "string", bool: "true or false", type(None): "null"}
    return names.get(type(value), "number")


def _reason(error: Exception) -> str:
    if isinstance(error, json.JSONDecodeError):
        return f"{error.msg} (character {error.colno})"
    return "nested too deeply" if isinstance(error, RecursionError) else "a number has too many digits"

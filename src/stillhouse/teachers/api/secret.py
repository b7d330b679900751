"""A key that hides itself: it goes into one request header, and nowhere else.

key = Key("sk-...")            # or Key.read(path)
print(key)                     # Key(hidden)
key.scrub(text)                # text with the key's value taken out, should a server echo it
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, NoReturn

from stillhouse.errors import StillhouseError

_SHORTEST = 8  # shorter values are stand-ins such as EMPTY, and are words of real texts too
_MARK = "[key]"


class Key:
    """An API key. Its value can be neither printed, copied into JSON, pickled nor found in ``vars()``."""

    __slots__ = ("__value",)

    def __init__(self, value: str) -> None:
        value = value.strip()
        if not value or not value.isascii() or not value.isprintable() or " " in value:
            raise StillhouseError(
                "the API key is empty or holds characters that no key has",
                where="the key of the API teacher",
                fix="give the key alone, on one line",
            )
        self.__value = value

    @classmethod
    def read(cls, path: Path) -> Key:
        """The key that a file holds on its only line."""
        try:
            return cls(path.read_text("utf-8"))
        except (OSError, UnicodeDecodeError):
            raise StillhouseError(
                "the file of the API key cannot be read", where=str(path), fix="check the path and its permissions"
            ) from None

    def __repr__(self) -> str:
        return "Key(hidden)"

    def __reduce__(self) -> NoReturn:
        raise TypeError("a key is not written anywhere")

    def header(self) -> dict[str, str]:
        """The request header that carries the key."""
        return {"authorization": f"Bearer {self.__value}"}

    def scrub(self, text: str) -> str:
        """``text`` without the key's value."""
        return text.replace(self.__value, _MARK) if len(self.__value) >= _SHORTEST else text


def clean(value: Any, key: Key | None) -> Any:
    """A JSON value from outside as it may be kept: without the key's value, and with every text encodable."""
    if isinstance(value, str):
        # a lone surrogate is legal in JSON and cannot be written as UTF-8
        text = value if value.isascii() else value.encode("utf-8", "replace").decode("utf-8")
        return text if key is None else key.scrub(text)
    if isinstance(value, list):
        return [clean(item, key) for item in value]
    if isinstance(value, dict):
        return {clean(name, key): clean(item, key) for name, item in value.items()}
    return value

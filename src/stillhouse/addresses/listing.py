"""Which objects of a store an address means, by listing it; wildcards as for local files.

A key is a folder when objects lie below it, else an object, else a pattern. Only visible names count, unless a hidden
one is written out. What a folder's license, notice or README says of it comes along beside what matches.

    listing = list_objects(parse_objects("s3://bucket/rows/*.jsonl"), files, "bucket")
    listing.root, listing.wanted["a.jsonl"].bytes
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import PurePosixPath
from typing import Any

from stillhouse.addresses.buckets import ObjectAddress, cures
from stillhouse.addresses.match import has_wildcard, pattern_regex
from stillhouse.errors import StillhouseError

_ABOUT_RIGHTS = re.compile(
    r"(readme\.md|(.*licen[cs]e.*|copying.*|notices?|terms[ _-]of[ _-](use|service).*?)(\.txt|\.md|\.rst)?)", re.I
)
_TEXTS = ("", ".txt", ".md", ".rst")
_SHOWN = 20  # names in an error


@dataclass(frozen=True)
class Listed:
    """What a store says of an object. changed: nanoseconds since 1970, 0 where it is not told."""

    bytes: int
    changed: int


@dataclass(frozen=True)
class Listing:
    """root: the folder's path in the store. wanted, beside: objects by their path below it."""

    root: str
    wanted: dict[str, Listed]
    beside: dict[str, Listed]


def list_objects(address: ObjectAddress, files: Any, bucket: str) -> Listing:
    """Ask the store ``files`` (a ``pyarrow.fs.FileSystem``) which objects are meant.

    Raises :class:`StillhouseError` when there are none, when they have no place on a disk, or when the store refuses.
    """
    full = "/".join(part for part in (bucket, address.key) if part)
    if not full:
        raise StillhouseError(
            "the address names no container", where=address.text, fix="write it after the account, before the key"
        )
    root, pattern, single = _place(address, files, bucket, full)
    if single is not None:
        there = {pattern: single}
        # a license beside a model is worth a listing, but an object may be open to whoever may not list
        try:
            around = _list(address, files, root, recursive=False)
        except StillhouseError:
            around = {}
        around |= there
    else:
        around = _list(address, files, root, recursive="/" in pattern or "**" in pattern)
        if not around:
            _check_bucket(address, files, bucket)
        regex = pattern_regex(pattern)
        there = {name: one for name, one in around.items() if regex.fullmatch(name)}
    if not there:
        raise _nothing(address, root, around)
    folders = {".", *(PurePosixPath(name).parent.as_posix() for name in there)}
    beside = {
        name: one
        for name, one in around.items()
        if name not in there and PurePosixPath(name).parent.as_posix() in folders and _about_rights(name)
    }
    _check_names(address, [*there, *beside])
    return Listing(root, there, beside)


def _place(address: ObjectAddress, files: Any, bucket: str, full: str) -> tuple[str, str, Listed | None]:
    """The folder to look in, the pattern to look for, and what is told of the one object that is meant."""
    from pyarrow.fs import FileType

    path, parts = full.rstrip("/"), full.rstrip("/").split("/")
    wild = next((index for index, part in enumerate(parts) if has_wildcard(part)), None)
    if path == bucket or (full.endswith("/") and wild is None):
        return path, "**", None
    with cures(address):
        info = files.get_file_info(path)  # before wildcards: an object may well be called `a[1].csv`
    folder, _, name = path.rpartition("/")
    if info.type == FileType.Directory:
        return path, "**", None
    if info.type == FileType.File:
        return folder, name, _listed(info)
    if wild is not None:
        return "/".join(parts[:wild]), "/".join(parts[wild:]), None
    _check_bucket(address, files, bucket)
    close = get_close_matches(name, _names_in(address, files, folder), n=3)
    raise StillhouseError(
        "no such object or folder" + (f"; did you mean {' or '.join(close)}?" if close else ""),
        where=address.text,
        fix="correct the key, which is meant literally, wildcards aside",
    )


def _check_bucket(address: ObjectAddress, files: Any, bucket: str) -> None:
    """A listing of what is not there is empty, be it the folder or the bucket that is missing."""
    from pyarrow.fs import FileType

    with cures(address):
        if bucket and files.get_file_info(bucket).type == FileType.NotFound:
            raise FileNotFoundError(bucket)


def _names_in(address: ObjectAddress, files: Any, folder: str) -> list[str]:
    from pyarrow.fs import FileSelector

    with cures(address):
        found = files.get_file_info(FileSelector(folder, allow_not_found=True))
    return [info.base_name for info in found]


def _list(address: ObjectAddress, files: Any, root: str, *, recursive: bool) -> dict[str, Listed]:
    from pyarrow.fs import FileSelector, FileType

    with cures(address):
        found = files.get_file_info(FileSelector(root, recursive=recursive, allow_not_found=True))
    return {info.path[len(root) + 1 :]: _listed(info) for info in found if info.type == FileType.File}


def _listed(info: Any) -> Listed:
    return Listed(info.size, info.mtime_ns or 0)


def _about_rights(name: str) -> bool:
    path = PurePosixPath(name)
    return path.suffix.casefold() in _TEXTS and _ABOUT_RIGHTS.fullmatch(path.name) is not None


def _check_names(address: ObjectAddress, names: Iterable[str]) -> None:
    """Keys are any text; on a disk they must be relative paths, and none the folder of another."""
    known = set(names)
    above = {parent.as_posix() for name in known for parent in PurePosixPath(name).parents}
    for name in sorted(known):
        if name in above or any(part in ("", ".", "..") for part in name.split("/")) or "\0" in name:
            why = "is an object and a folder at once" if name in above else "is no path that a disk can have"
            raise StillhouseError(
                f"the key {name!r} {why}", where=address.text, fix="leave it out by a narrower pattern, or rename it"
            )


def _nothing(address: ObjectAddress, root: str, around: dict[str, Listed]) -> StillhouseError:
    shown = "".join(f"\n    {name}" for name in sorted(around)[:_SHOWN])
    return StillhouseError(
        f"no object below {root}/ matches" if around else f"no object is below {root}/",
        where=address.text,
        fix="correct the key; wildcards match no hidden names, and * does not cross folders (use **)"
        + (f"; {len(around)} objects are there, among them{shown}" if shown else ""),
    )

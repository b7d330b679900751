"""Members of an archive (zip, wheel, tar with gz, bz2 or xz), listed and copied out; nothing is run.

An archive from outside is not trusted: a path that leaves the archive makes the whole archive refused, as
do a link or a device among the wanted members and sizes beyond the limits.

    with open_archive(path, where=address, strip_root=True) as archive:
        unpacked = extract(archive, ("data/old.tar.gz", "old/*.txt"), target, where=address)
"""

from __future__ import annotations

import lzma
import re
import stat
import tarfile
import zipfile
import zlib
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from tempfile import TemporaryDirectory
from typing import IO

from stillhouse.addresses.match import pattern_regex
from stillhouse.errors import StillhouseError

_CHUNK = 1 << 20
_DRIVE = re.compile(r"[A-Za-z]:")
_BROKEN = (tarfile.TarError, zipfile.BadZipFile, zlib.error, lzma.LZMAError, EOFError, NotImplementedError)


@dataclass(frozen=True)
class Limits:
    """Most bytes that one member, and all wanted members together, may unpack to."""

    member: int = 8 << 30
    total: int = 32 << 30


@dataclass(frozen=True)
class Member:
    """A file of an archive. ``path`` is relative and safe; ``full`` still has the root folder; size in bytes."""

    path: str
    full: str
    size: int
    regular: bool
    open: Callable[[], IO[bytes]]


@dataclass(frozen=True)
class Archive:
    """An open archive; its members in the order they lie in it, the fast order to read a compressed tar in."""

    members: tuple[Member, ...]

    def matching(self, pattern: str) -> list[Member]:
        """The members whose path matches; the stripped root folder may be part of the pattern."""
        regex = pattern_regex(pattern)
        found = [member for member in self.members if regex.fullmatch(member.path)]
        return found or [member for member in self.members if regex.fullmatch(member.full)]


@dataclass(frozen=True)
class Unpacked:
    """What a pattern found, as paths below the target folder; when nothing, ``listed`` is what was there."""

    files: tuple[str, ...]
    listed: tuple[str, ...] = ()


@contextmanager
def open_archive(path: Path, *, where: str, strip_root: bool = False) -> Iterator[Archive]:
    """Open an archive for reading; ``where`` is the address that errors name.

    strip_root: leave out the one folder that all members lie in, as in a source distribution.
    """
    try:
        if zipfile.is_zipfile(path):
            with zipfile.ZipFile(path) as opened_zip:
                yield _archive(_zip_entries(opened_zip), where, strip_root)
        else:
            with tarfile.open(path, "r:*") as opened_tar:
                yield _archive(_tar_entries(opened_tar), where, strip_root)
    except _BROKEN as error:
        raise StillhouseError(
            f"{path.name} is no archive that can be read: {type(error).__name__}",
            where=where,
            fix="name a zip, whl or tar archive; if it is one, it is damaged: fetch it again",
        ) from error


def extract(
    archive: Archive, patterns: tuple[str, ...], target: Path, *, where: str, limits: Limits | None = None
) -> Unpacked:
    """Copy the matching members below ``target`` under their own paths.

    Every pattern but the last must match one archive, which the next one looks into. Raises
    :class:`StillhouseError` when a wanted member is no regular file, is too large, or an archive is broken.
    """
    found = archive.matching(patterns[0])
    if not found:
        return Unpacked((), tuple(member.path for member in archive.members))
    if len(patterns) == 1:
        copy_out(found, target, where=where, limits=limits)
        return Unpacked(tuple(sorted(member.path for member in found)))
    if len(found) > 1:
        raise StillhouseError(
            f"{len(found)} archives match {patterns[0]}: {', '.join(member.path for member in found[:5])}",
            where=where,
            fix="name one of them before the !",
        )
    with TemporaryDirectory(dir=target.parent, prefix=".inner-") as scratch:
        copy_out(found, Path(scratch), where=where, limits=limits)
        with open_archive(Path(scratch) / found[0].path, where=where) as inner:
            unpacked = extract(inner, patterns[1:], target, where=where, limits=limits)
    return Unpacked(unpacked.files, tuple(f"{found[0].path}!{name}" for name in unpacked.listed))


def copy_out(members: Iterable[Member], target: Path, *, where: str, limits: Limits | None = None) -> None:
    """Copy members below ``target``; all are checked before the first byte is written."""
    wanted, limits = list(members), limits or Limits()
    for member in wanted:
        if not member.regular:
            raise _refused(where, f"{member.full} is a link or a device, not a file")
        if member.size > limits.member:
            raise _refused(where, f"{member.full} would unpack to {member.size:,} bytes")
    if sum(member.size for member in wanted) > limits.total:
        raise _refused(where, f"its {len(wanted)} files would unpack to more than {limits.total:,} bytes")
    for member in wanted:
        path = target / member.path
        path.parent.mkdir(parents=True, exist_ok=True)
        written = 0
        with member.open() as source, path.open("xb") as sink:
            while chunk := source.read(_CHUNK):
                written += len(chunk)
                if written > member.size:  # the header lied: a bomb
                    raise _refused(where, f"{member.full} is larger than the archive says")
                sink.write(chunk)


@dataclass(frozen=True)
class _Entry:
    name: str
    size: int
    regular: bool
    open: Callable[[], IO[bytes]]


def _zip_entries(archive: zipfile.ZipFile) -> Iterator[_Entry]:
    for info in archive.infolist():
        if not info.is_dir():
            kind = stat.S_IFMT(info.external_attr >> 16)
            regular = kind in (0, stat.S_IFREG) and not info.flag_bits & 0x1  # bit 0: encrypted
            yield _Entry(info.filename, info.file_size, regular, lambda info=info: archive.open(info))  # type: ignore[misc]


def _tar_entries(archive: tarfile.TarFile) -> Iterator[_Entry]:
    def opener(info: tarfile.TarInfo) -> IO[bytes]:
        stream = archive.extractfile(info)
        if stream is None:
            raise tarfile.ReadError(info.name)
        return stream

    for info in archive:
        if not info.isdir():
            yield _Entry(info.name, info.size, info.isreg(), lambda info=info: opener(info))  # type: ignore[misc]


def _archive(entries: Iterable[_Entry], where: str, strip_root: bool) -> Archive:
    # a path that occurs twice: the later one counts, as when an archive is unpacked whole
    safe = {_safe_path(entry.name, where): entry for entry in entries}
    roots = {path.partition("/")[0] if "/" in path else "" for path in safe}
    cut = len(next(iter(roots))) + 1 if strip_root and len(roots) == 1 and "" not in roots else 0
    return Archive(tuple(Member(path[cut:], path, item.size, item.regular, item.open) for path, item in safe.items()))


def _safe_path(name: str, where: str) -> str:
    path = PurePosixPath(name.replace("\\", "/"))
    if path.is_absolute() or ".." in path.parts or not path.parts or _DRIVE.match(name):
        raise _refused(where, f"the path {name!r} leaves the archive")
    return path.as_posix()


def _refused(where: str, what: str) -> StillhouseError:
    return StillhouseError(
        f"the archive is refused: {what}",
        where=where,
        fix="do not use this archive unless you know why it is so; then unpack it by hand and give the path",
    )

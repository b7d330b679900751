"""Files that are already on this machine: a file, a folder (all visible files below it), or a glob.

files = local_files(LocalAddress("data/**/*.csv"), cache=cache, base=recipe_folder)
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from difflib import get_close_matches
from pathlib import Path

from stillhouse.addresses.address import Files, LocalAddress
from stillhouse.addresses.digests import digest_of_files, remembered_digests
from stillhouse.addresses.match import has_wildcard, pattern_regex, wants_hidden
from stillhouse.errors import StillhouseError


def local_files(address: LocalAddress, *, cache: Path, base: Path) -> Files:
    """The files under a path; relative paths start at ``base``. :class:`StillhouseError` when there is none."""
    root, pattern = _place(address, base)
    names = [pattern] if (root / pattern).is_file() else list(matching(root, pattern))
    if not names:
        raise StillhouseError(
            "no file is there",
            where=f"{address.text} (below {root})",
            fix="correct the path; wildcards match no hidden names, and * does not cross folders (use **)",
        )
    files = tuple(sorted(root / name for name in names))
    with remembered_digests(cache) as digest:
        return Files(address.text, root, files, digest_of_files(root, files, digest), {})


def matching(root: Path, pattern: str) -> Iterator[str]:
    """POSIX paths, relative to ``root``, of the files below it that match. Linked folders are entered."""
    regex, hidden = pattern_regex(pattern), wants_hidden(pattern)
    return (name for name in _walk(root, "", hidden, frozenset()) if regex.fullmatch(name))


def _place(address: LocalAddress, base: Path) -> tuple[Path, str]:
    """The folder to look in and the pattern to look for."""
    try:
        path = base.absolute() / Path(address.text).expanduser()
    except RuntimeError as error:  # ~someone who has no home here
        raise StillhouseError(str(error), where=address.text, fix="write the folder's full path") from error
    if path.is_dir():
        return path, "**"
    if path.exists():  # before wildcards: a file may well be called `a[1].csv`
        return path.parent, path.name
    parts = path.parts
    first = next((index for index, part in enumerate(parts) if has_wildcard(part)), None)
    if first is None:
        close = get_close_matches(path.name, _siblings(path), n=1)
        raise StillhouseError(
            "no such file or folder" + (f"; did you mean {close[0]}?" if close else ""),
            where=f"{address.text} (looked for {path})",
            fix="correct the path",
        )
    return Path(*parts[:first]), "/".join(parts[first:])


def _siblings(path: Path) -> list[str]:
    return [entry.name for entry in path.parent.iterdir()] if path.parent.is_dir() else []


def _walk(folder: Path, prefix: str, hidden: bool, trail: frozenset[tuple[int, int]]) -> Iterator[str]:
    if not folder.is_dir():
        return
    status = folder.stat()
    here = (status.st_dev, status.st_ino)
    if here in trail:  # a link to a folder above: a loop
        return
    with os.scandir(folder) as listing:
        entries = sorted(listing, key=lambda entry: entry.name)
    for entry in entries:
        if entry.name.startswith(".") and not hidden:
            continue
        if entry.is_dir():
            yield from _walk(Path(entry.path), f"{prefix}{entry.name}/", hidden, trail | {here})
        elif entry.is_file() or entry.is_symlink():  # a dangling link is named, and then fails aloud
            yield prefix + entry.name

"""What lies in a folder, entry by entry: regular files, and everything that a bottle may not hold.

A bottle holds regular files and the folders they lie in, hidden ones included, and nothing else: what a checksum cannot
speak for (links, sockets, empty folders), or what means two things on two systems (names that differ only in case or in
the form of their letters, names with control characters), is a problem, whoever put it there.

    found = survey(folder)
    found.files["onnx/model.onnx"], found.problems
"""

from __future__ import annotations

import os
import re
import unicodedata
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from stillhouse.store import digest_of_file

# what git, and hosts and tools of repositories, put at the top of a checkout; no runtime reads any of it
_REPOSITORY = frozenset({".git", ".gitattributes", ".gitignore", ".github", ".cache"})
# a colon opens a stream behind a file, a last dot or space is dropped, a device is no file: on Windows
_UNLIKE = re.compile(
    r"[<>:\"|?*]|[. ](?:/|\Z)|(?:\A|/)(?:con|prn|aux|nul|com\d|lpt\d)(?:\.[^/]*)?(?:/|\Z)", re.IGNORECASE
)


@dataclass(frozen=True)
class Contents:
    """files: every regular file by its POSIX path, in order. problems: all else, in words."""

    files: dict[str, Path]
    problems: list[str]


def survey(folder: Path, *, in_repository: bool = False) -> Contents:
    """Walk ``folder`` without following a link. in_repository: pass over what a checkout has at its top."""
    files: dict[str, Path] = {}
    problems: list[str] = []
    names: list[str] = []
    waiting = [("", folder)]
    while waiting:
        prefix, here = waiting.pop()
        try:
            with os.scandir(here) as listing:
                entries = list(listing)
        except OSError as error:
            problems.append(f"cannot be read: {shown(prefix or '.')} ({error.strerror})")
            continue
        if not entries and prefix:
            problems.append(f"an empty folder: {shown(prefix)}")
        for entry in entries:
            name = prefix + entry.name
            if in_repository and name in _REPOSITORY:
                continue
            names.append(name)
            if entry.is_symlink():
                problems.append(f"a link, not a file: {shown(name)}")
            elif entry.is_dir(follow_symlinks=False):
                waiting.append((f"{name}/", Path(entry.path)))
            elif entry.is_file(follow_symlinks=False):
                files[name] = Path(entry.path)
            else:
                problems.append(f"neither file nor folder: {shown(name)}")
    return Contents({name: files[name] for name in in_order(files)}, sorted([*problems, *_odd_names(names)]))


def in_order(names: Iterable[str]) -> list[str]:
    """Names sorted part by part, as paths are and as the OpenSSF format lists them: ``a/b`` before ``a.b``."""
    return sorted(names, key=lambda name: name.split("/"))


def digests_of(files: dict[str, Path]) -> tuple[dict[str, str], list[str]]:
    """SHA-256 (hex) of every file, read in chunks and several at a time; and what could not be read."""

    def digest(path: Path) -> str | OSError:
        try:
            return digest_of_file(path)
        except OSError as error:
            return error

    with ThreadPoolExecutor() as pool:  # hashing lets go of the interpreter's lock
        found = dict(zip(files, pool.map(digest, files.values()), strict=True))
    problems = [
        f"cannot be read: {shown(name)} ({one.strerror})" for name, one in found.items() if isinstance(one, OSError)
    ]
    return {name: one for name, one in found.items() if isinstance(one, str)}, problems


def shown(name: str) -> str:
    """A name as it can be printed anywhere: what is not printable is escaped, so that it cannot fake another line."""
    return name if name.isprintable() else ascii(name)


def _odd_names(names: Iterable[str]) -> list[str]:
    problems = []
    spellings: dict[str, str] = {}
    for name in in_order(names):
        if not name.isprintable() or "\\" in name:
            problems.append(f"a name with characters that not every system can write: {shown(name)}")
        elif _UNLIKE.search(name):
            problems.append(f"a name that Windows cannot write, or writes otherwise: {shown(name)}")
        elif unicodedata.normalize("NFC", name) != name:
            problems.append(f"a name whose letters are not in the composed form: {name!a}")
        alike = unicodedata.normalize("NFC", name).casefold()
        other = spellings.setdefault(alike, name)
        if other != name:
            problems.append(f"names that are the same on some systems: {shown(other)} and {shown(name)}")
    return problems

"""Digests of files, remembered from one run to the next, since hashing a large model at every plan is slow.

A remembered digest holds as long as path, size, time of change and inode are the same. The memory is a file
in the cache; when it is corrupt or cannot be written, digests are computed again.

    with remembered_digests(cache) as digest:
        digest_of_files(root, paths, digest)
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from pydantic import BaseModel, ConfigDict, ValidationError

from stillhouse.store import digest_of, digest_of_file, now, producer, write_json

_SCHEMA = 1
# A file that changed this recently may change again within the same tick of its clock (2 s on some disks).
_SETTLED_NS = 2_000_000_000

Digest = Callable[[Path], str]


class _Memory(BaseModel):
    model_config = ConfigDict(frozen=True)
    schema_version: int
    producer: str
    created: str
    files: dict[str, tuple[int, int, int, str]]  # path -> bytes, mtime in ns, inode, sha256


@contextmanager
def remembered_digests(cache: Path) -> Iterator[Digest]:
    """A function path -> SHA-256 (hex) of its content; what it learns is kept in ``cache/digests.json``."""
    memory = cache / "digests.json"
    known = _read(memory)
    learned: dict[str, tuple[int, int, int, str]] = {}
    settled: set[str] = set()

    def digest(path: Path) -> str:
        status = path.stat()
        mark = (status.st_size, status.st_mtime_ns, status.st_ino)
        found = learned.get(str(path)) or known.get(str(path))
        if found is not None and found[:3] == mark:
            return found[3]
        value = digest_of_file(path)
        learned[str(path)] = (*mark, value)
        if abs(time.time_ns() - status.st_mtime_ns) > _SETTLED_NS:
            settled.add(str(path))
        return value

    yield digest
    if settled:
        # read again: another process may have learned something meanwhile
        entries = _read(memory) | {path: learned[path] for path in settled}
        kept = {path: entry for path, entry in entries.items() if Path(path).exists()}
        record = _Memory(schema_version=_SCHEMA, producer=producer(), created=now(), files=kept)
        with suppress(OSError):  # a cache that cannot be written costs time, not correctness
            write_json(memory, record.model_dump(mode="json"))


def digest_of_files(root: Path, files: Iterable[Path], digest: Digest) -> str:
    """SHA-256 (hex) over the sorted pairs (POSIX path relative to ``root``, SHA-256 of the content)."""
    return digest_of(sorted([path.relative_to(root).as_posix(), digest(path)] for path in files))


def _read(memory: Path) -> dict[str, tuple[int, int, int, str]]:
    try:
        read = _Memory.model_validate_json(memory.read_bytes())
    except (OSError, ValidationError):
        return {}
    return dict(read.files) if read.schema_version == _SCHEMA else {}

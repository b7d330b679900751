"""Where the cache keeps the objects of one address: a record, whole folders named after their content, a draft.

The record is written last and names the folder that counts; a folder is never changed once it has its name, so that
whoever reads it goes on undisturbed. What was superseded stays until the cache is cleared.

    with alone(shelf):
        here = arrived(shelf / "draft", listed)  # from an interrupted fetch
        folder = settle(shelf, here, cache)
"""

from __future__ import annotations

import fcntl
import os
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path

from pydantic import BaseModel, ConfigDict, ValidationError

from stillhouse.addresses.buckets import ObjectAddress
from stillhouse.addresses.digests import remembered_digests
from stillhouse.addresses.listing import Listed
from stillhouse.store import FileRecord, digest_of, digest_of_file, now, producer, write_json

_SCHEMA = 1
_SECOND = 1_000_000_000  # ns
# S3 refuses a client whose clock is further off (RequestTimeTooSkewed), so no two clocks here differ by more
_UNSETTLED = 15 * 60 * _SECOND


class StoredObject(FileRecord):
    """bytes, changed (ns since 1970), tag: as the store told. seen: when it was known to be so (ns since 1970)."""

    changed: int
    tag: str
    seen: int


class Record(BaseModel):
    """What was fetched last. place: the store's folder; folder: that of the shelf which holds the files, by their
    names below it. beside: texts about the rights, no part of the address."""

    model_config = ConfigDict(frozen=True)
    schema_version: int
    producer: str
    created: str
    address: str
    place: str
    folder: str
    objects: dict[str, StoredObject]
    beside: dict[str, StoredObject]

    def all(self) -> dict[str, StoredObject]:
        """Both kinds, by name."""
        return self.objects | self.beside


def settled(changed: int, seen: int) -> bool:
    """Whether what was seen at ``seen`` cannot have changed since without another time of change (both in ns)."""
    return changed + _UNSETTLED < seen


def arrived(draft: Path, listed: Mapping[str, Listed]) -> dict[str, StoredObject]:
    """What an interrupted fetch had already brought whole: such a file has the object's size and time."""
    found = {}
    for name, one in listed.items():
        path = draft / name
        if not path.is_file():
            continue
        status = path.stat()
        # some disks keep whole seconds only; a link is a file of the last state, and that was judged before
        same = (status.st_size, status.st_mtime_ns // _SECOND) == (one.bytes, one.changed // _SECOND)
        if same and status.st_nlink == 1 and one.changed and settled(one.changed, status.st_ctime_ns):
            sha256 = digest_of_file(path)
            found[name] = StoredObject(
                bytes=one.bytes, changed=one.changed, tag="", seen=status.st_ctime_ns, sha256=sha256
            )
    return found


def settle(shelf: Path, draft: Path, objects: Mapping[str, StoredObject], cache: Path) -> str:
    """Give the draft the name of its content; a whole folder of that name stays, as a run may be reading it."""
    final = shelf / digest_of(sorted([name, one.sha256] for name, one in objects.items()))[:32]
    if len(whole(final, objects, cache)) == len(objects):
        shutil.rmtree(draft)
        return final.name
    replaced = shelf / "replaced"
    shutil.rmtree(replaced, ignore_errors=True)
    if final.exists():
        final.rename(replaced)
    draft.rename(final)
    shutil.rmtree(replaced, ignore_errors=True)
    return final.name


def clear(draft: Path, listed: Mapping[str, Listed]) -> None:
    """Leave only what is still wanted, and no empty folder that an object's name may need."""
    for path in sorted(draft.rglob("*"), reverse=True):
        if path.is_dir():
            with suppress(OSError):  # not empty
                path.rmdir()
        elif path.relative_to(draft).as_posix() not in listed:
            path.unlink()


def link(source: Path, target: Path) -> None:
    """The same file under a second name; a copy where the disk has no links."""
    target.parent.mkdir(parents=True, exist_ok=True)
    target.unlink(missing_ok=True)
    try:
        os.link(source, target)
    except OSError:
        shutil.copy2(source, target)


def whole(root: Path, objects: Mapping[str, StoredObject], cache: Path) -> dict[str, StoredObject]:
    """Those whose file is there and is what was fetched."""
    with remembered_digests(cache) as digest:
        return {
            name: one
            for name, one in objects.items()
            if (path := root / name).is_file() and path.stat().st_size == one.bytes and digest(path) == one.sha256
        }


def read_record(shelf: Path) -> Record | None:
    """The shelf's record; ``None`` where there is none that can be read."""
    try:
        record = Record.model_validate_json((shelf / "facts.json").read_bytes())
    except (OSError, ValidationError):
        return None
    return record if record.schema_version == _SCHEMA and record.objects else None


def write_record(
    shelf: Path,
    *,
    address: str,
    place: str,
    folder: str,
    objects: dict[str, StoredObject],
    beside: dict[str, StoredObject],
) -> None:
    """From here on the shelf holds what is in ``folder``."""
    record = Record(
        schema_version=_SCHEMA,
        producer=producer(),
        created=now(),
        address=address,
        place=place,
        folder=folder,
        objects=objects,
        beside=beside,
    )
    write_json(shelf / "facts.json", record.model_dump(mode="json"))


def shelf_of(address: ObjectAddress, cache: Path) -> Path:
    """The folder of an address; another pattern is another shelf."""
    key = digest_of([address.store, address.authority, address.key, *map(list, address.options)])
    return cache.absolute() / "objects" / key[:32]


@contextmanager
def alone(shelf: Path) -> Iterator[None]:
    """One process at a time: the next one finds done what the first has fetched."""
    with (shelf / ".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield

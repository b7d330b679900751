"""Objects of S3, Google Cloud Storage and Azure as files: fetched into the cache, whole or not at all.

Objects change under their names, so two questions are kept apart. :func:`peek_objects` answers from the cache: what
was fetched last, for as long as it is unharmed, however old, as a branch of a ``hf:`` repository does; plan and stages
see one and the same content until someone asks anew. :func:`fetch_objects` asks the store: it lists, fetches what is
missing or changed, and sets up the new state in a folder beside the old one, which a run may still be reading (links
make the unchanged files cost nothing). The digest is over relative names and contents, as for a local folder.

An object counts as unchanged when its size and time are those recorded, and, if it was fetched within a quarter of an
hour of its last change, when its tag (ETag) is too: the times are whole seconds of another machine's clock.

    files = peek_objects(address, cache=cache) or fetch_objects(address, cache=cache, progress=None)
"""

from __future__ import annotations

import shutil
import time
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from stillhouse.addresses.address import Files, Progress
from stillhouse.addresses.buckets import ObjectAddress, open_store
from stillhouse.addresses.digests import digest_of_files, remembered_digests
from stillhouse.addresses.listing import Listed, list_objects
from stillhouse.addresses.shelf import (
    StoredObject,
    alone,
    arrived,
    clear,
    link,
    read_record,
    settle,
    settled,
    shelf_of,
    whole,
    write_record,
)
from stillhouse.addresses.transfer import copy_objects, tags_of
from stillhouse.errors import StillhouseError


def peek_objects(address: ObjectAddress, *, cache: Path) -> Files | None:
    """The objects as they were fetched last, if all are still there and unharmed; else ``None``. No network."""
    shelf = shelf_of(address, cache)
    record = read_record(shelf)
    root = shelf / (record.folder if record else "")
    if record is None or len(whole(root, record.all(), cache)) < len(record.all()):
        return None
    paths = tuple(sorted(root / name for name in record.objects))
    newest = max(one.changed for one in record.objects.values()) // 10**9
    facts = {"place": record.place, "newest": datetime.fromtimestamp(newest, UTC).isoformat()}
    with remembered_digests(cache) as digest:
        return Files(address.text, root, paths, digest_of_files(root, paths, digest), facts)


def fetch_objects(address: ObjectAddress, *, cache: Path, progress: Progress | None) -> Files:
    """Ask the store what there is, and fetch what is missing or changed since the last time.

    ``progress`` is told the bytes of all objects together. What arrived whole before an interruption is not fetched
    again. Raises :class:`StillhouseError` when nothing matches or the store, the network or the credentials fail.
    """
    shelf = shelf_of(address, cache)
    shelf.mkdir(parents=True, exist_ok=True)
    with alone(shelf):
        try:
            _update(address, shelf, cache, progress)
        except StillhouseError as error:
            kept = peek_objects(address, cache=cache)
            if kept is None:
                raise
            (problem,) = error.problems
            advice = f"; or go on with what was fetched before: write the path {kept.root} in its place"
            raise StillhouseError(problem.what, where=problem.where, fix=problem.fix + advice) from None
    files = peek_objects(address, cache=cache)
    if files is None:
        raise StillhouseError(
            "what was just fetched reads back differently",
            where=f"{address.text} (in {shelf})",
            fix="check the disk of the cache, and try again",
        )
    return files


def _update(address: ObjectAddress, shelf: Path, cache: Path, progress: Progress | None) -> None:
    """Bring the shelf to what the store has now; until its record is written, the last state stays whole."""
    client, bucket = open_store(address)
    listing = list_objects(address, client, bucket)
    listed = listing.wanted | listing.beside
    record = read_record(shelf)
    known = {} if record is None else record.all()
    old, draft = shelf / (record.folder if record else ""), shelf / "draft"
    had = _unchanged(address, client, listing.root, listed, whole(old, known, cache))
    folder = old.name
    if not had.keys() == listed.keys() == known.keys():
        clear(draft, listed)
        here = had | arrived(draft, {name: one for name, one in listed.items() if name not in had})
        missing = {name: one for name, one in listed.items() if name not in here}
        began, parts = time.time_ns(), shelf / "parts"
        copied = copy_objects(address, client, listing.root, missing, draft, parts=parts, progress=progress)
        for name, one in copied.items():
            changed = listed[name].changed
            here[name] = StoredObject(bytes=one.bytes, changed=changed, tag=one.tag, seen=began, sha256=one.sha256)
        for name in had:
            link(old / name, draft / name)
        had, folder = here, settle(shelf, draft, here, cache)
        shutil.rmtree(parts, ignore_errors=True)
    write_record(
        shelf,
        address=address.text,
        place=f"{address.store}://{listing.root}",
        folder=folder,
        objects={name: had[name] for name in sorted(listing.wanted)},
        beside={name: had[name] for name in sorted(listing.beside)},
    )


def _unchanged(
    address: ObjectAddress, client: Any, root: str, listed: Mapping[str, Listed], known: Mapping[str, StoredObject]
) -> dict[str, StoredObject]:
    """Those of ``known`` that the store still has as they are."""
    same = {
        name: one
        for name, one in known.items()
        if name in listed and one.changed and listed[name] == Listed(one.bytes, one.changed)
    }
    asked = time.time_ns()
    tags = tags_of(address, client, root, [name for name, one in same.items() if not settled(one.changed, one.seen)])
    for name, tag in tags.items():
        one = same.pop(name)
        if tag and tag == one.tag:
            same[name] = one.model_copy(update={"seen": asked})
    return same

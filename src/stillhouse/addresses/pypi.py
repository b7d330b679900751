"""Members of a Python package as files: fetched, copied out and cached, never installed, built or run.

A cache entry is a folder ``members/`` (what matched), ``origin/`` (the package's metadata and license
texts) and ``facts.json``, written last. An entry whose files differ from ``facts.json`` counts as absent.

    files = peek_package(address, cache=cache) or fetch_package(address, cache=cache, progress=None)
"""

from __future__ import annotations

import re
import shutil
import time
from collections.abc import Iterable
from contextlib import ExitStack, closing, suppress
from email.message import Message
from email.parser import HeaderParser
from pathlib import Path, PurePosixPath
from tempfile import TemporaryDirectory

from pydantic import BaseModel, ConfigDict, ValidationError

from stillhouse.addresses.address import Files, PackageAddress, Progress
from stillhouse.addresses.digests import Digest, digest_of_files, remembered_digests
from stillhouse.addresses.download import PackageArchive, archives
from stillhouse.addresses.unpack import Archive, Limits, Member, Unpacked, copy_out, extract, open_archive
from stillhouse.errors import StillhouseError
from stillhouse.store import FileRecord, digest_of, digest_of_file, now, producer, write_json

_SCHEMA = 1
_PART = ".part-"
_STALE = 24 * 3600  # seconds after which an unfinished download belongs to nobody
_METADATA = ("METADATA", "PKG-INFO")
_LICENSE_TEXT = re.compile(r"(LICEN[CS]E|COPYING|NOTICE|AUTHORS|COPYRIGHT)([.\-_].*)?", re.IGNORECASE)
_LISTED = 20  # members named in an error
_ORIGIN_LIMITS = Limits(member=16 << 20, total=256 << 20)  # texts


class _Entry(BaseModel):
    model_config = ConfigDict(frozen=True)
    schema_version: int
    producer: str
    created: str
    address: str
    facts: dict[str, str]
    members: dict[str, FileRecord]
    origin: dict[str, FileRecord]


def peek_package(address: PackageAddress, *, cache: Path) -> Files | None:
    """The files of a package that are in the cache, whole; otherwise ``None``. Never touches the network."""
    folder = _entry_folder(address, cache)
    try:
        entry = _Entry.model_validate_json((folder / "facts.json").read_bytes())
    except (OSError, ValidationError):
        return None
    root, origin = folder / "members", folder / "origin"
    with remembered_digests(cache) as digest:
        whole = _agrees(root, entry.members, digest) and _agrees(origin, entry.origin, digest)
        if entry.schema_version != _SCHEMA or not entry.members or not whole:
            return None
        files = tuple(sorted(root / name for name in entry.members))
        return Files(
            address.text,
            root,
            files,
            digest_of_files(root, files, digest),
            dict(entry.facts),
            origin if entry.origin else None,
        )


def fetch_package(address: PackageAddress, *, cache: Path, progress: Progress | None) -> Files:
    """Fetch a package's archives, wheels first, and keep what matches from the first one that holds any.

    Raises :class:`StillhouseError` when nothing is found, nothing matches, or an archive is refused.
    """
    shelf = cache / "pypi"
    shelf.mkdir(parents=True, exist_ok=True)
    _sweep(shelf)
    listed: list[str] = []
    with ExitStack() as stack:
        temporary = stack.enter_context(TemporaryDirectory(dir=shelf, prefix=_PART))
        scratch, draft = Path(temporary) / "download", Path(temporary) / "entry"
        kept = shelf / "archives" / f"{_canonical(address.name)}-{address.version}"
        sources = stack.enter_context(closing(archives(address, kept, scratch, progress)))
        for archive in sources:
            unpacked, facts = _unpack(address, archive, draft)
            if unpacked.files:
                _keep(address, facts, unpacked, draft, _entry_folder(address, cache))
                files = peek_package(address, cache=cache)
                if files is None:
                    raise StillhouseError(
                        "what was just unpacked reads back differently",
                        where=f"{address.text} (in {shelf})",
                        fix="check the disk of the cache, and try again",
                    )
                return files
            listed += [name for name in unpacked.listed if name not in listed]
    there = "\n    ".join(sorted(listed)[:_LISTED])
    raise StillhouseError(
        f"no file of {address.name} {address.version} matches {'!'.join(address.pattern)}",
        where=address.text,
        fix=f"* does not cross folders (** does); {len(listed)} files are there, among them\n    {there}",
    )


def read_license(metadata: Message) -> str | None:
    """The license a package's metadata names: ``License-Expression``, else ``License``, else the classifier.

    Some packages put the whole text into ``License``; only a single line of at most 100 characters is a name.
    """
    for key in ("License-Expression", "License"):
        value = str(metadata.get(key, "")).strip()
        if value and value.upper() != "UNKNOWN" and "\n" not in value and len(value) <= 100:
            return value
    classifiers = [str(value) for value in metadata.get_all("Classifier", [])]
    names = [value.split("::")[-1].strip() for value in classifiers if value.startswith("License ::")]
    return names[0] if names else None


def _unpack(address: PackageAddress, archive: PackageArchive, draft: Path) -> tuple[Unpacked, dict[str, str]]:
    where = f"{address.text} ({archive.path.name})"
    draft.mkdir(exist_ok=True)
    with open_archive(archive.path, where=where, strip_root=not archive.is_wheel) as opened:
        unpacked = extract(opened, address.pattern, draft / "members", where=where)
        beside = _beside(opened, unpacked.files) if unpacked.files else []
        copy_out(beside, draft / "origin", where=where, limits=_ORIGIN_LIMITS)
    facts = {
        "name": address.name,
        "version": address.version,
        "archive": archive.path.name,
        "archive_sha256": archive.sha256,
    }
    described = [member.path for member in beside if PurePosixPath(member.path).name in _METADATA]
    if described:
        # a source distribution has it at the top and once more in its egg-info
        text = (draft / "origin" / min(described, key=len)).read_text("utf-8", errors="replace")
        license_id = read_license(HeaderParser().parsestr(text))
        facts |= {"license": license_id} if license_id else {}
    return unpacked, facts


def _beside(archive: Archive, files: Iterable[str]) -> list[Member]:
    """The package's metadata and license texts: at the top, in its dist-info, in the folders of its files."""
    folders = {"", "."} | {PurePosixPath(name).parent.as_posix() for name in files}
    found = []
    for member in archive.members:
        path = PurePosixPath(member.path)
        info = path.parts[0].endswith((".dist-info", ".egg-info"))
        described = path.name in _METADATA and len(path.parts) == 1 + info
        licensed = (info or path.parent.as_posix() in folders) and _LICENSE_TEXT.fullmatch(path.name)
        if member.regular and (described or licensed):
            found.append(member)
    return found


def _keep(address: PackageAddress, facts: dict[str, str], unpacked: Unpacked, draft: Path, final: Path) -> None:
    origin = draft / "origin"
    texts = sorted(path.relative_to(origin).as_posix() for path in origin.rglob("*") if path.is_file())
    entry = _Entry(
        schema_version=_SCHEMA,
        producer=producer(),
        created=now(),
        address=address.text,
        facts=facts,
        members={name: _record(draft / "members" / name) for name in unpacked.files},
        origin={name: _record(origin / name) for name in texts},
    )
    write_json(draft / "facts.json", entry.model_dump(mode="json"))
    if final.exists():  # torn, or from another process that was faster with the same content
        final.rename(draft.parent / "replaced")
    with suppress(OSError):  # the other process may be faster once more; the caller looks at what is there
        draft.rename(final)


def _record(path: Path) -> FileRecord:
    return FileRecord(bytes=path.stat().st_size, sha256=digest_of_file(path))


def _agrees(root: Path, records: dict[str, FileRecord], digest: Digest) -> bool:
    paths = {name: root / name for name in records}
    return all(
        path.is_file() and path.stat().st_size == records[name].bytes and digest(path) == records[name].sha256
        for name, path in paths.items()
    )


def _entry_folder(address: PackageAddress, cache: Path) -> Path:
    # the pattern as text would make a poor folder name
    pattern = digest_of(list(address.pattern))[:16]
    return cache / "pypi" / f"{_canonical(address.name)}-{address.version}-{pattern}"


def _canonical(name: str) -> str:
    """PEP 503."""
    return re.sub(r"[-_.]+", "-", name).lower()


def _sweep(shelf: Path) -> None:
    """Remove what a killed download left behind."""
    for path in shelf.glob(f"{_PART}*"):
        if time.time() - path.stat().st_mtime > _STALE:
            shutil.rmtree(path, ignore_errors=True)

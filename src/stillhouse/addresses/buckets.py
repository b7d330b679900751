"""Addresses of objects: what they say, the store that they open, and its client's errors as ours.

``s3://bucket/key``, ``gs://bucket/key``, ``az://container@account.dfs.core.windows.net/key`` (``abfs://`` and
``abfss://`` are the same); options follow as in ``pyarrow.fs.FileSystem.from_uri``, save that ``anonymous=true`` goes
with every store. Keys are literal, wildcards aside: nothing is percent-encoded. Credentials come from the provider's
own environment and profiles, never from the address.

    address = parse_objects("s3://bucket/rows/*.jsonl?region=eu-central-1")  # pure
    files, bucket = open_store(address)
    with cures(address): files.get_file_info(f"{bucket}/rows/a.jsonl")
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any
from urllib.parse import parse_qsl, urlencode

from stillhouse.addresses.match import pattern_regex
from stillhouse.errors import StillhouseError

_START = re.compile(r"(s3|gs|az|abfss?)://", re.I)
_QUERY = re.compile(r"\?(?=[A-Za-z][\w-]*=)")  # any other `?` is a wildcard
_AUTHORITY = {
    "s3": (re.compile(r"[A-Za-z0-9][\w.-]*", re.ASCII), "s3://bucket/key"),
    "gs": (re.compile(r"(anonymous@)?[A-Za-z0-9][\w.-]*", re.ASCII), "gs://bucket/key"),
    "abfs": (
        re.compile(r"([\w$-]+@[\w.-]+|[\w-]+(\.[\w-]+)+)(:\d+)?", re.ASCII),
        "az://container@account.dfs.core.windows.net/key",
    ),
}
# what from_uri takes, without what is secret (access keys, client_secret, SAS) and what only matters for writing
_OPTIONS = {
    "s3": {"anonymous", "region", "scheme", "endpoint_override", "tls_ca_file_path", "force_virtual_addressing"},
    "gs": {"anonymous", "scheme", "endpoint_override", "retry_limit_seconds"},
    "abfs": {
        "anonymous", "enable_tls", "blob_storage_authority", "dfs_storage_authority", "credential_kind", "tenant_id",
        "client_id",
    },
}  # fmt: skip
_SWITCHES = ("anonymous", "force_virtual_addressing")
_CLIENT = {"s3": "S3FileSystem", "gs": "GcsFileSystem", "abfs": "AzureFileSystem"}
_LOGIN = {
    "s3": "log in as for `aws s3 ls` (AWS_PROFILE, ~/.aws, an instance's role)",
    "gs": "log in with `gcloud auth application-default login` (or GOOGLE_APPLICATION_CREDENTIALS)",
    "abfs": "log in with `az login` (or AZURE_CLIENT_ID and its like)",
}
_ATTEMPTS = 4  # of one request
_GOOGLE_PATIENCE = "60"  # seconds; its client would try for a quarter of an hour
# the clients tell kinds of failure apart in their text only; the first that is found counts
_FAULTS = (
    ("region", re.compile(r"PERMANENT_REDIRECT|HTTP status 301|AuthorizationHeaderMalformed|configured region")),
    (
        "denied",
        re.compile(r"DENIED|UNAUTH|Authenticat|Authoriz|credential|token|SIGNATURE|ACCESS_KEY|\b40[13]\b", re.I),
    ),
    ("network", re.compile(r"NETWORK_CONNECTION|UNAVAILABLE|SLOW_DOWN|CURL|connect|not resolve|time[d-]?.?out", re.I)),
    ("absent", re.compile(r"NO_SUCH|NOT[_ ]?FOUND|does not exist|\b404\b", re.I)),
)
_CODE = re.compile(r"AWS Error ([A-Z_]+)|Status\(([A-Z_]+)|curlCode: (\d+)")


@dataclass(frozen=True)
class ObjectAddress:
    """Objects of one bucket or container: one, all below a folder, or those that match. ``text`` holds no secret."""

    text: str
    store: str  # s3, gs or abfs
    authority: str  # what stands between :// and the next /
    key: str
    options: tuple[tuple[str, str], ...] = ()


def is_object_address(text: str) -> bool:
    """Whether it starts like the address of an object, sound or not."""
    return _START.match(text) is not None


def parse_objects(text: str) -> ObjectAddress:
    """What the address says; :class:`StillhouseError`, which repeats none of it, when it is malformed or holds a
    secret."""
    start = _START.match(text)
    assert start is not None  # noqa: S101 - see is_object_address
    store = "abfs" if start[1][0] in "aA" else start[1].lower()
    place, query = (*_QUERY.split(text[start.end() :], maxsplit=1), "")[:2]
    authority, _, key = place.partition("/")
    form, example = _AUTHORITY[store]
    if not form.fullmatch(authority):
        raise _refused(
            start[0],
            "names no bucket (or no account), or carries credentials beside it",
            f"write {example}; credentials belong in your provider's environment or profile",
        )
    options = parse_qsl(query, keep_blank_values=True)
    taken = [name in _OPTIONS[store] and "@" not in value for name, value in options]
    if not all(taken) or len(dict(options)) < len(options):
        # not even its name is repeated: half a secret may stand there
        which = f"option {taken.index(False) + 1} that does not belong there" if not all(taken) else "an option twice"
        raise _refused(
            start[0],
            f"has {which}",
            f"the options are {', '.join(sorted(_OPTIONS[store]))}; keys, secrets, tokens and signatures are taken from"
            " your provider's environment or profile (a wildcard ? before a word and = is written *)",
        )
    for name, value in options:
        if name in _SWITCHES and value not in ("true", "false"):
            raise _refused(start[0], f"sets {name} to what is neither true nor false", f"write {name}=true")
    parts = key.removesuffix("/").split("/") if key else []
    if any(part in ("", ".", "..") for part in parts) or any(character in text for character in "\0\r\n"):
        raise _refused(
            start[0], "has a malformed key", f"write {example}, one / between folders, no . and .. and one line"
        )
    try:
        for part in parts:
            pattern_regex(part)
    except re.error as error:
        raise _refused(start[0], f"has a malformed set in [ ]: {error.msg}", "mend the set in [ ]") from None
    return ObjectAddress(text, store, authority, key, tuple(sorted(options)))


def open_store(address: ObjectAddress) -> tuple[Any, str]:
    """A ``pyarrow.fs.FileSystem`` and the bucket's path in it (empty where the key starts with the container)."""
    from pyarrow import fs

    options = dict(address.options)
    try:
        getattr(fs, _CLIENT[address.store])
    except (ImportError, AttributeError):
        raise StillhouseError(
            f"this pyarrow was built without {_CLIENT[address.store]}",
            where=address.text,
            fix="pip install a pyarrow wheel from PyPI, or copy the objects here and write the folder's path",
        ) from None
    authority, anonymous = address.authority, options.pop("anonymous", "false") == "true"
    with cures(address):
        if address.store == "s3" and anonymous:
            return _anonymous_s3(authority, options), authority
        if address.store == "gs":
            authority = f"anonymous@{authority}" if anonymous and "@" not in authority else authority
            options.setdefault("retry_limit_seconds", _GOOGLE_PATIENCE)
        elif anonymous:
            options["credential_kind"] = "anonymous"
        opened, bucket = fs.FileSystem.from_uri(f"{address.store}://{authority}?{urlencode(options)}".rstrip("?"))
        return opened, str(bucket).rstrip("/")


def _anonymous_s3(bucket: str, options: dict[str, str]) -> Any:
    """``from_uri`` has no word for it."""
    from pyarrow import fs

    if "region" not in options and "endpoint_override" not in options:
        options["region"] = fs.resolve_s3_region(bucket)
    switched = {name: value == "true" if name in _SWITCHES else value for name, value in options.items()}
    patience = fs.AwsStandardS3RetryStrategy(max_attempts=_ATTEMPTS)
    return fs.S3FileSystem(anonymous=True, retry_strategy=patience, **switched)


@contextmanager
def cures(address: ObjectAddress) -> Iterator[None]:
    """What the store's client raises as :class:`StillhouseError`, without its text: that may hold anything."""
    try:
        yield
    except (OSError, ValueError, NotImplementedError) as error:
        # names in quotes are the user's; a key may well be called 'denied'
        text = re.sub(r"'[^']*'", "", str(error))
        found = next((name for name, pattern in _FAULTS if pattern.search(text)), "unknown")
        if isinstance(error, FileNotFoundError):
            found = "absent"
        code = _CODE.search(text)
        said = next((group for group in code.groups() if group), "") if code else type(error).__name__
        what, fix = _say(found, address)
        raise StillhouseError(f"{what} ({said})", where=address.text, fix=fix) from None


def _say(fault: str, address: ObjectAddress) -> tuple[str, str]:
    login = _LOGIN[address.store]
    return {
        "region": ("the bucket is in another region", "add ?region=… with the bucket's own"),
        "network": (
            "the store could not be reached, or the connection broke",
            "check the network, the proxy and ?endpoint_override=…; what has arrived whole is kept, so try again",
        ),
        "denied": (
            "access was denied, or there are no credentials",
            f"{login}, and check that you may list and read there (who may not list is told the same of a key that is"
            " not there); for public data add ?anonymous=true",
        ),
        "absent": (
            "there is no such bucket, or an object went away while it was fetched",
            "correct the bucket's name; for another store than the provider's own add ?endpoint_override=…",
        ),
    }.get(fault, ("the store's client failed", f"check the options after the ? and {login}"))


def _refused(start: str, what: str, fix: str) -> StillhouseError:
    return StillhouseError(f"the address {what}", where=f"{start}…", fix=fix)

"""Addresses as they may be told to others: where things lie on their maker's machines is no part of what they are.

public_address("/home/me/models/big")                      # "big"
public_address("https://llm.example.org/v1 big-model")     # "behind an endpoint: big-model"
"""

from __future__ import annotations

import re
from urllib.parse import quote

from stillhouse.addresses.address import HubAddress, PackageAddress, parse
from stillhouse.errors import StillhouseError

_BEHIND = "behind an endpoint:"
_ENDPOINT = re.compile(r"(?i)(?:https?://|[\w.-]+:\d+)\S*\s*(.*)", re.DOTALL)
_STORE = re.compile(r"(?i)(s3|gs|az|abfss?)://")
_OWN_PATH = re.compile(r"[/~.\\]|[A-Za-z]:[/\\]")  # how a path begins that belongs to one machine


def public_address(address: str) -> str:
    """An address without what is no business of others: no folder, bucket, host or account of its maker's."""
    if address.startswith(_BEHIND):
        return address
    if _of_registry(address):  # before anything else: `hf:01-ai/…` looks like a host and its port
        return address
    endpoint = _ENDPOINT.fullmatch(address)
    if endpoint is not None:
        model = endpoint[1].strip()
        return f"{_BEHIND} {_last_part(model) if _OWN_PATH.match(model) else model or 'a model'}"
    store = _STORE.match(address)
    if store is not None:
        return f"{store[1].lower()}://…/{_last_part(address.partition('?')[0])}"
    return _last_part(address)


def purl_of(address: str, version: str | None) -> str | None:
    """The package URL of what a registry has; https://github.com/package-url/purl-spec."""
    parsed = _of_registry(address)
    if isinstance(parsed, PackageAddress):
        return f"pkg:pypi/{quote(re.sub(r'[-_.]+', '-', parsed.name).lower())}@{quote(parsed.version, safe='')}"
    if isinstance(parsed, HubAddress) and parsed.kind == "model":  # the specification has no data sets of the hub
        return f"pkg:huggingface/{quote(parsed.repo)}@{quote(version or parsed.revision, safe='').lower()}"
    return None


def _of_registry(address: str) -> HubAddress | PackageAddress | None:
    try:
        parsed = parse(address)
    except StillhouseError:
        return None
    return parsed if isinstance(parsed, HubAddress | PackageAddress) else None


def _last_part(path: str) -> str:
    return re.split(r"[/\\]", path.rstrip("/\\"))[-1] or "."

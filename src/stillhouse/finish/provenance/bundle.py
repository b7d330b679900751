"""The OpenSSF model-signing format, version 1.0: which files with which digests, signed.

A Sigstore bundle (version 0.3, JSON) holds a DSSE envelope; its payload is an in-toto statement whose predicate lists
every file with its SHA-256, and whose subject is the SHA-256 over all those digests in order. Signed with a key, the
bundle names it by a hint: the SHA-256 of its public half in PEM.

Sources: https://github.com/ossf/model-signing-spec, https://github.com/secure-systems-lab/dsse (v1.0.0),
https://github.com/in-toto/attestation (spec v1).

    data = assemble(payload, signature, hint)
    signed = parse(data)             # StillhouseError, in words, whatever the bytes are
    signed.digests["config.json"], signed.message, signed.signature, signed.hint

A bundle is read strictly: unknown fields, doubled keys, and any second spelling of the same base64 are refused, so that
no bit of it can be changed unnoticed.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from stillhouse.errors import StillhouseError
from stillhouse.finish.provenance.contents import in_order, shown

MEDIA_TYPE = "application/vnd.dev.sigstore.bundle.v0.3+json"
PAYLOAD_TYPE = "application/vnd.in-toto+json"
STATEMENT_TYPE = "https://in-toto.io/Statement/v1"
PREDICATE_TYPE = "https://model_signing/signature/v1.0"
MOST_BYTES = 64 * 2**20
_DIGEST = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True)
class Signed:
    """What a bundle says. name: of the model, for people. digests: SHA-256 (hex) by path. message: the signed bytes."""

    name: str
    digests: dict[str, str]
    message: bytes
    signature: bytes
    hint: str | None


def statement(name: str, digests: Mapping[str, str], *, leaves_out: Sequence[str]) -> bytes:
    """The payload for files with these digests. leaves_out: what the signer did not look at, the signature itself."""
    names = in_order(digests)
    root = hashlib.sha256(b"".join(bytes.fromhex(digests[one]) for one in names)).hexdigest()
    value = {
        "_type": STATEMENT_TYPE,
        "subject": [{"name": name, "digest": {"sha256": root}}],
        "predicateType": PREDICATE_TYPE,
        "predicate": {
            "serialization": {
                "method": "files",
                "hash_type": "sha256",
                "allow_symlinks": False,
                "ignore_paths": list(leaves_out),
            },
            "resources": [{"name": one, "algorithm": "sha256", "digest": digests[one]} for one in names],
        },
    }
    return json.dumps(value, separators=(",", ":")).encode("ascii")


def message_of(payload: bytes) -> bytes:
    """What is signed for a payload: DSSE's pre-authentication encoding."""
    return b"DSSEv1 %d %s %d %s" % (len(PAYLOAD_TYPE), PAYLOAD_TYPE.encode("ascii"), len(payload), payload)


def assemble(payload: bytes, signature: bytes, hint: str) -> bytes:
    """The bundle as a file. hint: SHA-256 (hex) of the public key in PEM."""
    bundle = {
        "mediaType": MEDIA_TYPE,
        "verificationMaterial": {"publicKey": {"hint": hint}, "tlogEntries": []},
        "dsseEnvelope": {
            "payload": base64.b64encode(payload).decode("ascii"),
            "payloadType": PAYLOAD_TYPE,
            "signatures": [{"sig": base64.b64encode(signature).decode("ascii"), "keyid": ""}],
        },
    }
    return (json.dumps(bundle, indent=2) + "\n").encode("ascii")


def parse(data: bytes) -> Signed:
    """Read a bundle that anybody may have written; raises :class:`StillhouseError` for whatever is wrong with it."""
    if len(data) > MOST_BYTES:
        raise _bad("it is too large to be one")
    bundle = _fields(_read(data), "the bundle", ("mediaType", "verificationMaterial", "dsseEnvelope"))
    if bundle["mediaType"] != MEDIA_TYPE:
        raise _bad(f"its media type is {_word(bundle['mediaType'])}, not {MEDIA_TYPE}")
    envelope = _fields(bundle["dsseEnvelope"], "its envelope", ("payload", "payloadType", "signatures"))
    if envelope["payloadType"] != PAYLOAD_TYPE:
        raise _bad(f"its payload is {_word(envelope['payloadType'])}, not {PAYLOAD_TYPE}")
    if not isinstance(envelope["signatures"], list) or len(envelope["signatures"]) != 1:
        raise _bad("it must hold one signature")
    signature = _fields(envelope["signatures"][0], "its signature", ("sig",), ("keyid",))
    if signature.get("keyid") not in (None, ""):
        raise _bad("its `keyid` is not empty, which nothing vouches for")
    payload = _base64(envelope["payload"])
    name, digests = _resources(_read(payload))
    return Signed(name, digests, message_of(payload), _base64(signature["sig"]), _hint(bundle["verificationMaterial"]))


def _hint(material: object) -> str | None:
    if isinstance(material, dict) and ("certificate" in material or "x509CertificateChain" in material):
        raise _bad("it was made with a certificate; only signatures of a key can be checked here")
    material = _fields(material, "its verification material", ("publicKey",), ("tlogEntries",))
    if material.get("tlogEntries") not in (None, []):
        raise _bad("it has entries of a transparency log, which cannot be checked here")
    hint = _fields(material["publicKey"], "its public key", (), ("hint",)).get("hint")
    if hint is not None and not (isinstance(hint, str) and _DIGEST.fullmatch(hint)):
        raise _bad("the hint of its key is no SHA-256")
    return hint


def _resources(value: object) -> tuple[str, dict[str, str]]:
    """The files of a statement, after its own root digest has been worked out again."""
    said = _fields(value, "its statement", ("_type", "subject", "predicateType", "predicate"))
    if said["_type"] != STATEMENT_TYPE or said["predicateType"] != PREDICATE_TYPE:
        raise _bad(f"its statement is {_word(said['predicateType'])}, not {PREDICATE_TYPE}")
    subjects = said["subject"]
    if not isinstance(subjects, list) or len(subjects) != 1:
        raise _bad("it must speak of one model")
    subject = _fields(subjects[0], "its subject", ("name", "digest"))
    root = _fields(subject["digest"], "the digest of its subject", ("sha256",))["sha256"]
    predicate = _fields(said["predicate"], "its predicate", ("serialization", "resources"))
    _serialization(predicate["serialization"])
    if not isinstance(predicate["resources"], list):
        raise _bad("its files are no list")
    digests: dict[str, str] = {}
    for one in predicate["resources"]:
        resource = _fields(one, "a file of it", ("name", "algorithm", "digest"))
        name, digest = resource["name"], resource["digest"]
        if resource["algorithm"] != "sha256" or not (isinstance(digest, str) and _DIGEST.fullmatch(digest)):
            raise _bad("a file of it has no SHA-256")
        if not isinstance(name, str) or name in digests:
            raise _bad(f"it names a file twice, or by no name: {_word(name)}")
        digests[name] = digest
    if root != hashlib.sha256(b"".join(bytes.fromhex(digest) for digest in digests.values())).hexdigest():
        raise _bad("its subject is not the digest of its files")
    return _word(subject["name"]), digests


def _serialization(value: object) -> None:
    """Whole files by SHA-256. What else it left out does not matter: every file of a bottle must be listed."""
    known = ("method", "hash_type", "allow_symlinks", "ignore_paths", "shard_size")
    made = _fields(value, "its serialization", ("method", "hash_type"), known)
    if (made["method"], made["hash_type"]) != ("files", "sha256"):
        raise _bad("it signs other things than the SHA-256 of whole files; sign with the default settings")


def _read(data: bytes) -> object:
    def once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        found = dict(pairs)
        if len(found) < len(pairs):
            raise ValueError("a key is there twice")
        return found

    def never(constant: str) -> None:
        raise ValueError(f"{constant} is no JSON")

    try:
        value: object = json.loads(data.decode("utf-8"), object_pairs_hook=once, parse_constant=never)
    except (ValueError, RecursionError) as error:
        raise _bad("it cannot be read as JSON") from error
    return value


def _fields(value: object, what: str, needed: Sequence[str], allowed: Sequence[str] = ()) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise _bad(f"{what} is no object")
    missing = [name for name in needed if name not in value]
    unknown = [name for name in value if name not in needed and name not in allowed]
    if missing or unknown:
        raise _bad(f"{what} {'lacks' if missing else 'has an unknown field'} {_word((missing or unknown)[0])}")
    return value


def _base64(value: object) -> bytes:
    try:
        if not isinstance(value, str):
            raise ValueError
        data = base64.b64decode(value.encode("ascii"), validate=True)
        if base64.b64encode(data).decode("ascii") != value:  # the last letter can be spelled in several ways
            raise ValueError
    except (ValueError, binascii.Error) as error:
        raise _bad("it is not in plain base64") from error
    return data


def _word(value: object) -> str:
    """A value of a stranger's file, short and printable."""
    return shown(str(value)[:80]) if isinstance(value, str) else type(value).__name__


def _bad(why: str) -> StillhouseError:
    return StillhouseError(
        f"the signature cannot be used: {why}",
        where="model.sig",
        fix="ask whoever signed it for the bottle again, or sign it anew",
    )

"""Keys that sign and check: elliptic curves P-256, P-384 and P-521, in PEM files.

    make_pair(Path("house.pem"), ask=console.ask_passphrase)       # house.pem and house.pub.pem, P-256
    private = PrivateKey.read(Path("house.pem"), ask=...)          # asks for the passphrase where it is encrypted
    public = PublicKey.read(Path("house.pub.pem"))
    public.accepts(private.sign(message), message), public.hint

A passphrase comes from whoever is asked by ``ask``: never from an argument, a file or the environment.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from stillhouse.errors import StillhouseError

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ec import ECDSA, EllipticCurvePrivateKey, EllipticCurvePublicKey

AskUnseen = Callable[[str], str]  # shows a prompt, gives what was typed unseen
_MOST_BYTES = 64 * 1024
_CURVES = {"secp256r1": "SHA256", "secp384r1": "SHA384", "secp521r1": "SHA512"}


@dataclass(frozen=True)
class PublicKey:
    """The half that checks. hint: SHA-256 (hex) of its PEM form, by which a signature names it."""

    key: EllipticCurvePublicKey
    hint: str

    @classmethod
    def of(cls, key: EllipticCurvePublicKey) -> PublicKey:
        """Of a key of ``cryptography``."""
        return cls(key, hashlib.sha256(_public_pem(key)).hexdigest())

    @classmethod
    def read(cls, path: Path) -> PublicKey:
        """The key of a PEM file; raises :class:`StillhouseError` where it is none that can check a bottle."""
        load, data = _library().load_pem_public_key, _bytes_of(path)
        if b"PRIVATE KEY" in data:
            raise _no_key(path, "this is a private key", "give the public half; keep this one to yourself")
        try:
            key = load(data)
        except Exception as error:  # whatever the library makes of a stranger's file
            raise _no_key(path, "this is no public key in PEM", "give the file `….pub.pem` of the pair") from error
        return cls.of(_on_a_curve(key, path))

    def accepts(self, signature: bytes, message: bytes) -> bool:
        """Whether the signature is of this message by this key."""
        from cryptography.exceptions import InvalidSignature

        try:
            self.key.verify(signature, message, _scheme(self.key.curve.name))
        except InvalidSignature:
            return False
        return True


@dataclass(frozen=True)
class PrivateKey:
    """The half that signs."""

    key: EllipticCurvePrivateKey

    @classmethod
    def read(cls, path: Path, *, ask: AskUnseen) -> PrivateKey:
        """The key of a PEM file; ``ask`` is called where it is encrypted. Raises :class:`StillhouseError`."""
        load, data = _library().load_pem_private_key, _bytes_of(path)
        try:
            try:
                key = load(data, None)
            except TypeError:  # it is encrypted
                key = load(data, ask(f"passphrase of {path}: ").encode("utf-8"))
        except StillhouseError:
            raise
        except Exception as error:
            raise _no_key(
                path,
                "this is no private key in PEM, or the passphrase is another",
                "give the file that --new-key wrote, or one of `openssl ecparam -name prime256v1 -genkey -noout`",
            ) from error
        return cls(_on_a_curve(key, path))

    @property
    def public(self) -> PublicKey:
        """The half that may be given away."""
        return PublicKey.of(self.key.public_key())

    def sign(self, message: bytes) -> bytes:
        """An ECDSA signature (DER); the hash goes with the curve, as Sigstore has it."""
        signature: bytes = self.key.sign(message, _scheme(self.key.curve.name))
        return signature


def make_pair(path: Path, *, ask: AskUnseen) -> PrivateKey:
    """Make a P-256 pair: the private half at ``path``, readable by its owner alone, the public half beside it.

    An empty passphrase leaves the private half unencrypted. Overwrites nothing.
    """
    library = _library()
    from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, generate_private_key

    public = public_path(path)
    there = next((one for one in (path, public) if one.exists()), None)
    if there is not None:
        raise StillhouseError("the file is there already", where=str(there), fix="choose another name for the new key")
    passphrase = ask(f"passphrase for {path} (empty: none): ")
    if passphrase != ask("the same again: "):
        raise StillhouseError("the two are not the same", where=str(path), fix="type the passphrase again")
    protection = library.BestAvailableEncryption(passphrase.encode("utf-8")) if passphrase else library.NoEncryption()
    key = generate_private_key(SECP256R1())
    secret = key.private_bytes(library.Encoding.PEM, library.PrivateFormat.PKCS8, protection)
    try:
        # made unreadable for others, not changed to it afterwards
        with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as stream:
            stream.write(secret)
        public.write_bytes(_public_pem(key.public_key()))
    except OSError as error:
        raise StillhouseError(
            f"the key cannot be written: {error.strerror}", where=str(path), fix="choose a folder of your own"
        ) from error
    return PrivateKey(key)


def public_path(path: Path) -> Path:
    """Where the public half of a private key lies: ``house.pub.pem`` beside ``house.pem``."""
    return path.with_suffix(".pub.pem")


def _library() -> Any:
    try:
        from cryptography.hazmat.primitives import serialization
    except ImportError as error:
        raise StillhouseError(
            "signatures need the package cryptography", where="this Python", fix="pip install 'stillhouse[sign]'"
        ) from error
    return serialization


def _public_pem(key: EllipticCurvePublicKey) -> bytes:
    library = _library()
    pem: bytes = key.public_bytes(library.Encoding.PEM, library.PublicFormat.SubjectPublicKeyInfo)
    return pem


def _scheme(curve: str) -> ECDSA:
    from cryptography.hazmat.primitives import hashes
    from cryptography.hazmat.primitives.asymmetric.ec import ECDSA

    return ECDSA(getattr(hashes, _CURVES[curve])())


def _on_a_curve(key: Any, path: Path) -> Any:
    name = getattr(getattr(key, "curve", None), "name", type(key).__name__)
    if name not in _CURVES:
        raise _no_key(
            path, f"a key of this kind cannot be used: {name}", "use one on P-256, or make one with --new-key"
        )
    return key


def _bytes_of(path: Path) -> bytes:
    try:
        with path.open("rb") as stream:
            return stream.read(_MOST_BYTES)
    except OSError as error:
        raise _no_key(
            path, f"the key cannot be read: {error.strerror}", "check the path; `stillhouse sign --new-key` makes one"
        ) from error


def _no_key(path: Path, what: str, fix: str) -> StillhouseError:
    return StillhouseError(what, where=str(path), fix=fix)

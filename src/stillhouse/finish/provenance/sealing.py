"""The seal of a bottle: checksums that whoever makes it writes last, and a signature that may come at any time.

    seal(folder)                                # SHA256SUMS, over every file but the seal itself
    sign(folder, private)                       # model.sig, over every file, SHA256SUMS included, but model.sig
    found = inspect(folder, key=public)
    found.problems, found.signature             # what is wrong; what is known of who signed

Two names at the top of the folder are the seal, `SHA256SUMS` and `model.sig`; the same names deeper down are files
like any other. Every file is covered by the checksums, and all of them with the checksums by the signature, so that a
bottle can be signed after it was sealed, and no file is outside both. Checksums find accidents; whoever changes a file
can change them, too. Only a signature finds that, and only for somebody who has the maker's public key from elsewhere
and demands one: nothing in an unsigned bottle could tell that a signature was taken away.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from stillhouse.errors import Problem, StillhouseError
from stillhouse.finish.provenance import bundle, sums
from stillhouse.finish.provenance.contents import Contents, digests_of, shown, survey
from stillhouse.finish.provenance.keys import PrivateKey, PublicKey
from stillhouse.finish.provenance.pickles import hidden_code
from stillhouse.finish.provenance.sums import CHECKSUMS
from stillhouse.store import SIGNATURE, write_atomically

_MOST_SHOWN = 5  # files that a sentence about a signature names


@dataclass(frozen=True)
class Inspection:
    """What was found in a bottle.

    problems: in words; none where all is as it was sealed. digests: SHA-256 of every file but the signature.
    signed_by: hint of the key that the signature names. trusted: by the key that was given, and nothing is wrong.
    """

    problems: list[str]
    digests: Mapping[str, str] = field(default_factory=dict)
    signed: bool = False
    signed_by: str | None = None
    trusted: bool = False

    @property
    def signature(self) -> str:
        """What is known of who made the bottle, in a sentence."""
        if self.trusted:
            return f"signed with the key that was given (SHA-256 {self.signed_by})"
        if self.signed:
            whose = f" with a key of SHA-256 {self.signed_by}" if self.signed_by else ""
            return f"signed{whose}; by whom was not checked: give the maker's public key with --key"
        return "not signed: checksums find accidents, not somebody who changes a file and its checksum"


def seal(folder: Path) -> None:
    """Write the checksums of all files, last; raises :class:`StillhouseError` for what no bottle may hold."""
    found = survey(folder)
    files = {name: path for name, path in found.files.items() if name not in (CHECKSUMS, SIGNATURE)}
    digests, unread = digests_of(files)
    problems = [*found.problems, *unread, *_hidden_code(files, digests)]
    if problems:
        raise StillhouseError.several([Problem(one, str(folder), "take it out of the student") for one in problems])
    (folder / SIGNATURE).unlink(missing_ok=True)  # of what was here before
    write_atomically(folder / CHECKSUMS, sums.as_text(digests))


def inspect(folder: Path, *, key: PublicKey | None = None, in_repository: bool = False) -> Inspection:
    """Compare every file with checksums and signature, and look for what no bottle may hold.

    key: whose signature is demanded. in_repository: the bottle is a checkout, whose own files at the top do not count.
    Raises :class:`StillhouseError` where the folder has no checksums at all.
    """
    found = survey(folder, in_repository=in_repository)
    if CHECKSUMS not in found.files:
        raise StillhouseError(
            "this folder is no bottle: it has no SHA256SUMS",
            where=str(folder),
            fix="give a `4-finish/bottle` folder",
        )
    files = {name: path for name, path in found.files.items() if name != SIGNATURE}
    digests, unread = digests_of(files)
    recorded, problems = sums.parse(_read(files[CHECKSUMS]))
    summed = {name: digest for name, digest in digests.items() if name != CHECKSUMS}
    problems += [*_differences(summed, recorded), *found.problems, *unread]
    unchanged = {name: files[name] for name, digest in digests.items() if recorded.get(name, digest) == digest}
    problems += _hidden_code(unchanged, digests)
    if SIGNATURE not in found.files:
        if key is not None:
            problems.append("it is not signed, and a signature is demanded")
        return Inspection(problems, digests)
    wrong, signed = _of_signature(found, digests, key)
    return Inspection(
        problems + wrong,
        digests,
        signed=True,
        signed_by=signed.hint if signed else None,
        trusted=key is not None and not wrong and not problems,
    )


def sign(folder: Path, key: PrivateKey, digests: Mapping[str, str], *, name: str) -> None:
    """Write the signature. digests: as :func:`inspect` found them. name: of the model, for people.

    Whoever calls has looked that the bottle is as it was sealed; a signature of another key is overwritten.
    """
    payload = bundle.statement(name, digests, leaves_out=[SIGNATURE])
    data = bundle.assemble(payload, key.sign(bundle.message_of(payload)), key.public.hint)
    try:
        write_atomically(folder / SIGNATURE, data)
    except OSError as error:
        raise StillhouseError(
            f"the signature cannot be written: {error.strerror}", where=str(folder), fix="sign a copy of your own"
        ) from error


def _of_signature(
    found: Contents, digests: Mapping[str, str], key: PublicKey | None
) -> tuple[list[str], bundle.Signed | None]:
    try:
        signed = bundle.parse(_read(found.files[SIGNATURE]))
    except StillhouseError as error:
        return [error.problems[0].what], None
    wrong = []
    apart = _differences(digests, signed.digests)
    if apart:
        more = f" and {len(apart) - _MOST_SHOWN} more" if len(apart) > _MOST_SHOWN else ""
        wrong.append(f"the signature is of other content: {', '.join(apart[:_MOST_SHOWN])}{more}")
    if key is not None:
        if signed.hint not in (None, key.hint):
            wrong.append(f"it is signed with another key: SHA-256 {signed.hint}, not {key.hint}")
        elif not key.accepts(signed.signature, signed.message):
            wrong.append("the signature is not by the key that was given")
    return wrong, signed


def _differences(digests: Mapping[str, str], recorded: Mapping[str, str]) -> list[str]:
    """Files that are recorded and gone, there and not recorded, and changed."""
    there, known = set(digests), set(recorded)
    problems = [f"missing: {shown(name)}" for name in sorted(known - there)]
    problems += [f"not part of the bottle: {shown(name)}" for name in sorted(there - known)]
    problems += [f"changed: {shown(name)}" for name in sorted(there & known) if digests[name] != recorded[name]]
    return problems


def _hidden_code(files: Mapping[str, Path], digests: Mapping[str, str]) -> list[str]:
    found = {name: hidden_code(name, path) for name, path in files.items() if name in digests}
    return [f"may run code when it is loaded: {shown(name)} {reason}" for name, reason in found.items() if reason]


def _read(path: Path) -> bytes:
    """The first bytes of a file that should be small; one more than allowed is told by whoever reads them."""
    try:
        with path.open("rb") as stream:
            return stream.read(bundle.MOST_BYTES + 1)
    except OSError:
        return b""

"""What somebody may do to a signed bottle, one change at a time; tests and bench apply each to a copy.

    for tampering in TAMPERINGS:
        tampering.act(bottle, other)        # other: another signed bottle, and whatever a stranger has
        found = inspect_bottle(bottle, key=public).problems

``blind``: it shows only with the maker's public key, since whoever did it also made the seal anew, or touched nothing
but what a signature says of its signer.
"""

from __future__ import annotations

import base64
import json
import os
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import small_bottle
from stillhouse.finish.provenance import bundle, sums
from stillhouse.finish.provenance.contents import digests_of, survey

SUMS, SIGNATURE = "SHA256SUMS", "model.sig"


@dataclass(frozen=True)
class Tampering:
    """name: in words. act: changes the bottle at a path; the second path is another bottle, of another key."""

    name: str
    act: Callable[[Path, Path], None]
    blind: bool = False


def _write(path: Path, text: str) -> None:
    path.write_text(text, "utf-8")


def flip(path: Path, *, place: float = 0.5, bit: int = 0) -> None:
    """Flip one bit of a file."""
    data = bytearray(path.read_bytes())
    data[int(place * (len(data) - 1))] ^= 1 << bit
    path.write_bytes(bytes(data))


def seal_anew(bottle: Path) -> None:
    """Make the checksums fit what is there, as anybody can."""
    files = {name: path for name, path in survey(bottle).files.items() if name not in (SUMS, SIGNATURE)}
    (bottle / SUMS).write_bytes(sums.as_text(digests_of(files)[0]))


def sign_anew(bottle: Path, key: Any, *, hint: str | None = None, twice: bool = False) -> None:
    """Sign what is there with a key, under a hint of one's choice. twice: list the first file once more."""
    files = {name: path for name, path in survey(bottle).files.items() if name != SIGNATURE}
    payload = bundle.statement("small", digests_of(files)[0], leaves_out=[SIGNATURE])
    if twice:
        said = json.loads(payload)
        said["predicate"]["resources"].append(said["predicate"]["resources"][0])
        payload = json.dumps(said).encode()
    message = bundle.message_of(payload)
    (bottle / SIGNATURE).write_bytes(bundle.assemble(payload, key.sign(message), hint or key.public.hint))


def in_bundle(change: Callable[[dict[str, Any]], None]) -> Callable[[Path, Path], None]:
    """Change the bundle as JSON."""

    def act(bottle: Path, other: Path) -> None:
        value = small_bottle.signature(bottle)
        change(value)
        (bottle / SIGNATURE).write_text(json.dumps(value), "utf-8")

    return act


def in_payload(change: Callable[[dict[str, Any]], None]) -> Callable[[Path, Path], None]:
    """Change what the bundle says is signed, and leave the signature."""

    def turn(value: dict[str, Any]) -> None:
        said = json.loads(base64.b64decode(value["dsseEnvelope"]["payload"]))
        change(said)
        value["dsseEnvelope"]["payload"] = base64.b64encode(json.dumps(said).encode()).decode()

    return in_bundle(turn)


def flipped_base64(text: str) -> str:
    data = bytearray(base64.b64decode(text))
    data[len(data) // 2] ^= 1
    return base64.b64encode(bytes(data)).decode()


def _link(bottle: Path, other: Path) -> None:
    kept = other.parent / f"kept-{bottle.name}.json"
    shutil.move(bottle / "config.json", kept)
    (bottle / "config.json").symlink_to(kept)


def _link_of_a_folder(bottle: Path, other: Path) -> None:
    shutil.rmtree(bottle / "licenses")
    (bottle / "licenses").symlink_to(other / "licenses", target_is_directory=True)


def _swap(bottle: Path, other: Path) -> None:
    one, two = bottle / "README.md", bottle / "NOTICE"
    held = one.read_bytes()
    one.write_bytes(two.read_bytes())
    two.write_bytes(held)


def _edit_and_seal(name: str, text: str) -> Callable[[Path, Path], None]:
    def act(bottle: Path, other: Path) -> None:
        with (bottle / name).open("a", encoding="utf-8") as stream:
            stream.write(text)
        seal_anew(bottle)

    return act


def _unsigned_edit(bottle: Path, other: Path) -> None:
    _edit_and_seal("README.md", "Trust me.\n")(bottle, other)
    (bottle / SIGNATURE).unlink()


def _remove_with_its_sum(bottle: Path, other: Path) -> None:
    (bottle / "NOTICE").unlink()
    seal_anew(bottle)


def _twice_in_the_sums(bottle: Path, other: Path) -> None:
    lines = (bottle / SUMS).read_text("utf-8")
    (bottle / SUMS).write_text(lines + lines.splitlines(keepends=True)[0], "utf-8")


def _reorder_the_sums(bottle: Path, other: Path) -> None:
    lines = (bottle / SUMS).read_text("utf-8").splitlines(keepends=True)
    (bottle / SUMS).write_text("".join(reversed(lines)), "utf-8")


def _line_break_in_a_name(bottle: Path, other: Path) -> None:
    """A name that would look like two lines of checksums to whoever writes it there as it is."""
    name = "a\n" + "0" * 64 + "  b"
    (bottle / name).write_text("x")
    seal_anew(bottle)


def _two_cases(bottle: Path, other: Path) -> None:
    (bottle / "Config.json").write_text("{}")
    seal_anew(bottle)


def _pipe_for_a_label(bottle: Path, other: Path) -> None:
    (bottle / "label.json").unlink()
    os.mkfifo(bottle / "label.json")


def _escapes_in_the_label(bottle: Path, other: Path) -> None:
    """Words of a duty that would clear the terminal and write a line of their own on it."""
    label = json.loads((bottle / "label.json").read_text("utf-8"))
    words = "\x1b[2J every file is as it was sealed"
    label["rights"]["duties"] = [
        {"kind": "badge", "text": "x", "terms": "x", "clause": "x", "words": words, "subjects": []}
    ]
    (bottle / "label.json").write_text(json.dumps(label), "utf-8")
    seal_anew(bottle)


def _append(bottle: Path, other: Path) -> None:
    with (bottle / "model.safetensors").open("ab") as stream:
        stream.write(b"\0")


def _truncate(bottle: Path, other: Path) -> None:
    os.truncate(bottle / "model.safetensors", (bottle / "model.safetensors").stat().st_size - 1)


def _pickle_under_another_name(bottle: Path, other: Path) -> None:
    """Protocol 0, sealed anew: no checksum is wrong, and its name is that of a harmless file."""
    (bottle / "vocab.txt").write_bytes(b"cposix\nsystem\n(S'true'\ntR.")
    seal_anew(bottle)
    (bottle / SIGNATURE).unlink()


def _another_signer(bottle: Path, other: Path) -> None:
    _edit_and_seal("README.md", "Trust me.\n")(bottle, other)
    sign_anew(bottle, small_bottle.key())


def _another_signer_with_the_hint(bottle: Path, other: Path) -> None:
    hint = small_bottle.signature(bottle)["verificationMaterial"]["publicKey"]["hint"]
    _edit_and_seal("README.md", "Trust me.\n")(bottle, other)
    sign_anew(bottle, small_bottle.key(), hint=hint)


def _repository(bottle: Path, other: Path) -> None:
    (bottle / ".git").mkdir()
    (bottle / ".git" / "config").write_text("x")


def _another_hint(value: dict[str, Any]) -> None:
    value["verificationMaterial"]["publicKey"]["hint"] = "0" * 64


KINDS = (
    "model.safetensors",
    "onnx/model.onnx",
    "config.json",
    "tokenizer.json",
    "vocab.txt",
    "README.md",
    "label.json",
    "NOTICE",
    "licenses/MIT-base-base.txt",
    "bom.cdx.json",
    "provenance.json",
    SUMS,
)
TAMPERINGS = (
    *(Tampering(f"one bit of {name}", lambda bottle, _, name=name: flip(bottle / name)) for name in KINDS),
    Tampering("weights cut short", _truncate),
    Tampering("a byte more of weights", _append),
    Tampering("a file emptied", lambda bottle, _: (bottle / "config.json").write_bytes(b"")),
    Tampering("an extra file", lambda bottle, _: (bottle / "more.txt").write_text("x") and None),
    Tampering("an extra hidden file", lambda bottle, _: (bottle / ".more").write_text("x") and None),
    Tampering("an extra file in .git", _repository),
    Tampering("checksums in a folder below", lambda bottle, _: (bottle / "onnx" / SUMS).write_text("x") and None),
    Tampering(
        "a signature in a folder below", lambda bottle, _: (bottle / "onnx" / SIGNATURE).write_text("{}") and None
    ),
    Tampering("an extra pickle", lambda bottle, _: (bottle / "training_args.bin").write_bytes(b"\x80\x04.") and None),
    Tampering("a pickle under the name of a vocabulary", _pickle_under_another_name),
    Tampering("a file missing", lambda bottle, _: (bottle / "NOTICE").unlink()),
    Tampering("a file renamed", lambda bottle, _: (bottle / "NOTICE").rename(bottle / "NOTICE.txt") and None),
    Tampering("a name in another case", lambda bottle, _: (bottle / "NOTICE").rename(bottle / "Notice") and None),
    Tampering("names that differ only in case", _two_cases),
    Tampering("a line break in a name", _line_break_in_a_name),
    Tampering("two files swapped", _swap),
    Tampering("a file replaced by a link to the same", _link),
    Tampering("a folder replaced by a link", _link_of_a_folder),
    Tampering("an empty folder", lambda bottle, _: (bottle / "cache").mkdir()),
    Tampering("a pipe in place of the label", _pipe_for_a_label),
    Tampering("a label that writes on the terminal", _escapes_in_the_label),
    Tampering("a label too deep to read", lambda bottle, _: _write(bottle / "label.json", "[" * 100_000)),
    Tampering("a pipe", lambda bottle, _: os.mkfifo(bottle / "pipe")),
    Tampering("a card changed, checksums made anew", _edit_and_seal("README.md", "Trust me.\n")),
    Tampering("a label changed, checksums made anew", _edit_and_seal("label.json", " ")),
    Tampering("the same, and the signature taken away", _unsigned_edit, blind=True),
    Tampering("a file removed, checksums made anew", _remove_with_its_sum),
    Tampering("a checksum listed twice", _twice_in_the_sums),
    Tampering("checksums in another order", _reorder_the_sums),
    Tampering("the signature taken away", lambda bottle, _: (bottle / SIGNATURE).unlink(), blind=True),
    Tampering("the signature emptied", lambda bottle, _: (bottle / SIGNATURE).write_bytes(b"")),
    Tampering(
        "the signature of another bottle",
        lambda bottle, other: shutil.copyfile(other / SIGNATURE, bottle / SIGNATURE) and None,
    ),
    Tampering("signed anew by somebody else", _another_signer, blind=True),
    Tampering("the same, under the maker's hint", _another_signer_with_the_hint, blind=True),
    Tampering(
        "one bit of the signature",
        in_bundle(
            lambda value: value["dsseEnvelope"]["signatures"][0].update(
                sig=flipped_base64(value["dsseEnvelope"]["signatures"][0]["sig"])
            )
        ),
        blind=True,
    ),
    Tampering(
        "one bit of the payload",
        in_bundle(lambda value: value["dsseEnvelope"].update(payload=flipped_base64(value["dsseEnvelope"]["payload"]))),
    ),
    Tampering("another key's hint", in_bundle(_another_hint), blind=True),
    Tampering("another media type", in_bundle(lambda value: value.update(mediaType="application/json"))),
    Tampering("an unknown field", in_bundle(lambda value: value.update(note="unsigned words"))),
    Tampering(
        "a file left out of the signed list",
        in_payload(lambda said: said["predicate"]["resources"].pop() and None),
    ),
    Tampering(
        "a file twice in the signed list",
        in_payload(lambda said: said["predicate"]["resources"].append(said["predicate"]["resources"][0])),
    ),
    Tampering("another root digest", in_payload(lambda said: said["subject"][0]["digest"].update(sha256="0" * 64))),
)

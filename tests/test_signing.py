"""Seals and signatures: every change is found, the other implementation agrees, and no stranger's file is a crash."""

from __future__ import annotations

import base64
import json
import os
import pickle
import shutil
import subprocess
import sys
import unicodedata
import zipfile
from pathlib import Path, PurePosixPath

import numpy as np
import pytest
from cryptography.hazmat.primitives.asymmetric import ec, ed25519
from cryptography.hazmat.primitives.serialization import BestAvailableEncryption, Encoding, NoEncryption, PrivateFormat
from cryptography.hazmat.primitives.serialization import PublicFormat as Public
from hypothesis import given
from hypothesis import strategies as st
from safetensors.numpy import save_file

import small_bottle
import tamperings
from examples import examples
from stillhouse import store
from stillhouse.errors import StillhouseError
from stillhouse.finish.bottle import inspect_bottle, seal_bottle, sign_bottle, verify_bottle
from stillhouse.finish.provenance import PrivateKey, PublicKey, bundle, make_pair, public_path, sums
from stillhouse.finish.provenance.contents import in_order
from stillhouse.finish.provenance.pickles import hidden_code
from stillhouse.use import check_bottle, sign


def no_terminal(prompt: str) -> str:
    raise AssertionError(f"asked for {prompt}")


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path, PrivateKey]:
    """Two signed bottles of two keys, and the key of the first."""
    folder = tmp_path_factory.mktemp("house")
    mine, other, key = (
        small_bottle.make(folder / "mine"),
        small_bottle.make(folder / "other", seed=1),
        small_bottle.key(),
    )
    sign_bottle(mine, key)
    sign_bottle(other, small_bottle.key())
    return mine, other, key


@pytest.fixture
def copy(house: tuple[Path, Path, PrivateKey], tmp_path: Path) -> Path:
    shutil.copytree(house[0], tmp_path / "copy")
    return tmp_path / "copy"


# ---------------------------------------------------------------- every tampering


@pytest.mark.parametrize("elsewhere", ["../model.onnx", "/elsewhere/model.onnx", "onnx/none.onnx", ""])
def test_a_label_that_ships_a_file_without_a_checksum_is_found(copy: Path, elsewhere: str) -> None:
    """What is opened must be covered, also where somebody made the checksums anew."""
    (copy.parent / "model.onnx").write_bytes(b"another")
    label = json.loads((copy / "label.json").read_text("utf-8"))
    label["shipped"]["file"] = elsewhere
    (copy / "label.json").write_text(json.dumps(label), "utf-8")
    (copy / "model.sig").unlink()
    tamperings.seal_anew(copy)
    (problem,) = verify_bottle(copy)
    assert "which is no file of the bottle" in problem


@pytest.mark.parametrize("name", ["config.json.", "README.md ", "model.onnx:more", "aux", "onnx/NUL.txt", "a?b"])
def test_names_that_are_other_files_on_windows_are_not_sealed(tmp_path: Path, name: str) -> None:
    bottle = small_bottle.make(tmp_path / "bottle")
    (bottle / name).write_text("x", "utf-8")
    with pytest.raises(StillhouseError, match="Windows"):
        seal_bottle(bottle)


@pytest.mark.parametrize("tampering", tamperings.TAMPERINGS, ids=lambda one: one.name)
def test_every_tampering_is_found(
    house: tuple[Path, Path, PrivateKey], copy: Path, tmp_path: Path, tampering: tamperings.Tampering
) -> None:
    other = tmp_path / "other"
    shutil.copytree(house[1], other)
    tampering.act(copy, other)
    found = inspect_bottle(copy, key=house[2].public)
    assert found.problems and not found.trusted
    assert all(problem.isprintable() for problem in found.problems)
    assert tampering.blind or verify_bottle(copy)


def test_a_whole_bottle_has_no_problem_signed_or_not(house: tuple[Path, Path, PrivateKey], copy: Path) -> None:
    key = house[2]
    with_key, without = inspect_bottle(copy, key=key.public), inspect_bottle(copy)
    assert with_key.problems == without.problems == []
    assert with_key.trusted and key.public.hint in with_key.signature
    assert not without.trusted and "was not checked" in without.signature
    (copy / "model.sig").unlink()
    unsigned = inspect_bottle(copy)
    assert unsigned.problems == [] and unsigned.signature.startswith("not signed")
    assert inspect_bottle(copy, key=key.public).problems == ["it is not signed, and a signature is demanded"]


def test_every_bit_of_the_seal_counts(house: tuple[Path, Path, PrivateKey], copy: Path) -> None:
    """Of each byte of signature and checksums one bit, so that each place and each of the eight bits is tried."""
    key = house[2].public
    whole = (copy / "model.sig").read_bytes()
    digests = inspect_bottle(copy).digests
    for place in range(len(whole)):
        data = bytearray(whole)
        data[place] ^= 1 << (place % 8)
        try:
            signed = bundle.parse(bytes(data))
        except StillhouseError:
            continue
        assert signed.digests != digests or signed.hint != key.hint or not key.accepts(signed.signature, signed.message)
    recorded = sums.parse((copy / "SHA256SUMS").read_bytes())
    lines = (copy / "SHA256SUMS").read_bytes()
    for place in range(len(lines)):
        data = bytearray(lines)
        data[place] ^= 1 << (place % 8)
        assert sums.parse(bytes(data)) != recorded


# ---------------------------------------------------------------- what is covered


def test_no_file_is_outside_checksums_and_signature(house: tuple[Path, Path, PrivateKey]) -> None:
    bottle = house[0]
    there = {path.relative_to(bottle).as_posix() for path in bottle.rglob("*") if path.is_file()}
    recorded, _ = sums.parse((bottle / "SHA256SUMS").read_bytes())
    signed = bundle.parse((bottle / "model.sig").read_bytes())
    assert set(recorded) == there - {"SHA256SUMS", "model.sig"}
    assert set(signed.digests) == there - {"model.sig"}


def test_a_bottle_is_signed_only_as_it_was_sealed_and_replaced_only_when_asked(copy: Path) -> None:
    key = small_bottle.key()
    with pytest.raises(StillhouseError, match="signed already"):
        sign_bottle(copy, key)
    sign_bottle(copy, key, again=True)
    assert inspect_bottle(copy, key=key.public).trusted
    (copy / "NOTICE").write_text("other")
    before = (copy / "model.sig").read_bytes()
    with pytest.raises(StillhouseError, match="changed: NOTICE"):
        sign_bottle(copy, key, again=True)
    assert (copy / "model.sig").read_bytes() == before
    seal_bottle(copy)  # sealed anew, it is another bottle, which nobody has signed
    assert not (copy / "model.sig").exists() and verify_bottle(copy) == []


def test_a_signature_changes_no_sealed_step(copy: Path, tmp_path: Path) -> None:
    draft = store.open_draft(tmp_path / "run", "4-finish", "f" * 64)
    (copy / "model.sig").unlink()
    shutil.copytree(copy, draft / "bottle")
    store.seal(tmp_path / "run", "4-finish", "f" * 64, {}, {}, "run")
    bottle = tmp_path / "run" / "4-finish" / "bottle"
    sign_bottle(bottle, small_bottle.key())
    assert store.read_sealed(tmp_path / "run", "4-finish") is not None
    (bottle / "NOTICE").write_text("x")
    assert store.read_sealed(tmp_path / "run", "4-finish") is None


def test_a_checkout_has_files_of_its_own_at_the_top_and_nowhere_else(
    house: tuple[Path, Path, PrivateKey], copy: Path
) -> None:
    (copy / ".gitattributes").write_text("*.safetensors filter=lfs\n")
    (copy / ".cache" / "huggingface").mkdir(parents=True)
    (copy / ".cache" / "huggingface" / "x.metadata").write_text("x")
    assert len(verify_bottle(copy)) == 3  # two files, and that the signature does not know them
    assert inspect_bottle(copy, key=house[2].public, in_repository=True).problems == []
    (copy / "onnx" / ".gitattributes").write_text("x")
    assert inspect_bottle(copy, in_repository=True).problems


@pytest.mark.skipif(shutil.which("sha256sum") is None, reason="no sha256sum here")
def test_the_checksums_are_those_of_the_common_tool(copy: Path) -> None:
    (copy / "Straße, 日本.txt").write_text("ü", "utf-8")
    seal_bottle(copy)
    done = subprocess.run(
        [str(shutil.which("sha256sum")), "--check", "--strict", "SHA256SUMS"],
        cwd=copy,
        capture_output=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert verify_bottle(copy) == []


@pytest.mark.parametrize(
    "name", ["a\nb", "a\u2028b", "a\u202eb", "back\\slash", unicodedata.normalize("NFD", "é"), "\x1b[2J"]
)
def test_names_that_mean_two_things_are_not_sealed(copy: Path, name: str) -> None:
    (copy / name).write_text("x")
    with pytest.raises(StillhouseError) as refused:
        seal_bottle(copy)
    assert refused.value.problems[0].what.isprintable()
    assert any("name" in problem for problem in verify_bottle(copy))


def test_a_name_that_is_no_text_is_told_and_not_a_crash(copy: Path) -> None:
    path = os.fsencode(copy) + b"/\xff\xfe.txt"
    try:
        Path(os.fsdecode(path)).write_text("x")
    except OSError:
        pytest.skip("this disk takes no such name")
    for problem in verify_bottle(copy):
        problem.encode("utf-8")
    assert verify_bottle(copy)


@examples(0.4)
@given(st.lists(st.text(st.sampled_from("ab/.-Z"), min_size=1).map(lambda name: str(PurePosixPath(name))), unique=True))
def test_files_are_listed_in_the_order_of_their_paths(names: list[str]) -> None:
    names = [name for name in names if not name.startswith(("/", "."))]
    assert in_order(names) == [str(path) for path in sorted(map(PurePosixPath, names))]


@examples(0.3)
@given(
    st.dictionaries(
        st.text(st.characters(codec="utf-8", exclude_characters="\n"), min_size=1), st.just("0" * 64), min_size=1
    )
)
def test_checksums_come_back_as_they_were_written(digests: dict[str, str]) -> None:
    assert sums.parse(sums.as_text(digests)) == (digests, [])


# ---------------------------------------------------------------- pickles


class Harm:
    def __reduce__(self) -> tuple[object, tuple[str]]:
        return os.mkdir, ("/nonexistent/harm",)


@pytest.mark.parametrize("protocol", range(6))
@pytest.mark.parametrize("name", ["model.safetensors", "vocab.txt", "config.json", "model.onnx", "weights"])
def test_a_pickle_is_told_by_what_it_holds(tmp_path: Path, protocol: int, name: str) -> None:
    path = tmp_path / name
    path.write_bytes(pickle.dumps(Harm(), protocol))
    assert "pickle" in str(hidden_code(name, path))
    path.write_bytes(pickle.dumps({"weights": [Harm()], "more": list(range(1000))}, protocol))
    assert "pickle" in str(hidden_code(name, path))
    path.write_bytes(pickle.dumps(Harm(), protocol)[:-1] + b"\xff" * 100)  # it has called before it breaks
    assert hidden_code(name, path)
    path.write_bytes(pickle.dumps(["x" * 600_000, b"y" * 600_000, Harm()], protocol))  # the call comes late
    assert hidden_code(name, path)


def test_archives_and_what_only_calls_itself_safe_are_told(tmp_path: Path) -> None:
    path = tmp_path / "model.safetensors"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("archive/data.pkl", pickle.dumps(Harm()))
    assert "zip" in str(hidden_code(path.name, path))
    np.save(tmp_path / "x.npy", np.array([Harm()], dtype=object), allow_pickle=True)
    shutil.move(tmp_path / "x.npy", path)
    assert "numpy" in str(hidden_code(path.name, path))
    for data in (b"", b"\0" * 7, b"\xff" * 64, b"\x02" + b"\0" * 7 + b"[]", b"\x02" + b"\0" * 7 + b"{}x"):
        path.write_bytes(data)
        assert "is called safetensors and is not" in str(hidden_code(path.name, path))
    path.write_bytes(b"GGML")
    assert "GGUF" in str(hidden_code("model.gguf", path))
    path.write_text("harmless")
    assert "suffix" in str(hidden_code("pytorch_model.bin", path))


def test_weights_may_begin_with_any_length(tmp_path: Path) -> None:
    """The header of this file is 640 bytes long, so that its first two bytes are those of a pickle."""
    path = tmp_path / "model.safetensors"
    for padding in range(700):
        save_file({"a": np.zeros(2, np.float32)}, path, metadata={"x": "y" * padding})
        if path.read_bytes()[:2] == b"\x80\x02":
            break
    assert path.read_bytes()[:2] == b"\x80\x02"
    assert hidden_code(path.name, path) is None
    path.write_bytes(path.read_bytes() + b"PK\x03\x04")
    assert hidden_code(path.name, path)


@given(st.lists(st.text("cioRb(.tS'\n", max_size=9), max_size=6).map("\n".join))
@examples(0.6)
def test_text_like_operations_is_never_a_crash(tmp_path_factory: pytest.TempPathFactory, text: str) -> None:
    path = tmp_path_factory.getbasetemp() / "any.txt"
    path.write_text(text, "utf-8")
    hidden_code(path.name, path)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "c",
        "cat\ndog\ntree\n",
        "(c) 2026\nAll rights\n",
        "in\nout\n",
        "x^2 + y^2",
        "{}",
        "[1]",
        "N.",
        "I am.\n",
        "café\n",
    ],
)
def test_plain_text_is_no_pickle(tmp_path: Path, text: str) -> None:
    (tmp_path / "vocab.txt").write_text(text, "utf-8")
    assert hidden_code("vocab.txt", tmp_path / "vocab.txt") is None


def test_a_pickle_is_neither_sealed_nor_accepted(copy: Path) -> None:
    (copy / "weights.safetensors").write_bytes(pickle.dumps(Harm()))
    with pytest.raises(StillhouseError, match="pickle"):
        seal_bottle(copy)
    (copy / "model.sig").unlink()
    tamperings.seal_anew(copy)
    (problem,) = verify_bottle(copy)
    assert "weights.safetensors" in problem and "pickle" in problem


# ---------------------------------------------------------------- the other implementation


@pytest.mark.parametrize("curve", [ec.SECP256R1(), ec.SECP384R1(), ec.SECP521R1()], ids=lambda curve: curve.name)
def test_ours_is_accepted_by_model_signing_and_theirs_by_us(
    copy: Path, tmp_path: Path, curve: ec.EllipticCurve
) -> None:
    import model_signing

    key = small_bottle.key(curve)
    private, public = tmp_path / "k.pem", small_bottle.public_file(key, tmp_path / "k.pub.pem")
    private.write_bytes(key.key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    (copy / "Straße").mkdir()
    (copy / "Straße" / "日本.txt").write_text("ü", "utf-8")
    (copy / "onnx.txt").write_text("sorted after what lies in onnx/")
    seal_bottle(copy)
    sign_bottle(copy, key)
    ours = bundle.parse((copy / "model.sig").read_bytes())

    def ignoring() -> model_signing.hashing.Config:
        return model_signing.hashing.Config().set_ignored_paths(paths=["model.sig"])

    verifier = model_signing.verifying.Config().use_elliptic_key_verifier(public_key=public)
    verifier.set_hashing_config(ignoring()).verify(copy, copy / "model.sig")
    (copy / "NOTICE").write_bytes((copy / "NOTICE").read_bytes() + b"x")
    with pytest.raises(ValueError, match="NOTICE"):
        verifier.verify(copy, copy / "model.sig")
    seal_bottle(copy)

    signer = model_signing.signing.Config().use_elliptic_key_signer(private_key=private)
    signer.set_hashing_config(ignoring()).sign(copy, copy / "model.sig")
    assert check_bottle(copy, key=public).trusted
    theirs = bundle.parse((copy / "model.sig").read_bytes())
    assert list(theirs.digests) == list(ours.digests)  # so that both have the same root digest for the same files
    (copy / "config.json").write_text("{}")
    assert not check_bottle(copy, key=public).trusted


# ---------------------------------------------------------------- hostile bundles


@examples(0.4)
@given(st.binary(max_size=400))
def test_bytes_are_a_bundle_or_an_error_in_words(data: bytes) -> None:
    with pytest.raises(StillhouseError, match="cannot be used"):
        bundle.parse(data)


@pytest.mark.parametrize(
    "data",
    [b"[" * 100_000, b'{"a":' * 50_000, b'{"mediaType": NaN}', b"9" * 5000, b"null", b'{"a":1,"a":2}', b"\xff\xfe{\0"],
    ids=range(7),
)
def test_depth_doubles_and_numbers_are_errors_in_words(data: bytes) -> None:
    with pytest.raises(StillhouseError, match="cannot be used"):
        bundle.parse(data)


_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=5,
)


@given(data=st.data())
@examples(1.2)
def test_a_bundle_with_anything_anywhere_is_never_a_crash(
    house: tuple[Path, Path, PrivateKey], data: st.DataObject
) -> None:
    """One value, at any depth of bundle or payload, is replaced by another; only what is unsigned and free may pass."""
    value = small_bottle.signature(house[0])
    parsed = bundle.parse((house[0] / "model.sig").read_bytes())
    inside = data.draw(st.booleans())
    target = json.loads(parsed.message[parsed.message.index(b"{") :]) if inside else value
    here = target
    while True:
        key = data.draw(st.sampled_from(sorted(here) if isinstance(here, dict) else range(len(here))))
        if not isinstance(here[key], dict | list) or not here[key] or data.draw(st.booleans()):
            break
        here = here[key]
    here[key] = data.draw(_JSON)
    if inside:
        value["dsseEnvelope"]["payload"] = base64.b64encode(json.dumps(target).encode()).decode()
    public = house[2].public
    try:
        signed = bundle.parse(json.dumps(value).encode())
    except StillhouseError as error:
        assert error.problems[0].what.isprintable()
    else:
        if public.accepts(signed.signature, signed.message):
            assert signed.digests == parsed.digests and signed.message == parsed.message


# ---------------------------------------------------------------- keys


def test_a_new_pair_signs_and_is_readable_by_its_owner_alone(copy: Path, tmp_path: Path) -> None:
    (copy / "model.sig").unlink()
    path = tmp_path / "house.pem"
    public = sign(copy, path, ask=lambda _: "sesam", new_key=True)
    assert path.stat().st_mode & 0o077 == 0 and b"ENCRYPTED" in path.read_bytes()
    assert PublicKey.read(public_path(path)).hint == public.hint
    assert check_bottle(copy, key=public_path(path)).trusted
    sign(copy, path, ask=lambda _: "sesam", again=True)
    with pytest.raises(StillhouseError, match="passphrase"):
        PrivateKey.read(path, ask=lambda _: "other")
    with pytest.raises(StillhouseError, match="there already"):
        make_pair(path, ask=lambda _: "sesam")
    with pytest.raises(StillhouseError, match="must not lie in the bottle"):
        sign(copy, copy / "house.pem", ask=no_terminal, new_key=True)
    assert not (copy / "house.pem").exists()


def test_two_passphrases_that_differ_make_no_key(tmp_path: Path) -> None:
    typed = iter(["one", "two"])
    with pytest.raises(StillhouseError, match="not the same"):
        make_pair(tmp_path / "k.pem", ask=lambda _: next(typed))
    assert list(tmp_path.iterdir()) == []


def test_an_open_key_asks_for_nothing(tmp_path: Path) -> None:
    key = make_pair(tmp_path / "k.pem", ask=lambda _: "")
    assert PrivateKey.read(tmp_path / "k.pem", ask=no_terminal).public.hint == key.public.hint


@pytest.mark.parametrize("kind", ["ed25519", "secp256k1", "nonsense", "private", "absent", "folder"])
def test_other_keys_are_refused_in_words(tmp_path: Path, kind: str) -> None:
    path = tmp_path / "k.pem"
    if kind == "ed25519":
        made = ed25519.Ed25519PrivateKey.generate()
        path.write_bytes(made.public_key().public_bytes(Encoding.PEM, Public.SubjectPublicKeyInfo))
    elif kind == "secp256k1":
        small_bottle.public_file(small_bottle.key(ec.SECP256K1()), path)
    elif kind == "private":
        secret = small_bottle.key().key
        path.write_bytes(secret.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, BestAvailableEncryption(b"x")))
    elif kind == "folder":
        path.mkdir()
    elif kind == "nonsense":
        path.write_bytes(b"-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----\n")
    with pytest.raises(StillhouseError) as refused:
        PublicKey.read(path)
    assert "key" in refused.value.problems[0].what


def stillhouse_on_a_terminal(arguments: list[str], typed: list[str]) -> tuple[int, str]:
    """Run the command line with a terminal of its own, and type a line at each question."""
    terminal, theirs = os.openpty()
    process = subprocess.Popen(
        [sys.executable, "-m", "stillhouse.cli", *arguments],
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
        preexec_fn=lambda: os.login_tty(theirs),
    )
    os.close(theirs)
    said = b""
    lines = iter(typed)
    asked = 0
    while True:
        try:
            part = os.read(terminal, 4096)
        except OSError:
            break
        if not part:
            break
        said += part
        if said.count(b": ") > asked and said.endswith(b": "):
            asked = said.count(b": ")
            os.write(terminal, next(lines).encode() + b"\n")
    os.close(terminal)
    return process.wait(), said.decode()


def test_the_command_asks_for_the_passphrase_on_the_terminal_and_shows_it_nowhere(copy: Path, tmp_path: Path) -> None:
    key = tmp_path / "house.pem"
    code, said = stillhouse_on_a_terminal(
        ["sign", str(copy), "--key", str(key), "--new-key", "--again"], ["sesam-öffne-dich", "sesam-öffne-dich"]
    )
    assert code == 0, said
    assert "sesam" not in said and "signed with the key of SHA-256" in " ".join(said.split())
    assert check_bottle(copy, key=public_path(key)).trusted
    piped = subprocess.run(
        [sys.executable, "-m", "stillhouse.cli", "sign", str(copy), "--key", str(key), "--again"],
        input="sesam-öffne-dich\n",
        capture_output=True,
        text=True,
        check=False,
        start_new_session=True,
    )
    assert piped.returncode == 1 and "no terminal" in piped.stderr

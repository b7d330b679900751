"""Signature and papers of a bottle: held against the other implementation, against tampering, and against the schema.

`model_signing` (the reference implementation of the OpenSSF format) runs as the command that its users run; the clock
compares both in one process. The tamperings are those of `tests/tamperings.py`, each on a copy of its own.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

from bench.report import Figure
from stillhouse.finish.bottle import inspect_bottle, seal_bottle, sign_bottle
from stillhouse.finish.provenance import PrivateKey, PublicKey, bundle, make_pair, public_path

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT / "tests"))  # the small bottle, the tamperings and the tiny world are kept with the tests

REPEATS = 5


def signature(*, quick: bool, work: Path) -> list[Figure]:
    """Both directions, every tampering, every bit, the schema, the clock."""
    import small_bottle

    shutil.rmtree(work / "signature", ignore_errors=True)
    folder = work / "signature"
    folder.mkdir(parents=True)
    bottle = small_bottle.make(folder / "bottle")
    key = make_pair(folder / "house.pem", ask=lambda _: "")
    sign_bottle(bottle, key)
    return [
        *_interoperation(bottle, folder),
        *_tampering(bottle, key, folder),
        *_bits(bottle, key.public, quick=quick),
        *_bills(bottle, folder, quick=quick),
        *_clock(folder, key, megabytes=40 if quick else 400),
    ]


def _model_signing(verb: str, bottle: Path, key: Path) -> int:
    """The exit code of the reference implementation's command."""
    option = "--private_key" if verb == "sign" else "--public_key"
    command = [sys.executable, "-m", "model_signing", verb, "key", str(bottle), option, str(key)]
    return subprocess.run(
        [*command, "--signature", str(bottle / "model.sig")], capture_output=True, check=False
    ).returncode


def _interoperation(bottle: Path, folder: Path) -> list[Figure]:
    private, public = folder / "house.pem", public_path(folder / "house.pem")
    make_pair(folder / "other.pem", ask=lambda _: "")
    accepted = _model_signing("verify", bottle, public)
    other_key = _model_signing("verify", bottle, public_path(folder / "other.pem"))
    changed = shutil.copytree(bottle, folder / "changed")
    (changed / "NOTICE").write_text("changed", "utf-8")
    refused = _model_signing("verify", changed, public)
    theirs = shutil.copytree(bottle, folder / "theirs")
    (theirs / "model.sig").unlink()
    signed = _model_signing("sign", theirs, private)
    found = inspect_bottle(theirs, key=PublicKey.read(public))
    (theirs / "NOTICE").write_text("changed", "utf-8")
    found_changed = inspect_bottle(theirs, key=PublicKey.read(public))
    return [
        Figure("ours, by `model_signing verify`: exit code", accepted, "", ("==", 0)),
        Figure("  with a changed file", refused, "", ("==", 1)),
        Figure("  with another key", other_key, "", ("==", 1)),
        Figure("theirs, by `model_signing sign`: exit code", signed, "", ("==", 0)),
        Figure("  problems that we find", len(found.problems), "", ("==", 0)),
        Figure("  accepted as signed by the key", float(found.trusted), "", ("==", 1)),
        Figure("  with a changed file: accepted", float(found_changed.trusted), "", ("==", 0)),
    ]


def _tampering(bottle: Path, key: PrivateKey, folder: Path) -> list[Figure]:
    import small_bottle
    from tamperings import TAMPERINGS

    missed, missed_blind = [], []
    for place, tampering in enumerate(TAMPERINGS):
        here = folder / f"tampering-{place}"
        other = small_bottle.make(here / "other", seed=1)
        sign_bottle(other, small_bottle.key())
        copy = shutil.copytree(bottle, here / "bottle")
        tampering.act(copy, other)
        if not inspect_bottle(copy, key=key.public).problems:
            missed.append(tampering.name)
        if not inspect_bottle(copy).problems:
            missed_blind.append(tampering.name)
    expected = sum(one.blind for one in TAMPERINGS)
    untouched = inspect_bottle(bottle, key=key.public)
    return [
        Figure("tamperings tried", len(TAMPERINGS), "", (">=", 12)),
        Figure("  found with the maker's public key", len(TAMPERINGS) - len(missed), "", (">=", len(TAMPERINGS))),
        Figure("  found without any key", len(TAMPERINGS) - len(missed_blind), "", (">=", len(TAMPERINGS) - expected)),
        Figure("  problems in the untouched bottle", len(untouched.problems), "", ("==", 0)),
    ]


def _bits(bottle: Path, key: PublicKey, *, quick: bool) -> list[Figure]:
    """Flip every bit of the signature's file, one at a time; quick: one bit of each byte."""
    from stillhouse.errors import StillhouseError

    whole, digests = (bottle / "model.sig").read_bytes(), dict(inspect_bottle(bottle).digests)
    tried = unnoticed = 0
    for place in range(len(whole)):
        for bit in [place % 8] if quick else range(8):
            data = bytearray(whole)
            data[place] ^= 1 << bit
            tried += 1
            try:
                signed = bundle.parse(bytes(data))
            except StillhouseError:
                continue
            same = signed.digests == digests and signed.hint == key.hint
            unnoticed += same and key.accepts(signed.signature, signed.message)
    return [
        Figure("bits of model.sig flipped, one at a time", tried),
        Figure("  unnoticed", unnoticed, "", ("==", 0)),
    ]


def _bills(bottle: Path, folder: Path, *, quick: bool) -> list[Figure]:
    """Errors of the bills by the schema: of the small bottle and, unless quick, of a whole small run."""
    bills = [bottle / "bom.cdx.json"]
    figures = []
    if not quick:
        run = _small_run(folder / "run")
        bills.append(run / "4-finish" / "bottle" / "bom.cdx.json")
        papers = [path.read_text("utf-8") for path in (bills[-1], bills[-1].with_name("provenance.json"))]
        leaks = sum(text.count(str(folder)) for text in papers)
        figures.append(Figure("paths of this machine in the papers of a run", leaks, "", ("==", 0)))
    errors = sum(_errors(path) for path in bills)
    return [Figure(f"CycloneDX 1.6: errors in {len(bills)} bills", errors, "", ("==", 0)), *figures]


def _errors(path: Path) -> int:
    from cyclonedx.schema import SchemaVersion
    from cyclonedx.validation.json import JsonStrictValidator

    return len(
        list(JsonStrictValidator(SchemaVersion.V1_6).validate_str(path.read_text("utf-8"), all_errors=True) or ())
    )


def _small_run(folder: Path) -> Path:
    import tiny_world
    from stillhouse.execute import run
    from stillhouse.recipe import parse_recipe

    folder.mkdir()
    mapping = tiny_world.make(folder).mapping()
    mapping["paths"] = {name: str(folder / name) for name in ("runs", "answers", "cache")}
    return run(parse_recipe(mapping), base=folder).folder


def _clock(folder: Path, key: PrivateKey, *, megabytes: int) -> list[Figure]:
    """The best of some turns at signing and checking a folder of four weight files, both in this process."""
    import model_signing
    from safetensors.numpy import save_file

    import small_bottle

    bottle = small_bottle.make(folder / "large")
    random = np.random.default_rng(0)
    for shard in range(4):
        weights = np.frombuffer(random.bytes(megabytes * 250_000), dtype=np.float32)
        save_file({"weight": weights}, bottle / f"model-{shard + 1:05d}-of-00004.safetensors")
    (bottle / "model.safetensors").unlink()
    seal_bottle(bottle)
    theirs = folder / "theirs.sig"
    hashing = model_signing.hashing.Config().set_ignored_paths(paths=["model.sig"])
    signer = model_signing.signing.Config().use_elliptic_key_signer(private_key=folder / "house.pem")
    checker = model_signing.verifying.Config().use_elliptic_key_verifier(public_key=public_path(folder / "house.pem"))
    signer.set_hashing_config(hashing)
    checker.set_hashing_config(hashing)
    turns: dict[str, Callable[[], object]] = {
        "ours": lambda: sign_bottle(bottle, key, again=True),
        "theirs": lambda: signer.sign(bottle, theirs),
        "ours, check": lambda: inspect_bottle(bottle, key=key.public),
        "theirs, check": lambda: checker.verify(bottle, theirs),
    }
    best = dict.fromkeys(turns, float("inf"))
    for _ in range(REPEATS):
        for name, turn in turns.items():
            started = time.perf_counter()
            turn()
            best[name] = min(best[name], time.perf_counter() - started)
    bar = ("<=", 1.5) if megabytes >= 400 else None  # a few hundredths of a second are noise on a busy machine
    return [
        Figure(f"signing {megabytes} MB, checks of the bottle included", best["ours"], "s"),
        Figure("  `model_signing`, hashing and signing alone", best["theirs"], "s"),
        Figure("  ratio", best["ours"] / best["theirs"], "", bar),
        Figure(f"checking {megabytes} MB", best["ours, check"], "s"),
        Figure("  `model_signing`", best["theirs, check"], "s"),
        Figure("  ratio", best["ours, check"] / best["theirs, check"], "", bar),
    ]

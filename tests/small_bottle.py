"""A small bottle made by hand, with every kind of file that a real one has, sealed as a real one is.

bottle = small_bottle.make(folder / "bottle")
key = small_bottle.key()
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from safetensors.numpy import save_file

from stillhouse.finish.bottle import seal_bottle
from stillhouse.finish.provenance import PrivateKey
from stillhouse.finish.provenance.papers import write_papers
from stillhouse.finish.provenance.parameters import PublicParameters
from stillhouse.store import FileRecord, Manifest, write_json

BATCH = "ab" * 32
LABEL: dict[str, Any] = {
    "schema": 2,
    "producer": "stillhouse 0.1.0",
    "name": "small",
    "batch": BATCH,
    "task": "text-classification",
    "labels": ["bad", "good"],
    "teachers": [{"name": "teacher", "address": "hf:org/teacher@main"}],
    "shipped": {"artifact": "onnx-int8", "file": "onnx/model.onnx", "max_length": 32},
    "warnings": ["a plain baseline is as good: 0.900"],
    "rights": {
        "use": "internal",
        "commercial": False,
        "regions": [],
        "terms_table": "another",
        "duties": [],
        "subjects": [],
    },
}


def subject(role: str, name: str, address: str, license: str, identity: str | None, touches: list[str]) -> Any:
    """A subject as a label lists it."""
    return {
        "role": role,
        "name": name,
        "address": address,
        "identity": identity,
        "license": license,
        "terms": [{"id": license, "touches": touches}],
    }


def manifest(step: str, folder: str, second: int, **ingredients: Any) -> Manifest:
    """A sealed step's manifest."""
    return Manifest(
        schema_version=1,
        producer="stillhouse 0.1.0",
        created=f"2026-11-26T09:00:{second:02d}+00:00",
        run_id="run1",
        stage=folder,
        fingerprint=f"{second:02d}" * 32,
        ingredients={"stage": step, "stage version": 3, "numpy version": "2.4.6", **ingredients},
        summary={"rows_in": 10, "kept": 8, "cut": 2, "failed": 0},
        files={"report.json": FileRecord(bytes=2, sha256="cd" * 32)},
    )


def make(folder: Path, *, seed: int = 0, weights: int = 64) -> Path:
    """A bottle with ``weights`` float32 weights, papers and seal."""
    (folder / "onnx").mkdir(parents=True)
    (folder / "licenses").mkdir()
    random = np.random.default_rng(seed)
    save_file({"weight": random.normal(size=weights).astype(np.float32)}, folder / "model.safetensors")
    (folder / "onnx" / "model.onnx").write_bytes(b"\x08\x0a\x12\x06pytest" + random.bytes(200))
    write_json(folder / "config.json", {"model_type": "bert", "architectures": ["BertForSequenceClassification"]})
    write_json(folder / "tokenizer.json", {"version": "1.0", "model": {"type": "WordLevel", "vocab": {"[UNK]": 0}}})
    (folder / "vocab.txt").write_text("[PAD]\n[UNK]\nchat\ngros\n", "utf-8")
    (folder / "README.md").write_text(f"# small\n\nMade with seed {seed}.\n", "utf-8")
    (folder / "NOTICE").write_text("small\n", "utf-8")
    (folder / "licenses" / "MIT-base-base.txt").write_text("Permission is hereby granted\n", "utf-8")
    write_json(folder / "label.json", LABEL)
    write_papers(
        folder,
        LABEL,
        manifests={"raw": manifest("raw", "1-raw", 1)},
        events=[],
        parameters=PublicParameters({}, []),
    )
    seal_bottle(folder)
    return folder


def key(curve: ec.EllipticCurve | None = None) -> PrivateKey:
    """A new private key, on P-256 where no curve is given."""
    return PrivateKey(ec.generate_private_key(curve or ec.SECP256R1()))


def public_file(private: PrivateKey, path: Path) -> Path:
    """The public half in a PEM file."""
    path.write_bytes(private.public.key.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo))
    return path


def signature(folder: Path) -> dict[str, Any]:
    """The bundle of a signed bottle, as JSON."""
    loaded: dict[str, Any] = json.loads((folder / "model.sig").read_text("utf-8"))
    return loaded

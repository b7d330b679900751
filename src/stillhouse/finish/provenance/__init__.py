"""The papers of a bottle and its seal: bill of materials, provenance, checksums, signature.

papers.write_papers(bottle, label, manifests=..., ...)   # bom.cdx.json, provenance.json, .eval_results/
seal(bottle)                                             # SHA256SUMS, last
found = inspect(bottle, key=PublicKey.read(path))        # what is not as it was sealed or signed
sign(bottle, private, found.digests, name="mine")        # model.sig, whenever its maker likes
"""

from __future__ import annotations

from stillhouse.finish.provenance.keys import AskUnseen, PrivateKey, PublicKey, make_pair, public_path
from stillhouse.finish.provenance.sealing import Inspection, inspect, seal, sign
from stillhouse.finish.provenance.sums import CHECKSUMS
from stillhouse.store import SIGNATURE

__all__ = [
    "CHECKSUMS",
    "SIGNATURE",
    "AskUnseen",
    "Inspection",
    "PrivateKey",
    "PublicKey",
    "inspect",
    "make_pair",
    "public_path",
    "seal",
    "sign",
]

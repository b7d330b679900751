"""The papers of a bottle and its seal: bill of materials, provenance, checksums, signature.

write_papers(bottle, facts)              # bom.cdx.json, provenance.json, .eval_results/
seal(bottle)                             # SHA256SUMS, last
sign(bottle, PrivateKey.read(...))       # model.sig, whenever its maker likes
inspect(bottle, key=PublicKey.read(...)) # what is not as it was sealed or signed
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

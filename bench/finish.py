"""Stage 4: audits, exports, signature and report, part by part; each is measured on its own and says when.

python -m bench finish                      # parts that are measured from the same code are kept
python -m bench finish --part signature     # one part; the others stay as the result file has them
"""

from __future__ import annotations

from pathlib import Path

from bench.parts import Parts, measured
from bench.report import Figure

PARTS: Parts = {
    "bias": ("finish_bias", "bias_figures"),
    "swaps": ("finish_swaps", "swaps"),
    "statistics": ("finish_statistics", "statistics_figures"),
    "compress": ("finish_compress", "compress"),
    "abstain": ("finish_abstain", "abstain"),
    "gguf": ("finish_gguf", "gguf"),
    "onnx": ("finish_onnx", "onnx"),
    "signature": ("finish_signature", "signature"),
    "writing": ("finish_writing", "writing"),
    "pairs": ("finish_pairs", "figures"),
    "report": ("finish_report", "report"),
}


def figures(*, quick: bool, work: Path, only: str | None = None) -> list[Figure]:
    """The figures of every part, in order. only: the one part to measure."""
    return measured("finish", PARTS, quick=quick, work=work, only=only, places={"compress": ".", "abstain": "."})

"""Device, precision and threads: device and precision are chosen together with the reason.

placement = place("auto", "auto")        # Placement(device="cpu", dtype="bfloat16", reason="bf16: …")
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Literal

from stillhouse.errors import StillhouseError

Device = Literal["auto", "cpu", "cuda", "mps"]
Precision = Literal["auto", "float32", "bfloat16", "float16"]


@dataclass(frozen=True)
class Placement:
    """Where a model runs and in which precision, and why."""

    device: str
    dtype: str
    reason: str


def place(device: Device, precision: Precision) -> Placement:
    """Choose device and precision; raises :class:`StillhouseError` when what is asked for is not here."""
    import torch

    chosen = device
    if device == "auto":
        chosen = "cuda" if torch.cuda.is_available() else "cpu"
    elif device == "cuda" and not torch.cuda.is_available():
        raise StillhouseError(
            "no CUDA device is visible here", where="`device` in the recipe", fix="use `auto` or `cpu`"
        )
    elif device == "mps" and not torch.backends.mps.is_available():
        raise StillhouseError(
            "no MPS device is visible here", where="`device` in the recipe", fix="use `auto` or `cpu`"
        )
    if precision != "auto":
        return Placement(chosen, precision, f"{precision}: named in the recipe")
    if chosen == "cpu":
        if _cpu_has_bf16():
            return Placement("cpu", "bfloat16", "bfloat16: this CPU multiplies it natively")
        return Placement("cpu", "float32", "float32: this CPU has no bfloat16 arithmetic")
    if chosen == "cuda" and torch.cuda.is_bf16_supported():
        return Placement("cuda", "bfloat16", "bfloat16: this GPU multiplies it natively")
    return Placement(chosen, "float32", f"float32: no bfloat16 arithmetic on this {chosen} device")


def _cpu_has_bf16() -> bool:
    import torch

    capabilities = torch.cpu.get_capabilities()
    return bool(capabilities.get("avx512_bf16") or capabilities.get("amx_bf16") or capabilities.get("bf16"))


@contextmanager
def cpu_threads(number: int | None) -> Iterator[None]:
    """Let torch use ``number`` CPU threads inside the block; ``None`` leaves its choice."""
    import torch

    before = torch.get_num_threads()
    if number is not None:
        torch.set_num_threads(number)
    try:
        yield
    finally:
        torch.set_num_threads(before)

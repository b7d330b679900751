"""Figures beside their bars, the machine they were measured on, and the file they are kept in."""

from __future__ import annotations

import json
import os
import platform
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path

from stillhouse.store import now, package_version

RESULTS = Path(__file__).parent / "results"
_LIBRARIES = ("stillhouse", "torch", "transformers", "onnxruntime", "scikit-learn", "numpy", "pyarrow")


@dataclass(frozen=True)
class Figure:
    """A measured value; ``bar`` is what it must reach: ("<=", 420.0), or ``None`` for a figure that only informs."""

    name: str
    value: float | str
    unit: str = ""
    bar: tuple[str, float] | None = None

    @property
    def holds(self) -> bool:
        """Whether the value reaches its bar."""
        if self.bar is None:
            return True
        sense, limit = self.bar
        value = float(self.value)
        return {"<=": value <= limit, ">=": value >= limit, "==": value == limit}[sense]


@contextmanager
def timed(part: str) -> Iterator[None]:
    """Say what a part took as soon as it is done, so that a long bench is not silent; CPU counts finished children."""
    started, before = time.perf_counter(), os.times()
    yield
    used = sum(os.times()[:4]) - sum(before[:4])
    print(f"{part}: {time.perf_counter() - started:.1f} s, {used:.1f} s of CPU", file=sys.stderr, flush=True)


def machine() -> dict[str, str | int]:
    """Processor, cores, memory and versions, without any name of the host."""
    info = Path("/proc/cpuinfo").read_text("utf-8") if Path("/proc/cpuinfo").exists() else ""
    model = next((line.split(":", 1)[1].strip() for line in info.splitlines() if line.startswith("model name")), "?")
    flags = next((line.split(":", 1)[1].split() for line in info.splitlines() if line.startswith("flags")), [])
    wanted = ("avx2", "avx512f", "avx512_vnni", "avx512_bf16", "amx_bf16")
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    return {
        "processor": model,
        "arithmetic": " ".join(flag for flag in wanted if flag in flags) or "?",
        "cores": os.cpu_count() or 0,
        "memory_gib": round(memory),
        "python": platform.python_version(),
        **{name: package_version(name) for name in _LIBRARIES},
    }


def conclude(name: str, figures: Sequence[Figure], *, quick: bool) -> bool:
    """Print the figures, keep them, and say whether every bar was reached."""
    print(f"\n{name}{' (quick)' if quick else ''}")
    for figure in figures:
        value = figure.value if isinstance(figure.value, str) else f"{figure.value:,.4g}"
        bar = f"{figure.bar[0]} {figure.bar[1]:g}" if figure.bar else ""
        mark = "" if figure.bar is None else ("ok" if figure.holds else "MISSED")
        print(f"  {figure.name:<62} {value:>14} {figure.unit:<10} {bar:>10} {mark}")
    holds = all(figure.holds for figure in figures)
    record = {
        "schema": 1,
        "name": name,
        "quick": quick,
        "measured": now(),
        "machine": machine(),
        "all_bars_reached": holds,
        "figures": [asdict(figure) | {"holds": figure.holds} for figure in figures],
    }
    RESULTS.mkdir(exist_ok=True)
    path = RESULTS / f"{name}{'-quick' if quick else ''}.json"
    path.write_text(json.dumps(record, indent=2) + "\n", encoding="utf-8")
    print(f"  kept in {path.relative_to(Path(__file__).parents[1])}")
    return holds

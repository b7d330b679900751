"""A bench in parts: each is measured on its own, and says on which day, machine and code it was.

    measured("cuts", PARTS, quick=False, work=work, only="promises")

``only`` measures one part and leaves the others as the result file has them; one never measured misses its bar.
Parts that ``work`` holds from the same code are not measured again.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from functools import partial
from importlib import import_module
from pathlib import Path
from typing import Any

from bench.report import RESULTS, Figure, machine, timed
from stillhouse.store import now

ROOT = Path(__file__).parents[1]
Part = Callable[..., list[Figure]]
# part: (module of this folder, function); each takes quick and work
Parts = Mapping[str, tuple[str, str]]


def measured(
    bench: str, parts: Parts, *, quick: bool, work: Path, only: str | None, places: Mapping[str, str] | None = None
) -> list[Figure]:
    """The figures of every part, in order. only: the one part to measure, with what it needs.

    places: folders below ``work`` of parts that work in another than that of their name; "." is ``work`` itself.
    """
    digest = code_digest()[:16]
    kept = work / f"parts-{digest}{'-quick' if quick else ''}"
    kept.mkdir(exist_ok=True)
    known = _earlier(RESULTS / f"{bench}{'-quick' if quick else ''}.json")
    found: list[Figure] = []
    for name, (module, function) in parts.items():
        path = kept / f"{name.replace(' ', '-')}.json"
        if not path.exists() and only in (None, name):
            place = work / (places or {}).get(name, name.replace(" ", "-"))
            place.mkdir(exist_ok=True)
            with timed(name):
                made = part(module, function)(quick=quick, work=place)
            stamp = Figure(f"[{name}]", f"measured {now()[:10]}, {machine()['processor']}, code {digest}")
            path.write_text(json.dumps([asdict(figure) for figure in (stamp, *made)]), encoding="utf-8")
        if path.exists():
            found += _figures(json.loads(path.read_text("utf-8")))
        else:
            found += known.get(name) or [Figure(f"[{name}]", 0, "times measured", (">=", 1))]
    return found


def _earlier(path: Path) -> dict[str, list[Figure]]:
    """The parts that a result file holds, each under a figure with its name in brackets."""
    parts: dict[str, list[Figure]] = {}
    here: list[Figure] = []  # figures before any stamp belong to no part
    rows = _figures(json.loads(path.read_text("utf-8"))["figures"]) if path.exists() else []
    for figure in rows:
        if figure.name.startswith("["):
            here = parts.setdefault(figure.name.strip("[]"), [])
        here.append(figure)
    return {name: figures for name, figures in parts.items() if isinstance(figures[0].value, str)}


def part(module: str, function: str) -> Part:
    """A part's function; imported late, so that one part does not cost the others their memory."""
    return partial(getattr(import_module(f"bench.{module}"), function))


def code_digest(roots: Sequence[str] = ("src/stillhouse", "bench", "recipes")) -> str:
    """SHA-256 over every file that can change a figure."""
    digest = hashlib.sha256()
    for root in roots:
        for path in sorted((ROOT / root).rglob("*")):
            if path.is_file() and "results" not in path.parts and "__pycache__" not in path.parts:
                digest.update(str(path.relative_to(ROOT)).encode() + b"\0" + path.read_bytes())
    return digest.hexdigest()


def _figures(rows: Sequence[Mapping[str, Any]]) -> list[Figure]:
    return [Figure(row["name"], row["value"], row["unit"], tuple(row["bar"]) if row["bar"] else None) for row in rows]

"""Raw material: the whole stage on a million documents, the peers, privacy, other engines, and real mail.

The stage runs as a process of its own (``bench/raw_run.py``), so that its time and memory are those of a user's run.
"""

from __future__ import annotations

import functools
import hashlib
import itertools
import json
import shutil
import sys
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import psutil

from bench import raw_mail, raw_peers, raw_privacy
from bench.raw_documents import Planted, write
from bench.raw_recall import figures as recall_figures
from bench.raw_recall import recall
from bench.report import Figure
from stillhouse.engine import open_engine
from stillhouse.raw.clean import Cleaner
from stillhouse.raw.dedup import remove_copies
from stillhouse.raw.fate import Rows
from stillhouse.raw.mapping import SourcePlan
from stillhouse.raw.prepare import NearPlan, PieceTask, PreparePlan, prepare_piece
from stillhouse.raw.profiles import PROFILES
from stillhouse.raw.quality import judge_quality
from stillhouse.raw.reading import ReadTask, read_file
from stillhouse.raw.repair import is_suspect
from stillhouse.raw.sections import SHINGLE_CHARACTERS, SHINGLE_WORDS
from stillhouse.recipe.raw import Duplicates
from stillhouse.workplace import silent

MILLION, HUNDRED_THOUSAND = 1_000_000, 100_000
PROCESSES = 2
PEER_THRESHOLD = 0.8
DEFAULT_THRESHOLD = Duplicates().threshold
OFF = Cleaner(repair=False, unicode="none", profile=None, detect_language=False, secrets="keep", personal="keep")


def figures(*, quick: bool, work: Path) -> list[Figure]:
    """Every figure of stage 1, as it comes."""
    small = _documents(work, 10_000 if quick else HUNDRED_THOUSAND)
    parts = [
        lambda: _scale(work, small, None if quick else _documents(work, MILLION)),
        lambda: _peers(work, small) if not quick else _ours(work, small),
        lambda: raw_privacy.figures(quick=quick, work=work),
        lambda: _engines(work, small, quick=quick),
    ]
    if not quick:
        parts.append(lambda: _mail(work))
    found: list[Figure] = []
    for part in parts:
        started = time.perf_counter()
        for figure in part():
            found.append(figure)
            print(f"  {figure.name}: {figure.value} {figure.unit}", file=sys.stderr, flush=True)
        print(f"  ({time.perf_counter() - started:.0f} s)", file=sys.stderr, flush=True)
    return found


def _documents(work: Path, count: int) -> Planted:
    folder = work / f"documents-{count}"
    kept = folder / "planted.json"
    if kept.exists():
        known = json.loads(kept.read_text("utf-8"))
        return Planted(
            tuple(map(Path, known["documents"])), Path(known["truth"]), Path(known["benchmark"]),
            known["rows"], known["characters"], known["size"],
        )  # fmt: skip
    planted = write(folder, count=count, seed=0, shards=PROCESSES)
    kept.write_text(json.dumps(vars(planted), default=lambda value: str(value)), encoding="utf-8")
    return planted


# -- the whole stage


def recipe_over(planted: Planted, engine: dict[str, Any], *, ranges: int = 0) -> dict[str, Any]:
    """A recipe with every step on, over generated documents."""
    return {
        "name": "million",
        "labels": ["question", "complaint", "praise"],
        "raw": {
            "engine": engine,
            "sources": [
                {
                    "name": "made",
                    "data": str(planted.documents[0].parent / "documents-*.jsonl"),
                    "license": "CC0-1.0",
                    "columns": {"text": "text", "label": "label", "groups": {"lang": "lang"}},
                }
            ],
            "decontaminate": {
                "benchmarks": [
                    {"name": "quiz", "data": str(planted.benchmark), "question": "question", "answer": "answer"}
                ]
            },
        },
        "ferment": {"teacher": {"kind": "local", "model": "pypi:nothing==1#*"}},
        "distill": {"student": {"kind": "keep-layers", "base": "pypi:nothing==1#*"}},
        "ranges": ranges,
    }


def run_stage(folder: Path, recipe: dict[str, Any], *, kill: str | None = None) -> dict[str, Any]:
    """Stage 1 in a process of its own: seconds, peak bytes of it and its children, digests of its rows and cuts.

    kill: part of the command line of a worker that is killed in the middle of the cleaning.
    """
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    (folder / "recipe.json").write_text(json.dumps(recipe), encoding="utf-8")
    started = time.perf_counter()
    process = psutil.Popen([sys.executable, "-m", "bench.raw_run", str(folder)], cwd=Path(__file__).parents[1])
    peak, killed = 0, kill is None
    while process.poll() is None:
        peak = max(peak, _memory(process))
        if not killed and (folder / "cleaning").exists():
            killed = _kill_one(process, kill or "")
        time.sleep(0.1)
    if process.returncode:
        raise RuntimeError(f"stage 1 failed, see {folder}")
    if not killed:
        raise RuntimeError(f"no worker was there to be killed ({kill})")
    made: dict[str, Any] = json.loads((folder / "made.json").read_text("utf-8"))
    return made | {"seconds": time.perf_counter() - started, "peak": peak}


def _memory(process: psutil.Popen) -> int:
    """Proportional set size of the process and all below it: pages that several map count once."""
    total = 0
    for one in [process, *process.children(recursive=True)]:
        try:
            total += one.memory_full_info().pss
        except psutil.Error:
            continue
    return total


def _kill_one(process: psutil.Popen, words: str) -> bool:
    everyone = process.children(recursive=True) if "loky" in words else list(psutil.process_iter())
    for one in everyone:
        try:
            if words in " ".join(one.cmdline()):
                one.kill()
                return True
        except psutil.Error:
            continue
    return False


def _scale(work: Path, small: Planted, large: Planted | None) -> list[Figure]:
    here = {"kind": "here", "workers": PROCESSES}
    first = run_stage(work / "small", recipe_over(small, here))
    each = 1e6 * first["seconds"] / small.rows
    found = [
        Figure(f"whole stage on {small.rows:,} documents", first["seconds"], "s"),
        Figure("  of each", each, "µs"),
        *(Figure(f"  {name}", number, "rows") for name, number in _told(first["report"])),
    ]
    if large is None:
        return found
    whole = run_stage(work / "large", recipe_over(large, here))
    again = 1e6 * whole["seconds"] / large.rows
    return [
        *found,
        Figure(f"whole stage on {large.rows:,} documents", whole["seconds"], "s", ("<=", 360.0)),
        Figure("  text of the documents", large.size / 2**20, "MB"),
        Figure("  read, cleaned, deduplicated and split", large.size / 2**20 / whole["seconds"], "MB/s"),
        Figure("  peak memory, all processes", whole["peak"] / 2**30, "GB", ("<=", 3.0)),
        Figure("  of each", again, "µs"),
        Figure("  growth of the time per document", 100 * (again / each - 1), "%", ("<=", 20.0)),
        *(Figure(f"  {name}", number, "rows") for name, number in _told(whole["report"])),
        Figure("  copy pairs on two sides of the split", whole["report"]["straddling_pairs"], "", ("==", 0)),
        Figure("  documents that repair was tried on", 100 * _suspects(large), "%"),
    ]


def _suspects(planted: Planted) -> float:
    """The share of the first 20,000 documents, as they stand in the file, that the cheap test suspects."""
    with planted.documents[0].open(encoding="utf-8") as lines:
        texts = [json.loads(line)["text"] for line in itertools.islice(lines, 20_000)]
    return sum(map(is_suspect, texts)) / len(texts)


def _told(report: dict[str, Any]) -> list[tuple[str, int]]:
    cut = [(f"cut: {reason}", number) for part in report["cuts"].values() for reason, number in part.items()]
    return [*cut, *((f"changed: {what}", number) for what, number in report["changes"].items())]


# -- the peers


def _peers(work: Path, documents: Planted) -> list[Figure]:
    peers = raw_peers.prepare(work)
    found = [Figure(f"peer {name}", peers.versions[name]) for name in ("datatrove", "text-dedup")]
    ours, kept = _dedup_alone(work, documents)
    seconds = {}
    for peer in ("datatrove", "text-dedup"):
        made = raw_peers.dedup(peers, peer, documents.documents, work)
        seconds[peer] = made.seconds
        found.append(Figure(f"deduplication alone, {peer}", made.seconds, "s"))
        found += recall_figures(peer, recall(made.kept, documents.truth), false_bar=None)
    found += [
        Figure("deduplication alone, ours", ours, "s"),
        Figure("  times faster than the faster peer", min(seconds.values()) / ours, "x", (">=", 2.0)),
        *recall_figures("ours", recall(kept, documents.truth)),
    ]
    default, kept = _dedup_alone(work, documents, threshold=DEFAULT_THRESHOLD, characters=SHINGLE_CHARACTERS)
    found += [
        Figure(f"deduplication alone, ours at the recipe's default of {DEFAULT_THRESHOLD}", default, "s"),
        *recall_figures("ours by default", recall(kept, documents.truth)),
    ]
    for profile in ("web", "short"):
        theirs = raw_peers.filters(peers, documents.documents, work, profile=profile)
        mine, left = _filters_alone(work, documents, profile)
        found += [
            Figure(f"filters alone ({profile}), datatrove", theirs.seconds, "s"),
            Figure("  rows that it keeps", len(theirs.kept)),
            Figure(f"filters alone ({profile}), ours", mine, "s"),
            Figure("  rows that we keep", left),
            Figure("  times faster", theirs.seconds / mine, "x", (">=", 5.0)),
        ]
    return found


def _ours(work: Path, documents: Planted) -> list[Figure]:
    seconds, kept = _dedup_alone(work, documents)
    filtered, _ = _filters_alone(work, documents, "web")
    return [
        Figure("deduplication alone, ours", seconds, "s"),
        *recall_figures("ours", recall(kept, documents.truth)),
        Figure("filters alone (web), ours", filtered, "s"),
    ]


def _dedup_alone(
    work: Path, documents: Planted, *, threshold: float = PEER_THRESHOLD, characters: int = raw_peers.NGRAM
) -> tuple[float, list[str]]:
    """Seconds from files on disk to the list of kept ids on disk, and the ids; the processes are there before."""
    folder = work / "dedup-alone"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    source = SourcePlan("made", "bench", text="text", groups={"id": "id"})
    near = NearPlan(threshold, SHINGLE_WORDS, characters)
    plan = PreparePlan(OFF, (), ("id",), {("made", None): ("", None)}, near, None)
    with open_engine(workers=PROCESSES) as engine:
        list(engine.each(_nothing, range(2 * PROCESSES)))
        started = time.perf_counter()
        reads = [
            ReadTask(source, path, f"made:{number}", number, folder / "read" / str(number))
            for number, path in enumerate(documents.documents)
        ]
        tasks = [
            PieceTask(path, place, source, folder)
            for one in engine.each(read_file, reads)
            for path, place in one.pieces
        ]
        list(engine.each(functools.partial(prepare_piece, plan=plan), tasks))
        rows = Rows.open([task.table for task in tasks], labels=(), groups=("id",))
        remove_copies(rows, tasks, near, conflicts="ask-teacher", scratch=folder, engine=engine, progress=silent)
        kept = rows.column("group_id", rows.staying)
        (folder / "kept.txt").write_text("\n".join(kept), encoding="utf-8")
        seconds = time.perf_counter() - started
    return seconds, kept


def _nothing(number: int) -> int:
    return number


def _filters_alone(work: Path, documents: Planted, profile: str) -> tuple[float, int]:
    folder = work / f"filters-alone-{profile}"
    folder.mkdir(parents=True, exist_ok=True)
    with open_engine(workers=PROCESSES) as engine:
        list(engine.each(_nothing, range(2 * PROCESSES)))
        started = time.perf_counter()
        judge = functools.partial(_judge_file, folder=folder, profile=profile)
        kept = sum(engine.each(judge, documents.documents))
        seconds = time.perf_counter() - started
    return seconds, kept


def _judge_file(path: Path, *, folder: Path, profile: str) -> int:
    """The ids of the documents that break no rule, on disk."""
    rules = _rules(profile)
    kept = []
    with path.open(encoding="utf-8") as lines:
        for line in lines:
            row = json.loads(line)
            if judge_quality(row["text"], rules, language="en") is None:
                kept.append(row["id"])
    (folder / f"{path.stem}.txt").write_text("\n".join(kept), encoding="utf-8")
    return len(kept)


def _rules(profile: str) -> Any:
    """``web`` as published; ``short`` with its least numbers lifted, as the peer's, so that later rules are reached."""
    web = PROFILES["web"]
    if profile == "web":
        return web
    return replace(web, fewest_words=1, fewest_stop_words=None, fewest_sentences=1, most_short_lines=None)


# -- other engines


def _engines(work: Path, documents: Planted, *, quick: bool) -> list[Figure]:
    """The same rows and the same cuts on processes and on Ray, however the work is cut up, a killed worker included."""
    runs: list[tuple[str, dict[str, Any], int, str | None]] = [
        ("processes, 1 partition", {"kind": "here", "workers": 1}, 1, None),
        ("processes, 2 partitions", {"kind": "here", "workers": 2}, 2, None),
        ("processes, 4 partitions", {"kind": "here", "workers": 4}, 4, None),
        ("processes, a worker killed", {"kind": "here", "workers": 2}, 2, "popen_loky"),
        ("Ray, 1 partition", {"kind": "ray", "workers": 1}, 1, None),
        ("Ray, 2 partitions", {"kind": "ray", "workers": 2}, 2, None),
        ("Ray, 4 partitions", {"kind": "ray", "workers": 4}, 4, None),
        ("Ray, a worker killed", {"kind": "ray", "workers": 2}, 2, "ray::_call"),
    ]
    if quick:
        runs = runs[:2]
    found, digests = [], set()
    for name, engine, ranges, kill in runs:
        made = run_stage(work / "engines", recipe_over(documents, engine, ranges=ranges), kill=kill)
        digests.add((made["documents"], made["cuts"]))
        found.append(Figure(f"{documents.rows:,} documents on {name}", made["seconds"], "s"))
    return [*found, Figure("different sets of rows and cuts among these runs", len(digests), "", ("==", 1))]


# -- real mail


def _mail(work: Path) -> list[Figure]:
    path = raw_mail.fetch(work / "mail")
    recipe = recipe_over(_documents(work, HUNDRED_THOUSAND), {"kind": "here", "workers": PROCESSES})
    recipe["labels"] = ["ham", "spam"]
    recipe["raw"]["sources"] = [
        {"name": "mail", "data": str(path), "license": "CC0-1.0", "columns": {"text": "text", "label": "label"}}
    ]
    recipe["raw"]["decontaminate"] = {}
    recipe["raw"]["split"] = {"test": 500, "validation": 200}
    made = run_stage(work / "mail-run", recipe)
    report = made["report"]
    return [
        Figure("real mails, whole stage", made["seconds"], "s"),
        Figure("  mails", report["rows_in"], "rows"),
        *(Figure(f"  {name}", number, "rows") for name, number in _told(report)),
        *(Figure(f"  alarm: {alarm}", 1) for alarm in report["alarms"]),
        Figure("  copy pairs on two sides of the split", report["straddling_pairs"], "", ("==", 0)),
    ]


def digest_of_rows(tables: Sequence[Any]) -> str:
    """One digest over the rows of tables, whatever their order."""
    rows = sorted(json.dumps(row, sort_keys=True, default=str) for table in tables for row in table.to_pylist())
    return hashlib.sha256("\n".join(rows).encode("utf-8", "surrogatepass")).hexdigest()

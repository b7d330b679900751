"""Training learns, repeats itself bit for bit, survives a kill, and refuses what it cannot do."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import tiny_models
from stillhouse.distill import checkpoints
from stillhouse.distill.batches import plan_batches
from stillhouse.distill.classifier_run import best
from stillhouse.distill.students import keep_layers
from stillhouse.distill.train import Trained, train
from stillhouse.errors import StillhouseError
from stillhouse.student import predict_proba

LABELS = ["bad", "good"]
Weights = dict[str, torch.Tensor]


def arguments(output: Path, **changes: Any) -> dict[str, Any]:
    texts, probs = tiny_models.task(96, seed=1)
    held, held_probs = tiny_models.task(40, seed=2)
    given: dict[str, Any] = {
        "texts": texts,
        "target_probs": probs,
        "validation_texts": held,
        "validation_probs": held_probs,
        "output": output,
        "epochs": 2,
        "batch_size": 8,
        "learning_rate": 1e-2,
        "warmup_share": 0.1,
        "weight_decay": 0.01,
        "temperature": 1.0,
        "hard_weight": 0.2,
        "hard_labels": None,
        "max_length": 16,
        "seed": 3,
        "evaluations": 4,
        "save_checkpoints": True,
        "threads": 1,
    }
    return {**given, **changes}


def fresh(base: Path) -> tuple[Any, Any]:
    return keep_layers(base, labels=LABELS, keep=2, seed=1)


def run(base: Path, output: Path, **changes: Any) -> tuple[Trained, Weights]:
    model, tokenizer = fresh(base)
    trained = train(model, tokenizer, **arguments(output, **changes))
    return trained, {name: tensor.clone() for name, tensor in model.state_dict().items()}


def same(one: Weights, other: Weights) -> bool:
    return one.keys() == other.keys() and all(torch.equal(one[name], other[name]) for name in one)


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_models.encoder(tmp_path_factory.mktemp("base"))


@pytest.fixture(scope="module")
def whole(base: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Trained, Weights, Path]:
    """A run that nobody disturbed, which the others are compared with."""
    output = tmp_path_factory.mktemp("whole")
    return *run(base, output), output


def test_a_student_learns_what_the_teacher_knows(whole: tuple[Trained, Weights, Path], base: Path) -> None:
    trained, weights, output = whole
    assert trained.steps == 24 and [entry["step"] for entry in trained.log] == [6, 12, 18, 24]
    assert trained.best_agreement >= 0.9
    assert trained.log[-1]["loss"] < trained.log[0]["loss"] and trained.log[-1]["epoch"] == 2
    assert [json.loads(line) for line in (output / "training.jsonl").read_text().splitlines()] == trained.log

    model, tokenizer = fresh(base)
    model.load_state_dict(weights)
    held, held_probs = tiny_models.task(40, seed=2)
    answers = predict_proba(model, tokenizer, held, max_length=16)
    assert np.mean(answers.argmax(1) == held_probs.argmax(1)) == trained.best_agreement


def test_the_same_seed_gives_the_same_bits_and_another_does_not(
    whole: tuple[Trained, Weights, Path], base: Path, tmp_path: Path
) -> None:
    torch.manual_seed(99)  # the state of the world outside has no say
    heard: list[tuple[int, int, dict[str, float]]] = []
    again, weights = run(base, tmp_path / "a", save_checkpoints=False, progress=lambda *news: heard.append(news))
    assert again == whole[0] and same(weights, whole[1])
    assert [news[:2] for news in heard] == [(step, 24) for step in range(1, 25)]
    assert [news[2] for news in heard if "agreement" in news[2]] == again.log
    assert not (tmp_path / "a" / "checkpoints").exists()
    assert not same(run(base, tmp_path / "b", save_checkpoints=False, seed=4)[1], whole[1])


KILLED = """
import os, signal, sys
from pathlib import Path
sys.path.insert(0, {tests!r})
from stillhouse.distill import checkpoints
from stillhouse.distill.classifier_run import best
from test_train import run

def die(*_):
    os.kill(os.getpid(), signal.SIGKILL)

{how}
"""
BETWEEN = "run(Path({base!r}), Path({output!r}), progress=lambda step, steps, news: step == 9 and die())"
# the trainer's files are all there, the marker is not
WHILE_SAVING = "checkpoints.seal = die\nrun(Path({base!r}), Path({output!r}))"


def test_a_killed_run_resumes_to_the_same_bits(
    whole: tuple[Trained, Weights, Path], base: Path, tmp_path: Path
) -> None:
    for how, left in ((BETWEEN, ["checkpoint-6"]), (WHILE_SAVING, ["checkpoint-12", "checkpoint-6"])):
        code = KILLED.format(tests=str(Path(__file__).parent), how=how.format(base=str(base), output=str(tmp_path)))
        ended = subprocess.run([sys.executable, "-c", code], capture_output=True, timeout=600)
        assert ended.returncode == -signal.SIGKILL, ended.stderr.decode()
        assert sorted(path.name for path in (tmp_path / "checkpoints").iterdir()) == left
    partial = tmp_path / "checkpoints" / "checkpoint-12"
    assert not (partial / checkpoints.MARKER).exists()

    steps: list[int] = []
    trained, weights = run(base, tmp_path, progress=lambda step, *_: steps.append(step))
    assert steps == list(range(7, 25))  # what was done is not done again
    assert trained == whole[0] and same(weights, whole[1])
    assert (tmp_path / "training.jsonl").read_bytes() == (whole[2] / "training.jsonl").read_bytes()


def test_a_single_step_learns(base: Path, tmp_path: Path) -> None:
    before = {name: value.clone() for name, value in fresh(base)[0].state_dict().items()}
    trained, weights = run(base, tmp_path, epochs=1, batch_size=96, evaluations=1)
    assert trained.steps == 1 and not same(weights, before)


def test_a_finished_run_is_not_trained_again(whole: tuple[Trained, Weights, Path], base: Path, tmp_path: Path) -> None:
    steps: list[int] = []
    trained, weights = run(base, whole[2], progress=lambda step, *_: steps.append(step))
    assert steps == [] and trained == whole[0] and same(weights, whole[1])


def test_only_the_best_and_the_newest_checkpoint_are_kept(whole: tuple[Trained, Weights, Path]) -> None:
    trained, _, output = whole
    names = {path.name for path in (output / "checkpoints").iterdir()}
    assert names == {f"checkpoint-{trained.best_step}", f"checkpoint-{trained.steps}"}


def test_checkpoints_of_another_run_are_neither_used_nor_deleted(
    whole: tuple[Trained, Weights, Path], base: Path
) -> None:
    before = sorted(whole[2].rglob("*"))
    for changes in ({"learning_rate": 1e-3}, {"hard_labels": [0] * 96}, {"texts": ["a film"] * 96}):
        with pytest.raises(StillhouseError, match="other arguments"):
            run(base, whole[2], **changes)
    assert sorted(whole[2].rglob("*")) == before


def test_ties_go_to_the_lower_kl_and_then_to_the_earlier_step() -> None:
    def entry(step: int, agreement: float, kl: float) -> dict[str, float]:
        return {"step": step, "agreement": agreement, "validation_kl": kl}

    log = [entry(1, 0.8, 0.1), entry(2, 0.9, 0.4), entry(3, 0.9, 0.3), entry(4, 0.9, 0.3)]
    assert best(log)["step"] == 3


@pytest.mark.parametrize(("rows", "size", "epochs"), [(20, 6, 3), (5, 8, 2), (100, 1, 1)])
def test_every_epoch_sees_every_row_once(rows: int, size: int, epochs: int) -> None:
    batches = plan_batches(list(range(rows)), size, epochs=epochs, seed=1)
    per_epoch = len(batches) // epochs
    for epoch in range(epochs):
        seen = Counter(row for batch in batches[epoch * per_epoch : (epoch + 1) * per_epoch] for row in batch)
        assert seen == Counter(range(rows))
    assert all(1 <= len(batch) <= size for batch in batches)
    assert batches == plan_batches(list(range(rows)), size, epochs=epochs, seed=1)
    assert len(plan_batches(list(range(rows)), size, epochs=0.5, seed=1)) == max(1, round(per_epoch / 2))


def test_batches_hold_texts_of_like_length() -> None:
    lengths = np.random.default_rng(0).integers(3, 64, size=800).tolist()
    padded = sum(
        max(lengths[row] for row in batch) * len(batch) for batch in plan_batches(lengths, 16, epochs=1, seed=1)
    )
    assert padded < 1.05 * sum(lengths)


def test_targets_that_are_no_probabilities_are_refused(base: Path, tmp_path: Path) -> None:
    _, probs = tiny_models.task(96, seed=1)
    for wrong in (np.nan, np.inf, -0.5, 0.7):
        spoiled = probs.copy()
        spoiled[11, 0] = wrong
        with pytest.raises(StillhouseError, match="not finite probabilities"):
            run(base, tmp_path, target_probs=spoiled)
    with pytest.raises(StillhouseError, match="2 classes"):
        run(base, tmp_path, target_probs=np.full((96, 3), 1 / 3))
    with pytest.raises(StillhouseError, match="for 96 texts"):
        run(base, tmp_path, target_probs=probs[:50])
    for empty in ({"texts": [], "target_probs": probs[:0]}, {"validation_texts": []}):
        with pytest.raises(StillhouseError, match="no texts"):
            run(base, tmp_path, **empty)
    for labels in ([0, 1], [2] * 96):
        with pytest.raises(StillhouseError, match="hard_labels"):
            run(base, tmp_path, hard_labels=labels)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "change",
    [
        {"epochs": 0},
        {"batch_size": 0},
        {"temperature": 0.0},
        {"hard_weight": 1.5},
        {"warmup_share": -0.1},
        {"learning_rate": float("nan")},
        {"evaluations": 0},
    ],
)
def test_numbers_that_make_no_sense_are_refused(change: dict[str, Any], base: Path, tmp_path: Path) -> None:
    with pytest.raises(StillhouseError, match=f"{next(iter(change))} is"):
        run(base, tmp_path, **change)


def test_a_run_that_blows_up_is_stopped(base: Path, tmp_path: Path) -> None:
    model, tokenizer = fresh(base)
    with torch.no_grad():
        model.bert.pooler.dense.weight[0, 0] = float("nan")
    with pytest.raises(StillhouseError, match="the loss is nan at step 1 of 24"):
        train(model, tokenizer, **arguments(tmp_path, save_checkpoints=False))


def test_a_run_that_would_change_nothing_is_stopped(base: Path, tmp_path: Path) -> None:
    model, tokenizer = fresh(base)
    model.requires_grad_(False)
    with pytest.raises(StillhouseError, match="every parameter of the student is frozen"):
        train(model, tokenizer, **arguments(tmp_path, save_checkpoints=False))

    model, tokenizer = fresh(base)
    with torch.no_grad():
        model.classifier.weight.zero_()  # nothing flows through a head of zeros into the layers below it
    model.classifier.requires_grad_(False)
    with pytest.raises(StillhouseError, match="no gradient reached the student in the first 5 steps"):
        train(model, tokenizer, **arguments(tmp_path, save_checkpoints=False))


def test_frozen_parameters_stay_and_threads_are_put_back(base: Path, tmp_path: Path) -> None:
    model, tokenizer = fresh(base)
    model.bert.embeddings.requires_grad_(False)
    before = model.bert.embeddings.word_embeddings.weight.clone()
    threads = torch.get_num_threads()
    train(model, tokenizer, **arguments(tmp_path, save_checkpoints=False, epochs=0.5, evaluations=1))
    assert torch.get_num_threads() == threads
    assert torch.equal(model.bert.embeddings.word_embeddings.weight, before)

"""Asking a teacher that runs here: rows in are rows out, whatever the batches, and each answer is its own row's."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from stillhouse.addresses import resolve
from stillhouse.answers import AnswerStore
from stillhouse.device import place
from stillhouse.ferment.asking import LocalAsker
from stillhouse.ferment.capture import Captured
from stillhouse.prompts import Prompt
from stillhouse.teachers import LocalTeacher
from tiny_world import LABELS, World

PROMPT = Prompt("text : {text} label :", " {label}", {label: label for label in LABELS}, (), " ", "", False)


@pytest.fixture(scope="module")
def teacher(world: World, tmp_path_factory: pytest.TempPathFactory) -> LocalTeacher:
    cache = tmp_path_factory.mktemp("cache")
    return LocalTeacher.load(resolve(str(world.teacher), cache=cache, base=cache), place("cpu", "float32"), cache=cache)


def ask(teacher: LocalTeacher, texts: list[str], folder: Path, batch_tokens: int = 64) -> Captured:
    with AnswerStore(folder / "answers.sqlite") as store:
        return LocalAsker(teacher, batch_tokens, None).ask(
            PROMPT, LABELS, texts, store=store, progress=lambda done, total: None
        )


TEXTS = [f"{'warm ' * (1 + row % 5)}{'dull ' * (row % 3)}day {'very ' * (row % 7)}long" for row in range(60)]


@pytest.mark.parametrize("batch_tokens", [1, 17, 50, 100_000])
def test_rows_in_are_rows_out_for_any_batches(teacher: LocalTeacher, tmp_path: Path, batch_tokens: int) -> None:
    one_by_one = np.concatenate([ask(teacher, [text], tmp_path / "single").log_probs for text in TEXTS])
    found = ask(teacher, TEXTS, tmp_path / "batched", batch_tokens)
    assert found.failures == () and found.log_probs.shape == (60, 2)
    # a lone prompt has no prefix to share with others, and a batch computes its products in another order
    assert found.log_probs == pytest.approx(one_by_one, abs=2e-4)


def test_the_order_of_the_rows_changes_no_answer(teacher: LocalTeacher, tmp_path: Path) -> None:
    forward = ask(teacher, TEXTS, tmp_path / "a")
    backward = ask(teacher, TEXTS[::-1], tmp_path / "b")
    assert backward.log_probs[::-1] == pytest.approx(forward.log_probs, abs=1e-5)
    assert backward.asked[::-1] == forward.asked


def test_a_prompt_that_is_too_long_is_refused_and_shifts_no_other(teacher: LocalTeacher, tmp_path: Path) -> None:
    texts = ["warm day", "long " * 6000, "dull day", "", "lovely"]
    found = ask(teacher, texts, tmp_path / "with")
    (failure,) = found.failures
    assert failure.row == 1 and "too long" in failure.reason
    assert np.isnan(found.log_probs[1]).all()
    without = ask(teacher, [text for row, text in enumerate(texts) if row != 1], tmp_path / "without")
    assert found.log_probs[[0, 2, 3, 4]] == pytest.approx(without.log_probs, abs=1e-5)


def test_what_is_known_is_not_asked_and_equal_texts_are_asked_once(teacher: LocalTeacher, tmp_path: Path) -> None:
    first = ask(teacher, TEXTS[:20], tmp_path)
    again = ask(teacher, TEXTS, tmp_path)
    assert first.new_answers == len(set(TEXTS[:20]))
    assert again.new_answers == len(set(TEXTS)) - len(set(TEXTS[:20]))
    assert (again.log_probs[:20] == first.log_probs).all()
    with AnswerStore(tmp_path / "answers.sqlite") as store:
        assert store.most_often_paid() == 1

"""A real server: text, constrained labels and log-probabilities, the same as of the same weights on this machine."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from llama_server import INSTALLED, MISSING, served
from stillhouse.addresses import resolve
from stillhouse.answers import AnswerStore
from stillhouse.device import place
from stillhouse.finish.generation.pairs.behind import EndpointJudge
from stillhouse.finish.generation.pairs.verdicts import Pair, judge_pairs
from stillhouse.finish.generation.passages import Prompt
from stillhouse.teachers import LocalTeacher, Questions
from stillhouse.teachers.api import ApiClient, Asked, Call, Checks, Endpoint, ask, label_probs, read_label
from stillhouse.teachers.templates import text_ids, texts_ids
from tiny_world import World

pytestmark = pytest.mark.skipif(not INSTALLED, reason=MISSING)

LABELS = ("good", "bad")
KEEP = Checks(rules={"cut off": "keep"})
PROMPTS = ("Review: a great fine film\nSentiment:", "Review: dull, grim & cold\nSentiment:", "x")


@pytest.fixture(scope="module")
def url(world: World) -> Iterator[str]:
    with served(world.teacher_gguf) as found:
        yield found


@pytest.fixture(scope="module")
def local(world: World) -> LocalTeacher:
    files = resolve(str(world.teacher_gguf), cache=world.folder / "cache", base=world.folder)
    return LocalTeacher.load(files, place("cpu", "float32"), cache=world.folder / "cache")


def asked_of(url: str, store: Path, calls: list[Call], checks: Checks) -> Asked:
    with AnswerStore(store) as answers:
        asked = ask(calls, ApiClient(Endpoint(url, "tiny"), checks=checks), store=answers)
        return replace(asked, answers=dict(asked.answers))


def test_text_comes_with_its_reason_and_its_tokens(url: str, tmp_path: Path) -> None:
    calls = [Call.chat(f"Say something about {number}.", max_tokens=12) for number in range(8)]
    asked = asked_of(url, tmp_path / "a.sqlite", calls, KEEP)
    assert not asked.failures
    for call in calls:
        answer = asked.answers[call.key(Endpoint(url, "tiny"))]
        assert answer.text
        assert answer.usage.answer is not None
        assert answer.usage.answer <= 12
        assert (answer.finish == "length") == (answer.usage.answer == 12)
    again = asked_of(url, tmp_path / "a.sqlite", calls, KEEP)
    assert (again.known, again.spent.answers) == (8, 0)


def test_a_question_to_a_judge_that_it_cannot_take_is_a_failure_and_no_verdict(url: str, tmp_path: Path) -> None:
    endpoint = Endpoint(url, "tiny")
    judge = EndpointJudge(endpoint, lambda checks: ApiClient(endpoint, checks=checks), "Better is what is right.", 64)
    pair = Pair(Prompt("0", None, PROMPTS[0], None), "student", "teacher", ("fine", "dull and grim"))
    with AnswerStore(tmp_path / "a.sqlite") as answers:  # its context is shorter than the frame
        (judged,) = judge_pairs([pair], judge, store=answers).pairs
        assert judged.verdict == "failed" and answers.count() == 0
    for reading in judged.readings or ():
        assert reading.reason.startswith("rejected by the server") and "context" in reading.reason and reading.lost


def test_labels_under_a_schema_are_of_the_list(url: str, tmp_path: Path) -> None:
    calls = [Call.chat(f"Is {word} good or bad?", labels=LABELS, max_tokens=400) for word in ("fine", "dull", "warm")]
    asked = asked_of(url, tmp_path / "a.sqlite", calls, Checks(labels=LABELS, json=True))
    assert not asked.failures
    assert {read_label(answer.text, LABELS).label for answer in asked.answers.values()} <= {*LABELS}


@pytest.mark.parametrize("form", ["text", "ids"])
def test_the_same_weights_served_and_local_give_the_same_log_probabilities(
    url: str, tmp_path: Path, local: LocalTeacher, form: str
) -> None:
    vocabulary = int(local.model.config.vocab_size)
    encoded = texts_ids(local.tokenizer, PROMPTS)
    asks = PROMPTS if form == "text" else encoded
    calls = [Call(prompt=one, top=vocabulary, max_tokens=1) for one in asks]
    asked = asked_of(url, tmp_path / "a.sqlite", calls, KEEP)
    for ids, call in zip(encoded, calls, strict=True):
        answer = asked.answers[call.key(Endpoint(url, "tiny"))]
        assert answer.usage.prompt == len(ids)
        assert answer.top is not None
        (position,) = answer.top
        assert position is not None
        numbers = [entry.id for entry in position.top if entry.id is not None]
        assert sorted(numbers) == list(range(vocabulary))  # the whole distribution, each token once
        values = np.array([entry.log_prob for entry in position.top])
        assert np.exp(values).sum() == pytest.approx(1, abs=1e-3)
        scores = local.score(Questions((), (ids,), tuple((number,) for number in numbers), {}), [0])[0]
        np.testing.assert_allclose(values, scores, atol=1e-4)


def test_label_probabilities_of_the_first_token_are_the_local_ones(
    url: str, tmp_path: Path, local: LocalTeacher
) -> None:
    vocabulary = int(local.model.config.vocab_size)
    asked = asked_of(url, tmp_path / "a.sqlite", [Call(prompt=PROMPTS[0], top=vocabulary, max_tokens=1)], KEEP)
    (answer,) = asked.answers.values()
    assert answer.top is not None
    assert answer.top[0] is not None
    found = label_probs(answer.top[0], LABELS)
    assert not found.missing
    words = local.tokenizer.convert_tokens_to_ids(["g", "G", "b", "B"])  # tokens of this model are characters
    questions = Questions((), (text_ids(local.tokenizer, PROMPTS[0]),), tuple((word,) for word in words), {})
    small_g, large_g, small_b, large_b = np.exp(local.score(questions, [0])[0])
    assert np.exp(found.log_probs) == pytest.approx([small_g + large_g, small_b + large_b], abs=1e-4)


def test_log_probabilities_are_the_models_own_at_any_temperature(url: str, tmp_path: Path) -> None:
    calls = [Call(prompt=PROMPTS[0], top=20, max_tokens=1, temperature=value, seed=1) for value in (0.0, 0.5, 2.0)]
    asked = asked_of(url, tmp_path / "a.sqlite", calls, KEEP)
    assert not asked.failures
    values = []
    for answer in asked.answers.values():
        assert answer.top is not None
        assert answer.top[0] is not None
        values.append([entry.log_prob for entry in answer.top[0].top])
    np.testing.assert_allclose(values, [values[0]] * 3, atol=1e-4)

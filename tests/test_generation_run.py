"""A language model is distilled end to end: by a recipe, resumed, from given answers, plain texts and an endpoint."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
import torch
from pytest_httpserver import HTTPServer
from safetensors.torch import load_file
from transformers import AutoModelForCausalLM
from werkzeug import Request, Response

import tiny_chat
from snippets import run_snippets
from stillhouse import cuts, documents
from stillhouse.errors import StillhouseError
from stillhouse.execute import Finished, run
from stillhouse.explain import explain_row
from stillhouse.finish.bottle import verify_bottle
from stillhouse.forecast import forecast
from stillhouse.plan import make_plan
from stillhouse.preview import preview
from stillhouse.recipe import parse_recipe
from stillhouse.signals import Text, TokenDist
from stillhouse.store import observe_commit_points
from stillhouse.use import open_bottle

WORDS = tiny_chat.tokenizer()
MINE = {"provider": "self", "owner": "these tests", "license": "CC0-1.0"}
PAIRS = [(f"say {one} {two}", f"{one} {two}") for one in tiny_chat.WORDS for two in tiny_chat.WORDS]


@pytest.fixture(scope="module")
def house(tmp_path_factory: Any) -> Path:
    """A teacher of four layers that was taught, and prompts with gold, in one folder."""
    folder = tmp_path_factory.mktemp("house")
    teacher = tiny_chat.model(WORDS, seed=1, layers=4, noise=0.05)
    tiny_chat.teach(teacher, WORDS, PAIRS, steps=120)
    tiny_chat.save(teacher, WORDS, folder / "teacher")
    rows = [{"messages": [{"role": "user", "content": one}], "gold": two} for one, two in PAIRS]
    (folder / "prompts.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows), "utf-8")
    return folder


def mapping(house: Path, **changes: Any) -> dict[str, Any]:
    made = {
        "name": "tiny-chat",
        "task": "text-generation",
        "rights": {"commercial": False},
        "raw": {
            "sources": [
                {
                    "name": "words",
                    "data": str(house / "prompts.jsonl"),
                    "license": "CC0-1.0",
                    "columns": {"text": "messages", "label": "gold"},
                }
            ],
            "clean": {"profile": "none"},
            "duplicates": {"near": False},
            "decontaminate": {"own_splits": False},
            "split": {"test": 12, "validation": 8},
        },
        "ferment": {
            "teacher": {"kind": "local", "model": str(house / "teacher"), "license": "MIT", "batch_tokens": 512},
            "answers": {"kind": "ask", "max_tokens": 12, "temperature": 0.5, "verify": "exact"},
        },
        "distill": {
            "student": {"kind": "keep-layers", "base": str(house / "teacher"), "license": "MIT", "keep": 2},
            "train": {
                "epochs": 3,
                "batch_tokens": 256,
                "row_tokens": 64,
                "max_length": 64,
                "learning_rate": 5e-3,
                "evaluations": 3,
                "precision": "float32",
                "threads": 1,
            },
        },
        "finish": {
            "evaluate": {"resamples": 200, "max_tokens": 12, "samples": 2, "prompts": 8},
            "gates": {"required": []},  # so small a student is not about being good
            "audit": {"identity": 4, "twins": 4, "memorized": 4},
            "speed": {"prompt_tokens": 8, "new_tokens": 2, "repeats": 1, "threads": 1},
        },
    }
    return json.loads(json.dumps(made)) | changes


def distilled(house: Path, *overrides: str, **changes: Any) -> Finished:
    return run(parse_recipe(mapping(house, **changes), list(overrides)), base=house)


def test_a_chat_model_is_distilled_and_bottled(house: Path, workdir: Path) -> None:
    finished = distilled(house, 'distill.on_policy={"steps": 4, "prompts": 4, "refresh": 2, "max_tokens": 8}')
    raw, ferment, distill = (finished.folder / name for name in ("1-raw", "2-ferment", "3-distill"))
    kept = {split: documents.read(raw, split).to_pylist() for split in documents.SPLITS}
    assert {split: len(rows) for split, rows in kept.items()} == {"train": 44, "validation": 8, "test": 12}
    assert all(row["messages"][0]["role"] == "user" and row["label"] for rows in kept.values() for row in rows)
    answers = Text.read(ferment).answers
    assert len(answers) == 64 and {answer.verified for answer in answers} <= {True, False}
    assert set(TokenDist.open(ferment).ids) == {answer.key for answer in answers if answer.answer}
    left = cuts.read(distill).to_pylist()
    unusable = [answer for answer in answers if answer.incomplete and answer.id not in {r["id"] for r in kept["test"]}]
    assert len(left) == len(unusable) and {row["reason"] for row in left} <= {"cut-off answer", "empty answer"}
    start = json.loads((distill / "start.json").read_text())
    assert len(start["kept"]) == 2 and len(start["removal_kl"]) == 4
    student = AutoModelForCausalLM.from_pretrained(distill / "student")
    assert type(student).__name__ == "LlamaForCausalLM" and student.config.num_hidden_layers == 2
    for control in ("ce", "untrained"):
        assert AutoModelForCausalLM.from_pretrained(finished.folder / "3-controls" / control)
    rows = finished.evaluation["rows"]
    kl = {row["artifact"]: row["value"] for row in rows if row["metric"] == "kl" and row["slice"] == "answers"}
    assert kl["student"] < 0.7 * kl["untrained"]
    assert verify_bottle(finished.bottle) == []
    assert open_bottle(finished.bottle).answer(["say fine dull"], max_tokens=8)
    told = "\n".join(explain_row(finished.folder, kept["test"][0]["id"]))
    assert "teacher said: " in told and "the shipped student says: " in told
    again = distilled(house, 'distill.on_policy={"steps": 4, "prompts": 4, "refresh": 2, "max_tokens": 8}')
    assert again.ran == ()


class _Killed(BaseException):
    pass


@pytest.mark.parametrize(("point", "times"), [("answers-committed", 3), ("checkpoint-written", 2)])
def test_a_killed_run_asks_nothing_twice_and_ends_with_the_same_student(
    house: Path, workdir: Path, point: str, times: int
) -> None:
    straight = distilled(house, "name=straight", "paths.answers=one/answers.sqlite", "controls=[]")
    left = times

    def die(reached: str) -> None:
        nonlocal left
        left -= reached == point
        if left == 0 and reached == point:
            raise _Killed

    observe_commit_points(die)
    try:
        with pytest.raises(_Killed):
            distilled(house, "name=killed", "paths.answers=two/answers.sqlite", "controls=[]")
    finally:
        observe_commit_points(None)
    resumed = distilled(house, "name=killed", "paths.answers=two/answers.sqlite", "controls=[]")
    one, two = (finished.folder / "3-distill" / "student" / "model.safetensors" for finished in (straight, resumed))
    assert one.read_bytes() == two.read_bytes()
    import sqlite3

    paid = sqlite3.connect("two/answers.sqlite").execute("SELECT COUNT(*), MAX(times_paid) FROM answers").fetchone()
    assert paid == (64, 1)


@pytest.mark.parametrize("student", ["keep-layers", "low-rank"])
def test_processes_that_train_together_end_with_the_student_of_one(house: Path, workdir: Path, student: str) -> None:
    changes = ['distill.student.lora={"rank": 4}'] if student == "low-rank" else []
    changes += ['distill.on_policy={"steps": 2, "prompts": 2, "refresh": 2, "max_tokens": 6}', "paths.answers=a.sqlite"]
    alone, both = (
        run(parse_recipe(mapping(house), [f"name={name}", *changes]), base=house, until="controls")
        for name, *changes in (["alone", *changes], ["both", "distill.train.processes=2", *changes])
    )
    for model in ("3-distill/student", "3-controls/ce"):
        one, two = (load_file(finished.folder / model / "model.safetensors") for finished in (alone, both))
        assert one.keys() == two.keys() and all(torch.allclose(one[name], two[name], atol=1e-4) for name in one)
    one, two = ((finished.folder / "3-distill" / "training.jsonl").read_text() for finished in (alone, both))
    for line, other in zip(one.splitlines(), two.splitlines(), strict=True):
        assert json.loads(other)["held_kl"] == pytest.approx(json.loads(line)["held_kl"], abs=1e-4)


def test_what_goes_wrong_in_a_training_process_is_told_as_in_one(house: Path, workdir: Path) -> None:
    every_answer_is_cut_off = ["ferment.answers.max_tokens=1", "distill.student.by=even"]
    with pytest.raises(StillhouseError, match="there is nothing to learn from") as caught:
        distilled(house, "distill.train.processes=2", *every_answer_is_cut_off)
    assert "see the cuts" in caught.value.problems[0].fix


def test_a_student_with_fewer_tokens_learns_from_the_same_signals(house: Path, workdir: Path) -> None:
    stretch = 'distill.on_policy={"steps": 2, "prompts": 2, "refresh": 2, "max_tokens": 6}'
    finished = distilled(house, "distill.student.vocabulary=used", stretch)
    student = AutoModelForCausalLM.from_pretrained(finished.folder / "3-distill" / "student")
    assert student.config.vocab_size < len(WORDS)
    told = json.loads((finished.folder / "3-distill" / "manifest.json").read_text())["summary"]["vocabulary"]
    known, whole = student.config.vocab_size, AutoModelForCausalLM.from_pretrained(house / "teacher").config.vocab_size
    assert told == f"the student knows {known} of the teacher's {whole} tokens"
    rows = finished.evaluation["rows"]
    kl = {row["artifact"]: row["value"] for row in rows if row["metric"] == "kl" and row["slice"] == "answers"}
    assert kl["student"] < 0.8 * kl["untrained"]


def test_given_conversations_are_learned_turn_by_turn(house: Path, workdir: Path) -> None:
    rows = [
        {
            "messages": [
                {"role": "user", "content": one},
                {"role": "assistant", "content": two},
                {"role": "user", "content": f"{one} again"},
                {"role": "assistant", "content": f"{two} {two}"},
            ]
        }
        for one, two in PAIRS
    ]
    (workdir / "chats.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows), "utf-8")
    given = mapping(house)
    given["raw"]["sources"][0] |= {"data": str(workdir / "chats.jsonl"), "columns": {}}
    given["ferment"]["answers"] = {"kind": "given"}
    given["controls"] = []
    tokens = {}
    for turns in ("all", "last"):
        finished = run(parse_recipe(given, [f"distill.choose.turns={turns}", f"name={turns}"]), base=house)
        summary = json.loads((finished.folder / "3-distill" / "manifest.json").read_text())["summary"]
        tokens[turns] = summary["tokens_learned"]
        assert summary["trained_on"] == 44
    assert tokens["all"] > 1.3 * tokens["last"]


def test_a_preview_shows_what_is_asked_and_what_is_learned(house: Path, workdir: Path) -> None:
    (row,) = preview(parse_recipe(mapping(house)), base=house, rows=1)
    assert row.teacher_text.startswith("<|im_start|>user\nsay ") and row.teacher_text.endswith("assistant\n")
    turns = [{"role": role, "content": text} for role, text in zip(("user", "assistant") * 2, "abcd", strict=True)]
    (workdir / "chats.jsonl").write_text(json.dumps({"messages": turns}), "utf-8")
    given = mapping(house)
    given["raw"]["sources"][0] |= {"data": str(workdir / "chats.jsonl"), "columns": {}}
    given["ferment"]["answers"] = {"kind": "given"}
    (row,) = preview(parse_recipe(given), base=house, rows=1)
    assert row.student_text == "b<|im_end|>\nd<|im_end|>" and WORDS.decode(row.student_ids) == "b<|im_end|>d<|im_end|>"
    (row,) = preview(parse_recipe(given, ["distill.choose.turns=last"]), base=house, rows=1)
    assert row.student_text == "d<|im_end|>"


def test_a_forecast_counts_what_is_to_be_written_and_paid_for(house: Path, workdir: Path) -> None:
    here = forecast(parse_recipe(mapping(house)), base=house)
    assert here is not None and "64 answers" in here.lines()[0] and "768 tokens to write" in here.lines()[0]
    paid = mapping(house)
    paid["ferment"]["distributions"] = {"form": "none"}
    paid["distill"]["loss"] = {"name": "cross-entropy"}
    prices = {"price_prompt": 1.0, "price_answer": 2.0}
    teacher = {"kind": "api", "endpoint": "http://127.0.0.1:1", "model": "m", "spending": prices}
    paid["ferment"]["teacher"] = teacher
    there = forecast(parse_recipe(paid), base=house)
    assert there is not None and there.money[1] == pytest.approx((there.prompt_tokens + 2 * 768) / 1e6)  # type: ignore[union-attr, index]


def test_plain_texts_are_learned_as_they_stand(house: Path, workdir: Path) -> None:
    texts = [{"text": f"user says {one}, then {two} and {one}"} for one, two in PAIRS]
    texts[3]["text"] *= 30  # more than the teacher reads
    (workdir / "texts.jsonl").write_text("".join(json.dumps(row) + "\n" for row in texts), "utf-8")
    given = mapping(house)
    given["raw"]["sources"][0] |= {"data": str(workdir / "texts.jsonl"), "columns": {"text": "text"}}
    given["ferment"]["answers"] = {"kind": "given"}
    finished = run(parse_recipe(given, ["controls=[ce]"]), base=house)
    rows = finished.evaluation["rows"]
    assert {row["artifact"] for row in rows} >= {"teacher", "student", "ce"}


def test_a_model_without_a_chat_template_is_asked_by_its_card_without_one(house: Path, workdir: Path) -> None:
    """In transformers and in onnxruntime, with the card's own words, and in both it goes on from the text."""
    bare = tiny_chat.tokenizer(template=None)
    tiny_chat.save(tiny_chat.model(bare, seed=1, layers=2, noise=0.05), bare, workdir / "bare")
    texts = [{"text": f"user says {one}, then {two} and {one}"} for one, two in PAIRS]
    (workdir / "texts.jsonl").write_text("".join(json.dumps(row) + "\n" for row in texts), "utf-8")
    given = mapping(house)
    given["raw"]["sources"][0] |= {"data": str(workdir / "texts.jsonl"), "columns": {"text": "text"}}
    given["ferment"] = {
        "teacher": given["ferment"]["teacher"] | {"model": str(workdir / "bare")},
        "answers": {"kind": "given"},
    }
    given["distill"]["student"] |= {"base": str(workdir / "bare"), "keep": 1}
    given["finish"] |= {"precision": "float32", "onnx": {"kinds": ["fp32"], "prompts": 2, "positions": 10}}
    finished = run(parse_recipe(given, ["controls=[]"]), base=house)
    stock, onnx = run_snippets(finished.bottle, workdir, question="user says fine")
    assert stock.startswith("user says fine") and stock.startswith(f"user says fine{onnx.strip()[:4]}")
    assert "role" not in (finished.bottle / "README.md").read_text("utf-8").split("## Use")[1].split("\n## ")[0]


def test_plain_texts_are_asked_as_turns_of_the_user(house: Path, workdir: Path) -> None:
    rows = [{"text": one, "gold": two} for one, two in PAIRS]
    (workdir / "asked.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows), "utf-8")
    plain = mapping(house)
    plain["raw"]["sources"][0] |= {
        "data": str(workdir / "asked.jsonl"),
        "columns": {"text": "text", "label": "gold"},
    }
    finished = run(parse_recipe(plain, ["controls=[]"]), base=house)
    told = finished.evaluation["rows"]
    assert {row["artifact"] for row in told if row["metric"] == "verified"} == {"teacher", "student"}
    assert any(row["metric"] == "kl" and row["slice"] == "answers" and row["n"] for row in told)
    answers = {one.id: one for one in Text.read(finished.folder / "2-ferment").answers}
    test = documents.read(finished.folder / "1-raw", "test").to_pylist()
    assert all(row["messages"] is None and answers[row["id"]].prompt_tokens > 5 for row in test)


def test_prompts_without_answers_are_refused_where_answers_are_to_be_given(house: Path, workdir: Path) -> None:
    given = mapping(house)
    given["ferment"]["answers"] = {"kind": "given"}
    with pytest.raises(StillhouseError, match=r"no document has an answer"):
        run(parse_recipe(given), base=house)


def test_a_base_without_a_chat_template_is_told_before_the_teacher_is_asked(house: Path, workdir: Path) -> None:
    words = tiny_chat.tokenizer(template=None)
    tiny_chat.save(tiny_chat.model(words), words, workdir / "base")
    student = {"kind": "given", "base": str(workdir / "base"), "license": "MIT"}
    recipe = mapping(house)
    recipe["distill"]["student"] = student
    with pytest.raises(StillhouseError, match="no chat template"):
        make_plan(parse_recipe(recipe), base=house).raise_problems()


def reply(request: Request) -> Response:
    """A reasoner that adds two numbers, wrongly where a sample's turn says so, and at times never ends."""
    body = json.loads(request.data)
    question = body["messages"][-1]["content"]
    a, b = (int(word) for word in question.split() if word.isdigit())
    reply.calls = getattr(reply, "calls", 0) + 1  # type: ignore[attr-defined]
    wrong, endless = reply.calls % 4 == 0, reply.calls % 7 == 0  # type: ignore[attr-defined]
    total = a + b + wrong
    text = f"<think>{a} and {b} make {total}</think>Answer: {total}" + " and" * endless
    choice = {
        "index": 0,
        "message": {"role": "assistant", "content": text},
        "finish_reason": "length" if endless else "stop",
    }
    usage = {"prompt_tokens": 9, "completion_tokens": 12, "total_tokens": 21}
    return Response(json.dumps({"model": "m", "choices": [choice], "usage": usage}), mimetype="application/json")


def test_right_traces_of_an_endpoint_are_learned_token_by_token(
    house: Path, workdir: Path, httpserver: HTTPServer
) -> None:
    httpserver.expect_request("/v1/chat/completions").respond_with_handler(reply)
    rows = [{"prompt": f"add {a} and {b}", "completion": "", "gold": str(a + b)} for a in range(6) for b in range(6)]
    (workdir / "sums.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows), "utf-8")
    recipe = mapping(house)
    recipe["raw"]["sources"][0] |= {"data": str(workdir / "sums.jsonl"), "columns": {"label": "gold"}}
    recipe["raw"]["split"] = {"test": 6, "validation": 4}
    recipe["ferment"] = {
        "teacher": {"kind": "api", "endpoint": httpserver.url_for("/v1"), "model": "m", **MINE},
        "answers": {"kind": "ask", "samples": 3, "temperature": 0.6, "max_tokens": 40, "verify": "numeric"},
        "distributions": {"form": "none"},
    }
    recipe["distill"]["choose"] = {"answers": "right", "most": 2}
    recipe["distill"]["loss"] = {"name": "cross-entropy"}
    recipe["controls"] = ["untrained"]
    finished = run(parse_recipe(recipe), base=house)
    summary = json.loads((finished.folder / "3-distill" / "manifest.json").read_text())["summary"]
    assert set(summary["cuts"]["head"]) == {"cut-off answer", "wrong answer"}
    assert summary["kept"] <= 2 * 30 and summary["rows_in"] == 3 * 30
    answers = Text.read(finished.folder / "2-ferment").answers
    assert all(one.reasoning for one in answers) and {one.verified for one in answers} == {True, False}
    calls = reply.calls  # type: ignore[attr-defined]
    assert run(parse_recipe(recipe, ["name=again"]), base=house).ran and reply.calls == calls  # type: ignore[attr-defined]
    assert pq.read_table(finished.folder / "2-ferment" / "failures.parquet").num_rows == 0


@pytest.mark.parametrize(
    ("override", "told"),
    [
        (
            'ferment.teacher={"kind": "api", "endpoint": "http://127.0.0.1:1/v1", "model": "m", "owner": "me"}',
            "endpoint",
        ),
        ("distill.loss.name=reverse-kl", "linear"),
        ("distill.loss.temperature=2", "temperature 1"),
        ("distill.student.keep=9", "9 layers"),
        ("ferment.answers.verify=regex", "verify_with"),
        ("distill.loss.alpha=0.3", "no such number"),
        ("ferment.distributions.form=none", "cross-entropy"),
        ("ferment.answers.samples=2", None),
    ],
)
def test_what_cannot_work_is_told_before_anything_runs(
    house: Path, workdir: Path, override: str, told: str | None
) -> None:
    if told is None:
        make_plan(parse_recipe(mapping(house), [override]), base=house).raise_problems()
        return
    with pytest.raises(StillhouseError, match=told):
        make_plan(parse_recipe(mapping(house), [override]), base=house).raise_problems()

"""Tasks of lm-evaluation-harness: the harness' figures are our own counts, and every model is asked the same bytes."""

from __future__ import annotations

import json
import random
import socket
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import pytest
import torch
import yaml

pytest.importorskip("lm_eval", reason="these tests need the extra: pip install 'stillhouse[eval]'")

import lm_eval
from lm_eval.api.instance import Instance
from lm_eval.evaluator import evaluate
from lm_eval.models.huggingface import HFLM
from lm_eval.tasks import TaskManager
from pydantic import ValidationError

import tiny_chat
from harness_tasks import ECHO, SKY, write_tasks
from stillhouse import plan
from stillhouse.errors import StillhouseError
from stillhouse.finish.bottle import verify_bottle
from stillhouse.finish.generation.likelihood import compare
from stillhouse.finish.generation.speaker import Speaker
from stillhouse.finish.harness import tasks as harness_tasks
from stillhouse.finish.harness.adapter import Adapter, sampling_of
from stillhouse.finish.harness.measure import Asked, ask_tasks
from stillhouse.finish.harness.rows import dump, figures
from stillhouse.finish.harness.scoring import Continuation, score
from stillhouse.finish.harness.tasks import _fetched, load, look, silenced
from stillhouse.finish.harness_generation import harness_problems
from stillhouse.finish.label_tasks import benchmarks_of, task_lines, task_results
from stillhouse.plan import make_plan
from stillhouse.recipe import parse_recipe
from stillhouse.recipe.finish_generation import Harness
from stillhouse.report import write_report
from stillhouse.teachers.sequences import TokenSequence
from stillhouse.teachers.templates import join
from test_finish_generation_stage import House

WORDS = tiny_chat.tokenizer()
NAMES = ("sky", "echo", "texts")
Tasks = dict[str, dict[str, Any]]


def _speaker(name: str, seed: int, *, template: str | None = tiny_chat.TEMPLATE) -> Speaker:
    words = tiny_chat.tokenizer(template=template)
    return Speaker.of(name, tiny_chat.model(words, seed=seed), words)


@pytest.fixture(scope="module")
def speakers() -> dict[str, Speaker]:
    taught = tiny_chat.model(WORDS, seed=0, noise=0.02)
    tiny_chat.teach(taught, WORDS, [(row["question"], row["answer"]) for row in ECHO], steps=160)
    return {"teacher": Speaker.of("teacher", taught, WORDS), "student": _speaker("student", 1)}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_tasks(tmp_path_factory.mktemp("home") / "tasks")


@pytest.fixture
def tasks(folder: Path, tmp_path: Path) -> Tasks:
    return load(look(NAMES, folder), folder=tmp_path / "data")


@pytest.fixture(scope="module")
def asked(speakers: dict[str, Speaker], folder: Path, tmp_path_factory: pytest.TempPathFactory) -> list[Asked]:
    return ask_tasks(speakers, load(look(NAMES, folder), folder=tmp_path_factory.mktemp("data")))


def _one(asked: Sequence[Asked], task: str, *, template: bool) -> Asked:
    (found,) = [one for one in asked if (one.task, one.template) == (task, template)]
    return found


# ---------------------------------------------------------------- figures


def test_the_harness_own_figures_are_ours_and_both_are_a_count_over_what_was_logged(
    speakers: dict[str, Speaker], tasks: Tasks, asked: list[Asked], tmp_path: Path
) -> None:
    found = {
        (one["task"], one["asked"], one["metric"]): one
        for one in figures(asked, tuple(speakers), margin=0.1, resamples=200, seed=0).table
    }
    dump(asked, tmp_path / "harness.jsonl")
    lines = [json.loads(line) for line in (tmp_path / "harness.jsonl").read_text("utf-8").splitlines()]
    for template in (False, True):
        way = "template" if template else "plain"
        meant = {
            name: task
            for members in tasks.values()
            for name, task in members.items()
            if not template or name != "texts"
        }
        for task in meant.values():
            task.set_fewshot_seed(0)
        for name, speaker in speakers.items():
            with silenced():
                theirs = evaluate(Adapter(speaker), {"tasks": meant}, bootstrap_iters=0, apply_chat_template=template)[
                    "results"
                ]
            for task, metric in [
                ("sky", "acc"),
                ("sky", "acc_norm"),
                ("echo", "exact_match"),
                ("echo", "first_letter"),
            ]:
                ours = found[task, way, metric]["values"][name]["value"]
                assert ours == pytest.approx(theirs[task][f"{metric},none"], abs=1e-12)
            if not template:
                for metric in ("word_perplexity", "bits_per_byte"):
                    assert found["texts", way, metric]["values"][name]["value"] == pytest.approx(
                        theirs["texts"][f"{metric},none"], rel=1e-9
                    )
            here = [line for line in lines if line["way"] == way]
            nats = [[one[0][0] for one in line["said"][name]] for line in here if line["task"] == "sky"]
            right = [int(np.argmax(one)) == row["answer"] for one, row in zip(nats, SKY, strict=True)]
            assert found["sky", way, "acc"]["values"][name]["value"] == pytest.approx(np.mean(right))
            said = [line["said"][name][0][0] for line in here if line["task"] == "echo"]
            exact = [one == row["answer"] for one, row in zip(said, ECHO, strict=True)]
            assert found["echo", way, "exact_match"]["values"][name]["value"] == pytest.approx(np.mean(exact))
    taught = found["echo", "template", "exact_match"]
    assert taught["values"]["teacher"]["value"] == 1 and taught["values"]["student"]["value"] == 0
    assert taught["differences"]["teacher"]["value"] == -1 and taught["differences"]["teacher"]["upper"] < 0


def _pairs() -> list[tuple[str, str]]:
    return [
        (f"{row['question']}\nAnswer:", f" {option}{end}")
        for row in SKY[:3]
        for option, end in zip(row["options"], ("", " and great", " é", ", 12"), strict=True)
    ]


def _requests(pairs: Sequence[tuple[Any, ...]], kind: str = "loglikelihood") -> list[Instance]:
    return [Instance(kind, {}, pair, 0, ("task", place, 1)) for place, pair in enumerate(pairs)]


def test_likelihoods_are_the_houses_own_and_those_of_the_harness_own_model(speakers: dict[str, Speaker]) -> None:
    student = speakers["student"]
    found = Adapter(student).loglikelihood(_requests(_pairs()))
    joined = [join(WORDS, context, answer) for context, answer in _pairs()]
    sequences = [TokenSequence(one.ids, ((one.prompt_length, len(one.ids)),)) for one in joined]
    own = compare(student, {}, sequences, of=range(len(sequences)), documents=len(sequences))["student"].nll
    assert np.abs(np.array([nats for nats, _ in found]) + own).max() < 1e-4
    with silenced():
        stock = HFLM(pretrained=student.model, tokenizer=WORDS, batch_size=3, device="cpu")
        theirs = stock.loglikelihood(_requests(_pairs()), disable_tqdm=True)
        written = stock.generate_until(
            _requests([("say ", {"until": ["\n"], "max_gen_toks": 9})], "generate_until"), disable_tqdm=True
        )
        (whole,) = stock.loglikelihood_rolling(_requests([("say fine and grim" * 30,)]), disable_tqdm=True)
    for ours, other in zip(found, theirs, strict=True):
        assert ours == pytest.approx(other, abs=1e-4)
    template = student.template
    assert template is not None
    turn = template.text([{"role": "user", "content": "say fine"}])  # ends in a line break, which they weigh, too
    with silenced():
        more = stock.loglikelihood(_requests([(turn, word) for word in tiny_chat.WORDS]), disable_tqdm=True)
    own_turn = Adapter(student).loglikelihood(_requests([(turn, word) for word in tiny_chat.WORDS]))
    apart = [one[0] - other[0] for one, other in zip(own_turn, more, strict=True)]
    assert apart == pytest.approx([apart[0]] * len(apart), abs=1e-4) and apart[0] > 0.01
    ours_written = Adapter(student).generate_until(
        _requests([("say ", {"until": ["\n"], "max_gen_toks": 9})], "generate_until")
    )
    assert [one.replace("<|im_start|>", "") for one in ours_written] == written
    (ours_whole,) = Adapter(student).loglikelihood_rolling(_requests([("say fine and grim" * 30,)]))
    assert ours_whole == pytest.approx(whole, abs=1e-2) and len(WORDS("say fine and grim" * 30)["input_ids"]) > 192


@pytest.mark.parametrize("batch_tokens", [1, 40, 4000])
def test_a_score_does_not_depend_on_batch_mates_and_letters_share_a_pass(
    speakers: dict[str, Speaker], batch_tokens: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    student = speakers["student"]
    pairs = [Continuation(one.ids, one.prompt_length) for one in (join(WORDS, *pair) for pair in _pairs())]
    letters = [Continuation((*pairs[0].ids[: pairs[0].start], letter), pairs[0].start) for letter in (5, 6, 7, 8)]
    reads: list[int] = []
    forward = type(student.model.base_model).forward

    def counted(self: Any, input_ids: Any = None, **more: Any) -> Any:
        reads.append(len(input_ids))
        return forward(self, input_ids=input_ids, **more)

    alone = [score(student, [one])[0].nats for one in (*pairs, *letters)]
    monkeypatch.setattr(type(student.model.base_model), "forward", counted)
    together = score(student, [*pairs, *letters], batch_tokens=batch_tokens)
    assert [one.nats for one in together] == pytest.approx(alone, abs=1e-4)
    assert np.exp([one.nats for one in together[-4:]]).sum() <= 1
    reads.clear()
    score(student, letters)
    assert sum(reads) <= 2 * 2 + 1  # the trial's rows, and one for all four


def test_an_interval_is_paired_and_a_teacher_at_chance_is_not_divided_by(speakers: dict[str, Speaker]) -> None:
    twins = {"teacher": _speaker("teacher", 3), "student": _speaker("student", 3)}
    answers = _sky(twins)
    (entry, *_) = figures(answers, tuple(twins), margin=0.1, resamples=300, seed=0).table
    assert entry["chance"] == pytest.approx(0.25) and entry["n"] == len(SKY)
    apart = entry["differences"]["teacher"]
    assert apart["value"] == 0 and apart["n"] == len(SKY)
    # equal on 24 items is not equal: as wide as what 24 items leave open, and far from twice that
    assert apart["lower"] is not None and apart["upper"] is not None
    assert apart["lower"] == pytest.approx(-apart["upper"]) and 0.05 < apart["upper"] < 0.2
    assert entry["values"]["teacher"] == entry["values"]["student"]
    assert entry["kept"] is None and "not clearly above chance 0.250" in entry["not_certified"]
    rows = figures(answers, tuple(twins), margin=0.1, resamples=300, seed=0).rows
    assert {(row.artifact, row.metric) for row in rows if row.slice == "harness sky, plain"} >= {
        ("teacher", "acc"),
        ("student", "acc"),
        ("student", "acc_chance"),
        ("student", "acc_minus_teacher"),
    }


def test_where_data_were_fetched_from_is_told_of_the_hub_alone(speakers: dict[str, Speaker]) -> None:
    one = replace(_sky(speakers, limit=4)[0], data="https://me:secret@files.example.org/ours.jsonl")
    table = figures([one], tuple(speakers), margin=0.1, resamples=200, seed=0).table
    assert {entry["data"] for entry in table} == {""}
    assert "example.org" not in json.dumps([*table, *task_results("text-generation", table)])


def test_what_would_be_fetched_is_told_without_its_secrets() -> None:
    files = "https://me:secret@files.example.org/ours.jsonl?key=secret"
    config = {"dataset_path": "json", "dataset_kwargs": {"data_files": {"test": files}}}
    assert _fetched(config, None) == "https://files.example.org/ours.jsonl"


def _sky(speakers: Mapping[str, Speaker], **settings: Any) -> list[Asked]:
    with TemporaryDirectory() as home:
        listing = look(("sky",), write_tasks(Path(home) / "tasks"))
        return ask_tasks(speakers, load(listing, folder=Path(home) / "data"), **settings)


# ---------------------------------------------------------------- what is asked


def test_teacher_and_student_get_the_same_bytes_with_the_delimiter_where_it_belongs(
    speakers: dict[str, Speaker], asked: list[Asked]
) -> None:
    for one in asked:
        for answer in one.answers:
            assert answer.requests["teacher"] == answer.requests["student"]
    plain, through = (_one(asked, "sky", template=way).answers[1].requests["student"] for way in (False, True))
    question, options = SKY[1]["question"], SKY[1]["options"]
    assert plain == tuple((f"{question}\nAnswer:", f" {option}") for option in options)
    template = speakers["student"].template
    assert template is not None
    turn = template.text([{"role": "user", "content": f"{question}\nAnswer:"}])
    assert through == tuple((turn, option) for option in options)  # a template ends its prompt itself: no space
    written = _one(asked, "echo", template=True).answers[2].requests["student"]
    assert written[0][0] == template.text([{"role": "user", "content": ECHO[2]["question"]}])
    assert _one(asked, "echo", template=False).answers[2].requests["student"][0][0] == ECHO[2]["question"]


def test_a_task_is_asked_by_its_rule_and_both_numbers_are_told(
    speakers: dict[str, Speaker], asked: list[Asked]
) -> None:
    ways = {(one.task, one.template): one.by_rule for one in asked}
    assert ways == {
        ("sky", False): True,
        ("sky", True): False,
        ("echo", True): True,
        ("echo", False): False,
        ("texts", False): True,
    }
    assert [one.by_rule for one in asked if one.task == "echo"] == [True, False]  # what counts comes first
    values = {
        one["asked"]: one["values"]["teacher"]["value"]
        for one in figures(asked, tuple(speakers), margin=0.1, resamples=200, seed=0).table
        if (one["task"], one["metric"]) == ("echo", "exact_match")
    }
    assert values == {"template": 1, "plain": 0}  # taught in turns, it goes on from a plain text in another way
    assert {(one.task, one.template) for one in _sky(speakers, template="rule")} == {("sky", False)}


def test_a_model_without_a_template_makes_all_be_asked_plainly() -> None:
    mixed = {"teacher": _speaker("teacher", 0), "student": _speaker("student", 1, template=None)}
    (one,) = _sky(mixed, limit=3)
    assert not one.template and one.by_rule and len(one.answers) == 3


def test_unlike_templates_differ_in_the_template_alone_and_each_is_dumped(tmp_path: Path) -> None:
    other = tiny_chat.TEMPLATE.replace("assistant\n{%", "assistant\n{{ ' ' }}{%")
    assert other != tiny_chat.TEMPLATE
    mixed = {"teacher": _speaker("teacher", 0), "student": _speaker("student", 1, template=other)}
    answers = _sky(mixed, limit=2)
    through = _one(answers, "sky", template=True).answers[0].requests
    for (theirs, option), (ours, same) in zip(through["teacher"], through["student"], strict=True):
        assert ours == f"{theirs} " and option == same
    plain = _one(answers, "sky", template=False).answers[0].requests
    assert plain["teacher"] == plain["student"]
    dump(answers, tmp_path / "all.jsonl")
    first, *_, last = map(json.loads, (tmp_path / "all.jsonl").read_text("utf-8").splitlines())
    assert first["asked"] and "asked_of" not in first
    assert last["asked"] is None and last["asked_of"]["student"][0][0].endswith("assistant\n ")


def test_a_task_that_asks_each_model_otherwise_is_an_error(speakers: dict[str, Speaker], tmp_path: Path) -> None:
    home = write_tasks(tmp_path / "tasks")
    (home / "drawn.py").write_text(
        "from itertools import count\nnumbers = count()\n"
        "def ask(doc):\n    return doc['question'] + ' ' * (next(numbers) > 12)\n",
        "utf-8",
    )
    text = (home / "echo.yaml").read_text("utf-8").replace('"{{question}}"', "!function drawn.ask", 1)
    (home / "drawn.yaml").write_text(text.replace("task: echo", "task: drawn"), "utf-8")
    made = load(look(("drawn",), home), folder=tmp_path / "data")
    with pytest.raises(StillhouseError, match=r"`student` was asked (another prompt|other messages) than `teacher`"):
        ask_tasks(speakers, made, limit=5)


def test_what_a_task_draws_is_the_same_for_all_and_its_faults_are_its_own(
    speakers: dict[str, Speaker], tmp_path: Path
) -> None:
    home = write_tasks(tmp_path / "tasks")
    (home / "drawn.py").write_text(
        "import random\ndef ask(doc):\n    return f\"{doc['question']} {random.randint(0, 10 ** 9)}\"\n", "utf-8"
    )
    text = (home / "echo.yaml").read_text("utf-8").replace('"{{question}}"', "!function drawn.ask", 1)
    (home / "drawn.yaml").write_text(text.replace("task: echo", "task: drawn"), "utf-8")
    random.seed(5)
    before = random.getstate()
    (_, plain) = ask_tasks(speakers, load(look(("drawn",), home), folder=tmp_path / "data"), limit=3)
    prompts = [one.requests["student"][0][0] for one in plain.answers]
    assert prompts == [one.requests["teacher"][0][0] for one in plain.answers] and len(set(prompts)) == 3
    assert random.getstate() == before
    (home / "own.py").write_text("def first_letter(**_):\n    raise ValueError('not today')\n", "utf-8")
    with pytest.raises(StillhouseError, match="a task failed when it was asked: ValueError: not today"):
        ask_tasks(speakers, load(look(("echo",), home), folder=tmp_path / "data"), limit=3)


def test_examples_are_the_same_for_all_and_what_does_not_fit_counts_for_none(
    speakers: dict[str, Speaker], tmp_path: Path
) -> None:
    shown = _sky(speakers, few_shot=2, limit=4, template="rule")
    texts = [one.requests for one in shown[0].answers]
    assert all(one["teacher"] == one["student"] for one in texts) and shown[0].few_shot == (2, 2)
    assert all(one["student"][0][0].count("Answer:") == 3 for one in texts)
    home = write_tasks(tmp_path / "tasks")
    rows = [*ECHO[:2], {"question": "say " + "fine " * 200, "answer": "fine"}]
    (home / "data" / "echo.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows), "utf-8")
    found = ask_tasks(speakers, load(look(("echo",), home), folder=tmp_path / "data"))
    assert [(len(one.answers), one.left_out) for one in found] == [(2, 1), (2, 1)]


def test_a_group_is_all_its_items_and_each_task(speakers: dict[str, Speaker], folder: Path, tmp_path: Path) -> None:
    listing = look(("ours", "ours_by_tag"), folder)
    found = ask_tasks(speakers, load(listing, folder=tmp_path), template="rule")
    sizes = {(one.task, one.part_of): len(one.answers) for one in found}
    assert sizes == {("ours", ""): 32, ("sky", "ours"): 24, ("more_sky", "ours"): 8, **_tag(sizes)}
    table = figures(found, tuple(speakers), margin=0.1, resamples=200, seed=0).table
    values = {one["task"]: one["values"]["teacher"]["value"] * one["n"] for one in table if one["metric"] == "acc"}
    assert values["ours"] == pytest.approx(values["sky"] + values["more_sky"])
    dump(found, tmp_path / "all.jsonl")
    told = [json.loads(line)["task"] for line in (tmp_path / "all.jsonl").read_text("utf-8").splitlines()]
    assert told.count("sky") == 24 and told.count("more_sky") == 8 and "ours" not in told


def _tag(sizes: Mapping[tuple[str, str], int]) -> dict[tuple[str, str], int]:
    return {key: 8 for key in sizes if key[0] in ("ours_by_tag", "echo")}


def test_how_answers_are_drawn_is_what_the_task_says() -> None:
    assert sampling_of({"until": "\n", "temperature": 0.7}).temperature == 0
    drawn = sampling_of({"until": ["a", ""], "do_sample": True, "temperature": 0.7, "top_p": 0.5, "max_gen_toks": 3})
    assert (drawn.temperature, drawn.top_p, drawn.max_new_tokens, drawn.stop) == (0.7, 0.5, 3, ("a",))


# ---------------------------------------------------------------- what is looked at before


def test_tasks_of_a_folder_need_no_network_and_leave_it_as_it_was(
    speakers: dict[str, Speaker],
    folder: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    def refuse(*_: Any, **__: Any) -> None:
        raise AssertionError("the network was asked")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    monkeypatch.setattr(socket, "getaddrinfo", refuse)
    before = {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    listing = look(NAMES, folder)
    assert listing.problems == () and listing.fetching == ()
    heard: list[tuple[str, int, int]] = []
    ask_tasks(speakers, load(listing, folder=tmp_path / "data"), limit=2, progress=lambda *told: heard.append(told))
    assert {what for what, *_ in heard} == {
        f"tasks: {name} {does}" for name in speakers for does in ("reads", "writes")
    }
    told = capsys.readouterr()
    assert told.out == told.err == ""
    assert {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()} == before
    assert any((tmp_path / "data").iterdir())  # and nowhere else


def test_looking_runs_no_code_and_tells_what_is_in_the_way(tmp_path: Path) -> None:
    home = write_tasks(tmp_path / "tasks")
    (home / "own.py").write_text(f"open({str(tmp_path / 'ran')!r}, 'w')\n", "utf-8")
    base = yaml.safe_load((home / "sky.yaml").read_text("utf-8"))
    wrong = {
        "pictures": {"doc_to_image": "image"},
        "unsafe": {"unsafe_code": True},
        "foreign": {"metric_list": [{"metric": "acc", "hf_evaluate": True}]},
        "unheard": {"metric_list": [{"metric": "no_such_metric"}]},
        "beams": {"output_type": "generate_until", "generation_kwargs": {"num_beams": 4}},
    }
    for name, changes in wrong.items():
        (home / f"{name}.yaml").write_text(yaml.safe_dump({**base, **changes, "task": name}), "utf-8")
    (home / "hub.yaml").write_text(yaml.safe_dump({**base, "dataset_path": "org/set", "task": "hub"}), "utf-8")
    listing = look(("echo", "hub", *wrong), home)
    assert not (tmp_path / "ran").exists()
    told = {one.what.split("'")[1]: one.what for one in listing.problems}
    assert set(told) == set(wrong)
    assert "code that a model wrote" in told["unsafe"] and "`evaluate` library" in told["foreign"]
    assert "num_beams" in told["beams"] and listing.fetching == ("org/set",)
    with pytest.raises(StillhouseError, match="unsafe"):
        load(listing, folder=tmp_path / "data")
    (home / "broken.yaml").write_text("task: [", "utf-8")
    assert any(one.where.endswith("broken.yaml") for one in look(("echo",), home).problems)


def _recipe(home: Path, harness: dict[str, Any]) -> Any:
    return parse_recipe(
        {
            "name": "tasks",
            "task": "text-generation",
            "raw": {"sources": [{"name": "rows", "data": str(home / "rows.jsonl"), "license": "CC0-1.0"}]},
            "ferment": {"teacher": {"kind": "local", "model": str(home / "model"), "license": "MIT"}},
            "distill": {"student": {"kind": "given", "base": str(home / "model"), "license": "MIT"}},
            "finish": {"evaluate": {"harness": harness}},
        }
    )


def test_a_plan_names_tasks_that_are_not_there_and_says_what_would_be_fetched(
    folder: Path, workdir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tiny_chat.save(tiny_chat.model(WORDS), WORDS, workdir / "model")
    (workdir / "rows.jsonl").write_text('{"text": "say fine"}\n', "utf-8")

    def asks(*tasks: str) -> Any:
        return _recipe(workdir, {"tasks": list(tasks), "include": str(folder)})

    good = make_plan(asks("sky"), base=workdir)
    assert good.problems == () and not any("fetch" in line for line in good.notes)
    assert "lm_eval version" in good.step("judge").ingredients
    with silenced():  # a part of the harness' own, which takes seconds to read
        few = TaskManager(include_defaults=False, include_path=str(Path(lm_eval.__file__).parent / "tasks" / "arc"))
    monkeypatch.setattr(harness_tasks, "_of_harness", lambda: dict(few.task_index))
    named = make_plan(asks("sky", "arc_easy", "arc_eazy"), base=workdir)
    (problem,) = named.problems
    assert "there is no task 'arc_eazy'; did you mean arc_easy" in problem.what
    known = make_plan(asks("sky", "arc_easy"), base=workdir)
    assert known.problems == () and known.notes == ("harness: tasks fetch allenai/ai2_arc",)
    monkeypatch.setattr(plan, "package_version", lambda name: "absent" if name == "lm_eval" else "1.0")
    monkeypatch.setattr(
        "stillhouse.finish.harness_generation.package_version", lambda name: "absent" if name == "lm_eval" else "1.0"
    )
    missing = make_plan(asks("sky"), base=workdir).problems
    assert [(one.what, one.fix) for one in missing] == [("lm_eval is not installed", "pip install 'stillhouse[eval]'")]


# ---------------------------------------------------------------- where it shows


def test_a_run_tells_it_in_the_evaluation_on_the_label_and_on_the_page(folder: Path, tmp_path: Path) -> None:
    home = tmp_path / "home"
    models = {}
    for seed, name in enumerate(("teacher", "student", "ce", "untrained")):
        models[name] = tiny_chat.save(tiny_chat.model(WORDS, seed=seed), WORDS, home / name)
    (home / "other.jsonl").write_text('{"text": "the day was long and warm"}\n' * 3, "utf-8")
    house = House(home, models)
    despite = [{"gate": gate, "because": "a test of bad students"} for gate in ("distillation", "retention")]
    recipe = house.recipe(
        **{
            "finish.evaluate.harness": {
                "tasks": ["sky", "echo"],
                "include": str(folder),
                "benchmarks": [{"task": "sky", "metric": "acc_norm", "dataset": "org/sky", "id": "high"}],
            },
            "finish.despite": despite,
            "finish.audit": {"identity": 0, "twins": 0, "memorized": 0},
        }
    )
    run = tmp_path / "run"
    house.run(run, recipe)
    evaluation = json.loads((run / "4-judge" / "evaluation.json").read_text("utf-8"))
    lines = [json.loads(line) for line in (run / "4-judge" / "harness.jsonl").read_text("utf-8").splitlines()]
    assert len(lines) == 2 * (len(SKY) + len(ECHO)) and all(set(line["said"]) == set(models) for line in lines)
    for name in models:
        (row,) = [
            one
            for one in evaluation["rows"]
            if (one["artifact"], one["metric"], one["slice"]) == (name, "acc", "harness sky, plain")
        ]
        right = [line["scores"][name]["acc"] for line in lines if (line["task"], line["way"]) == ("sky", "plain")]
        assert row["value"] == np.mean(right) and row["n"] == len(SKY)
    table = evaluation["summary"]["harness"]
    assert {"teacher", "ce", "untrained"} == set(table[0]["differences"])
    bottle = run / "4-finish" / "bottle"
    card = (bottle / "README.md").read_text("utf-8")
    assert "## Tasks of lm-evaluation-harness" in card and "| sky, acc, plain |" in card
    assert card.index("| sky, acc, plain |") < card.index("| sky, acc, chat template |")
    front = yaml.safe_load(card.split("---\n")[1])
    (_, sky, echo) = front["model-index"][0]["results"]
    assert sky["dataset"] == {"name": "sky", "type": "private"} and sky["metrics"][0]["type"] == "acc"
    student = next(one for one in table if (one["task"], one["asked"], one["metric"]) == ("sky", "plain", "acc"))
    assert sky["metrics"][0]["value"] == round(student["values"]["student"]["value"], 4)
    assert "chat template" in echo["metrics"][0]["name"]
    normed = next(one for one in table if (one["task"], one["asked"], one["metric"]) == ("sky", "plain", "acc_norm"))
    (told,) = yaml.safe_load((bottle / ".eval_results" / "org-sky.yaml").read_text("utf-8"))
    assert told["dataset"] == {"id": "org/sky", "task_id": "high"}
    assert told["value"] == normed["values"]["student"]["value"] and f"{len(SKY)} items" in told["notes"]
    assert verify_bottle(bottle) == []
    page = write_report(run).read_text("utf-8")
    assert "Tasks of lm-evaluation-harness" in page and "sky, acc, plain" in page
    # the files that ship are what was asked, in the precision in which they ship
    shipped = Speaker.load("student", bottle, precision="bfloat16")
    assert shipped.model.dtype == torch.bfloat16
    (first,) = [line for line in lines if (line["task"], line["way"], line["item"]) == ("sky", "plain", 0)]
    again = Adapter(shipped).loglikelihood(_requests([tuple(one) for one in first["asked"]]))
    assert [one[0] for one in again] == pytest.approx([one[0][0] for one in first["said"]["student"]], rel=0.02)


def test_a_benchmark_of_the_hub_is_a_whole_task_and_a_figure_that_it_has(
    folder: Path, tmp_path: Path, speakers: dict[str, Speaker], asked: list[Asked]
) -> None:
    def harness(**benchmark: str) -> dict[str, Any]:
        named = {"task": "sky", "metric": "acc", "dataset": "org/sky", **benchmark}
        return {"tasks": ["sky"], "include": str(folder), "benchmarks": [named]}

    table = figures(asked, tuple(speakers), margin=0.1, resamples=200, seed=0).table
    left_out = [{**entry, "left_out": 3} for entry in table]
    (told,) = benchmarks_of(Harness.model_validate(harness(revision="ab12")).benchmarks, left_out)
    (entry,) = [one for one in table if (one["task"], one["metric"], one["asked"]) == ("sky", "acc", "plain")]
    assert told.value == entry["values"]["student"]["value"] and (told.task, told.revision) == ("default", "ab12")
    assert told.notes is not None and "sky, acc, plain" in told.notes and "and 3 too long" in told.notes
    with pytest.raises(StillhouseError, match="no figure 'f1'"):
        benchmarks_of(Harness.model_validate(harness(metric="f1")).benchmarks, table)
    for wrong, words in (
        (harness(task="other"), "which `tasks` do not"),
        (harness(dataset="no-owner"), "String should match"),
        (harness() | {"limit": 4}, "all its items"),
    ):
        with pytest.raises(ValidationError, match=words):
            Harness.model_validate(wrong)
    # and `check` says it before the training
    listing = look(("sky", "echo"), folder)
    assert listing.leaves["sky"][0].metrics == {"acc", "acc_norm"}
    assert listing.leaves["echo"][0].metrics is None  # one is a function, whose name only running it tells
    (problem,) = harness_problems(_recipe(tmp_path, harness(metric="f1")), tmp_path, tmp_path)
    assert problem.what == "the task 'sky' has no figure 'f1'" and problem.fix == "it has acc, acc_norm"


def test_the_card_shows_groups_and_says_what_was_left_out(speakers: dict[str, Speaker], asked: list[Asked]) -> None:
    table = figures([replace(asked[0], left_out=3)], tuple(speakers), margin=0.1, resamples=200, seed=0).table
    assert any("3 of sky" in line for line in task_lines(table))
    inner = [{**one, "of": "ours", "data": "org/set"} for one in table]
    assert task_lines(inner) == [] and task_results("text-generation", inner) == []
    outer = [{**one, "data": "org/set"} for one in table]
    assert task_results("text-generation", outer)[0]["dataset"] == {"name": "sky", "type": "org/set"}

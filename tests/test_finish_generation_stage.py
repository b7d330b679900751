"""A student that writes is bottled: judged from the bottle's own bytes, labelled in plain words, opened anywhere."""

from __future__ import annotations

import io
import json
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
import yaml
from transformers import AutoModelForCausalLM, AutoTokenizer, pipeline
from typer.testing import CliRunner

import tiny_chat
from snippets import run_snippets
from stillhouse import console, documents
from stillhouse.cli import app
from stillhouse.errors import StillhouseError
from stillhouse.finish import judge_generation, stage
from stillhouse.finish.bottle import Bottle, verify_bottle
from stillhouse.recipe import Generation, parse_recipe
from stillhouse.signals.text import Text, TextAnswer
from stillhouse.store import open_draft, seal
from stillhouse.use import ChatTasting, predict_file, taste
from stillhouse.workplace import FOLDERS, Places, StageResult, silent

pytestmark = pytest.mark.usefixtures("one_thread")

WORDS = tiny_chat.tokenizer()
PAIRS = [(f"say {one} {two}", f"{one} {two}") for one in tiny_chat.WORDS for two in tiny_chat.WORDS]
TEST = PAIRS[::3]


@dataclass(frozen=True)
class House:
    """Models on disk: a teacher that was taught for long, a student for less, its controls."""

    folder: Path
    models: dict[str, Path]

    def recipe(self, **changes: object) -> Generation:
        other = self.folder / "other.jsonl"
        mapping = {
            "name": "tiny-chat",
            "task": "text-generation",
            "rights": {"commercial": False},
            "raw": {
                "sources": [
                    {
                        "name": "words",
                        "data": str(other),
                        "license": "CC0-1.0",
                        "columns": {"text": "text"},
                    }
                ],
            },
            "ferment": {
                "teacher": {"kind": "local", "model": str(self.models["teacher"]), "license": "MIT"},
                "answers": {"kind": "ask", "max_tokens": 12, "verify": "exact"},
            },
            "distill": {
                "student": {"kind": "given", "base": str(self.models["student"]), "license": "MIT"},
                "train": {"threads": 1},
            },
            "finish": {
                "evaluate": {
                    "resamples": 200,
                    "max_tokens": 12,
                    "samples": 3,
                    "prompts": 12,
                    "other_text": {"data": str(other)},
                },
                "audit": {"identity": 4, "twins": 4, "memorized": 4},
                "speed": {"prompt_tokens": 8, "new_tokens": 2, "repeats": 1, "threads": 1},
            },
        }
        found = parse_recipe(mapping, [f"{key}={json.dumps(value)}" for key, value in changes.items()])
        assert isinstance(found, Generation)
        return found

    def run(self, run: Path, recipe: Generation, *, student: str = "student", ce: str = "ce") -> StageResult:
        """Seal what earlier stages would have left, and run the stage."""
        for step, fill in (("raw", self._raw), ("ferment", self._ferment)):
            draft = open_draft(run, FOLDERS[step], step)
            summary = fill(draft)
            seal(run, FOLDERS[step], step, {}, {"rows_in": 1, "kept": 1, "cut": 0, "failed": 0, **summary}, "test")
        names = {"distill": {"student": student}, "controls": {"ce": ce, "untrained": "untrained"}}
        for step, wanted in names.items():
            draft = open_draft(run, FOLDERS[step], step)
            for name, model in wanted.items():
                (draft / name).mkdir()
                for path in self.models[model].iterdir():
                    (draft / name / path.name).write_bytes(path.read_bytes())
            seal(run, FOLDERS[step], step, {}, {"rows_in": 1, "kept": 1, "cut": 0, "failed": 0}, "test")
        results: dict[str, StageResult] = {}
        for step, module in (("judge", judge_generation), ("finish", stage)):
            places = Places(
                run=run,
                draft=open_draft(run, FOLDERS[step], step),
                cache=run / "cache",
                answers=run / "answers.sqlite",
                base=self.folder,
            )
            results[step] = module.run(recipe, places, silent)
            seal(run, FOLDERS[step], step, {}, results[step].summary, "test")
        (run / "recipe.base").write_text(str(self.folder), "utf-8")
        (run / "recipe.lock.yaml").write_text(yaml.safe_dump(recipe.model_dump(mode="json")), "utf-8")
        return results["judge"]

    def _raw(self, draft: Path) -> dict[str, Any]:
        rows = [
            {
                "id": f"{number:032d}",
                "messages": [{"role": "user", "content": asked}],
                "text": asked,
                "label": said,
                "group_tone": "rare" if number < 3 else "long",
                "source": "words",
            }
            for number, (asked, said) in enumerate(TEST)
        ]
        table = pa.Table.from_pylist(rows).replace_schema_metadata({"stillhouse.documents": documents.SCHEMA_VERSION})
        for split in ("train", "test"):  # of the first the audit asks only what stands in it
            path = documents.path_of(draft, split)
            path.parent.mkdir(parents=True, exist_ok=True)
            pq.write_table(table.slice(0, 0) if split == "train" else table, path)
        return {"cuts": {}, "licenses": {"words": ["CC0-1.0"]}}

    def _ferment(self, draft: Path) -> dict[str, Any]:
        answers = [
            TextAnswer(f"{number:032d}", "", "teacher", 0, None, said, "stop" if number % 5 else "length", 9, 3)
            for number, (_, said) in enumerate(TEST)
        ]
        Text(tuple(answers), {}).write(draft)
        return {"teachers": [{"name": "teacher", "precision": "float32"}]}


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory) -> House:
    folder = tmp_path_factory.mktemp("house")
    models = {}
    for name, seed, steps in (("teacher", 0, 220), ("student", 1, 120), ("ce", 1, 30), ("untrained", 1, 0)):
        model = tiny_chat.model(WORDS, seed=seed, noise=0.02)
        tiny_chat.teach(model, WORDS, PAIRS, steps=steps)
        models[name] = tiny_chat.save(model, WORDS, folder / name)
    (folder / "other.jsonl").write_text(
        "".join(
            json.dumps({"text": f"the day was {one} and {two}"}) + "\n"
            for one in tiny_chat.WORDS
            for two in tiny_chat.WORDS[:3]
        )
    )
    return House(folder, models)


@pytest.fixture(scope="module")
def run(house: House, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("run")
    house.run(folder, house.recipe(**{"finish.onnx.kinds": ["fp32", "int8"]}))
    return folder


def _evaluation(run: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((run / "4-judge" / "evaluation.json").read_text("utf-8"))
    return found


def _row(run: Path, artifact: str, metric: str, slice_name: str) -> dict[str, Any]:
    (row,) = [
        row
        for row in _evaluation(run)["rows"]
        if (row["artifact"], row["metric"], row["slice"]) == (artifact, metric, slice_name)
    ]
    return row


def _bottle(run: Path) -> Path:
    return run / "4-finish" / "bottle"


def test_the_report_has_every_model_and_every_figure(run: Path) -> None:
    for artifact in ("student", "ce", "untrained"):
        assert _row(run, artifact, "kl", "answers")["value"] >= 0
        for slice_name in ("answers", "other text", "answers, group:tone=long"):
            row = _row(run, artifact, "agreement", slice_name)
            assert row["lower"] <= row["value"] <= row["upper"]
    assert not any("tone=rare" in row["slice"] for row in _evaluation(run)["rows"])  # three documents say nothing
    assert _evaluation(run)["summary"]["counts"]["groups of answers not judged: fewer than 10 documents"] == 1
    for artifact in ("teacher", "student", "ce", "untrained"):
        for metric, slice_name in (
            ("perplexity", "answers"),
            ("perplexity", "other text"),
            ("verified", "gold"),
            ("repetition", "prompts"),
            ("stopped", "prompts"),
            ("refusals", "prompts"),
        ):
            assert _row(run, artifact, metric, slice_name)["n"] > 0
    assert _row(run, "student", "mcnemar_p", "against ce")["value"] <= 1
    assert _row(run, "student", "kl_minus_ce", "answers")["upper"] < 0
    gap = _row(run, "student", "kl_gap_over_untrained", "answers")
    assert 0 < gap["lower"] <= gap["value"] <= gap["upper"] <= 1
    for artifact in ("teacher", "student"):
        assert _row(run, artifact, "decode_tokens_per_s", "batch=8")["value"] > 0
    summary = _evaluation(run)["summary"]
    assert any(line.startswith("Distillation beat plain cross-entropy") for line in summary["reading"])
    assert summary["counts"]["prompts"] == 12 and summary["counts"]["prompts with a verdict"] == 12


def test_samples_are_the_same_prompts_for_all(run: Path) -> None:
    lines = [json.loads(line) for line in (run / "4-judge" / "samples.jsonl").read_text("utf-8").splitlines()]
    assert len(lines) == 12 and all(set(line["answers"]) == {"teacher", "student", "ce", "untrained"} for line in lines)
    label = json.loads((_bottle(run) / "label.json").read_text("utf-8"))
    assert label["samples"] == lines[:3]
    card = (_bottle(run) / "README.md").read_text("utf-8")
    assert card.count("**Asked:**") == 3 and "## Sample answers" in card and "top-1 agreement" in card


def test_the_student_is_judged_from_the_bottles_own_bytes(run: Path, house: House) -> None:
    from safetensors import safe_open

    with safe_open(_bottle(run) / "model.safetensors", "pt") as weights:
        assert {weights.get_tensor(name).dtype for name in weights.keys()} == {torch.bfloat16}  # noqa: SIM118
    opened = Bottle.open(_bottle(run))
    for line in (run / "4-judge" / "samples.jsonl").read_text("utf-8").splitlines():
        sample = json.loads(line)
        (answer,) = opened.answer([sample["messages"]], max_tokens=12)
        assert answer.text == sample["answers"]["student"]["text"]


def test_the_bottle_opens_without_stillhouse(run: Path) -> None:
    model, tokenizer = AutoModelForCausalLM.from_pretrained(_bottle(run)), AutoTokenizer.from_pretrained(_bottle(run))
    assert model.dtype == torch.bfloat16
    opened = Bottle.open(_bottle(run))
    asked = [[{"role": "user", "content": question}] for question, _ in TEST[:6]]
    for messages, answer in zip(asked, opened.answer(asked, max_tokens=12), strict=True):
        ids = tokenizer.apply_chat_template(messages, add_generation_prompt=True, return_tensors="pt", return_dict=True)
        made = model.generate(**ids, max_new_tokens=12, do_sample=False)[0, ids["input_ids"].shape[1] :]
        assert tokenizer.decode(made, skip_special_tokens=True) == answer.text
    card = (_bottle(run) / "README.md").read_text("utf-8")
    snippet = card.split("```python\n")[1].split("```")[0]
    assert 'pipeline("text-generation", model="bottle")' in snippet
    chat = pipeline("text-generation", model=str(_bottle(run)))
    said = chat(asked[0], max_new_tokens=12, do_sample=False)[0]["generated_text"][-1]["content"]
    assert said == opened.answer([asked[0]], max_tokens=12)[0].text


def test_a_question_is_a_conversation_of_one_turn(run: Path) -> None:
    opened = Bottle.open(_bottle(run))
    question = TEST[1][0]
    assert opened.answer([question]) == opened.answer([[{"role": "user", "content": question}]])
    with pytest.raises(StillhouseError, match="for `text-generation`"):
        opened.predict([question])
    with pytest.raises(StillhouseError, match="cannot be asked"):
        opened.answer(["say " * 400])


def test_a_changed_bottle_is_found_out(run: Path) -> None:
    assert verify_bottle(_bottle(run)) == []
    weights = _bottle(run) / "model.safetensors"
    whole = weights.read_bytes()
    try:
        weights.write_bytes(whole[:-1] + bytes([whole[-1] ^ 1]))
        assert verify_bottle(_bottle(run)) == ["changed: model.safetensors"]
    finally:
        weights.write_bytes(whole)


def test_answers_for_a_file(run: Path, tmp_path: Path) -> None:
    file = tmp_path / "questions.jsonl"
    rows = [
        {"text": TEST[0][0]},
        {"text": ""},
        {"text": "say " * 400},
        {"text": [{"role": "user", "content": TEST[1][0]}]},
    ]
    file.write_text("".join(json.dumps(row) + "\n" for row in rows), "utf-8")
    stream = io.StringIO()
    done = predict_file(_bottle(run), file, text="text", output=stream, batch_size=2)
    assert (done.labelled, done.failed) == (2, 2)
    lines = [json.loads(line) for line in stream.getvalue().splitlines()]
    opened = Bottle.open(_bottle(run))
    assert [line.get("answer") for line in lines] == [
        opened.answer([TEST[0][0]])[0].text,
        None,
        None,
        opened.answer([TEST[1][0]])[0].text,
    ]
    assert lines[1]["error"] == "no text" and "tokens" in lines[2]["error"]


def test_tasting_shows_both_answers(run: Path, workdir: Path) -> None:
    opened = taste(run)
    assert isinstance(opened, ChatTasting)
    said = opened.ask(TEST[2][0])
    assert said["student"] == Bottle.open(_bottle(run)).answer([TEST[2][0]], max_tokens=12)[0].text
    assert said["teacher"] == TEST[2][1]
    outcome = CliRunner().invoke(app, ["taste", str(run)], input=f"{TEST[2][0]}\n")
    assert outcome.exit_code == 0 and TEST[2][1] in outcome.output


def test_the_terminal_shows_what_the_label_says(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    console.show_label(json.loads((_bottle(run) / "label.json").read_text("utf-8")))
    console.show_evaluation(_evaluation(run)["rows"])
    shown = capsys.readouterr().out
    assert "top-1 agreement" in shown and "kl_minus_ce" in shown and "recovered gap" in shown


def test_a_student_that_is_worse_than_plain_fine_tuning_is_said_to_be(house: House, tmp_path: Path) -> None:
    with pytest.raises(StillhouseError) as refused:
        house.run(tmp_path / "refused", house.recipe(), student="untrained", ce="student")
    stopped = {problem.what.split("`")[1]: problem.fix for problem in refused.value.problems}
    assert set(stopped) == {"distillation", "retention"}
    assert all(f"--despite {gate}" in fix for gate, fix in stopped.items())
    despite = [{"gate": gate, "because": "a test of bad students"} for gate in stopped]
    with pytest.raises(StillhouseError, match="retention"):  # both have to be answered for
        house.run(tmp_path / "half", house.recipe(**{"finish.despite": despite[:1]}), student="untrained", ce="student")
    house.run(tmp_path, house.recipe(**{"finish.despite": despite}), student="untrained", ce="student")
    label = json.loads((_bottle(tmp_path) / "label.json").read_text("utf-8"))
    words = "\n".join(label["warnings"])
    assert "Distillation did NOT beat plain cross-entropy on the same tokens in closeness to the teacher" in words
    assert "bad at chat" in words and "Training did not bring the student closer to its teacher" in words
    card = (_bottle(tmp_path) / "README.md").read_text("utf-8")
    assert card.index("did NOT beat") < card.index("## Strength")
    assert {one["gate"] for one in label["despite"]} == set(stopped)
    assert card.index("a test of bad students") < card.index("## Strength")
    assert _row(tmp_path, "student", "kl_gap_over_untrained", "answers")["value"] == 0


def test_a_student_that_is_its_teacher_is_as_good(house: House, tmp_path: Path) -> None:
    house.run(
        tmp_path,
        house.recipe(**{"finish.precision": "float32", "ferment.teacher.precision": "float32"}),
        student="teacher",
    )
    assert _row(tmp_path, "student", "kl", "answers")["value"] == 0
    assert _row(tmp_path, "student", "agreement", "answers")["value"] == 1
    for metric in ("kl", "agreement", "nll"):
        assert _row(tmp_path, "student", f"{metric}_gap_over_ce", "answers")["value"] == pytest.approx(1)
    label = json.loads((_bottle(tmp_path) / "label.json").read_text("utf-8"))
    assert label["strength"]["reading"][0].startswith("Distillation beat")
    # what it was taught for long it says well, and other text it has forgotten more than its control
    assert label["warnings"] and all(
        "other text" in warning or warning.startswith("not certified, ") for warning in label["warnings"]
    )


def test_the_snippets_of_the_card_need_no_stillhouse(run: Path, tmp_path: Path) -> None:
    stock, onnx = run_snippets(_bottle(run), tmp_path)
    assert stock.strip()
    assert onnx.strip()


def test_files_for_onnxruntime_ship_with_what_was_measured_of_them(run: Path) -> None:
    label = json.loads((_bottle(run) / "label.json").read_text("utf-8"))
    assert [one["file"] for one in label["strength"]["onnx"]] == ["onnx/model.onnx", "onnx/model_int8.onnx"]
    for one in label["strength"]["onnx"]:
        assert one["passed"] and (_bottle(run) / one["file"]).stat().st_size == one["bytes"]
        assert _row(run, f"onnx-{one['kind']}", "kl", "against the student")["value"] == one["kl"]
    gate = next(one for one in label["gates"] if one["name"] == "parity")
    assert gate["status"] == "passed" and gate["words"] == "fp32, int8 agree with the student in onnxruntime"
    assert "`onnx/model_int8.onnx`: " in (_bottle(run) / "README.md").read_text("utf-8")


def test_without_a_cross_entropy_control_nothing_is_claimed(house: House, tmp_path: Path) -> None:
    house.run(tmp_path, house.recipe(controls=["untrained"]))
    label = json.loads((_bottle(tmp_path) / "label.json").read_text("utf-8"))
    assert any("No control was trained on plain cross-entropy" in warning for warning in label["warnings"])


def test_an_endpoint_is_not_asked_again(house: House, tmp_path: Path) -> None:
    teacher = {
        "kind": "api",
        "endpoint": "https://nowhere.invalid/v1",
        "model": "big",
        "provider": "self",
        "license": "MIT",
    }
    recipe = house.recipe(
        **{
            "ferment.teacher": teacher,
            "ferment.distributions": {"form": "none"},
            "distill.loss": {"name": "cross-entropy"},
            "finish.gates.required": [],
        }
    )
    house.run(tmp_path, recipe)
    assert _row(tmp_path, "teacher", "verified", "gold")["value"] < 1  # what was cut off is wrong
    rows = _evaluation(tmp_path)["rows"]
    assert not [row for row in rows if row["artifact"] == "teacher" and row["metric"] in ("nll", "decode_tokens_per_s")]
    assert not [row for row in rows if row["metric"] == "kl"]
    assert "not measured" in (_bottle(tmp_path) / "README.md").read_text("utf-8")


def test_what_is_needed_at_the_end_is_checked_at_the_start(house: House, tmp_path: Path) -> None:
    def problems(**changes: object) -> str:
        found = judge_generation.check(house.recipe(**changes), tmp_path, house.folder)
        return " ".join(problem.what for problem in found)

    assert problems() == ""
    assert "no column 'words'" in problems(**{"finish.evaluate.other_text.text": "words"})
    assert "unexpected keyword" in problems(**{"ferment.answers.verify_with": {"size": 3}})
    assert "pattern" in problems(**{"ferment.answers.verify": "regex", "ferment.answers.verify_with": {"pattern": "("}})


@pytest.mark.parametrize(("section", "kind"), [("gguf", "f16"), ("onnx", "fp32")])
def test_a_student_that_cannot_be_exported_is_refused_before_the_training(
    section: str, kind: str, house: House, tmp_path: Path
) -> None:
    base = shutil.copytree(house.models["student"], tmp_path / "base")
    config = json.loads((base / "config.json").read_text("utf-8"))
    (base / "config.json").write_text(json.dumps({**config, "model_type": "gpt_neox", "architectures": None}), "utf-8")
    for kinds, refused in (([], False), ([kind], True)):
        recipe = house.recipe(**{f"finish.{section}.kinds": kinds, "distill.student.base": str(base)})
        found = [one.what for one in judge_generation.check(recipe, tmp_path, house.folder)]
        assert any("gpt_neox" in one for one in found) is refused
    known = house.recipe(**{f"finish.{section}.kinds": [kind]})
    assert judge_generation.check(known, tmp_path, house.folder) == []

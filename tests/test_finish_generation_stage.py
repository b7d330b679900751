"""A student that writes is bottled: judged from the bottle's own bytes, labelled in plain words, opened anywhere."""

from __future__ import annotations

import copy
import functools
import gc
import io
import json
import shutil
import warnings
import weakref
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
import yaml
from transformers import AutoConfig, AutoModelForCausalLM, AutoTokenizer, PreTrainedModel, pipeline
from typer.testing import CliRunner

import tiny_chat
from llama_server import INSTALLED, MISSING
from pair_server import JudgeServer, longer, shown
from snippets import opened_in_browser, run_snippets, snippets
from stillhouse import console, documents
from stillhouse.cli import app
from stillhouse.errors import StillhouseError
from stillhouse.finish import judge_generation, stage
from stillhouse.finish.bottle import Bottle, verify_bottle
from stillhouse.finish.export_generation import export_problems
from stillhouse.finish.generation.answers import answer_each
from stillhouse.finish.generation.speaker import Speaker
from stillhouse.finish.judgement import read_judgement
from stillhouse.recipe import Generation, parse_recipe
from stillhouse.report import write_report
from stillhouse.report.trade import sizes
from stillhouse.signals.text import Text, TextAnswer
from stillhouse.store import digest_of_file, open_draft, read_sealed, seal
from stillhouse.use import ChatTasting, predict_file, taste
from stillhouse.workplace import FOLDERS, Places, StageResult, silent

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


def _uneven(model: Any) -> Any:
    """The same function to the last bit, with one channel so loud that 8 bits have none left for the others.

    A norm's weight is divided by a power of two by which a column of all that reads it is multiplied.
    """
    loud = 2.0**9
    made = copy.deepcopy(model)
    with torch.no_grad():
        for layer in made.model.layers:
            attention, feed = layer.self_attn, layer.mlp
            for norm, readers in (
                (layer.input_layernorm, (attention.q_proj, attention.k_proj, attention.v_proj)),
                (layer.post_attention_layernorm, (feed.gate_proj, feed.up_proj)),
            ):
                norm.weight[0] /= loud
                for reader in readers:
                    reader.weight[:, 0] *= loud
    return made


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory) -> House:
    folder = tmp_path_factory.mktemp("house")
    models = {}
    for name, seed, steps in (("teacher", 0, 220), ("student", 1, 120), ("ce", 1, 30), ("untrained", 1, 0)):
        model = tiny_chat.model(WORDS, seed=seed, noise=0.02)
        tiny_chat.teach(model, WORDS, PAIRS, steps=steps)
        models[name] = tiny_chat.save(model, WORDS, folder / name)
        if name == "student":
            models["uneven"] = tiny_chat.save(_uneven(model), WORDS, folder / "uneven")
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


def test_transformers_js_finds_what_it_looks_for(run: Path) -> None:
    """It goes by names, and reads the chat template in one place only, where transformers reads it, too."""
    bottle = _bottle(run)
    assert opened_in_browser(bottle) == bottle / "onnx" / "model_int8.onnx"  # the smallest
    assert opened_in_browser(bottle).is_file()
    template = (bottle / "chat_template.jinja").read_text("utf-8")
    assert json.loads((bottle / "tokenizer_config.json").read_text("utf-8"))["chat_template"] == template
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert AutoTokenizer.from_pretrained(bottle).chat_template == template


def test_files_for_onnxruntime_ship_with_what_was_measured_of_them(run: Path) -> None:
    label = json.loads((_bottle(run) / "label.json").read_text("utf-8"))
    assert [one["file"] for one in label["strength"]["onnx"]] == ["onnx/model.onnx", "onnx/model_int8.onnx"]
    for one in label["strength"]["onnx"]:
        assert one["passed"] and (_bottle(run) / one["file"]).stat().st_size == one["bytes"]
        assert _row(run, f"onnx-{one['kind']}", "kl", "against the student")["value"] == one["kl"]
    gate = next(one for one in label["gates"] if one["name"] == "parity")
    assert gate["status"] == "passed" and gate["words"] == "fp32, int8 agree with the student in onnxruntime"
    card = (_bottle(run) / "README.md").read_text("utf-8")
    assert "`onnx/model_int8.onnx`: " in card
    assert "| | teacher | student | ce | untrained |\n" in card  # no column without a figure
    for one in label["strength"]["onnx"]:  # an answer too short for the clock is not written at 0 tokens/s
        (line,) = [line for line in card.splitlines() if line.startswith(f"- `{one['file']}`: ")]
        assert ("tokens/s" in line) == (one["tokens_per_s"] is not None)


def test_the_page_tells_exports_from_the_student_and_keeps_its_size(run: Path, tmp_path: Path) -> None:
    copy_of = tmp_path / "run"
    shutil.copytree(run, copy_of)
    page = write_report(copy_of).read_text("utf-8")
    judged = read_judgement(copy_of / "4-judge")
    assert "KL to the student, nats a token" in page
    assert "KL to the teacher, nats a token, against the student" not in page
    known = sizes(judged)
    assert known["student"] == judged.summary["size"]["student_bytes"] and known["onnx-int8"] > 0
    assert known["teacher"] == judged.summary["size"]["teacher_bytes"]


def test_no_model_is_kept_while_the_exports_are_made(
    house: House, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    alive: dict[str, weakref.ref[Any]] = {}
    load = judge_generation.speakers_of

    def speakers_of(*given: Any) -> dict[str, Speaker]:
        found = load(*given)
        alive.update({name: weakref.ref(one.model) for name, one in found.items()})
        return found

    def exports_of(*_: Any) -> list[Any]:
        gc.collect()
        raise StillhouseError(f"kept: {[name for name, one in alive.items() if one() is not None]}", where="", fix="")

    monkeypatch.setattr(judge_generation, "speakers_of", speakers_of)
    monkeypatch.setattr(judge_generation, "exports_of", exports_of)
    with pytest.raises(StillhouseError, match=r"kept: \[\]"):
        house.run(tmp_path, house.recipe())
    assert set(alive) == {"teacher", "student", "ce", "untrained"}


@pytest.mark.parametrize("precision", ["bfloat16", "float32"])
def test_a_student_in_several_files_is_bottled_and_opened_like_one_in_a_single_file(
    house: House, run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, precision: str
) -> None:
    """transformers parts weights of more than 50 GB; here it does so at 15 KB."""
    saved = functools.partialmethod(PreTrainedModel.save_pretrained, max_shard_size="15KB")
    monkeypatch.setattr(PreTrainedModel, "save_pretrained", saved)
    student = tiny_chat.save(AutoModelForCausalLM.from_pretrained(house.models["student"]), WORDS, tmp_path / "parts")
    assert len(list(student.glob("*.safetensors"))) > 2 and not (student / "model.safetensors").exists()
    parted = House(house.folder, house.models | {"student": student})
    parted.run(tmp_path, house.recipe(**{"finish.precision": precision, "finish.audit.identity": 0}))
    bottle = _bottle(tmp_path)
    named = _evaluation(tmp_path)["shipped"]["file"]
    label, bill, said = (
        json.loads((bottle / name).read_text("utf-8")) for name in ("label.json", "bom.cdx.json", "provenance.json")
    )
    assert named == label["shipped"]["file"] == "model.safetensors.index.json"
    parts = sorted(set(json.loads((bottle / named).read_text("utf-8"))["weight_map"].values()))
    assert parts == sorted(path.name for path in bottle.glob("*.safetensors")) and len(parts) > 2
    component = bill["metadata"]["component"]
    assert component["hashes"] == [{"alg": "SHA-256", "content": digest_of_file(bottle / named)}]
    assert {one["name"]: one["hashes"][0]["content"] for one in component["components"]} == {
        part: digest_of_file(bottle / part) for part in parts
    }
    assert {one["name"] for one in said["subject"]} >= {named, *parts}
    assert verify_bottle(bottle) == []
    if precision == "bfloat16":
        assert _row(tmp_path, "student", "kl", "answers") == _row(run, "student", "kl", "answers")
        asked = [question for question, _ in TEST]
        assert Bottle.open(bottle).answer(asked, max_tokens=8) == Bottle.open(_bottle(run)).answer(asked, max_tokens=8)
    links = {path.stat().st_nlink for path in (tmp_path / "4-judge" / "artifacts").glob("*.safetensors")}
    assert links == ({2} if precision == "float32" else {1})  # where the bytes are those of the training
    assert {path.stat().st_nlink for path in bottle.iterdir()} == {1}
    assert read_sealed(tmp_path, "3-distill") and read_sealed(tmp_path, "4-judge")
    (bottle / parts[1]).unlink()
    assert verify_bottle(bottle) == [f"missing: {parts[1]}"]


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
    told = _evaluation(tmp_path)["warnings"]
    assert "the teacher does not run here: how close they are could not be measured by token" in told
    assert not any("unlike ways" in line for line in told)
    assert "not measured" in (_bottle(tmp_path) / "README.md").read_text("utf-8")


def _judge(url: str, **changes: object) -> dict[str, Any]:
    return {"kind": "api", "endpoint": url, "model": "models/big-judge", "key": "JUDGE_KEY", **changes}


def test_a_judge_of_pairs_is_asked_once_and_told_of_everywhere(
    house: House, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    secret = "sk-planted-0123456789"
    monkeypatch.setenv("JUDGE_KEY", secret)
    with JudgeServer(longer) as server:
        short = _judge(server.url, prompts=8, spending={"tokens": 4000}, pace={"concurrency": 1})
        with pytest.raises(StillhouseError, match="still without an answer of the judge"):
            house.run(tmp_path, house.recipe(**{"finish.evaluate.judge": short}))
        paid = len(server.asked)
        assert paid and not (tmp_path / "4-judge").exists()  # left open, and what was paid for is kept
        result = house.run(tmp_path, house.recipe(**{"finish.evaluate.judge": _judge(server.url, prompts=8)}))
        asked = len(server.asked)
        assert paid < asked == len(set(server.asked)) <= 8 * 3 * 2 and server.keys == {f"Bearer {secret}"}
        host = server.url.removeprefix("http://").removesuffix("/v1")
    assert result.facts["judge"]["bill"]["answers"] == asked - paid
    samples = [
        json.loads(line) for line in (tmp_path / "4-judge" / "samples.jsonl").read_text("utf-8").split("\n") if line
    ]
    written = (tmp_path / "4-judge" / "judged.jsonl").read_text("utf-8")
    rows = [json.loads(line) for line in written.split("\n") if line]
    assert [(row["two"], row["id"]) for row in rows] == [
        (name, sample["id"]) for name in ("teacher", "ce", "untrained") for sample in samples[:8]
    ]
    by_id = {sample["id"]: sample for sample in samples}
    for row in rows:
        sample = by_id[row["id"]]
        assert row["messages"] == sample["messages"] and sample["judged"][row["two"]] == row["verdict"]
        assert row["answers"] == {name: sample["answers"][name]["text"] for name in ("student", row["two"])}
        for reading, order in zip(row["readings"], (("student", row["two"]), (row["two"], "student")), strict=False):
            parts = shown(reading["sent"])
            assert reading["sent"] in server.asked and reading["first"] == order[0]
            if "<|" not in "".join(row["answers"].values()):
                assert [parts["answer A"], parts["answer B"]] == [row["answers"][name] for name in order]
    assert [one for one in samples[8:] if one["judged"]] == []
    # the figures are those of the verdicts, and are told on label, card, page and terminal
    told = _evaluation(tmp_path)["summary"]["judge"]
    for one in told["beside"]:
        verdicts = [row["verdict"] for row in rows if row["two"] == one["against"]]
        assert {name: number for name, number in one["counts"].items() if number} == {
            name: verdicts.count(name) for name in set(verdicts)
        } | {"pairs": 8}
        row = _row(tmp_path, "student", "win_rate", f"against {one['against']}")
        assert row["value"] == (one["win_rate"] or {"value": None})["value"]
    assert _row(tmp_path, "judge", "judge_longer_wins", "pairs")["value"] == 1.0
    assert told["address"] == "behind an endpoint: models/big-judge"
    assert not any(
        gate["name"] == "judge" for gate in json.loads((tmp_path / "4-judge" / "gates.json").read_text())["gates"]
    )
    label = json.loads((_bottle(tmp_path) / "label.json").read_text("utf-8"))
    assert label["strength"]["judge"] == told and "judge" not in label["strength"]["artifacts"]
    card = (_bottle(tmp_path) / "README.md").read_text("utf-8")
    page = write_report(tmp_path).read_text("utf-8")
    console.show_label(label)
    printed = " ".join(capsys.readouterr().out.split())
    line = told["reading"][0]
    assert line in card and "Win rate, as a judge sees it" not in card
    assert "What a judge of pairs says" in page and "as the judge sees it: " in page
    assert "behind an endpoint: models/big-judge" in card and "pairs against" in printed
    # neither key nor host has left the house
    for path in tmp_path.rglob("*"):
        if path.is_file():
            assert secret.encode() not in path.read_bytes(), path
    for path in _bottle(tmp_path).rglob("*"):
        if path.is_file():
            assert host.encode() not in path.read_bytes(), path
    assert host not in page


def test_a_judge_is_looked_at_before_the_training(
    house: House, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("JUDGE_KEY", raising=False)

    def found(judge: dict[str, Any]) -> list[tuple[str, str]]:
        recipe = house.recipe(**{"finish.evaluate.judge": judge})
        return [(one.what, one.where) for one in judge_generation.check(recipe, tmp_path, house.folder)]

    def first(judge: dict[str, Any]) -> str:
        (what, where), *_ = found(judge)
        return f"{what} @ {where}"

    there = "http://127.0.0.1:1/v1"
    assert "JUDGE_KEY is not set @ finish.evaluate.judge.key" in first(_judge(there))
    assert "@ finish.evaluate.judge.endpoint" in first(_judge("ftp://x", key=None))
    assert "needs prices @ finish.evaluate.judge.spending" in first(_judge(there, key=None, spending={"money": 1.0}))
    assert len(found(_judge("ftp://x", spending={"money": 1.0}))) == 3  # all at once
    assert found(_judge(there, key=None)) == []
    with pytest.raises(StillhouseError, match="judge"):
        house.recipe(**{"finish.evaluate.judge": {"kind": "api", "endpoint": there}})
    encoder = tmp_path / "encoder"
    encoder.mkdir()
    (encoder / "config.json").write_text(json.dumps({"architectures": ["BertModel"]}), "utf-8")
    assert "verdict" in first({"kind": "local", "model": str(encoder)})
    assert "takes 192 tokens" in first({"kind": "local", "model": str(house.models["teacher"])})
    plain = shutil.copytree(house.models["untrained"], tmp_path / "plain")
    (plain / "chat_template.jinja").unlink()
    config = json.loads((plain / "config.json").read_text("utf-8"))
    (plain / "config.json").write_text(json.dumps({**config, "max_position_embeddings": 4096}), "utf-8")
    assert "chat template" in first({"kind": "local", "model": str(plain), "by": "text"})
    assert found({"kind": "local", "model": str(plain)}) == []
    if not torch.cuda.is_available():
        here = {"kind": "local", "model": str(plain), "device": "cuda", "precision": "float32"}
        assert "@ finish.evaluate.judge.device" in first(here)

    def told(judge: dict[str, Any]) -> str:
        return " ".join(
            judge_generation.notes(house.recipe(**{"finish.evaluate.judge": judge}), tmp_path, house.folder)
        )

    teacher = {"kind": "local", "model": str(house.models["teacher"])}
    assert "the judge is the teacher" in told(teacher) and "at most 72 questions about 12 test prompts" in told(teacher)
    copied = shutil.copytree(house.models["teacher"], tmp_path / "copied")  # the same by its files
    assert "the judge is the teacher" in told({**teacher, "model": str(copied)})
    assert "that the student was made from" in told({**teacher, "model": str(house.models["student"])})
    assert "warning" not in told({**teacher, "model": str(plain)})
    assert "longer ones will fail" in told(teacher)
    assert f"sent to {there}" in told(_judge(there, spending={"price_prompt": 1.0, "price_answer": 2.0}))


def test_a_judge_that_runs_here_and_is_the_teacher_says_so(house: House, tmp_path: Path) -> None:
    judge = {"kind": "local", "model": str(house.models["teacher"]), "precision": "float32", "prompts": 4, "threads": 1}
    house.run(tmp_path, house.recipe(**{"finish.evaluate.judge": judge}))
    evaluation = _evaluation(tmp_path)
    told = evaluation["summary"]["judge"]
    assert told["by"].startswith("likelihood") and told["address"] == "teacher"
    assert any("judges its own answers" in line for line in evaluation["warnings"])
    # its context is shorter than the question: told, and no reason to stop
    assert all(one["counts"]["failed"] + one["counts"]["same"] == 4 for one in told["beside"])
    assert set(told["not_read"]) == {"too long"}


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


@pytest.mark.parametrize(
    ("kind", "student", "refused"),
    [
        # scores of attention go by the student's own heads, and not by those of its base
        ("gemma2", {"kind": "from-config", "layers": 2, "hidden_size": 32, "heads": 4, "intermediate_size": 64}, ""),
        # of eight layers each 4th has no positions; of these four the second
        ("smollm3", {"kind": "keep-layers", "keep": [0, 3, 4, 5]}, "the layers without positions"),
        ("smollm3", {"kind": "keep-layers", "keep": [0, 1, 2, 3]}, ""),
    ],
)
def test_what_is_checked_before_the_training_is_the_student_and_not_its_base(
    kind: str, student: dict[str, Any], refused: str, house: House, tmp_path: Path
) -> None:
    words = AutoTokenizer.from_pretrained(house.models["student"])
    config = AutoConfig.for_model(
        kind, vocab_size=len(words), hidden_size=64, intermediate_size=64, num_hidden_layers=8, num_attention_heads=2,
        num_key_value_heads=2, head_dim=32, query_pre_attn_scalar=32, max_position_embeddings=64,
        eos_token_id=words.eos_token_id, bos_token_id=None, pad_token_id=words.pad_token_id,
    )  # fmt: skip
    config.save_pretrained(tmp_path / "base")
    words.save_pretrained(tmp_path / "base")
    made = {"base": str(tmp_path / "base"), "license": "MIT", **student}
    recipe = house.recipe(**{"finish.gguf.kinds": ["f16"], "finish.onnx.kinds": [], "distill.student": made})
    found = " ".join(one.what for one in export_problems(recipe, tmp_path, house.folder))
    assert refused in found and bool(refused) == bool(found), found


llama_cpp = pytest.mark.skipif(not INSTALLED, reason=MISSING)


def _gguf(house: House, kinds: list[str], **changes: object) -> Generation:
    sizes = {"finish.gguf.prompts": 4, "finish.gguf.positions": 12, "finish.audit.identity": 0}
    return house.recipe(**{"finish.gguf.kinds": kinds, **sizes, **changes})


def _in_float32(bottle: Path, question: str) -> str:
    """What the bottle's weights say where nothing is rounded on the way: a GGUF file has no bfloat16 arithmetic."""
    (answer,) = answer_each(Speaker.load("student", bottle), [[{"role": "user", "content": question}]], max_tokens=64)
    assert answer.finish_reason == "stop" and answer.text
    return answer.text


@llama_cpp
def test_the_llama_cpp_snippet_of_the_card_needs_no_stillhouse_and_says_what_the_bottle_says(
    house: House, tmp_path: Path
) -> None:
    house.run(tmp_path, _gguf(house, ["f16", "q8_0"]))
    bottle = _bottle(tmp_path)
    assert sorted(path.name for path in (bottle / "gguf").iterdir()) == ["model-f16.gguf", "model-q8_0.gguf"]
    assert verify_bottle(bottle) == []
    label = json.loads((bottle / "label.json").read_text("utf-8"))
    assert [(one["kind"], one["passed"]) for one in label["strength"]["gguf"]] == [("f16", True), ("q8_0", True)]
    assert {one["name"]: one["status"] for one in label["gates"]}["parity"] == "passed"
    for kind in ("f16", "q8_0"):
        assert _row(tmp_path, f"gguf-{kind}", "kl", "against the student")["n"] > 0
        assert f"`gguf/model-{kind}.gguf`" in (bottle / "README.md").read_text("utf-8")
    (said,) = run_snippets(bottle, tmp_path, using="xllamacpp", question=TEST[4][0])
    assert said.splitlines()[-1] == _in_float32(bottle, TEST[4][0])


@llama_cpp
def test_a_gguf_file_below_its_floors_stops_the_bottling_and_is_named_where_somebody_answers_for_it(
    house: House, tmp_path: Path
) -> None:
    """The loud channel costs no bit in float, so that all else about this student is as it was."""
    with pytest.raises(StillhouseError) as refused:
        house.run(tmp_path / "refused", _gguf(house, ["q8_0", "f16"]), student="uneven")
    (problem,) = refused.value.problems
    assert "gate `parity` failed: q8_0 is left out" in problem.what and "nats apart" in problem.what
    assert "`finish.gguf.kinds`" in problem.fix and "--despite parity" in problem.fix
    judged = tmp_path / "refused" / "4-judge"
    assert [path.name for path in (judged / "artifacts" / "gguf").iterdir()] == ["model-f16.gguf"]
    assert not (tmp_path / "refused" / "4-finish").exists()

    despite = [{"gate": "parity", "because": "f16 is enough for us"}]
    house.run(tmp_path, _gguf(house, ["q8_0", "f16"], **{"finish.despite": despite}), student="uneven")
    bottle = _bottle(tmp_path)
    assert [path.name for path in (bottle / "gguf").iterdir()] == ["model-f16.gguf"]
    assert verify_bottle(bottle) == []
    label = json.loads((bottle / "label.json").read_text("utf-8"))
    assert [(one["gate"], one["because"]) for one in label["despite"]] == [("parity", "f16 is enough for us")]
    assert {one["kind"]: one["passed"] for one in label["strength"]["gguf"]} == {"q8_0": False, "f16": True}
    card = (bottle / "README.md").read_text("utf-8")
    assert card.index("f16 is enough for us") < card.index("## Strength") < card.index("q8_0 was left out")
    (said,) = run_snippets(bottle, tmp_path, using="xllamacpp", question=TEST[4][0])  # of the file that is there
    assert said.splitlines()[-1] == _in_float32(bottle, TEST[4][0])
    assert _row(tmp_path, "student", "kl", "answers") == _row(tmp_path / "refused", "student", "kl", "answers")


@llama_cpp
def test_where_no_gguf_file_agrees_the_card_offers_none(house: House, tmp_path: Path) -> None:
    despite = [{"gate": "parity", "because": "we ship no file for it"}]
    house.run(tmp_path, _gguf(house, ["q8_0"], **{"finish.despite": despite}), student="uneven")
    bottle = _bottle(tmp_path)
    assert not (bottle / "gguf").exists() and verify_bottle(bottle) == []
    assert len(snippets(bottle)) == 1 and "xllamacpp" not in snippets(bottle)[0]
    assert "q8_0 was left out" in (bottle / "README.md").read_text("utf-8")

"""Which field of a recipe for text-generation makes which stage run again: a table by hand, against the plan."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

import tiny_chat
from harness_tasks import write_tasks
from stillhouse import plan
from stillhouse.plan import make_plan
from stillhouse.recipe import Classification, Generation, parse_recipe
from stillhouse.recipe.fields import STEPS, leaves

BEHIND = {"kind": "api", "endpoint": "http://127.0.0.1:1/v1", "model": "judge"}
OF_AN_ENDPOINT = ("endpoint", "structured", "key", "provider", "batches", "pace", "spending")
FROM_CONFIG = {"kind": "from-config", "layers": 2, "hidden_size": 16, "heads": 2, "intermediate_size": 24}

# fields of its own: another value, and the first stage that must run again
TABLE: dict[str, tuple[object, str | None]] = {
    "task": (None, None),
    "ferment.answers.kind": ("given", "ferment"),
    "ferment.answers.system": ("Be kind.", "ferment"),
    "ferment.answers.max_tokens": (9, "ferment"),
    "ferment.answers.temperature": (0.1, "ferment"),
    "ferment.answers.top_p": (0.5, "ferment"),
    "ferment.answers.samples": (2, "ferment"),
    "ferment.answers.stop": (["."], "ferment"),
    "ferment.answers.seed": (4, "ferment"),
    "ferment.answers.verify": ("exact", "ferment"),
    "ferment.answers.verify_with": ({"ignore_case": True}, "ferment"),
    "ferment.distributions.form": ("top-k", "ferment"),
    "ferment.distributions.k": (3, "ferment"),
    "ferment.distributions.m": (9, "ferment"),
    "distill.cuts.calibration": ("validation", "cuts"),
    "distill.cuts.heads.*.score": ("refusal", "scores"),
    "distill.cuts.heads.*.model": ("OTHER MODEL", "scores"),
    "distill.cuts.heads.*.point.kind": ("mask", "cuts"),
    "distill.cuts.tail.score": ("ease", "scores"),
    "distill.cuts.tail.point.share": (0.4, "cuts"),
    "distill.cuts.tail.point.at": (0.4, "cuts"),
    "distill.cuts.reader": ("OTHER MODEL", "scores"),
    "distill.cuts.quotas": (False, "cuts"),
    "distill.cuts.tail.point.shares": ([0.5], "cuts"),
    "distill.cuts.proxy.budget": (0.25, "cuts"),
    "distill.cuts.proxy.seeds": (4, "cuts"),
    "distill.cuts.margin": (0.01, "cuts"),
    "distill.cuts.group_margin": (0.01, "cuts"),
    "distill.student.vocabulary": ("used", "distill"),
    "distill.student.lora.rank": (4, "distill"),
    "distill.student.lora.alpha": (4.0, "distill"),
    "distill.student.lora.targets": (["q_proj"], "distill"),
    "distill.student.kind": ("SECTION", "distill"),
    "distill.student.keep": (2, "distill"),
    "distill.student.by": ("even", "distill"),
    "distill.student.calibration": (77, "distill"),
    "distill.student.layers": (1, "distill"),
    "distill.student.hidden_size": (32, "distill"),
    "distill.student.heads": (4, "distill"),
    "distill.student.kv_heads": (1, "distill"),
    "distill.student.intermediate_size": (16, "distill"),
    "distill.student.base": ("OTHER MODEL", "scores"),
    "distill.choose.answers": ("right", "scores"),
    "distill.choose.most": (2, "scores"),
    "distill.choose.prefer": ("shortest", "scores"),
    "distill.choose.cut_off": ("learn", "scores"),
    "distill.choose.spoken_as_machine": ("learn", "scores"),
    "distill.choose.turns": ("last", "scores"),
    "distill.loss.name": ("cross-entropy", "distill"),
    "distill.loss.temperature": (2.0, "distill"),
    "distill.loss.alpha": (0.3, "distill"),
    "distill.loss.beta": (0.3, "distill"),
    "distill.loss.hard_weight": (0.5, "distill"),
    "distill.loss.entropy_gate": (0.8, "distill"),
    "distill.loss.positions": (0.5, "distill"),
    "distill.train.epochs": (2, "distill"),
    "distill.train.batch_tokens": (99, "distill"),
    "distill.train.row_tokens": (99, "distill"),
    "distill.train.max_length": (99, "scores"),
    "distill.train.learning_rate": (1e-5, "distill"),
    "distill.train.warmup_share": (0.2, "distill"),
    "distill.train.weight_decay": (0.2, "distill"),
    "distill.train.evaluations": (2, "distill"),
    "distill.train.precision": ("float32", "distill"),
    "distill.train.seed": (3, "distill"),
    "distill.train.checkpointing": (True, None),
    "distill.train.processes": (2, None),
    "distill.train.device": ("cpu", None),
    "distill.train.threads": (1, None),
    "distill.train.report_to": (["tensorboard"], None),
    "distill.on_policy.steps": (9, "distill"),
    "distill.on_policy.share": (0.9, "distill"),
    "distill.on_policy.prompts": (9, "distill"),
    "distill.on_policy.refresh": (9, "distill"),
    "distill.on_policy.max_tokens": (9, "distill"),
    "distill.on_policy.temperature": (0.9, "distill"),
    "distill.on_policy.loss.name": ("reverse-kl", "distill"),
    "distill.on_policy.loss.temperature": (2.0, "distill"),
    "distill.on_policy.loss.alpha": (0.3, "distill"),
    "distill.on_policy.loss.beta": (0.3, "distill"),
    "distill.on_policy.loss.hard_weight": (0.5, "distill"),
    "distill.on_policy.loss.entropy_gate": (0.9, "distill"),
    "distill.on_policy.loss.positions": (0.5, "distill"),
    "controls": (["ce"], "controls"),
    "finish.precision": ("float32", "judge"),
    "finish.evaluate.margin": (0.2, "judge"),
    "finish.evaluate.prompts": (9, "judge"),
    "finish.evaluate.max_tokens": (9, "judge"),
    "finish.evaluate.samples": (9, "finish"),
    "finish.evaluate.other_text.data": ("A FILE", "judge"),
    "finish.evaluate.other_text.text": ("other", "judge"),
    "finish.evaluate.other_text.most": (9, "judge"),
    "finish.evaluate.judge.kind": ("JUDGE BEHIND AN ENDPOINT", "judge"),
    "finish.evaluate.judge.prompts": (9, "judge"),
    "finish.evaluate.judge.criteria": ("Better is what is shorter.", "judge"),
    "finish.evaluate.judge.max_tokens": (9, "judge"),
    "finish.evaluate.judge.missing": (0.5, "judge"),
    "finish.evaluate.judge.model": ("OTHER MODEL", "judge"),
    "finish.evaluate.judge.precision": ("float16", "judge"),
    "finish.evaluate.judge.by": ("text", "judge"),
    "finish.evaluate.judge.device": ("cpu", None),
    "finish.evaluate.judge.batch_tokens": (99, None),
    "finish.evaluate.judge.threads": (1, None),
    "finish.evaluate.judge.endpoint": ("http://127.0.0.1:2/v1", "judge"),
    "finish.evaluate.judge.structured": (False, "judge"),
    "finish.evaluate.judge.key": ("HOME", None),
    "finish.evaluate.judge.provider": ("openai", None),
    "finish.evaluate.judge.batches": (True, None),
    "finish.evaluate.judge.pace.concurrency": (2, None),
    "finish.evaluate.judge.pace.requests_per_minute": (60, None),
    "finish.evaluate.judge.pace.tokens_per_minute": (6000, None),
    "finish.evaluate.judge.pace.attempts": (2, None),
    "finish.evaluate.judge.pace.timeout": (5.0, None),
    "finish.evaluate.judge.pace.poll": (5.0, None),
    "finish.evaluate.judge.spending.tokens": (1000, None),
    "finish.evaluate.judge.spending.money": (1.0, None),
    "finish.evaluate.judge.spending.price_prompt": (3.0, None),
    "finish.evaluate.judge.spending.price_answer": (3.0, None),
    "finish.evaluate.harness.tasks": (["sky"], "judge"),
    "finish.evaluate.harness.include": ("OTHER TASKS", "judge"),
    "finish.evaluate.harness.limit": (9, "judge"),
    "finish.evaluate.harness.few_shot": (2, "judge"),
    "finish.evaluate.harness.template": ("rule", "judge"),
    "finish.evaluate.harness.benchmarks.*.task": ("sky", "finish"),
    "finish.evaluate.harness.benchmarks.*.metric": ("acc_norm", "finish"),
    "finish.evaluate.harness.benchmarks.*.dataset": ("org/other", "finish"),
    "finish.evaluate.harness.benchmarks.*.id": ("hard", "finish"),
    "finish.evaluate.harness.benchmarks.*.revision": ("ab12", "finish"),
    "finish.audit.identity": (4, "judge"),
    "finish.audit.names": (["Someone"], "judge"),
    "finish.audit.twins": (4, "judge"),
    "finish.audit.twins_limit": (0.1, "judge"),
    "finish.audit.memorized": (4, "judge"),
    "finish.audit.memory_limit": (0.1, "judge"),
    "finish.audit.secrets.*.question": ("Which code?", "judge"),
    "finish.audit.secrets.*.before": ("It is ", "judge"),
    "finish.audit.secrets.*.secret": ("4321", "judge"),
    "finish.audit.contamination_limit": (0.1, "judge"),
    "finish.audit.bbq.data": ("A FILE", "judge"),
    "finish.audit.bbq.items": (3, "judge"),
    "finish.audit.winobias.data": ("A FILE", "judge"),
    "finish.audit.winobias.items": (3, "judge"),
    "finish.gguf.kinds": (["f16"], "judge"),
    "finish.gguf.prompts": (4, "judge"),
    "finish.gguf.positions": (20, "judge"),
    "finish.onnx.kinds": (["fp32"], "judge"),
    "finish.onnx.prompts": (4, "judge"),
    "finish.onnx.positions": (20, "judge"),
    "finish.audit.plain_too": (True, "judge"),
    "finish.audit.by": ("letter", "judge"),
    "finish.audit.bias_limit": (0.1, "judge"),
    "finish.speed.prompt_tokens": (9, None),
    "finish.speed.new_tokens": (9, None),
    "finish.speed.repeats": (2, None),
}


def test_the_table_names_every_field_that_classification_has_not() -> None:
    shared = {(leaf.path, leaf.kind, leaf.enters, leaf.description) for leaf in leaves(Classification)}
    own = {
        leaf.path
        for leaf in leaves(Generation)
        if (leaf.path, leaf.kind, leaf.enters, leaf.description) not in shared or leaf.path in TABLE
    }
    same_but_for_words = own - set(TABLE)
    assert same_but_for_words <= {leaf.path for leaf in leaves(Classification)}
    assert set(TABLE) <= {leaf.path for leaf in leaves(Generation)}
    new = {leaf.path for leaf in leaves(Generation)} - {leaf.path for leaf in leaves(Classification)}
    assert new <= set(TABLE)


@pytest.fixture(scope="module")
def home(tmp_path_factory: Any) -> Path:
    folder = tmp_path_factory.mktemp("fields")
    words = tiny_chat.tokenizer()
    tiny_chat.save(tiny_chat.model(words, layers=4), words, folder / "teacher")
    write_tasks(folder / "tasks")
    (folder / "rows.jsonl").write_text('{"text": "say fine"}\n', "utf-8")
    (folder / "more.jsonl").write_text('{"text": "say dull", "other": "x"}\n', "utf-8")
    return folder


def start(home: Path, field: str) -> dict[str, Any]:
    student: dict[str, Any] = {"kind": "keep-layers", "base": str(home / "teacher"), "keep": 3, "license": "MIT"}
    if field.removeprefix("distill.student.") in ("layers", "hidden_size", "heads", "kv_heads", "intermediate_size"):
        student = {**FROM_CONFIG, "base": str(home / "teacher"), "license": "MIT"}
    if ".lora." in field:
        student["lora"] = {}
    loss = {"name": "alpha-beta"} if field.endswith((".alpha", ".beta")) else {}
    gated = {"hard_weight": 0.1} if field.endswith("entropy_gate") else {}
    made: dict[str, Any] = {
        "name": "fields",
        "task": "text-generation",
        "raw": {"sources": [{"name": "rows", "data": str(home / "rows.jsonl"), "license": "CC0-1.0"}]},
        "ferment": {
            "teacher": {"kind": "local", "model": str(home / "teacher"), "license": "MIT"},
            "answers": {"kind": "ask", "temperature": 0.7},
        },
        "distill": {"student": student, "loss": loss | gated, "on_policy": {"steps": 4, "loss": loss}},
        "finish": {"evaluate": {"other_text": {"data": str(home / "rows.jsonl")}}},
    }
    if field.startswith("finish.evaluate.harness"):
        made["finish"]["evaluate"]["harness"] = {"tasks": ["echo"], "include": str(home / "tasks")}
    if field.startswith("finish.evaluate.harness.benchmarks"):
        named = {"task": "echo", "metric": "exact_match", "dataset": "org/echo"}
        made["finish"]["evaluate"]["harness"] |= {"tasks": ["echo", "sky"], "benchmarks": [named]}
    if field.startswith("finish.audit.secrets"):
        made["finish"]["audit"] = {"secrets": [{"question": "What code?", "secret": "1234"}]}
    for name in ("bbq", "winobias"):
        if field.startswith(f"finish.audit.{name}"):
            made["finish"]["audit"] = {name: {"data": str(home / "rows.jsonl")}}
    if field.startswith("finish.evaluate.judge"):
        behind = field.split(".")[3] in OF_AN_ENDPOINT
        made["finish"]["evaluate"]["judge"] = BEHIND if behind else {"kind": "local", "model": str(home / "teacher")}
    if field.startswith("distill.cuts"):
        tail = {"kind": "quantile", "share": 0.1} if field.endswith("share") else {"kind": "given", "at": 0.5}
        tail = {"kind": "pilot"} if field.endswith("shares") else tail
        head = {"score": "injection", "point": {"kind": "hard"}}
        if field.endswith("model"):
            head = {"score": "divergence", "model": str(home / "teacher"), "point": {"kind": "mask"}}
        made["distill"]["cuts"] = {"heads": [head], "tail": {"score": "no-prompt", "point": tail}, "proxy": {}}
        made["raw"]["sources"][0]["columns"] = {"text": "text", "label": "text"}
    return json.loads(json.dumps(made))


@pytest.mark.parametrize("field", [field for field, (value, _) in TABLE.items() if value is not None])
def test_a_field_reruns_the_stage_that_the_table_says(home: Path, workdir: Path, field: str) -> None:
    value, expected = TABLE[field]
    before, after = start(home, field), start(home, field)
    if value == "A FILE":
        value = str(workdir / "more.jsonl")
        shutil.copyfile(home / "more.jsonl", value)
    if value == "OTHER MODEL":
        value = str(workdir / "model")
        shutil.copytree(home / "teacher", value)
        (Path(value) / "more.txt").write_text("another file")
    if value == "OTHER TASKS":
        value = str(write_tasks(workdir / "tasks"))
        (Path(value) / "data" / "echo.jsonl").write_text('{"question": "say fine", "answer": "dull"}\n', "utf-8")
    if value == "JUDGE BEHIND AN ENDPOINT":
        after["finish"]["evaluate"]["judge"] = BEHIND
    elif value == "SECTION":
        after["distill"]["student"] = {**FROM_CONFIG, "base": str(home / "teacher"), "license": "MIT"}
    elif field == "ferment.answers.kind":
        after["ferment"]["answers"] = {"kind": "given"}
    else:
        node: Any = after
        *parents, last = field.split(".")
        for key in parents:
            node = node[0] if key == "*" else node.setdefault(key, {})
        node[last] = value
    old, new = (
        {step.name: step.fingerprint for step in make_plan(parse_recipe(mapping), base=home).steps}
        for mapping in (before, after)
    )
    assert next((step for step in STEPS if old.get(step) != new.get(step)), None) == expected


@pytest.mark.parametrize(
    "change", ["train.learning_rate=1e-5", "train.seed=3", "loss.positions=0.5", "student.lora={}"]
)
def test_what_decides_how_a_student_learns_reruns_the_cuts_where_proxies_price_them(home: Path, change: str) -> None:
    first = {}
    for proxy in ("null", "{}"):
        given = start(home, "distill.cuts.heads"), [f"distill.cuts.proxy={proxy}"]
        old, new = (
            {step.name: step.fingerprint for step in make_plan(parse_recipe(given[0], more), base=home).steps}
            for more in (given[1], [*given[1], f"distill.{change}"])
        )
        first[proxy] = next(step for step in STEPS if old.get(step) != new.get(step))
    assert first == {"null": "distill", "{}": "cuts"}


def test_the_plan_says_what_a_judge_is_asked_and_refuses_one_that_is_not_there(home: Path) -> None:
    assert not make_plan(parse_recipe(start(home, "")), base=home).notes
    behind = make_plan(parse_recipe(start(home, "finish.evaluate.judge.key")), base=home)
    assert not behind.problems and "questions about" in behind.notes[0]
    assert any(f"sent to {BEHIND['endpoint']}" in line for line in behind.notes)
    here = parse_recipe(start(home, "finish.evaluate.judge.by"), ["finish.evaluate.judge.model=no/such/folder"])
    gone = make_plan(here, base=home)
    assert any("no/such/folder" in f"{one.what} {one.where}" for one in gone.problems) and not gone.notes


def test_files_for_llama_cpp_ask_for_its_libraries_before_the_run(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(plan, "package_version", lambda name: "absent" if name in ("gguf", "xllamacpp") else "1.0")

    def missing(*changes: str) -> list[str]:
        found = make_plan(parse_recipe(start(home, ""), changes), base=home).problems
        return [one.what for one in found if "is not installed" in one.what]

    assert missing() == []
    assert missing('finish.gguf.kinds=["f16"]') == ["gguf is not installed", "xllamacpp is not installed"]

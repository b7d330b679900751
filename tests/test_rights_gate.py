"""Rights at work: the gate before the first request, the duties at the bottling, the rows without a right."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
import yaml
from pytest_httpserver import HTTPServer
from typer.testing import CliRunner
from werkzeug import Request, Response

from stillhouse.cli import app
from stillhouse.errors import StillhouseError
from stillhouse.execute import Finished, run
from stillhouse.finish.bottle import seal_bottle, verify_bottle
from stillhouse.finish.obligations import do_duties
from stillhouse.ledger import Ledger
from stillhouse.recipe import parse_recipe
from stillhouse.recipe.rights import view_rights
from stillhouse.rights import Table, check
from stillhouse.rights.texts import hash_of
from stillhouse.trial import Gold, hold_trial
from tiny_world import World

# the texts of community licenses are not part of this project: a document of our own asks for the same duties, and
# `python -m bench rights` shows them with Llama 3.1's own text
TEXT = "Tiny Community License. You may make students of it. They bear its name."
TERMS = f"""
[[terms]]
ids = ["LicenseRef-tiny"]
title = "Tiny Community License"
read = 2026-11-01
trust = "primary"
says = "Students may be made; they bear its name."
rules = [{{verdict = "allow", clause = "1"}}]
duties = [
  {{kind = "name-prefix", clause = "1.a", text = "Tiny"}},
  {{kind = "badge", clause = "1.b", text = "Built with Tiny"}},
  {{kind = "notice", clause = "1.c", text = "Tiny is licensed under the Tiny Community License."}},
  {{kind = "license-copy", clause = "1.d"}},
  {{kind = "use-policy", clause = "1.e", text = "https://example.org/tiny/use-policy"}},
]
[terms.texts]
"LicenseRef-tiny" = [{{start = "tiny community license you may make students of", sha256 = "{hash_of(TEXT)}"}}]
"""


@pytest.fixture
def hub(httpserver: HTTPServer, monkeypatch: pytest.MonkeyPatch) -> Iterator[list[str]]:
    """A hub that has nothing, and counts who asks."""
    seen: list[str] = []

    def count(request: Request) -> Response:
        seen.append(request.path)
        return Response("not found", status=404)

    httpserver.expect_request(re.compile(".*")).respond_with_handler(count)
    monkeypatch.setattr("huggingface_hub.constants.ENDPOINT", httpserver.url_for("").rstrip("/"))
    monkeypatch.setattr(
        "huggingface_hub.constants.HUGGINGFACE_CO_URL_TEMPLATE",
        httpserver.url_for("").rstrip("/") + "/{repo_id}/resolve/{revision}/{filename}",
    )
    yield seen


def save(mapping: dict[str, Any], folder: Path) -> Path:
    mapping["paths"] = {name: str(folder / name) for name in ("runs", "answers", "cache")}
    path = folder / "recipe.yaml"
    path.write_text(yaml.safe_dump(mapping), "utf-8")
    return path


@pytest.mark.parametrize("command", ["check", "run"])
def test_a_forbidden_teacher_stops_before_any_request(
    world: World, workdir: Path, hub: list[str], command: str
) -> None:
    mapping = world.mapping()
    mapping["ferment"]["teacher"] = {"kind": "local", "model": "hf:LGAI-EXAONE/EXAONE-3.5-2.4B-Instruct@main"}
    outcome = CliRunner().invoke(app, [command, str(save(mapping, workdir))])
    assert isinstance(outcome.exception, StillhouseError)
    assert "forbid" in outcome.exception.problems[0].what and "3.1" in outcome.exception.problems[0].what
    assert hub == []
    # the server does count: a teacher that may be used is asked for
    mapping["ferment"]["teacher"]["model"] = "hf:HuggingFaceTB/SmolLM2-135M-Instruct@main"
    CliRunner().invoke(app, ["run", str(save(mapping, workdir))])
    assert hub != []


def test_the_real_command_exits_with_1_and_names_clause_and_cure(world: World, workdir: Path) -> None:
    mapping = world.mapping()
    mapping["ferment"]["teacher"] = {"kind": "local", "model": "hf:LGAI-EXAONE/EXAONE-3.5-2.4B-Instruct@main"}
    path = save(mapping, workdir)
    for command in ("check", "run", "rights"):
        done = subprocess.run(
            [sys.executable, "-m", "stillhouse.cli", command, str(path)], capture_output=True, text=True, check=False
        )
        assert done.returncode == 1, done.stderr
        said = " ".join((done.stdout + done.stderr).split())
        assert "EXAONE AI Model License" in said and "This is not legal advice" in said
    assert not (workdir / "runs" / "tiny" / "1-raw").exists()


# ---------------------------------------------------------------- duties at the bottling


def distributed(world: World, teacher: dict[str, str], **rights: object) -> dict[str, Any]:
    """The tiny world with this teacher, made for distribution."""
    mapping = world.mapping()
    mapping["rights"] = {"use": "distributed", "commercial": False, **rights}
    mapping["raw"]["sources"][0] |= {"license": "CC-BY-4.0", "attribution": "The Word Collectors"}
    mapping["ferment"]["teacher"] = {"kind": "local", "batch_tokens": 64, **teacher}
    mapping["distill"]["student"]["license"] = "Apache-2.0"
    return mapping


@pytest.fixture(scope="module")
def shipped(world: World, tmp_path_factory: pytest.TempPathFactory) -> Finished:
    """A distributed student of a teacher that asks for every duty."""
    folder = tmp_path_factory.mktemp("shipped")
    (folder / "own.toml").write_text(TERMS, "utf-8")
    (folder / "tiny.txt").write_text(TEXT, "utf-8")
    teacher = {"model": str(world.teacher), "license": "LicenseRef-tiny", "license_file": "tiny.txt"}
    mapping = distributed(world, teacher, terms="own.toml")
    mapping["finish"]["name"] = "Tiny-mood"
    mapping["paths"] = {name: str(folder / name) for name in ("runs", "answers", "cache")}
    return run(parse_recipe(mapping), base=folder)


def test_the_bottle_holds_badge_notice_and_license_copies(shipped: Finished) -> None:
    bottle = shipped.bottle
    assert verify_bottle(bottle) == []
    card, notice = (bottle / "README.md").read_text("utf-8"), (bottle / "NOTICE").read_text("utf-8")
    assert "**Built with Tiny**" in card and card.index("Built with Tiny") < card.index("## Strength")
    assert "Tiny is licensed under the Tiny Community License." in notice
    assert "The Word Collectors" in notice
    assert (bottle / "licenses" / "LicenseRef-tiny-teacher-teacher.txt").read_text("utf-8") == TEXT
    assert "Apache License" in (bottle / "licenses" / "Apache-2.0-base-base.txt").read_text("utf-8")
    assert shipped.label["name"] == "Tiny-mood"


def test_the_label_lists_every_subject_with_documents_and_duties(shipped: Finished) -> None:
    rights = shipped.label["rights"]
    assert {(row["role"], row["name"]) for row in rights["subjects"]} == {
        ("teacher", "teacher"),
        ("base", "base"),
        ("data", "words"),
    }
    for row in rights["subjects"]:
        assert row["license"] not in ("", "not stated", None) and row["verdict"].startswith("allow")
        assert row["documents"] and all(one["read"] and one["trust"] for one in row["documents"])
        assert row["identity"] and row["clause"]
    kinds = {row["kind"] for row in rights["duties"]}
    assert {"name-prefix", "badge", "notice", "license-copy", "use-policy", "attribution"} <= kinds


def edit(name: str, change: Callable[[str], str]) -> Callable[[Path], None]:
    def act(bottle: Path) -> None:
        (bottle / name).write_text(change((bottle / name).read_text("utf-8")), "utf-8")

    return act


TINY_COPY = "licenses/LicenseRef-tiny-teacher-teacher.txt"


def rename_copy(bottle: Path) -> None:
    (bottle / "licenses" / "Apache-2.0-base-base.txt").rename(bottle / "licenses" / "other.txt")


DAMAGE: dict[str, tuple[Callable[[Path], None], str]] = {
    "badge": (edit("README.md", lambda text: text.replace("**Built with Tiny**", "")), "Built with Tiny"),
    "notice": (edit("NOTICE", lambda text: text.replace("Tiny is licensed", "It is licensed")), "NOTICE carries"),
    "license copy": (lambda bottle: (bottle / "licenses" / "Apache-2.0-base-base.txt").unlink(), "copy of Apache-2.0"),
    "empty license copy": (
        edit(TINY_COPY, lambda _: ""),
        "copy of LicenseRef-tiny",
    ),
    "another license copy": (
        edit(TINY_COPY, lambda _: "x"),
        "copy of LicenseRef-tiny",
    ),
    "license copy under another name": (rename_copy, "copy of Apache-2.0"),
    "attribution": (edit("NOTICE", lambda text: text.replace("The Word Collectors", "")), "authors are named"),
    "use policy": (edit("README.md", lambda text: text.replace("tiny/use-policy", "")), "use policy"),
    "name": (
        edit("label.json", lambda text: text.replace('"Tiny-mood"', '"mood"')),
        "begins with “Tiny”",
    ),
}


@pytest.mark.parametrize("what", DAMAGE)
def test_removing_one_afterwards_fails_verify_even_when_the_sums_are_made_anew(
    shipped: Finished, tmp_path: Path, what: str
) -> None:
    bottle = tmp_path / "bottle"
    shutil.copytree(shipped.bottle, bottle)
    damage, says = DAMAGE[what]
    damage(bottle)
    assert any(problem.startswith(("changed", "missing")) for problem in verify_bottle(bottle))
    seal_bottle(bottle)
    (problem,) = verify_bottle(bottle)
    assert problem.startswith("duty not met") and says in problem


def llama_named(world: World, workdir: Path) -> dict[str, str]:
    folder = workdir / "models" / "Llama-3.1-8B-Instruct"
    shutil.copytree(world.teacher, folder)
    return {"model": str(folder)}


def test_duties_struck_from_the_label_are_missed(tmp_path: Path) -> None:
    def label(duties: list[dict[str, Any]], table: str) -> dict[str, Any]:
        subject = {"terms": [{"id": "CC-BY-NC-4.0", "touches": ["data"]}]}
        rights = {"use": "internal", "commercial": False, "terms_table": table, "subjects": [subject], "duties": duties}
        return {"name": "x", "rights": rights}

    digest = Table.load().digest
    (problem,) = check(tmp_path, label([], digest))
    assert problem.startswith("duty not listed") and "non-commercial" in problem
    assert check(tmp_path, label([], "another table")) == []
    row = {"kind": "license-copy", "text": "", "terms": "MIT", "clause": "", "words": "", "file": "/etc/hostname"}
    assert any("not met" in one for one in check(tmp_path, label([{**row, "sha256": ""}], "another table")))


def test_authors_who_must_be_named_and_are_not_refuse_the_bottle(world: World, workdir: Path) -> None:
    mapping = distributed(world, {"model": str(world.teacher), "license": "CC0-1.0"})
    del mapping["raw"]["sources"][0]["attribution"]
    outcome = CliRunner().invoke(app, ["check", str(save(mapping, workdir))])
    assert isinstance(outcome.exception, StillhouseError)
    assert any("authors of words must be named" in problem.what for problem in outcome.exception.problems)


def test_a_license_column_hides_no_license_text_and_names_a_column(world: World, workdir: Path) -> None:
    mapping = world.mapping()
    mapping["raw"]["sources"][0]["columns"]["license"] = "'CC0-1.0'"
    outcome = CliRunner().invoke(app, ["check", str(save(mapping, workdir))])
    assert isinstance(outcome.exception, StillhouseError)
    assert "names no column" in outcome.exception.problems[0].what
    mapping["raw"]["sources"][0]["columns"]["license"] = "tone"
    mapping["raw"]["sources"][0]["license"] = "CC-BY-NC-4.0"
    mapping["rights"]["commercial"] = True
    outcome = CliRunner().invoke(app, ["check", str(save(mapping, workdir))])
    assert isinstance(outcome.exception, StillhouseError) and "forbid" in outcome.exception.problems[0].what


def test_a_trial_judges_what_has_arrived(world: World, workdir: Path, hub: list[str]) -> None:
    # its name says nothing, its files would: the hub has none, so the trial ends there and asks nobody
    mapping = world.mapping()
    mapping["ferment"]["teacher"] = {"kind": "local", "model": "hf:nobody/knows@main"}
    with pytest.raises(StillhouseError):
        hold_trial(parse_recipe(mapping), [Gold("warm", "good")], base=world.folder)
    assert hub != []


@pytest.mark.parametrize(
    ("field", "value", "says"),
    [
        ("covers", ["teecher"], "names teecher"),
        ("regions", ["Germany"], "rights.regions"),
        ("source", "teacher", "that is a role"),
    ],
)
def test_what_is_misspelt_is_refused(world: World, field: str, value: object, says: str) -> None:
    mapping = world.mapping()
    if field == "covers":
        mapping["rights"]["statement"] = {"who": "me", "when": "2026-11-25", "why": "because of this", "covers": value}
    elif field == "regions":
        mapping["rights"]["regions"] = value
    else:
        mapping["raw"]["sources"][0]["name"] = value
    with pytest.raises(StillhouseError) as error:
        parse_recipe(mapping)
    assert says in str(error.value)


def test_without_the_name_prefix_nothing_is_asked_and_nothing_bottled(world: World, workdir: Path) -> None:
    mapping = distributed(world, llama_named(world, workdir))
    path = save(mapping, workdir)
    for command in ("check", "run"):
        outcome = CliRunner().invoke(app, [command, str(path)])
        assert isinstance(outcome.exception, StillhouseError)
        said = [problem for problem in outcome.exception.problems if problem.where == "finish.name"]
        assert said and "must begin with 'Llama'" in said[0].what and "Llama-tiny" in said[0].fix
    assert not (workdir / "runs" / "tiny" / "1-raw").exists()


def test_the_bottling_itself_refuses_what_a_plan_might_not_have_seen(world: World, workdir: Path) -> None:
    mapping = distributed(world, llama_named(world, workdir))
    view = view_rights(parse_recipe(mapping), cache=workdir / "cache", base=workdir)
    bottle = workdir / "bottle"
    bottle.mkdir()
    with pytest.raises(StillhouseError) as error:
        do_duties(bottle, view, name="tiny")
    said = "\n".join(problem.what for problem in error.value.problems)
    assert "must begin with 'Llama'" in said
    assert "a copy of LicenseRef-scancode-llama-3.1-license-2024 must go with the student" in said
    assert list(bottle.iterdir()) == []


# ---------------------------------------------------------------- rows with licenses of their own


def test_rows_without_a_right_go_to_quarantine_and_the_rest_is_joinable(world: World, workdir: Path) -> None:
    licenses = ["CC0-1.0", "CC-BY-4.0", "CC-BY-NC-4.0", "", "made-up-1.0"]
    rows = [json.loads(line) for line in world.data.read_text("utf-8").splitlines()]
    data = workdir / "rows.jsonl"
    marked = [{**row, "terms": licenses[place % 5 if place < 100 else 0]} for place, row in enumerate(rows)]
    data.write_text("".join(json.dumps(row) + "\n" for row in marked), "utf-8")
    mapping = world.mapping()
    source = mapping["raw"]["sources"][0]
    del source["license"]
    source["data"], source["columns"]["license"] = str(data), "terms"
    mapping["rights"] = {"commercial": True}
    mapping["raw"]["split"]["train"] = 60
    mapping["distill"]["train"]["epochs"] = 1
    mapping["paths"] = {name: str(workdir / name) for name in ("runs", "answers", "cache")}
    finished = run(parse_recipe(mapping), base=workdir)
    cuts = pq.read_table(finished.folder / "1-raw" / "cuts.parquet").to_pylist()
    gone = [row for row in cuts if row["reason"] == "no right to use"]
    assert len(gone) == 60 and {row["cut"] for row in gone} == {"head"}
    assert {row["detail"].split(":")[0] for row in gone} == {"forbid", "unknown"}
    label = finished.label["rights"]["subjects"]
    data_row = next(row for row in label if row["role"] == "data")
    assert set(data_row["license"].split(" and ")) == {"CC0-1.0", "CC-BY-4.0"}

    # every document, signal and cut leads to the decision that let it in
    entries = list(Ledger(finished.folder / "ledger.jsonl", "t").entries())
    started = next(entry for entry in entries if entry["event"] == "run-started")
    decisions = {(row["role"], row["name"]): row for row in started["rights"]}
    assert started["terms_table"]
    signals = pq.read_table(finished.folder / "2-ferment" / "signals" / "class_probs.parquet").to_pylist()
    documents = [
        row
        for split in ("train", "validation", "test")
        for row in pq.read_table(finished.folder / "1-raw" / "documents" / f"{split}.parquet").to_pylist()
    ]
    assert {row["id"] for row in signals} == {row["id"] for row in documents}
    for row in signals:
        decision = decisions["teacher", row["teacher"]]
        assert decision["identity"] and decision["verdict"] and decision["documents"][0]["read"]
    sealed = next(entry for entry in entries if entry["event"] == "step-sealed" and entry["step"] == "raw")
    by_license = {(row["source"], row["license"]): row for row in sealed["row_licenses"]}
    for row in documents:
        decision = by_license[row["source"], row["license"]]
        assert decision["verdict"].startswith("allow") and decision["documents"][0]["terms"] == row["license"]
    assert {row["license"] for row in documents} == {"CC0-1.0", "CC-BY-4.0"}
    assert {row["stated"] for row in sealed["row_licenses"]} == {*licenses[:3], None, "made-up-1.0"}

    # the same rows in a run that is not commercial: the non-commercial ones may stay, and the bottle says so
    mapping["rights"] = {"commercial": False}
    again = run(parse_recipe(mapping), base=workdir)
    assert "raw" in again.ran
    gone = [
        row
        for row in pq.read_table(again.folder / "1-raw" / "cuts.parquet").to_pylist()
        if row["reason"] == "no right to use"
    ]
    assert len(gone) == 40
    assert "For non-commercial use only." in (again.bottle / "README.md").read_text("utf-8")

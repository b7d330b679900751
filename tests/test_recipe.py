"""The recipe: lines in errors, overrides, one schema for program and editor, examples that validate."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from stillhouse import cli
from stillhouse.cli import app
from stillhouse.errors import StillhouseError
from stillhouse.recipe import Classification, load_recipe, parse_recipe
from stillhouse.recipe.fields import leaves, values
from stillhouse.store import producer
from tiny_world import World

ROOT = Path(__file__).parents[1]


def test_every_example_recipe_validates() -> None:
    found = sorted((ROOT / "recipes").glob("*.yaml"))
    assert found
    for path in found:
        load_recipe(path)


def test_every_field_is_described_and_in_the_schema() -> None:
    schema = json.dumps(Classification.model_json_schema())
    for leaf in leaves(Classification):
        assert len(leaf.description) > 8, leaf.path
        assert f'"{leaf.path.rpartition(".")[2]}"' in schema


def test_every_value_of_a_filled_recipe_belongs_to_a_declared_field(world: World) -> None:
    import re

    declared = {leaf.path for leaf in leaves(Classification)}
    for path, _, _ in values(world.recipe()):
        star = re.sub(r"\.\d+(?=\.|$)", ".*", path)
        assert star in declared or any(name.startswith(star) for name in declared), path


def test_a_recipe_is_frozen(world: World) -> None:
    with pytest.raises(ValueError, match="frozen"):
        world.recipe().name = "other"  # type: ignore[misc]


def test_the_error_names_the_line(tmp_path: Path) -> None:
    path = tmp_path / "recipe.yaml"
    path.write_text("name: x\nlabels: [a, b]\nraw:\n  sources: []\n  splitt: {}\n", "utf-8")
    with pytest.raises(StillhouseError) as caught:
        load_recipe(path)
    wrong = next(problem for problem in caught.value.problems if "splitt" in problem.what)
    assert f"{path}:5" in wrong.where
    assert "`split`" in wrong.fix


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("a: [1", "YAML"),
        ("a: 1\na: 2\n", "twice"),
        ("- 1\n", "mapping"),
        ("", "mapping"),
        ("a: !!python/none x", "YAML"),
    ],
)
def test_what_is_no_recipe_is_refused(tmp_path: Path, text: str, words: str) -> None:
    path = tmp_path / "recipe.yaml"
    path.write_text(text, "utf-8")
    with pytest.raises(StillhouseError, match=words):
        load_recipe(path)


def test_overrides_change_exactly_what_they_name(world: World) -> None:
    plain = world.mapping()
    changed = parse_recipe(plain, ["distill.train.epochs=7", "raw.sources.0.name=other", "controls={}"])
    assert changed.distill.train.epochs == 7
    assert changed.raw.sources[0].name == "other"
    assert changed.controls is not None
    assert parse_recipe(plain) == world.recipe()


@pytest.mark.parametrize("override", ["nothing", "=1", "raw.sources.4.name=x", "raw.sources.x.name=y", "a=[1"])
def test_broken_overrides_are_refused(world: World, override: str) -> None:
    with pytest.raises(StillhouseError):
        parse_recipe(world.mapping(), [override])


@pytest.mark.parametrize(
    ("override", "what", "where", "fix"),
    [
        ("distill.train.epoch=3", "unknown key `distill.train.epoch`", "--set distill.train.epoch", "`epochs`"),
        ("distil.train.epochs=3", "unknown key `distil`", "--set distil", "`distill`"),
        ("raw.split.test=many", "valid integer", "--set raw.split.test", "raw.split.test"),
        ("ferment.teacher.kind=apii", "no kind 'apii'", "--set ferment.teacher.kind", "local, api"),
        ("distill.student.kind=keep_layers", "no kind 'keep_layers'", "--set distill.student.kind", "keep-layers"),
        ("distill.student={}", "`distill.student.kind` is missing", "--set distill.student.kind", "add `kind`"),
        ("labels=good", "`labels` is a list", "--set labels", "brackets"),
        ("ferment.prompt.question=Text: {text}", "its colon", "--set", 'ferment.prompt.question="Text: {text}"'),
        ("ferment.prompt.question={text}: a: b", "not valid YAML", "--set", "quotation marks"),
    ],
)
def test_a_wrong_override_is_told_with_its_place_and_cure(
    world: World, override: str, what: str, where: str, fix: str
) -> None:
    with pytest.raises(StillhouseError) as caught:
        parse_recipe(world.mapping(), [override], lines={(): 1, ("distill", "train"): 7})
    told = caught.value.problems[0]
    assert what in told.what and told.where.startswith(where) and fix in told.fix, told


def test_labels_that_yaml_reads_otherwise_are_told_once_each_with_the_cure(world: World) -> None:
    mapping = world.mapping() | {"labels": [True, 5]}
    del mapping["ferment"]["prompt"]["examples"]
    with pytest.raises(StillhouseError) as caught:
        parse_recipe(mapping)
    assert [problem.where for problem in caught.value.problems] == ["recipe  labels.0", "recipe  labels.1"]
    assert all("quotation marks" in problem.fix for problem in caught.value.problems)


@pytest.mark.parametrize("section", ["ferment.teacher", "finish.evaluate.judge"])
def test_a_key_in_the_place_of_its_variables_name_is_refused_and_repeated_nowhere(section: str) -> None:
    api = {"kind": "api", "endpoint": "https://x.example/v1", "model": "m", "key": "sk-4f9a-secret"}
    mapping: dict[str, Any] = {"name": "x", "task": "text-generation", "ferment": {"teacher": {"model": "m"}}}
    *parents, last = section.split(".")
    node = mapping
    for name in parents:
        node = node.setdefault(name, {})
    node[last] = api
    with pytest.raises(StillhouseError) as caught:
        parse_recipe(mapping)
    assert any("no name of an environment variable" in problem.what for problem in caught.value.problems)
    assert "secret" not in str(caught.value)


def test_ctrl_c_says_how_to_go_on(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(cli, "_load", interrupted)
    monkeypatch.setattr(sys, "argv", ["stillhouse", "run", "recipe.yaml"])
    with pytest.raises(SystemExit) as caught:
        cli.main()
    assert caught.value.code == cli.INTERRUPTED
    assert "run the same command again" in capsys.readouterr().err


def test_filled_and_given_recipe_are_the_same_recipe(world: World) -> None:
    recipe = world.recipe()
    assert parse_recipe(recipe.model_dump(mode="json")) == recipe


def test_new_writes_a_recipe_that_is_valid_and_never_overwrites(tmp_path: Path) -> None:
    path = tmp_path / "mine.yaml"
    arguments = [
        "new",
        str(path),
        "--data",
        "my data.csv",
        "--labels",
        "yes, no",
        "--teacher",
        "models/x",
        "--base",
        "b",
    ]
    runner = CliRunner()
    assert runner.invoke(app, arguments).exit_code == 0
    assert load_recipe(path).labels == ("yes", "no")
    assert runner.invoke(app, arguments).exit_code != 0


@pytest.mark.parametrize("more", [[], ["--label", "answer", "--text", "messages"]])
def test_new_writes_a_recipe_for_a_model_that_writes(tmp_path: Path, more: list[str]) -> None:
    path = tmp_path / "mine.yaml"
    options = ["--task", "text-generation", "--data", "d.jsonl", "--teacher", "models/x", "--base", "models/x", *more]
    assert CliRunner().invoke(app, ["new", str(path), *options]).exit_code == 0
    recipe = load_recipe(path)
    assert recipe.task == "text-generation"
    assert recipe.raw.sources[0].columns.label == ("answer" if more else None)


@pytest.mark.parametrize("wrong", [["--task", "text-generation", "--labels", "a,b"], [], ["--task", "poetry"]])
def test_new_refuses_labels_that_do_not_fit_the_task(tmp_path: Path, wrong: list[str]) -> None:
    path = tmp_path / "mine.yaml"
    arguments = ["new", str(path), "--data", "d", "--teacher", "t", "--base", "b", *wrong]
    assert isinstance(CliRunner().invoke(app, arguments).exception, StillhouseError)
    assert not path.exists()


def test_every_command_and_option_has_help() -> None:
    runner = CliRunner()
    top = runner.invoke(app, ["--help"]).output
    for command in app.registered_commands:
        name = command.name or command.callback.__name__  # type: ignore[union-attr]
        assert name in top
        assert command.callback.__doc__  # type: ignore[union-attr]
        assert runner.invoke(app, [name, "--help"]).exit_code == 0
    assert runner.invoke(app, ["--version"]).output.strip() == producer()


def test_help_never_imports_torch() -> None:
    code = (
        "import sys; sys.argv = ['stillhouse', '--help']\n"
        "from stillhouse.cli import main\n"
        "try: main()\n"
        "except SystemExit: pass\n"
        "assert not {'torch', 'transformers', 'pyarrow', 'pydantic'} & set(sys.modules)"
    )
    # a hang, not a timing: the timing is in bench/
    subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, timeout=300)


def test_the_schema_command_prints_json() -> None:
    schema = json.loads(CliRunner().invoke(app, ["schema"]).output)
    assert set(schema["discriminator"]["mapping"]) == {"text-classification", "text-generation"}

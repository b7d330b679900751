"""Looking before paying: the preview, the trial, and what is on disk."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from transformers import AutoTokenizer
from typer.testing import CliRunner

from stillhouse import documents
from stillhouse.answers import AnswerStore
from stillhouse.cli import app
from stillhouse.disk import free, holdings, select
from stillhouse.errors import StillhouseError
from stillhouse.execute import run
from stillhouse.forecast import forecast
from stillhouse.ledger import Ledger
from stillhouse.preview import preview
from stillhouse.recipe import parse_recipe
from stillhouse.recipe.bind import prompt_of
from stillhouse.signals import ClassProbs, apply_bias
from stillhouse.store import read_sealed
from stillhouse.trial import (
    Gold,
    Notebook,
    changed,
    documents_for_trial,
    few_shot_variants,
    gold_of_documents,
    gold_of_file,
    hold_trial,
)
from tiny_world import LABELS, World

# ---------------------------------------------------------------- preview


def test_the_preview_shows_what_is_computed_on(world: World, workdir: Path) -> None:
    recipe = world.recipe(**{"distill.train.max_length": 5})
    rows = preview(recipe, base=world.folder, rows=4)
    assert len({row.origin for row in rows}) == 4
    teacher, student = AutoTokenizer.from_pretrained(world.teacher), AutoTokenizer.from_pretrained(world.encoder)
    prompt = prompt_of(recipe.ferment.prompt, recipe.labels)
    texts = {json.loads(line)["text"] for line in world.data.read_text("utf-8").splitlines()}
    rendered = {prompt.render(text): text for text in texts}
    for row in rows:
        text = rendered[row.teacher_text]
        assert list(row.teacher_ids) == teacher(row.teacher_text)["input_ids"]
        assert teacher.decode(row.teacher_ids) == row.teacher_text
        for label in LABELS:
            assert teacher.decode(row.teacher_answers[label]).strip() == label
        whole = student(text)["input_ids"]
        assert row.student_cut_off == (len(whole) > 5) and len(row.student_ids) == min(5, len(whole))
        assert row.student_text == student.decode(row.student_ids, skip_special_tokens=True)
    assert any(row.student_cut_off for row in rows)


def test_the_preview_does_not_depend_on_the_order_of_the_rows(world: World, workdir: Path) -> None:
    lines = world.data.read_text("utf-8").splitlines(keepends=True)
    shuffled = workdir / "shuffled.jsonl"
    shuffled.write_text("".join(reversed(lines)), "utf-8")
    again = world.recipe(**{"raw.sources": [{**world.mapping()["raw"]["sources"][0], "data": str(shuffled)}]})
    seen = [[row.teacher_text for row in preview(one, base=world.folder, rows=5)] for one in (world.recipe(), again)]
    assert seen[0] == seen[1]


def test_the_preview_command(world: World, workdir: Path) -> None:
    path = save(world.mapping(), workdir)
    outcome = CliRunner().invoke(app, ["preview", str(path), "--rows", "2"])
    assert outcome.exit_code == 0, outcome.output
    assert outcome.output.count("the teacher sees") == 2 and "the student sees" in outcome.output


# ---------------------------------------------------------------- forecast


def test_the_forecast_counts_what_the_run_will_ask(world: World, workdir: Path) -> None:
    recipe = world.recipe()
    expected = forecast(recipe, base=world.folder)
    assert expected is not None
    finished = run(recipe, base=world.folder, until="ferment")
    sealed = [e for e in Ledger(finished.folder / "ledger.jsonl", "t").entries() if e["event"] == "step-sealed"]
    ferment = next(entry for entry in sealed if entry["step"] == "ferment")
    asked = read_sealed(finished.folder, "2-ferment")
    assert asked is not None and expected.shared == asked.summary["teachers"][0]["prefix_tokens"]
    assert expected.tokens == pytest.approx(ferment["teachers"][0]["new_tokens"], rel=0.1)
    assert 0 < expected.seconds[0] < expected.seconds[1] and expected.bytes > 0
    outcome = CliRunner().invoke(app, ["check", str(save(world.mapping(), workdir)), "--set", "name=other"])
    assert "tokens after a shared beginning of" in outcome.output


def test_a_split_that_takes_all_rows_is_told_before_anything_runs(world: World, workdir: Path) -> None:
    recipe = world.recipe(**{"raw.split.test": 100_000})
    with pytest.raises(StillhouseError, match="take 100,040 documents, and the sources have"):
        forecast(recipe, base=world.folder)


def test_nothing_is_forecast_of_what_is_not_here(world: World, workdir: Path) -> None:
    recipe = world.recipe(**{"ferment.teacher.model": "hf:HuggingFaceTB/SmolLM2-135M-Instruct@main"})
    assert forecast(recipe, base=world.folder) is None


# ---------------------------------------------------------------- trial


def save(mapping: dict[str, Any], folder: Path) -> Path:
    path = folder / "recipe.yaml"
    path.write_text(yaml.safe_dump(mapping), "utf-8")
    return path


def test_a_trial_says_what_the_run_will_say_and_is_not_paid_twice(world: World, workdir: Path) -> None:
    recipe = world.recipe(**{"ferment.calibration.kind": "none"})
    gold = gold_of_documents(documents_for_trial(recipe, base=world.folder), 60)
    (outcome,) = hold_trial(recipe, gold, base=world.folder)
    assert outcome.n == 60 and outcome.failed == 0
    with AnswerStore(Path(recipe.paths.answers)) as store:
        assert store.count() == 60
    finished = run(recipe, base=world.folder)
    signal = ClassProbs.read(finished.folder / "2-ferment")
    rows = {row["text"]: row["id"] for row in documents.read(finished.folder / "1-raw", "train").to_pylist()}
    probs = signal.probabilities_for([rows[one.text] for one in gold])
    wanted = np.array([LABELS.index(one.label) for one in gold])
    assert outcome.accuracy.value == pytest.approx((probs.argmax(axis=1) == wanted).mean())
    assert outcome.accuracy.lower < outcome.accuracy.value <= outcome.accuracy.upper
    assert outcome.raw_accuracy == outcome.accuracy.value
    assert len(outcome.mistakes) == 60 - round(60 * outcome.accuracy.value)
    assert int(outcome.table.sum()) == 60
    sealed = [e for e in Ledger(finished.folder / "ledger.jsonl", "t").entries() if e["event"] == "step-sealed"]
    ferment = next(entry for entry in sealed if entry["step"] == "ferment")
    assert ferment["teachers"][0]["known_answers"] == 60
    with AnswerStore(Path(recipe.paths.answers)) as store:
        assert store.most_often_paid() == 1
    assert apply_bias(signal.log_probs, np.zeros(2)).shape == signal.probs.shape


def test_no_prompt_is_chosen_by_the_test_split(world: World, workdir: Path) -> None:
    recipe = world.recipe()
    tried = {row["id"] for row in documents_for_trial(recipe, base=world.folder)}
    folder = Path("runs") / "tiny" / "1-raw"
    assert tried == set(documents.read(folder, "train")["id"].to_pylist())
    assert not tried & set(documents.read(folder, "test")["id"].to_pylist())


def test_other_prompts_are_compared_on_the_same_rows(world: World, workdir: Path) -> None:
    recipe = world.recipe()
    gold = gold_of_documents(documents_for_trial(recipe, base=world.folder), 40)
    variants = [
        *few_shot_variants(recipe),
        ("swapped", changed(recipe, ['ferment.prompt.words={"good":"bad","bad":"good"}'])),
    ]
    outcomes = hold_trial(recipe, gold, base=world.folder, variants=variants)
    assert [one.name for one in outcomes] == ["the recipe's prompt", "0 of 2 examples", "1 of 2 examples", "swapped"]
    first, swapped = outcomes[0], outcomes[-1]
    assert first.against is None and all(one.n == 40 for one in outcomes)
    # a prompt with its words exchanged turns right into wrong, and the test sees it
    assert swapped.accuracy.value < first.accuracy.value - 0.4
    assert swapped.against is not None and swapped.against.p_value < 0.001


def test_a_trial_can_only_change_the_prompt(world: World) -> None:
    with pytest.raises(StillhouseError, match="not distill"):
        changed(world.recipe(), ["distill.train.epochs=3"])


def test_labels_typed_at_the_terminal_are_kept_and_gone_on_with(world: World, workdir: Path) -> None:
    path = save(world.mapping(), workdir)
    first = CliRunner().invoke(app, ["trial", str(path), "--rows", "5"], input="1\nx\n2\ns\nq\n")
    notebook = Notebook(Path("runs/tiny/trial.jsonl"), LABELS)
    assert [one.label for one in notebook.read()] == ["bad", "good"]
    assert "type one of them" in first.output and "Trial of the teacher on 2 rows" in first.output
    again = CliRunner().invoke(app, ["trial", str(path), "--rows", "5"], input="good\nbad\n1\n")
    assert len(notebook.read()) == 5 and "Trial of the teacher on 5 rows" in again.output
    assert len({one.text for one in notebook.read()}) == 5


def test_gold_from_a_file(world: World, workdir: Path) -> None:
    file = workdir / "gold.jsonl"
    file.write_text('{"text": "warm fine", "label": "good"}\n{"text": "dull", "label": "bad"}\n', "utf-8")
    assert gold_of_file(file, LABELS) == [Gold("warm fine", "good"), Gold("dull", "bad")]
    outcome = CliRunner().invoke(app, ["trial", str(save(world.mapping(), workdir)), "--gold", str(file)])
    assert outcome.exit_code == 0 and "on 2 rows" in outcome.output
    file.write_text('{"text": "warm fine", "label": "great"}\n', "utf-8")
    with pytest.raises(StillhouseError, match="has 'great'"):
        gold_of_file(file, LABELS)


def test_a_trial_asks_no_teacher_that_may_not_be_asked(world: World, workdir: Path) -> None:
    mapping = world.mapping()
    mapping["ferment"]["teacher"]["license"] = "LicenseRef-scancode-exaone-ai-model-1.1-nc"
    with pytest.raises(StillhouseError, match="forbid"):
        hold_trial(parse_recipe(mapping), [Gold("warm", "good")], base=world.folder)
    assert not Path("answers").exists()


# ---------------------------------------------------------------- disk


def test_what_is_on_disk_adds_up_and_is_freed_by_name_or_kind(world: World, workdir: Path) -> None:
    split = {"test": 20, "validation": 10, "train": 20}
    recipe = world.recipe(
        **{"ferment.teacher.model": str(world.teacher_gguf), "ferment.prompt.examples": [], "raw.split": split}
    )
    run(recipe, base=world.folder, until="ferment")
    (workdir / "cache" / "converted" / "torn.part").mkdir()

    def found() -> dict[str, Any]:
        places = {"runs": Path("runs"), "answers": Path(recipe.paths.answers), "cache": Path("cache")}
        return {one.name: one for one in holdings(**places)}

    before = found()
    kinds = {one.kind for one in before.values()}
    assert kinds == {"run", "answers", "converted", "unfinished"}
    assert "50 answers" in before["answers"].detail
    assert "1-raw, 2-ferment" in before["run/tiny"].detail
    size = sum(path.stat().st_size for path in Path("runs/tiny").rglob("*") if path.is_file())
    assert before["run/tiny"].bytes == size
    for one in select(list(before.values()), ["converted", "unfinished"]):
        free(one)
    assert {one.kind for one in found().values()} == {"run", "answers"}
    with pytest.raises(StillhouseError, match="nothing called gone"):
        select(list(before.values()), ["gone"])

    # what was freed is made again, and what was paid is not paid again
    outcome = run(recipe, base=world.folder, until="ferment")
    assert outcome.ran == ()
    free(found()["run/tiny"])
    run(recipe, base=world.folder, until="ferment")
    with AnswerStore(Path(recipe.paths.answers)) as store:
        assert store.most_often_paid() == 1


def test_the_cache_command_deletes_nothing_without_yes(world: World, workdir: Path) -> None:
    run(world.recipe(), base=world.folder, until="raw")
    listed = CliRunner().invoke(app, ["cache", "--free", "run/tiny"])
    assert "nothing is deleted yet" in listed.output and Path("runs/tiny").exists()
    CliRunner().invoke(app, ["cache", "--free", "run/tiny", "--yes"])
    assert not Path("runs/tiny").exists()

"""Labels are names, everywhere: whatever their order, whatever they look like, one for each text."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from raw_material import distil_nothing, jsonl, mapping, sentence, source
from stillhouse.addresses import resolve
from stillhouse.device import place
from stillhouse.distill.students import keep_layers
from stillhouse.errors import StillhouseError
from stillhouse.ferment import stage_classification
from stillhouse.finish.evaluate import TEACHER, Answers, evaluate, gap_rows
from stillhouse.finish.summary import warnings
from stillhouse.prompts import Prompt
from stillhouse.student import load_classifier, predict_proba, save_student
from stillhouse.teachers import ClassifierTeacher, score_texts
from tiny_world import World

TEXTS = ["warm fine day", "dull film", "a very long book and a grim day"]


def saved(world: World, folder: Path, labels: tuple[str, ...]) -> Path:
    model, words = keep_layers(world.encoder, labels=labels, keep=1, seed=0)
    model.classifier.weight.data *= 20  # fresh heads are all but undecided
    save_student(model, words, folder)
    return folder


def asked(folder: Path, labels: tuple[str, ...], words: dict[str, str]) -> np.ndarray:
    files = resolve(str(folder), cache=folder / "cache", base=folder)
    teacher = ClassifierTeacher.load(files, place("cpu", "float32"))
    prompt = Prompt("{text}", "{label}", words, (), " ", "", False)
    return np.exp(score_texts(teacher, prompt, labels, TEXTS, batch_tokens=64))


@pytest.mark.parametrize("names", [("neg", "neu", "pos"), ("2", "0", "1"), ("true", "false", "null")])
def test_classes_are_found_by_name_in_any_order_and_whatever_the_names_look_like(
    world: World, tmp_path: Path, names: tuple[str, ...]
) -> None:
    folder = saved(world, tmp_path / "teacher", names)
    model, words = load_classifier(folder)
    assert [model.config.id2label[index] for index in range(3)] == list(names)
    assert model.config.label2id == {name: index for index, name in enumerate(names)}
    own = predict_proba(model, words, TEXTS)
    assert np.ptp(own, axis=1).min() > 0.01  # a column in the wrong place would show
    turned = (names[2], names[0], names[1])  # turned back it is another order, where a swap of two is its own
    assert asked(folder, turned, {name: name for name in turned}) == pytest.approx(own[:, [2, 0, 1]], abs=1e-5)
    renamed = {f"label {name}": name for name in turned}
    assert asked(folder, tuple(renamed), renamed) == pytest.approx(own[:, [2, 0, 1]], abs=1e-5)


def test_more_classes_than_labels_are_refused_with_both_lists(world: World, tmp_path: Path) -> None:
    five = saved(world, tmp_path / "five", ("1 star", "2 stars", "3 stars", "4 stars", "5 stars"))
    labels = ("1 star", "3 stars", "5 stars")
    with pytest.raises(StillhouseError) as refused:
        asked(five, labels, {name: name for name in labels})
    words = str(refused.value)
    assert "1 star, 2 stars, 3 stars, 4 stars, 5 stars" in words and "asks for 1 star, 3 stars, 5 stars" in words


@pytest.mark.parametrize("kind", ["multi_label_classification", "regression", "single_label_classification", None])
def test_a_head_that_does_not_choose_one_label_is_refused_before_anything_is_loaded(
    world: World, tmp_path: Path, kind: str | None
) -> None:
    """A sigmoid head's scores (0.9, 0.1, 0.8) are no shares: a softmax would make 0.4, 0.2 and 0.4 of them."""
    folder = saved(world, tmp_path / "teacher", ("bad", "good"))
    config = json.loads((folder / "config.json").read_text("utf-8"))
    (folder / "config.json").write_text(json.dumps({**config, "problem_type": kind}), "utf-8")
    recipe = world.recipe(
        **{
            "ferment.teacher": {"kind": "local", "model": str(folder), "license": "MIT"},
            "ferment.calibration.kind": "none",
        }
    )
    found = stage_classification.check(recipe, tmp_path / "cache", tmp_path)  # type: ignore[arg-type]
    words = {"bad": "bad", "good": "good"}
    if kind not in ("multi_label_classification", "regression"):
        assert found == [] and asked(folder, ("bad", "good"), words).shape == (3, 2)
        return
    (problem,) = found
    assert kind in problem.what and "one label of several" in problem.what
    with pytest.raises(StillhouseError, match=kind):
        asked(folder, ("bad", "good"), words)


@pytest.mark.parametrize(
    ("labels", "values"),
    [(["1", "2"], [1, 2]), (["2", "1"], ["1", "2"]), (["True", "False"], [True, False]), (["b", "a"], ["a", "b"])],
)
def test_labels_of_any_type_in_the_data_are_the_recipes_names(
    tmp_path: Path, labels: list[str], values: list[object]
) -> None:
    rows = [{"text": sentence(9000 + number), "label": values[number % 2]} for number in range(40)]
    recipe = mapping([source(jsonl(tmp_path / "rows.jsonl", rows))], split={"test": 10, "validation": 5})
    recipe["labels"] = labels
    made = distil_nothing(tmp_path / "run", recipe)
    assert Counter(row["label"] for row in made.documents()) == dict.fromkeys(labels, 20)
    assert all(row["label"] == str(values[int(row["origin"].split(":")[1]) % 2 - 1]) for row in made.documents())


def test_a_row_with_several_labels_is_cut_and_never_taught_as_one(tmp_path: Path) -> None:
    rows: list[dict[str, object]] = [
        {"text": sentence(9100 + number), "label": ("good", "bad")[number % 2]} for number in range(40)
    ]
    rows += [{"text": sentence(9200), "label": ["good", "bad"]}, {"text": sentence(9201), "label": ["good"]}]
    path = jsonl(tmp_path / "rows.jsonl", rows)
    made = distil_nothing(tmp_path / "run", mapping([source(path)], split={"test": 10, "validation": 5}))
    cut = made.cut("label not in the list")
    assert len(cut) == 2 and len(made.documents()) == 40
    assert {row["origin"].split(":")[1] for row in cut} == {"41", "42"}


def test_documents_of_one_author_count_together_in_every_interval_of_the_report() -> None:
    random = np.random.default_rng(0)
    author = np.repeat(np.arange(20), 30)
    gold = random.integers(0, 2, 600)
    wrong = np.isin(author, random.choice(20, 6, replace=False)) & (random.random(600) < 0.8)
    artifacts = {TEACHER: Answers(gold), "student": Answers(np.where(wrong, 1 - gold, gold))}
    artifacts["majority"] = Answers(np.zeros(600, dtype=np.int64))
    settings: dict[str, Any] = {"resamples": 300, "seed": 0}
    slices = {"group:part=first": author < 10, "group:part=alone": author == 0}

    def widths(clusters: list[str] | None) -> dict[tuple[str, str], float | None]:
        rows = evaluate(gold, artifacts, labels=("a", "b"), slices=slices, clusters=clusters, **settings)
        rows += gap_rows("student", gold, artifacts, ["majority"], clusters=clusters, **settings)
        mine = [row for row in rows if row.artifact == "student"]
        assert len({(row.metric, row.slice) for row in mine}) == len(mine)
        return {
            (row.metric, row.slice): None if row.lower is None or row.upper is None else row.upper - row.lower
            for row in mine
        }

    alone, together = widths(None), widths([f"author {one}" for one in author])
    assert alone.keys() == together.keys()
    for key, width in together.items():
        if key == ("accuracy", "group:part=alone"):
            assert width is None  # one author says nothing of others
        elif (before := alone[key]) is not None:
            assert width is not None and width > 1.5 * before, key


def test_a_student_that_never_says_a_label_is_warned_of_whatever_its_accuracy() -> None:
    labels = ("common", "rare", "rarest")
    gold = np.repeat([0, 1, 2], [950, 40, 10])
    silent, fair = np.zeros(1000, dtype=np.int64), np.where(np.arange(1000) % 9 == 0, 0, gold)
    summary = {
        "retention": {"non_inferior": True},
        "baselines": {"majority": 0.1},
        "exported": {"accuracy": 0.95},
    }
    for said, wanted in ((silent, ["label=rare", "label=rarest"]), (fair, [])):
        rows = evaluate(
            gold,
            {TEACHER: Answers(gold), "student": Answers(said)},
            labels=labels,
            slices={},
            resamples=200,
            seed=0,
        )
        mine = [row for row in rows if row.artifact == "student"]
        recalls = {row.slice: row.value for row in mine if row.metric == "recall"}
        assert set(recalls) == {f"label={name}" for name in labels}
        assert any(row.metric == "macro_f1" for row in mine)
        found = warnings(summary, unanswered=0, rows=mine)
        assert len(found) == len(wanted) and all(name in " ".join(found) for name in wanted)

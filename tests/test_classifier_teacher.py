"""A sequence classifier as teacher: its classes by name, its answers those of the model itself."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from stillhouse.addresses import resolve
from stillhouse.device import place
from stillhouse.distill.scored import Scored
from stillhouse.distill.scores import teacher_noise
from stillhouse.distill.students import keep_layers
from stillhouse.errors import StillhouseError
from stillhouse.execute import Finished, run
from stillhouse.preview import preview
from stillhouse.prompts import Prompt
from stillhouse.recipe import parse_recipe
from stillhouse.signals import ClassProbs
from stillhouse.student import load_classifier, predict_proba, save_student
from stillhouse.teachers import ClassifierTeacher, is_classifier, score_texts
from stillhouse.use import Tasting
from tiny_world import World


def prompt_with(words: dict[str, str]) -> Prompt:
    return Prompt("{text}", "{label}", words, (), " ", "", False)


@pytest.fixture(scope="module")
def taught(world: World, tmp_path_factory: pytest.TempPathFactory) -> Finished:
    """A student that knows the task, to be the teacher of the next."""
    folder = tmp_path_factory.mktemp("first")
    mapping = world.mapping()
    mapping["paths"] = {name: str(folder / name) for name in ("runs", "answers", "cache")}
    mapping["distill"]["train"]["epochs"] = 3
    return run(parse_recipe(mapping), base=world.folder)


def load(folder: Path, tmp_path: Path) -> ClassifierTeacher:
    files = resolve(str(folder), cache=tmp_path / "cache", base=tmp_path)
    return ClassifierTeacher.load(files, place("cpu", "float32"))


def test_it_answers_what_the_model_answers_for_any_batches(taught: Finished, world: World, tmp_path: Path) -> None:
    student = taught.folder / "3-distill" / "student"
    texts = [f"{'warm ' * (1 + n % 7)}{'dull ' * (n % 3)}day" for n in range(40)]
    model, tokenizer = load_classifier(student)
    oracle = predict_proba(model, tokenizer, texts, batch_size=1)
    teacher = load(student, tmp_path)
    for batch_tokens in (1, 64, 10_000):
        found = score_texts(
            teacher, prompt_with({"bad": "bad", "good": "good"}), ("bad", "good"), texts, batch_tokens=batch_tokens
        )
        assert np.exp(found) == pytest.approx(oracle, abs=1e-5)
    # labels in another order, and under other names, are the same classes
    renamed = prompt_with({"yes": "good", "no": "bad"})
    swapped = score_texts(teacher, renamed, ("yes", "no"), texts, batch_tokens=64)
    assert np.exp(swapped) == pytest.approx(oracle[:, ::-1], abs=1e-5)


def test_classes_that_cannot_be_mapped_by_name_are_refused(world: World, tmp_path: Path) -> None:
    model, tokenizer = keep_layers(world.encoder, labels=("LABEL_0", "LABEL_1", "LABEL_2"), keep=1, seed=0)
    save_student(model, tokenizer, tmp_path / "three")
    teacher = load(tmp_path / "three", tmp_path)
    for words in ({"bad": "LABEL_0", "good": "LABEL_1"}, {"bad": "bad", "good": "good"}):
        with pytest.raises(StillhouseError, match="LABEL_0, LABEL_1, LABEL_2"):
            teacher.questions(["a"], teacher.answers(prompt_with(words), ("bad", "good")))


def test_a_text_that_is_too_long_is_refused_and_not_cut(taught: Finished, tmp_path: Path) -> None:
    teacher = load(taught.folder / "3-distill" / "student", tmp_path)
    questions = teacher.questions(["day", "day " * 5000], ["bad", "good"])
    assert list(questions.refused) == [1] and questions.batches(64) == [[0]]


def test_a_classifier_teaches_a_student_end_to_end(taught: Finished, world: World, workdir: Path) -> None:
    mapping = world.mapping()
    student = taught.folder / "3-distill" / "student"
    assert is_classifier(student) and not is_classifier(world.teacher) and not is_classifier(world.encoder)
    mapping["ferment"] = {
        "teacher": {"kind": "local", "model": str(student), "owner": "these tests"},
        "calibration": {"kind": "none"},
    }
    finished = run(parse_recipe(mapping), base=world.folder)
    summary = finished.evaluation["summary"]
    assert summary["teacher"]["accuracy"] == taught.evaluation["summary"]["student"]["accuracy"]
    assert summary["exported"]["accuracy"] > 0.8
    assert [row.teacher_answers for row in preview(parse_recipe(mapping), base=world.folder, rows=1)] == [{}]


def test_several_teachers_are_heard_and_averaged(taught: Finished, world: World, workdir: Path) -> None:
    mapping = world.mapping()
    student = taught.folder / "3-distill" / "student"
    mapping["ferment"]["teacher"]["name"] = "llama"
    mapping["ferment"]["others"] = [
        {"kind": "local", "name": "classifier", "model": str(student), "owner": "these tests", "batch_tokens": 64}
    ]
    finished = run(parse_recipe(mapping), base=world.folder)
    folder = finished.folder / "2-ferment"
    both = ClassProbs.read(folder)
    alone = [ClassProbs.read(folder, name) for name in ("llama", "classifier")]
    ids = list(both.ids)
    mean = np.mean([one.probabilities_for(ids) for one in alone], axis=0)
    assert both.probs == pytest.approx(mean) and both.probs.sum(axis=1) == pytest.approx(1.0)
    assert set(both.teachers) == {"llama+classifier"} and set(alone[0].teachers) == {"llama"}
    scored = Scored.read(finished.folder / "3-scores")
    own = np.stack([one.probabilities_for(scored.ids) for one in alone])
    assert scored.columns["teacher-noise"] == pytest.approx(teacher_noise(own))
    label = finished.label
    assert [one["name"] for one in label["teachers"]] == ["llama", "classifier"]
    assert {("teacher", "llama"), ("teacher", "classifier")} <= {
        (row["role"], row["name"]) for row in label["rights"]["subjects"]
    }
    assert finished.evaluation["summary"]["size"]["teacher_bytes"] > sum(
        path.stat().st_size for path in student.iterdir() if path.suffix == ".safetensors"
    )
    said = Tasting.open(finished.folder).ask("warm fine day")
    assert set(said) == {"teacher", "student"} and said["teacher"][0] == "good"


def test_teachers_need_names_of_their_own(world: World) -> None:
    mapping = world.mapping()
    mapping["ferment"]["others"] = [mapping["ferment"]["teacher"]]
    with pytest.raises(StillhouseError, match="need a `name` each"):
        parse_recipe(mapping)

"""Compression is decided by what it does to answers: an outlier channel is caught, a mixed file holds, no NaN ships."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from transformers import AutoConfig, AutoModelForSequenceClassification

import tiny_models
from stillhouse import documents, student
from stillhouse.distill.students import keep_layers
from stillhouse.distill.train import train
from stillhouse.errors import StillhouseError
from stillhouse.finish.export import gate
from stillhouse.finish.export.gate import Exported, export_student, timed
from stillhouse.finish.export.lengths import compare_at_lengths, problems_of
from stillhouse.finish.export.onnx import OnnxClassifier, export_classifier, parity
from stillhouse.finish.export.quantize import layers_of, quantize, quantize_rows, quantize_weight
from stillhouse.finish.export.sensitive import choose_in_float, errors_in_8_bits

LABELS = ("zebra", "apple", "mango")  # in no order of the alphabet
LONGEST = 32
OUTLIER = "bert.pooler.dense"
ALLOWED = 0.3  # labels of random weights are so close that 8 bits alone change one in seven


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A classifier with random weights that gives every label."""
    words = tiny_models.tokenizer()
    names = {"id2label": dict(enumerate(LABELS)), "label2id": {name: place for place, name in enumerate(LABELS)}}
    size = {"hidden_size": 32, "num_attention_heads": 2, "intermediate_size": 48, "num_hidden_layers": 2}
    config = AutoConfig.for_model("bert", vocab_size=len(words), max_position_embeddings=40, **size, **names)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model = AutoModelForSequenceClassification.from_config(config).eval()
        for parameter in model.parameters():
            parameter.data += 0.2 * torch.randn_like(parameter)
    with torch.no_grad():
        logits = model(**words(texts(200), padding=True, return_tensors="pt")).logits
        model.classifier.bias -= logits.median(dim=0).values
    folder = tmp_path_factory.mktemp("plain") / "student"
    student.save_student(model, words, folder)
    return folder


@pytest.fixture(scope="module")
def taught(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A student that was trained on three labels, as stage 3 trains it."""
    folder = tmp_path_factory.mktemp("taught")
    model, words = keep_layers(tiny_models.encoder(folder / "base"), labels=LABELS, keep=2, seed=1)
    some, gold = rows(400, seed=1)
    train(
        model,
        words,
        texts=some[80:],
        target_probs=np.eye(3)[gold[80:]] * 0.85 + 0.05,
        validation_texts=some[:80],
        validation_probs=np.eye(3)[gold[:80]] * 0.85 + 0.05,
        output=folder,
        epochs=4,
        batch_size=16,
        learning_rate=1e-2,
        warmup_share=0.1,
        weight_decay=0.0,
        temperature=1.0,
        hard_weight=0.0,
        hard_labels=None,
        max_length=LONGEST,
        seed=0,
        evaluations=2,
        save_checkpoints=False,
        threads=1,
    )
    student.save_student(model, words, folder / "student")
    return folder / "student"


@pytest.fixture(scope="module")
def loud(plain: Path) -> Path:
    """The same with one channel a hundred times as loud, and its readers a hundred times as deaf."""
    model, words = student.load_classifier(plain)
    encoded = words(texts(32), padding=True, return_tensors="pt")
    with torch.no_grad():
        channel = int(model.bert(**encoded).last_hidden_state[:, 0].abs().mean(0).argmax())
        norm = model.bert.encoder.layer[-1].output.LayerNorm
        norm.weight[channel] *= 100
        norm.bias[channel] *= 100
        model.bert.pooler.dense.weight[:, channel] /= 100
    folder = plain.parent / "loud"
    student.save_student(model, words, folder)
    return folder


@pytest.fixture(scope="module")
def raw(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Stage 1's folder, as far as the gate reads it."""
    folder = tmp_path_factory.mktemp("raw")
    (folder / "documents").mkdir()
    everything = texts(700, seed=5)
    for split, part in (("validation", everything[:100]), ("train", everything[100:])):
        version = {"stillhouse.documents": documents.SCHEMA_VERSION}
        table = pa.table({"text": part}).replace_schema_metadata(version)
        pq.write_table(table, folder / "documents" / f"{split}.parquet")
    return folder


@pytest.fixture(scope="module")
def of_plain(plain: Path, raw: Path, tmp_path_factory: pytest.TempPathFactory) -> Exported:
    return exported(plain, raw, tmp_path_factory.mktemp("onnx"))


@pytest.fixture(scope="module")
def of_loud(loud: Path, raw: Path, tmp_path_factory: pytest.TempPathFactory) -> Exported:
    return exported(loud, raw, tmp_path_factory.mktemp("onnx"))


def rows(number: int, seed: int) -> tuple[list[str], npt.NDArray[np.int64]]:
    """Different texts, and the place of their label in LABELS: good words, bad words, or neither."""
    random = np.random.default_rng(seed)
    gold = random.integers(3, size=number)
    telling = (tiny_models.GOOD, tiny_models.BAD, tiny_models.PLAIN)
    made = [
        " ".join([*random.choice(tiny_models.PLAIN, size=4), *random.choice(telling[label], size=3), str(index)])
        for index, label in enumerate(gold)
    ]
    return made, gold


def texts(number: int, seed: int = 3) -> list[str]:
    return rows(number, seed)[0]


def exported(folder: Path, raw: Path, output: Path, max_disagreement: float | None = ALLOWED) -> Exported:
    return export_student(
        folder, output, texts(60), raw=raw, max_length=LONGEST, threads=1, max_disagreement=max_disagreement
    )


def opener(folder: Path) -> Callable[[Path], OnnxClassifier]:
    return lambda file: OnnxClassifier(file, folder, max_length=LONGEST, threads=1)


# --- the gate


def test_an_outlier_that_is_undone_changes_no_answer_in_float(of_plain: Exported, of_loud: Exported) -> None:
    for name in ("student", "onnx-fp32"):
        one, other = of_plain.answers[name].probs, of_loud.answers[name].probs
        assert one is not None
        assert other is not None
        assert np.abs(one - other).max() < 1e-5


def test_int8_ships_where_it_keeps_the_labels(of_plain: Exported) -> None:
    assert of_plain.shipped == "onnx-int8"
    assert [one.name for one in of_plain.artifacts] == ["student", "onnx-fp32", "onnx-int8"]
    assert all(one.passed for one in of_plain.artifacts)


def test_with_an_outlier_int8_is_refused_and_a_mixed_file_passes(of_loud: Exported, of_plain: Exported) -> None:
    int8, mixed, fp32 = (of_loud.artifact(name) for name in ("onnx-int8", "onnx-mixed", "onnx-fp32"))
    assert not int8.passed
    assert "int8 differs from fp32" in of_loud.reason
    assert of_loud.shipped == "onnx-mixed"
    assert mixed.passed
    assert mixed.in_float[0] == OUTLIER
    assert len(mixed.in_float) <= 2  # of 17
    assert mixed.parity is not None
    assert 1 - mixed.parity.agreement <= ALLOWED
    assert int8.bytes < mixed.bytes < fp32.bytes
    assert of_loud.files["onnx-mixed"].name == "model_mixed.onnx"
    assert of_loud.parity is not None
    assert of_loud.parity.status == "passed"


def test_float32_ships_where_nothing_else_holds_or_is_wanted(
    of_loud: Exported, loud: Path, raw: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = of_loud.files["onnx-fp32"]  # exporting again gives the same bytes, slowly
    monkeypatch.setattr(gate, "export_classifier", lambda student, file, max_length: shutil.copyfile(made, file))
    strict = exported(loud, raw, tmp_path / "strict", max_disagreement=0.0)
    off = exported(loud, raw, tmp_path / "off", max_disagreement=None)
    assert off.shipped == "onnx-fp32"
    assert off.parity is None
    assert [one.name for one in off.artifacts] == ["student", "onnx-fp32"]
    assert not strict.artifact("onnx-int8").passed
    assert strict.shipped == "onnx-fp32"
    # it differs on no text, and that none ever differs is what no number of texts can show
    assert strict.parity is not None and strict.parity.status == "not certified" and "none ever" in strict.parity.advice
    measured = strict.artifact(strict.shipped).parity
    assert measured is not None and f"of {measured.n} texts" in strict.parity.words


def test_texts_that_chose_the_layers_do_not_judge_them(raw: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for most_judging, most_choosing in ((2000, 400), (50, 30), (650, 400)):
        monkeypatch.setattr(gate, "GATE_TEXTS", most_judging)
        monkeypatch.setattr(gate, "CHOOSING_TEXTS", most_choosing)
        judging, choosing = gate._gate_texts(raw)
        assert judging
        assert choosing
        assert not set(judging) & set(choosing)
        everything = [
            text for split in ("validation", "train") for text in documents.read(raw, split)["text"].to_pylist()
        ]
        assert {*judging, *choosing} <= set(everything)


def test_every_artifact_has_size_speed_and_agreement(of_loud: Exported, loud: Path) -> None:
    found = timed(of_loud, loud, texts(20), max_length=LONGEST, threads=1, batch_texts=10, single_texts=2)
    rows = {one.name: one.row() for one in found.artifacts}
    assert list(rows) == ["student", "onnx-fp32", "onnx-int8", "onnx-mixed"]
    for name, row in rows.items():
        assert row["bytes"] > 0
        assert row["speed"]["batch_per_s"] > 0
        assert (row["parity"] is None) == (name == "student")
        assert all("/" not in file for file in row["files"])
    assert "speed" not in of_loud.gate["artifacts"][0]


# --- the layers that stay in float


def test_the_deaf_layer_is_the_worst_and_is_left_in_float(
    of_plain: Exported, plain: Path, of_loud: Exported, loud: Path
) -> None:
    ranked = dict(errors_in_8_bits(of_loud.files["onnx-fp32"], opener(loud)(of_loud.files["onnx-fp32"]), texts(16)))
    before = dict(errors_in_8_bits(of_plain.files["onnx-fp32"], opener(plain)(of_plain.files["onnx-fp32"]), texts(16)))
    assert next(iter(ranked)) == OUTLIER
    assert ranked[OUTLIER] > 10 * before[OUTLIER]
    for name in set(before) - {OUTLIER}:  # the others see no difference
        assert ranked[name] == pytest.approx(before[name], rel=1e-2)


def test_leaving_all_layers_in_float_changes_nothing(of_loud: Exported, loud: Path, tmp_path: Path) -> None:
    fp32 = of_loud.files["onnx-fp32"]
    quantize(fp32, tmp_path / "all.onnx", in_float=layers_of(fp32))
    same = parity(
        opener(loud)(fp32).predict_proba(texts(50)), opener(loud)(tmp_path / "all.onnx").predict_proba(texts(50))
    )
    assert same.max_abs == 0
    with pytest.raises(StillhouseError, match="no layer named"):
        quantize(fp32, tmp_path / "none.onnx", in_float=["bert.poolers"])


def test_where_no_choice_holds_none_is_made(of_loud: Exported, loud: Path) -> None:
    fp32 = of_loud.files["onnx-fp32"]
    chosen = choose_in_float(fp32, opener(loud), texts(50), max_disagreement=-1)
    assert chosen.in_float == ()
    assert chosen.trials == 4  # 1, 2, 4 and 8 of 17 layers
    assert len(layers_of(fp32)) == 17


def test_quantized_values_lie_within_half_a_step() -> None:
    values = np.random.default_rng(0).normal(size=(7, 11)).astype(np.float32)
    values[3] = 0
    for found, scale in (quantize_weight(values), quantize_rows(values)):
        assert np.all(np.abs(found * scale - values) <= scale / 2 * 1.0001)
        assert not found[3].any()
    assert np.abs(quantize_weight(values)[0].astype(int)).max() == 64
    assert np.abs(quantize_rows(values)[0].astype(int)).max() == 127


# --- lengths


def test_lengths_are_compared_short_long_and_padded(of_plain: Exported, plain: Path) -> None:
    classifier = opener(plain)(of_plain.files["onnx-fp32"])
    found = compare_at_lengths(classifier, classifier.logits, ["a fine film"], max_length=LONGEST)
    assert [one.length for one in found] == [8, LONGEST]
    assert all((one.max_abs, one.other_labels, one.finite) == (0.0, 0, True) for one in found)
    assert problems_of(found, tolerance=1e-5) == []
    assert {one.length for one in of_plain.artifact("onnx-int8").lengths} == {8, LONGEST}


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_a_number_that_is_none_at_long_inputs_alone_is_a_failure(of_plain: Exported, plain: Path, value: float) -> None:
    classifier = opener(plain)(of_plain.files["onnx-fp32"])
    sound = classifier.logits

    def broken(ids: npt.NDArray[np.int64], mask: npt.NDArray[np.int64]) -> npt.NDArray[np.float32]:
        logits = sound(ids, mask).copy()
        if ids.shape[1] > 20:
            logits[0, 1] = value
        return logits

    classifier.logits = broken  # type: ignore[method-assign]
    found = compare_at_lengths(classifier, sound, [], max_length=LONGEST)
    assert problems_of(found) == [f"NaN or infinity at {LONGEST} tokens"]


# --- the order of labels


def test_a_row_has_the_same_name_from_training_to_every_file(taught: Path, tmp_path: Path) -> None:
    fp32, int8 = tmp_path / "m.onnx", tmp_path / "m8.onnx"
    export_classifier(taught, fp32, max_length=LONGEST)
    quantize(fp32, int8)
    model, words = student.load_classifier(taught)
    named = [model.config.id2label[index] for index in range(3)]
    assert named == list(LABELS)
    some, gold = rows(60, seed=9)
    for found in (
        student.predict_proba(model, words, some, max_length=LONGEST),
        opener(taught)(fp32).predict_proba(some),
        opener(taught)(int8).predict_proba(some),
    ):
        # it was taught; any other order would be right on a third
        said = [named[place] for place in found.argmax(axis=1)]
        assert np.mean([one == LABELS[place] for one, place in zip(said, gold, strict=True)]) > 0.9

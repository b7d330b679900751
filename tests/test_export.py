"""The exported classifier answers like the student it was made of, on any processor, in the same bytes each time."""

from __future__ import annotations

import logging
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import onnx
import onnxruntime
import pytest
import torch
from onnx.reference import ReferenceEvaluator
from transformers import AutoConfig, AutoModelForSequenceClassification

import tiny_models
from stillhouse import student
from stillhouse.errors import StillhouseError
from stillhouse.finish.export import graph as written
from stillhouse.finish.export import onnx as export
from stillhouse.finish.export.onnx import OnnxClassifier, export_classifier, parity
from stillhouse.finish.export.quantize import quantize
from stillhouse.finish.speed import measure

LONGEST = 20
TEXTS = [
    "fine",
    "the film was very long and the book is dull a grim day",
    "warm and lovely " * 30,
    "",
    "  ",
    "größe café naïve",
    "🙂 the 👩‍👩‍👧 film",
    "a great book",
    "\u0000 \u200b \ufeff poor",
    "cold " * 200,
]


@dataclass(frozen=True)
class Exported:
    folder: Path
    fp32: Path
    int8: Path

    def classifier(self, name: str) -> OnnxClassifier:
        return OnnxClassifier(getattr(self, name), self.folder, max_length=LONGEST, threads=1)

    def torch_logits(self, texts: Sequence[str]) -> npt.NDArray[np.float32]:
        """One text at a time, so that no padding is involved."""
        model, tokenizer = student.load_classifier(self.folder)
        rows = []
        for text in texts:
            encoded = tokenizer([text], truncation=True, max_length=LONGEST, return_tensors="pt")
            with torch.no_grad():
                rows.append(model(**encoded).logits[0].numpy())
        return np.stack(rows)

    def tensors(self, texts: Sequence[str]) -> dict[str, npt.NDArray[np.int64]]:
        """Padded inputs of the graph."""
        _, tokenizer = student.load_classifier(self.folder)
        encoded = tokenizer(list(texts), truncation=True, padding=True, max_length=LONGEST, return_tensors="np")
        return {name: encoded[name].astype(np.int64) for name in ("input_ids", "attention_mask")}


def classifier_folder(folder: Path, kind: str) -> Path:
    words = tiny_models.tokenizer()
    size = {"hidden_size": 16, "num_attention_heads": 2, "intermediate_size": 24, "num_hidden_layers": 2}
    special = {"pad_token_id": 0, "bos_token_id": 2, "cls_token_id": 2, "eos_token_id": 3, "sep_token_id": 3}
    config = AutoConfig.for_model(
        kind, vocab_size=len(words), max_position_embeddings=40, num_labels=3, **size, **special
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(1)
        model = AutoModelForSequenceClassification.from_config(config)
        for parameter in model.parameters():  # fresh biases are all zero, so a mix-up would go unseen
            parameter.data += 0.2 * torch.randn_like(parameter)
    student.save_student(model, words, folder)
    return folder


def make(folder: Path, kind: str) -> Exported:
    made = Exported(classifier_folder(folder / "student", kind), folder / "out" / "m.onnx", folder / "out" / "m8.onnx")
    export_classifier(made.folder, made.fp32, max_length=LONGEST)
    quantize(made.fp32, made.int8)
    return made


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory) -> Exported:
    return make(tmp_path_factory.mktemp("bert"), "bert")


def softmax(logits: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    weights = np.exp(logits - logits.max(axis=1, keepdims=True))
    return np.asarray(weights / weights.sum(axis=1, keepdims=True), dtype=np.float32)


# --- the float file


def test_logits_equal_those_of_torch_whatever_the_text_and_the_padding(exported: Exported) -> None:
    session = onnxruntime.InferenceSession(str(exported.fp32), providers=["CPUExecutionProvider"])
    (found,) = session.run(["logits"], exported.tensors(TEXTS))
    assert np.abs(found - exported.torch_logits(TEXTS)).max() < 1e-4


def test_weights_too_large_for_one_file_lie_beside_it_and_shared_ones_lie_there_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(written, "ONE_FILE", 0)
    made = make(tmp_path, "albert")  # all its layers share their weights
    assert sorted(path.name for path in made.fp32.parent.iterdir()) == [
        "m.onnx",
        "m.onnx_data",
        "m8.onnx",
        "m8.onnx_data",
    ]
    weights = [tensor.raw_data for tensor in onnx.load(made.fp32).graph.initializer if len(tensor.raw_data) > 8]
    assert weights
    assert len(set(weights)) == len(weights)
    expected = softmax(made.torch_logits(TEXTS))
    assert np.abs(made.classifier("fp32").predict_proba(TEXTS) - expected).max() < 1e-4
    assert np.abs(made.classifier("int8").predict_proba(TEXTS) - expected).max() < 0.1


def test_the_graph_is_free_in_both_axes_and_needs_no_token_types(exported: Exported) -> None:
    graph = onnx.load(exported.fp32).graph
    shapes = {
        value.name: [axis.dim_param or axis.dim_value for axis in value.type.tensor_type.shape.dim]
        for value in (*graph.input, *graph.output)
    }
    axes = ["batch", "sequence"]
    assert shapes == {"input_ids": axes, "attention_mask": axes, "logits": ["batch", 3]}
    assert {value.type.tensor_type.elem_type for value in graph.input} == {onnx.TensorProto.INT64}
    assert sorted(path.name for path in exported.fp32.parent.iterdir()) == ["m.onnx", "m8.onnx"]


def test_only_the_first_token_goes_through_the_last_feed_forward_block(exported: Exported) -> None:
    graph = onnx.shape_inference.infer_shapes(onnx.load(exported.fp32), strict_mode=True).graph
    rank = {value.name: len(value.type.tensor_type.shape.dim) for value in graph.value_info}
    assert [rank[node.output[0]] for node in graph.node if node.op_type == "Gelu"] == [3, 2]


def test_exporting_twice_gives_the_same_bytes_quietly_and_without_paths(
    exported: Exported, tmp_path: Path, capfd: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    export_classifier(exported.folder, tmp_path / "again.onnx", max_length=LONGEST)
    quantize(tmp_path / "again.onnx", tmp_path / "again8.onnx")
    for again, first in (("again.onnx", exported.fp32), ("again8.onnx", exported.int8)):
        assert (tmp_path / again).read_bytes() == first.read_bytes()
    assert capfd.readouterr() == ("", "")
    assert not [record for record in caplog.records if record.levelno >= logging.INFO]
    for place in (b".py", str(exported.folder).encode(), str(Path(export.__file__).parents[3]).encode()):
        assert place not in exported.fp32.read_bytes() + exported.int8.read_bytes()


def test_what_the_model_cannot_do_is_said_before_the_export(exported: Exported, tmp_path: Path) -> None:
    with pytest.raises(StillhouseError, match="takes 40 tokens, not 41"):
        export_classifier(exported.folder, tmp_path / "m.onnx", max_length=41)
    with pytest.raises(StillhouseError, match=r"config\.json is missing"):
        export_classifier(tmp_path, tmp_path / "m.onnx", max_length=8)


# --- the 8-bit file


def test_int8_agrees_with_fp32_and_is_smaller(exported: Exported) -> None:
    texts, _ = tiny_models.task(300, seed=3)
    found = parity(exported.classifier("fp32").predict_proba(texts), exported.classifier("int8").predict_proba(texts))
    assert found.agreement >= 0.97
    assert found.mean_kl < 0.01
    weights = {
        name: sum(len(tensor.raw_data) for tensor in onnx.load(getattr(exported, name)).graph.initializer)
        for name in ("fp32", "int8")
    }
    assert weights["int8"] < 0.5 * weights["fp32"]  # a quarter, but for biases and norms, which are large here


def test_int8_sums_cannot_saturate_and_equal_exact_arithmetic(exported: Exported) -> None:
    model = onnx.load(exported.int8)
    stored = {tensor.name: tensor for tensor in model.graph.initializer}
    products = [node for node in model.graph.node if node.op_type == "MatMulInteger"]
    assert len(products) == 2 * 6 + 2  # all linear layers, the pooler and the head
    assert not [node for node in model.graph.node if node.op_type == "Gemm"]
    assert {node.domain for node in model.graph.node} == {""}  # no operator of onnxruntime's own
    for node in products:
        weights = onnx.numpy_helper.to_array(stored[node.input[1]])
        assert weights.dtype == np.int8
        # instructions of old add two products of an unsigned and a signed byte in 16 bits
        assert 2 * 255 * np.abs(weights.astype(int)).max() <= np.iinfo(np.int16).max
    inputs = exported.tensors(TEXTS)
    session = onnxruntime.InferenceSession(str(exported.int8), providers=["CPUExecutionProvider"])
    (found,) = session.run(["logits"], inputs)
    (exact,) = ReferenceEvaluator(model).run(["logits"], inputs)
    np.testing.assert_allclose(found, exact, atol=0.02)


# --- the class that runs them


@pytest.mark.parametrize("name", ["fp32", "int8"])
def test_batch_mates_and_order_do_not_change_an_answer(exported: Exported, name: str) -> None:
    """Nor in 8 bits, where each token has a scale of its own."""
    tolerance = 1e-5
    classifier = exported.classifier(name)
    together = classifier.predict_proba(TEXTS)
    alone = np.concatenate([classifier.predict_proba([text]) for text in TEXTS])
    assert np.abs(together - alone).max() < tolerance
    assert np.abs(classifier.predict_proba(TEXTS, batch_size=3) - alone).max() < tolerance
    order = np.random.default_rng(0).permutation(len(TEXTS))
    assert np.abs(classifier.predict_proba([TEXTS[row] for row in order]) - together[order]).max() < tolerance
    assert np.array_equal(classifier.predict_proba(TEXTS), together)


def test_answers_equal_those_of_the_student(exported: Exported) -> None:
    expected = student.predict_proba(*student.load_classifier(exported.folder), TEXTS, max_length=LONGEST)
    found = exported.classifier("fp32").predict_proba(TEXTS)
    assert found.dtype == np.float32
    assert np.abs(found - expected).max() < 1e-5
    np.testing.assert_allclose(found.sum(axis=1), 1.0, atol=1e-6)
    assert exported.classifier("fp32").predict_proba([]).shape == (0, 3)


def test_no_torch_is_needed_to_answer(exported: Exported) -> None:
    code = (
        "import sys; from pathlib import Path; from stillhouse.finish.export.onnx import OnnxClassifier; "
        "OnnxClassifier(Path(sys.argv[1]), Path(sys.argv[2]), max_length=20, threads=1).predict_proba(['fine']); "
        "assert not {'torch', 'transformers', 'onnx'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code, exported.int8, exported.folder], check=True)


def test_a_torn_model_or_a_missing_tokenizer_is_told(exported: Exported, tmp_path: Path) -> None:
    torn = tmp_path / "torn.onnx"
    torn.write_bytes(exported.fp32.read_bytes()[:5000])
    for file, folder in ((torn, exported.folder), (exported.fp32, tmp_path), (tmp_path / "none", exported.folder)):
        with pytest.raises(StillhouseError, match="cannot be opened") as caught:
            OnnxClassifier(file, folder, max_length=LONGEST, threads=1)
        assert caught.value.problems[0].where == str(file)


# --- comparing and timing


def test_parity_worked_out_by_hand() -> None:
    found = parity([[0.5, 0.5], [0.75, 0.25]], [[0.5, 0.5], [0.25, 0.75]])
    assert (found.agreement, found.max_abs, found.n) == (0.5, 0.5, 2)
    assert found.mean_kl == pytest.approx(0.25 * np.log(3))  # (3/4 ln 3 − 1/4 ln 3) / 2


def test_whatever_equals_the_reference_is_at_no_distance_even_when_sure() -> None:
    sure = np.array([[1.0, 0.0], [0.2, 0.8]])
    found = parity(sure, sure)
    assert (found.agreement, found.mean_kl, found.max_abs) == (1.0, 0.0, 0.0)
    for other in (sure[:1], sure[0], np.empty((0, 2))):
        with pytest.raises(StillhouseError, match="nothing to compare"):
            parity(np.empty((0, 2)) if not len(other) else sure, other)


def test_speed_counts_the_texts_and_the_time_that_was_spent(monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[int] = []
    # a call takes a fiftieth of a second, whatever it is given; one of each kind is held up for a whole minute
    monkeypatch.setattr(time, "perf_counter", lambda: 0.02 * len(calls) + 60 * (len(calls) > 2) + 60 * (len(calls) > 6))
    speed = measure(lambda texts: calls.append(len(texts)), ["a"] * 50, batch_texts=40, single_texts=2, repeats=3)
    assert calls == [5, 40, 40, 40, *[1] * 6]
    assert speed.single_per_s == pytest.approx(50)
    assert speed.batch_per_s == pytest.approx(2000)
    assert speed.n == 40
    assert measure(len, ["a"] * 3, batch_texts=40, single_texts=2, repeats=1).n == 3
    with pytest.raises(StillhouseError, match="no text"):
        measure(len, [], batch_texts=40, single_texts=2)

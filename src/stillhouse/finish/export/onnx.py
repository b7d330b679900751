"""ONNX export of a sequence classifier, its 8-bit version, and the class that runs both in onnxruntime.

export_classifier(Path("student"), Path("model.onnx"), max_length=128)
quantize_int8(Path("model.onnx"), Path("model_int8.onnx"))
classifier = OnnxClassifier(Path("model_int8.onnx"), Path("student"), max_length=128, threads=None)
classifier.predict_proba(["a fine film"])        # (1, K)
"""

from __future__ import annotations

import logging
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from stillhouse.errors import StillhouseError
from stillhouse.student import load_classifier

Floats = npt.NDArray[np.float32]
_FLOAT = 1  # onnx.TensorProto.FLOAT, for nodes whose type inference gives up


@dataclass(frozen=True)
class Parity:
    """How far a candidate's answers lie from a reference's, over n texts."""

    agreement: float
    mean_kl: float
    max_abs: float
    n: int


def export_classifier(model_folder: Path, output: Path, *, max_length: int) -> None:
    """Write a classifier folder as one float32 ONNX file.

    Inputs ``input_ids`` and ``attention_mask``, int64 (batch, sequence), both axes free; output ``logits``
    (batch, K). A model's ``token_type_ids`` are left at zero inside the graph, as for a single text.
    """
    import torch

    model, tokenizer = load_classifier(model_folder)
    model.set_attn_implementation("eager")

    class Logits(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.model = model

        def forward(self, input_ids: torch.Tensor, attention_mask: torch.Tensor) -> torch.Tensor:
            logits: torch.Tensor = self.model(input_ids=input_ids, attention_mask=attention_mask).logits
            return logits

    encoded = tokenizer(["one text", "another, longer text"], padding=True, return_tensors="pt")
    free = {0: torch.export.Dim.DYNAMIC, 1: torch.export.Dim.DYNAMIC}
    output.parent.mkdir(parents=True, exist_ok=True)
    with _quiet():
        program = torch.onnx.export(
            Logits().eval(),
            (encoded["input_ids"], encoded["attention_mask"]),
            dynamo=True,
            verbose=False,
            input_names=["input_ids", "attention_mask"],
            output_names=["logits"],
            dynamic_shapes={"input_ids": free, "attention_mask": free},
        )
        assert program is not None  # noqa: S101 - None only when a file name is given
        program.save(str(output), external_data=False)


def quantize_int8(fp32: Path, output: Path) -> None:
    """Write a version with 8-bit weights, one scale per output channel, activations scaled as they come.

    Weights take 7 of their 8 bits (``reduce_range``): without VNNI instructions a processor adds two products of full
    range in 16 bits and saturates, and the artifact would then answer differently there.
    """
    from onnxruntime.quantization import QuantType, quantize_dynamic

    with _quiet():
        quantize_dynamic(
            fp32,
            output,
            per_channel=True,
            reduce_range=True,
            weight_type=QuantType.QInt8,
            extra_options={"DefaultTensorType": _FLOAT},
        )


def parity(reference: npt.ArrayLike, candidate: npt.ArrayLike) -> Parity:
    """Compare probabilities (N, K) of a candidate with a reference's; the KL, in nats, is from the reference."""
    first, second = np.asarray(reference, dtype=np.float64), np.asarray(candidate, dtype=np.float64)
    tiny = np.finfo(np.float64).tiny
    divergence = (first * (np.log(np.maximum(first, tiny)) - np.log(np.maximum(second, tiny)))).sum(axis=1)
    return Parity(
        agreement=float((first.argmax(axis=1) == second.argmax(axis=1)).mean()),
        mean_kl=float(divergence.mean()),
        max_abs=float(np.abs(first - second).max()),
        n=len(first),
    )


class OnnxClassifier:
    """Runs an exported classifier with onnxruntime and tokenizers alone; torch is not imported."""

    def __init__(self, path: Path, tokenizer_folder: Path, *, max_length: int, threads: int | None) -> None:
        import onnxruntime
        from tokenizers import Tokenizer

        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads or 0
        options.log_severity_level = 3
        try:
            self.session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
            self.tokenizer = Tokenizer.from_file(str(tokenizer_folder / "tokenizer.json"))
        except Exception as error:  # both libraries raise bare exceptions of their own
            raise StillhouseError(
                f"the exported model cannot be opened: {str(error).splitlines()[0]}",
                where=str(path),
                fix="run `stillhouse verify` on the bottle, or export again",
            ) from error
        self.tokenizer.no_padding()
        self.tokenizer.enable_truncation(max_length)

    def predict_proba(self, texts: Sequence[str], *, batch_size: int = 32) -> Floats:
        """Probabilities (N, K) in the order of ``texts``; texts of similar length share a batch."""
        encoded = [np.array(item.ids, dtype=np.int64) for item in self.tokenizer.encode_batch(list(texts))]
        order = sorted(range(len(encoded)), key=lambda row: len(encoded[row]))
        found: dict[int, Floats] = {}
        for start in range(0, len(order), batch_size):
            rows = order[start : start + batch_size]
            longest = len(encoded[rows[-1]])
            ids = np.zeros((len(rows), longest), dtype=np.int64)
            mask = np.zeros_like(ids)
            for place, row in enumerate(rows):
                ids[place, : len(encoded[row])] = encoded[row]
                mask[place, : len(encoded[row])] = 1
            (logits,) = self.session.run(["logits"], {"input_ids": ids, "attention_mask": mask})
            found |= dict(zip(rows, _softmax(logits), strict=True))
        return np.stack([found[row] for row in range(len(encoded))]) if found else np.empty((0, 0), np.float32)


def _softmax(logits: Floats) -> Floats:
    weights = np.exp(logits - logits.max(axis=1, keepdims=True))
    return np.asarray(weights / weights.sum(axis=1, keepdims=True), dtype=np.float32)


@contextmanager
def _quiet() -> Iterator[None]:
    """The exporters log and warn about their own insides; what matters is checked by comparing answers."""
    before = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(before)

"""ONNX export of a sequence classifier, and the class that runs what was exported in onnxruntime.

From the student's folder to its answers::

    export_classifier(Path("student"), Path("model.onnx"), max_length=128)
    quantize(Path("model.onnx"), Path("model_int8.onnx"))      # of stillhouse.finish.export.quantize
    classifier = OnnxClassifier(Path("model_int8.onnx"), Path("student"), max_length=128, threads=None)
    classifier.predict_proba(["a fine film"])        # (1, K)

The same folder gives the same bytes, whatever the process: nothing of the machine is left in the file.
"""

from __future__ import annotations

import logging
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from stillhouse import student
from stillhouse.errors import StillhouseError, first_line
from stillhouse.finish.export.graph import save, tidy

if TYPE_CHECKING:
    import onnxruntime
    from tokenizers import Tokenizer

Floats = npt.NDArray[np.float32]
_OPSET = 20  # the first with a Gelu of its own; onnxruntime reads it since 1.17
_TOLERANCE = 1e-4  # of a float32 logit, or of its size where that is above 1
_PROBES = ("one text", "another one, which is longer: 3 clauses, 20 accents (é, ü) and a 🙂", "")


@dataclass(frozen=True)
class Parity:
    """How far a candidate's answers lie from a reference's, over n texts."""

    agreement: float
    mean_kl: float
    max_abs: float
    n: int


def export_classifier(model_folder: Path, output: Path, *, max_length: int) -> None:
    """Write a classifier folder as one float32 ONNX file, and compare its logits with those of torch.

    Inputs ``input_ids`` and ``attention_mask``, int64 (batch, sequence), both axes free; output ``logits``
    (batch, K). A model's ``token_type_ids`` are left at zero inside the graph, as for a single text. Raises
    :class:`StillhouseError` where the model takes fewer than ``max_length`` tokens, where torch cannot
    export it, or where the file answers differently.
    """
    import torch

    model, tokenizer = student.load_classifier(model_folder)
    limit = student.max_length(tokenizer, model.config)
    if max_length > limit:
        raise StillhouseError(
            f"this model takes {limit} tokens, not {max_length}",
            where=str(model_folder),
            fix=f"set max_length to {limit} or less",
        )
    model.set_attn_implementation("eager")  # the others guard against rows without a token, which slows them

    class Logits(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.model = model

        def forward(self, input_ids: torch.Tensor, attention_mask: torch.Tensor) -> torch.Tensor:
            logits: torch.Tensor = self.model(input_ids=input_ids, attention_mask=attention_mask).logits
            return logits

    encoded = tokenizer(list(_PROBES), padding=True, truncation=True, max_length=max_length, return_tensors="pt")
    inputs = (encoded["input_ids"], encoded["attention_mask"])
    free = {0: "batch", 1: "sequence"}
    output.parent.mkdir(parents=True, exist_ok=True)
    try:
        with quietly():
            program = torch.onnx.export(
                Logits().eval(),
                inputs,
                dynamo=True,
                verbose=False,
                opset_version=_OPSET,
                input_names=["input_ids", "attention_mask"],
                output_names=["logits"],
                dynamic_shapes={"input_ids": free, "attention_mask": free},
            )
    except torch.onnx.OnnxExporterError as error:
        raise StillhouseError(
            f"torch cannot export a {model.config.model_type} classifier to ONNX: {first_line(error)}",
            where=str(model_folder),
            fix="choose a student of another architecture",
        ) from error
    assert program is not None  # noqa: S101 - None only when a file name is given
    with quietly():
        tidy(program.model)
        save(program.model, output)
    with torch.no_grad():
        expected = model(input_ids=inputs[0], attention_mask=inputs[1]).logits.numpy()
    _check(output, {"input_ids": inputs[0].numpy(), "attention_mask": inputs[1].numpy()}, expected)


def _check(file: Path, inputs: dict[str, npt.NDArray[np.int64]], expected: Floats) -> None:
    (found,) = session_of(file, threads=1).run(["logits"], inputs)
    apart = float((np.abs(found - expected) / np.maximum(1.0, np.abs(expected))).max())
    if not apart <= _TOLERANCE:  # so that NaN fails too
        raise StillhouseError(
            f"the exported model's logits lie {apart:.1e} from those of torch, more than {_TOLERANCE:.0e}",
            where=str(file),
            fix="choose a student of another architecture, or another version of torch or onnxruntime",
        )


def parity(reference: npt.ArrayLike, candidate: npt.ArrayLike) -> Parity:
    """Compare probabilities (N, K) of a candidate with a reference's; the KL, in nats, is from the reference.

    ``max_abs`` is the largest difference of a probability. Raises :class:`StillhouseError` where there is no text.
    """
    first, second = np.asarray(reference, dtype=np.float64), np.asarray(candidate, dtype=np.float64)
    if first.shape != second.shape or first.ndim != 2 or not len(first):
        raise StillhouseError(
            f"there is nothing to compare: {first.shape} against {second.shape} probabilities",
            where="the comparison of two artifacts",
            fix="give both the same texts, at least one",
        )
    tiny = np.finfo(np.float64).tiny
    divergence = (first * (np.log(np.maximum(first, tiny)) - np.log(np.maximum(second, tiny)))).sum(axis=1)
    return Parity(
        agreement=float((first.argmax(axis=1) == second.argmax(axis=1)).mean()),
        mean_kl=float(divergence.mean()),
        max_abs=float(np.abs(first - second).max()),
        n=len(first),
    )


class OnnxClassifier:
    """Runs an exported classifier with onnxruntime and tokenizers alone; torch is not imported.

    ``threads`` is the number for the model's arithmetic (None: one per core). Raises :class:`StillhouseError`
    where the model or ``tokenizer.json`` cannot be read.
    """

    def __init__(self, path: Path, tokenizer_folder: Path, *, max_length: int, threads: int | None) -> None:
        self.folder, self.max_length, self.threads = tokenizer_folder, max_length, threads
        self.session, self.tokenizer = opened(path, tokenizer_folder, threads=threads)

    def reopen(self, path: Path) -> OnnxClassifier:
        """Another file of the same classifier."""
        return OnnxClassifier(path, self.folder, max_length=self.max_length, threads=self.threads)

    def encode(self, texts: Sequence[str], *, max_length: int | None = None) -> list[list[int]]:
        """Token ids of each text, special ones included, cut at ``max_length`` tokens or where the model is."""
        self.tokenizer.enable_truncation(min(max_length or self.max_length, self.max_length))
        return [item.ids for item in self.tokenizer.encode_batch(list(texts))]

    def pad(self, encoded: Sequence[Sequence[int]]) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
        """Ids and mask, (B, S), of texts that share a batch; S is the longest's length, and at least 1."""
        ids = np.zeros((len(encoded), max([1, *map(len, encoded)])), dtype=np.int64)
        mask = np.zeros_like(ids)
        for place, row in enumerate(encoded):
            ids[place, : len(row)] = row
            mask[place, : len(row)] = 1
        return ids, mask

    def logits(self, ids: npt.NDArray[np.int64], mask: npt.NDArray[np.int64]) -> Floats:
        """Logits (B, K) of padded ids (B, S) and their mask."""
        (found,) = self.session.run(["logits"], {"input_ids": ids, "attention_mask": mask})
        return np.asarray(found, dtype=np.float32)

    def predict_proba(self, texts: Sequence[str], *, batch_size: int = 32) -> Floats:
        """Probabilities (N, K) in the order of ``texts``; texts of similar length share a batch."""
        encoded = self.encode(texts)
        order = sorted(range(len(encoded)), key=lambda row: len(encoded[row]))
        probs = np.empty((len(encoded), self.session.get_outputs()[0].shape[1]), dtype=np.float32)
        for start in range(0, len(order), batch_size):
            rows = order[start : start + batch_size]
            probs[rows] = softmax(self.logits(*self.pad([encoded[row] for row in rows])))
        return probs


def opened(path: Path, folder: Path, *, threads: int | None) -> tuple[onnxruntime.InferenceSession, Tokenizer]:
    """An exported file, and the tokenizer in ``folder``, which pads nothing; raises :class:`StillhouseError` where
    either cannot be read."""
    from tokenizers import Tokenizer

    try:
        session = session_of(path, threads=threads)
        tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
    except Exception as error:  # both libraries raise bare exceptions of their own
        raise StillhouseError(
            f"the exported model cannot be opened: {first_line(error)}",
            where=str(path),
            fix="run `stillhouse verify` on the bottle, or export again",
        ) from error
    tokenizer.no_padding()
    return session, tokenizer


def session_of(path: Path, *, threads: int | None) -> onnxruntime.InferenceSession:
    """An opened file, on processors. threads: of its arithmetic; ``None`` for one per core."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads or 0
    options.inter_op_num_threads = 1
    options.log_severity_level = 3
    # Threads that wait by spinning take the cores from whatever else runs, and halve the speed where something does.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    return onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])


def softmax(logits: Floats) -> Floats:
    """Probabilities (N, K) of logits (N, K)."""
    weights = np.exp(logits - logits.max(axis=1, keepdims=True))
    return np.asarray(weights / weights.sum(axis=1, keepdims=True), dtype=np.float32)


@contextmanager
def quietly() -> Iterator[None]:
    """The exporters log and warn about their own insides; what matters is checked by comparing answers."""
    before = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(before)

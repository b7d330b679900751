"""ONNX export of a language model: one graph that reads a prompt, and goes on from what it has read.

files = export_onnx(Path("student"), Path("student/onnx"), ("fp32", "int8"))

Names are those that transformers.js and optimum have made common. Inputs: ``input_ids`` and ``position_ids`` (batch,
sequence), ``attention_mask`` (batch, past + sequence), all int64; ``past_key_values.N.key`` and ``.value`` (batch,
heads, past, width), float32. Outputs: ``logits`` (batch, sequence, vocabulary) and ``present.N.key`` and ``.value``
(batch, heads, past + sequence, width). At the beginning the past has length 0. Prompts of a batch are padded on the
left; a token's position is the number of those before it that are not padding.

Matrices that the head shares with the embeddings are stored once. The same folder gives the same bytes.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from stillhouse.causal import load_causal
from stillhouse.errors import StillhouseError, first_line
from stillhouse.finish.export.graph import files_of, save, share_transposed_tables, tidy
from stillhouse.finish.export.onnx import quietly
from stillhouse.finish.export.onnx_causal.blocks import quantize_blocks
from stillhouse.finish.export.onnx_causal.plan import Kind, check_onnx, windows
from stillhouse.finish.export.onnx_causal.runtime import OnnxWriter
from stillhouse.stock import context_of, quiet

if TYPE_CHECKING:
    from torch import Tensor

FILES: dict[Kind, str] = {"fp32": "model.onnx", "int8": "model_int8.onnx"}
OPSET = 21  # the first with scales for blocks of a row; onnxruntime reads it since 1.18
# of a logit, over the largest of them. A wrong mask, position or cache gives hundreds of times as much.
_TOLERANCE = 1e-3
_INPUTS = ("input_ids", "attention_mask", "position_ids")
_TOTAL = "total_sequence_length"


def export_onnx(student: Path, folder: Path, kinds: Sequence[Kind]) -> dict[Kind, Path]:
    """Write the language model in ``student`` into ``folder`` in each of ``kinds``, named as in :data:`FILES`.

    The float32 file answers as torch does to padded prompts and to what follows on them, or :class:`StillhouseError` is
    raised; so it is where the architecture was not tried, or torch cannot export it. What 8 bits cost is for
    :func:`compare_onnx` to tell.
    """
    model, _ = load_causal(student)
    problems = check_onnx(model.config)
    if problems:
        raise StillhouseError.several(list(problems))
    folder.mkdir(parents=True, exist_ok=True)
    fp32 = folder / FILES["fp32"]
    program = _exported(model, student)
    with quietly():
        tidy(program.model, one_token=False)
        share_transposed_tables(program.model.graph)
        _name_total(program.model.graph)
        save(program.model, fp32)
    del program
    _check(model, student, fp32)
    if "int8" in kinds:
        quantize_blocks(fp32, folder / FILES["int8"])
    if "fp32" not in kinds:
        for path in files_of(fp32):
            path.unlink()
    return {kind: folder / FILES[kind] for kind in dict.fromkeys(kinds)}


def _exported(model: Any, student: Path) -> Any:
    import torch

    model.set_attn_implementation("eager")  # adds the mask that it is given, and nothing of its own
    shapes = _cache_shapes(model)
    names = [f"past_key_values.{layer}.{part}" for layer in range(len(shapes) // 2) for part in ("key", "value")]
    batch, sequence, past = 2, 3, 5  # unlike each other, and none of them 1: what is alike would be taken for one
    ids = torch.ones(batch, sequence, dtype=torch.int64)
    mask = torch.ones(batch, past + sequence, dtype=torch.int64)
    places = torch.arange(past, past + sequence).expand(batch, sequence).contiguous()
    filled = tuple(torch.zeros(batch, heads, past, width) for heads, width in shapes)
    read = {0: torch.export.Dim("batch_size"), 1: torch.export.Dim("sequence_length")}
    before = {0: read[0], 2: torch.export.Dim("past_sequence_length")}
    try:
        with quietly(), torch.no_grad():
            program = torch.onnx.export(
                _module(model),
                (ids, mask, places, *filled),
                dynamo=True,
                verbose=False,
                opset_version=OPSET,
                input_names=[*_INPUTS, *names],
                output_names=["logits", *(name.replace("past_key_values", "present") for name in names)],
                dynamic_shapes={
                    "input_ids": read,
                    "attention_mask": {0: read[0], 1: torch.export.Dim.AUTO},
                    "position_ids": read,
                    "past": tuple(before for _ in filled),
                },
            )
    except torch.onnx.OnnxExporterError as error:
        raise StillhouseError(
            f"torch cannot export a {model.config.model_type} model to ONNX: {first_line(error)}",
            where=str(student),
            fix="leave ONNX out (`finish.onnx.kinds`), or choose a student of another architecture",
        ) from error
    assert program is not None  # noqa: S101 - None only when a file name is given
    return program


def _module(model: Any) -> Any:
    """The model as a function of tensors alone."""
    import torch
    from transformers import DynamicCache
    from transformers.cache_utils import DynamicLayer

    seen = windows(model.config)

    class Step(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.model = model

        def forward(
            self, input_ids: Tensor, attention_mask: Tensor, position_ids: Tensor, *past: Tensor
        ) -> tuple[Tensor, ...]:
            cache = DynamicCache()
            for keys, values in zip(past[::2], past[1::2], strict=True):
                layer = DynamicLayer()
                layer.keys, layer.values, layer.dtype, layer.device = keys, values, keys.dtype, keys.device
                layer.is_initialized = True
                cache.layers.append(layer)
            # masks are made here and not by the model: its own way differs from version to version
            start, length = past[0].shape[2], input_ids.shape[1]
            earlier = torch.arange(start + length)[None] <= torch.arange(length)[:, None] + start
            visible = earlier[None, None] & (attention_mask[:, None, None, :] != 0)
            masks = {}
            for kind, window in seen.items():
                allowed = visible
                if window is not None:  # counted in tokens that are there: padding may lie between two turns
                    places = attention_mask.cumsum(1)
                    allowed = visible & (places[:, None, None, :] > places[:, None, start:, None] - window)
                masks[kind] = torch.where(allowed, 0.0, torch.finfo(torch.float32).min)
            output = self.model(
                input_ids=input_ids,
                attention_mask=masks if len(masks) > 1 else next(iter(masks.values())),
                position_ids=position_ids,
                cache=cache,
                use_cache=True,
            )
            return (output.logits, *(one for layer in output.cache.layers for one in (layer.keys, layer.values)))

    return Step().eval()


def _cache_shapes(model: Any) -> list[tuple[int, int]]:
    """Heads and width of each layer's keys and values, in turn."""
    import torch
    from transformers import DynamicCache

    with torch.no_grad(), quiet():
        cache = model(input_ids=torch.zeros(1, 1, dtype=torch.int64), cache=DynamicCache(), use_cache=True).cache
    return [(one.shape[1], one.shape[3]) for layer in cache.layers for one in (layer.keys, layer.values)]


def _name_total(graph: Any) -> None:
    import onnx_ir

    mask = next(value for value in graph.inputs if value.name == "attention_mask")
    mask.shape = onnx_ir.Shape([mask.shape[0], onnx_ir.SymbolicDim(_TOTAL)])


def _check(model: Any, student: Path, file: Path) -> None:
    """Two prompts of unequal length in one batch, then more of both: each place as torch has it of each alone."""
    import torch

    words = int(model.config.get_text_config().vocab_size)
    most = min(48, context_of(model))
    rows = [[(7919 * place + 31 * row + 1) % words for place in range(most - row * (most // 3))] for row in range(2)]
    parts = [[row[: len(row) // 2] for row in rows], [row[len(row) // 2 :] for row in rows]]
    writer = OnnxWriter(file, student, threads=1)
    first = writer.begin(parts[0])
    second = writer.go_on(first, parts[1])
    worst = 0.0
    for row, ids in enumerate(rows):
        with torch.no_grad(), quiet():
            wanted = model(input_ids=torch.tensor([ids]), use_cache=False).logits[0].numpy()
        found = np.concatenate([one.of(row) for one in (first, second)])
        worst = max(worst, float(np.abs(found - wanted).max()) / max(1.0, float(np.abs(wanted).max())))
    if not worst <= _TOLERANCE:  # so that NaN fails too
        raise StillhouseError(
            f"the exported model's logits lie {worst:.1e} of the largest from those of torch, more than "
            f"{_TOLERANCE:.0e}",
            where=str(file),
            fix="leave ONNX out (`finish.onnx.kinds`), or try another version of torch or onnxruntime",
        )

"""Writes a student as GGUF: every tensor under the runtime's name and in its layout, with the tokenizer inside.

    files = export_gguf(Path("student"), Path("bottle/gguf"), ("f16", "q8_0"))
    files["q8_0"]                                             # bottle/gguf/model-q8_0.gguf

The same folder gives the same bytes. Tensors are written one by one, so that no second copy of the model is held.
Matrices of ``q4_0`` have 4 bits a weight, its embeddings and its head 8, since these cost the most in quality.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from stillhouse.causal import load_causal
from stillhouse.errors import StillhouseError
from stillhouse.finish.export.gguf.architectures import (
    ARCHITECTURES,
    Architecture,
    Config,
    Place,
    Setting,
    head_width,
    key_heads,
    rope_of,
)
from stillhouse.finish.export.gguf.plan import GgufPlan, Kind, Stored, check_gguf, stored_as
from stillhouse.finish.export.gguf.vocabulary import Vocabulary

Floats = npt.NDArray[np.float32]
_ROPE = Place("rope_freqs.weight")
_LARGEST = 65504.0  # of float16


def export_gguf(
    student: Path, folder: Path, kinds: Sequence[Kind], *, name: str = "", license: str = ""
) -> Mapping[Kind, Path]:
    """Write ``model-KIND.gguf`` into ``folder`` for each kind; all of them, or none where something stands against it.

    student: a folder that transformers loads. name, license: what the file says of itself, if anything. Raises
    :class:`StillhouseError` with every problem at once.
    """
    model, tokenizer = load_causal(student)
    plan = check_gguf(model.config, tokenizer, kinds, ends=ends_of(model))
    if plan.problems:
        raise StillhouseError.several(list(plan.problems))
    config = model.config.get_text_config()
    known = ARCHITECTURES[config.model_type]
    tensors = _tensors(model, known, config)
    _check_numbers(tensors, student)
    folder.mkdir(parents=True, exist_ok=True)
    files = {kind: folder / f"model-{kind}.gguf" for kind in plan.kinds}
    with _together(list(files.values())) as parts:
        for kind, part in zip(files, parts, strict=True):
            _write(part, plan, known, config, tensors, kind, name=name, license=license)
    return files


def ends_of(model: Any) -> list[int]:
    """Ids that end this model's answers, as its generation config says."""
    told = model.generation_config.eos_token_id
    return [int(one) for one in (told if isinstance(told, list) else [] if told is None else [told])]


def _tensors(model: Any, known: Architecture, config: Config) -> dict[str, tuple[Place, Any]]:
    """Torch tensors by their names in the file, a tied head left out."""
    tied = model.get_output_embeddings().weight is model.get_input_embeddings().weight
    found: dict[str, tuple[Place, Any]] = {}
    for torch_name, tensor in model.state_dict().items():
        place = known.place(torch_name)
        assert place is not None  # noqa: S101 - checked in the plan
        if not (tied and place.name == "output.weight"):
            found[place.name] = (place, tensor)
    factors = _rope_factors(config)
    if factors is not None:
        found[_ROPE.name] = (_ROPE, factors)
    return found


def _rope_factors(config: Config) -> Any:
    """By how much each frequency is divided where positions are scaled as in Llama 3, (width of a head / 2,).

    The scaled frequencies are transformers' own.
    """
    rope = rope_of(config)
    if rope.get("rope_type") != "llama3":
        return None
    import torch
    from transformers.modeling_rope_utils import ROPE_INIT_FUNCTIONS

    scaled, _ = ROPE_INIT_FUNCTIONS["llama3"](config, torch.device("cpu"))
    steps = torch.arange(0, head_width(config), 2, dtype=torch.float32) / head_width(config)
    return (1.0 / float(rope["rope_theta"]) ** steps) / scaled


def _check_numbers(tensors: Mapping[str, tuple[Place, Any]], student: Path) -> None:
    """float16 holds no more than 65,504, and a NaN in a row that is never used is still a NaN in every answer's sum."""
    for name, (_, tensor) in tensors.items():
        largest = float(tensor.abs().max())
        if not largest <= _LARGEST:
            raise StillhouseError(
                f"the tensor {name} holds {'a NaN' if np.isnan(largest) else f'{largest:.3g}'}, which float16 cannot",
                where=str(student),
                fix="train at a lower rate, or fill unused rows with the mean of the others",
            )


@contextmanager
def _together(files: Sequence[Path]) -> Iterator[list[Path]]:
    """Temporary names beside ``files``, moved to theirs when all are whole."""
    parts = [path.with_name(f".{path.name}.{os.getpid()}.part") for path in files]
    try:
        yield parts
        for part in parts:
            with part.open("rb") as stream:
                os.fsync(stream.fileno())
        for part, path in zip(parts, files, strict=True):
            part.replace(path)
    finally:
        for part in parts:
            part.unlink(missing_ok=True)


def _write(
    path: Path,
    plan: GgufPlan,
    known: Architecture,
    config: Config,
    tensors: Mapping[str, tuple[Place, Any]],
    kind: Kind,
    *,
    name: str,
    license: str,
) -> None:
    import gguf

    assert plan.vocabulary is not None  # noqa: S101 - there are no problems
    writer = gguf.GGUFWriter(None, known.name)
    writer.add_type("model")
    if name:
        writer.add_name(name)
    if license:
        writer.add_license(license)
    writer.add_file_type({"f16": 1, "q4_0": 2, "q8_0": 7}[kind])
    writer.add_quantization_version(gguf.GGML_QUANT_VERSION)
    for key, value in known.settings(config).items():
        _add(writer, key, value)
    _add_vocabulary(writer, plan.vocabulary)
    for place, tensor in tensors.values():
        stored = stored_as(place, _shape(place, tensor), kind)
        _announce(writer, place, _shape(place, tensor), stored)
    try:
        writer.write_header_to_file(path)
        writer.write_kv_data_to_file()
        writer.write_ti_data_to_file()
        for place, tensor in tensors.values():
            stored = stored_as(place, _shape(place, tensor), kind)
            array = changed(tensor.float().numpy(), place, config)
            writer.write_tensor_data(gguf.quantize(array, gguf.GGMLQuantizationType[stored]))
    finally:
        writer.close()


def _shape(place: Place, tensor: Any) -> tuple[int, ...]:
    shape = tuple(tensor.shape)
    return shape[::-1] if place.change == "transposed" else shape


def _announce(writer: Any, place: Place, shape: tuple[int, ...], stored: Stored) -> None:
    import gguf

    kind = gguf.GGMLQuantizationType[stored]
    block, size = gguf.GGML_QUANT_SIZES[kind]
    rows = int(np.prod(shape[:-1]))
    writer.add_tensor_info(place.name, shape, np.dtype(np.float32), rows * shape[-1] // block * size, raw_dtype=kind)


def changed(array: Floats, place: Place, config: Config) -> Floats:
    """A tensor in the runtime's layout."""
    if place.change == "transposed":
        return np.ascontiguousarray(array.T)
    if place.change == "plus-one":
        return array + np.float32(1)
    if place.change in ("rotary", "rotary-key"):
        heads = int(config.num_attention_heads) if place.change == "rotary" else key_heads(config)
        # what torch turns are the halves of a head, what llama.cpp turns are neighbours
        halves = array.reshape(heads, 2, len(array) // heads // 2, *array.shape[1:])
        return np.ascontiguousarray(halves.swapaxes(1, 2)).reshape(array.shape)
    return np.ascontiguousarray(array)


def _add(writer: Any, key: str, value: Setting) -> None:
    if isinstance(value, bool):
        writer.add_bool(key, value)
    elif isinstance(value, int):
        writer.add_uint32(key, value)
    elif isinstance(value, float):
        writer.add_float32(key, value)
    elif isinstance(value, str):
        writer.add_string(key, value)
    else:
        writer.add_array(key, value)


def _add_vocabulary(writer: Any, vocabulary: Vocabulary) -> None:
    prefix = "tokenizer.ggml"
    writer.add_tokenizer_model(vocabulary.kind.model)
    writer.add_tokenizer_pre(vocabulary.kind.pre)
    writer.add_token_list(list(vocabulary.tokens))
    writer.add_token_types(list(vocabulary.types))
    if vocabulary.kind.model == "llama":
        writer.add_token_scores(list(vocabulary.scores))
        writer.add_add_space_prefix(vocabulary.kind.spaced)
    elif vocabulary.merges:
        writer.add_token_merges(list(vocabulary.merges))
    for name, one in vocabulary.special.items():
        writer.add_uint32(f"{prefix}.{name}_token_id", one)
    writer.add_add_bos_token(vocabulary.begins)
    writer.add_add_eos_token(vocabulary.ends)
    others = sorted(name for name in vocabulary.templates if name)
    if others:
        writer.add_array("tokenizer.chat_templates", others)
    for name, text in vocabulary.templates.items():
        writer.add_string(f"tokenizer.chat_template.{name}" if name else "tokenizer.chat_template", text)

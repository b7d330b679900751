"""Whether a student can be written as GGUF, and how each of its tensors is stored: known before anything is trained.

    plan = check_gguf(config, tokenizer, kinds=("f16", "q8_0"), ends=[2])
    plan.problems                    # what stands against it; nothing is written while there is one
    plan.kept["q8_0"]                # names of tensors that stay f16, since their rows are no multiple of 32
    plan.notes                       # what is worth knowing and stops nothing

Needs no weights: the model is laid out from its configuration without memory.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from stillhouse.errors import Problem
from stillhouse.finish.export.gguf.architectures import ARCHITECTURES, Architecture, Place
from stillhouse.finish.export.gguf.vocabulary import Vocabulary, read_vocabulary
from stillhouse.stock import quiet

Kind = Literal["f16", "q8_0", "q4_0"]
Stored = Literal["F32", "F16", "Q8_0", "Q4_0"]
KINDS: tuple[Kind, ...] = ("f16", "q8_0", "q4_0")
BLOCK = 32  # weights that share a scale
_WHERE = "the GGUF export"
_FULL: Mapping[Kind, Stored] = {"f16": "F16", "q8_0": "Q8_0", "q4_0": "Q4_0"}
# read once a token and worth their bits: the rows of single words, with few updates each
_WORDS = ("token_embd.weight", "output.weight")
_PRECISE = ("position_embd.weight",)  # small, and added to everything


@dataclass(frozen=True)
class GgufPlan:
    """How a student is written. kept: by kind, the tensors (by their names in the file) that stay f16 in it.

    vocabulary is ``None`` where there are problems.
    """

    architecture: str
    vocabulary: Vocabulary | None
    kinds: tuple[Kind, ...]
    kept: Mapping[Kind, tuple[str, ...]]
    problems: tuple[Problem, ...]
    notes: tuple[str, ...]


def check_gguf(config: Any, tokenizer: Any, kinds: Sequence[Kind], *, ends: Sequence[int] = ()) -> GgufPlan:
    """Look at a configuration and a tokenizer (a loaded one, or its folder) that a student will have.

    ends: ids that end an answer, as in the generation config. Raises nothing for what cannot be exported: that is in
    ``problems``.
    """
    config = config.get_text_config()
    known = ARCHITECTURES.get(config.model_type)
    if known is None:
        return _refused(
            str(config.model_type),
            f"models of type {config.model_type} are not written as GGUF",
            f"leave GGUF out, or use one of {', '.join(sorted(ARCHITECTURES))}",
        )
    named = list(getattr(config, "architectures", None) or [known.stock])
    if named != [known.stock] or getattr(config, "auto_map", None):
        return _refused(
            known.name,
            f"the class {', '.join(named)} is not transformers' own {known.stock}",
            f"save the student as a {known.stock}: merge adapters, and leave wrappers and code of one's own away",
        )
    found = known.problems(config)
    problems = [Problem(one, _WHERE, "leave GGUF out, or build the student with other settings") for one in found]
    reading = read_vocabulary(_loaded(tokenizer), rows=int(config.vocab_size), ends=ends)
    problems += [
        Problem(f"the tokenizer: {one}", _WHERE, "leave GGUF out, or use a base with a tokenizer of another kind")
        for one in reading.problems
    ]
    shapes = {} if problems else shapes_of(config, known)
    problems += _shape_problems(known, shapes)
    kept, notes = {}, list(reading.notes)
    if not problems:
        placed = {name: place for name in shapes if (place := known.place(name)) is not None}
        for kind in dict.fromkeys(kinds):
            stored = {
                place.name: (stored_as(place, shapes[name], kind), shapes[name]) for name, place in placed.items()
            }
            kept[kind], more = _fallbacks(kind, stored)
            notes += more
            if kind != "f16" and not any(one in ("Q8_0", "Q4_0") for one, _ in stored.values()):
                problems.append(
                    Problem(
                        f"no tensor can be stored as {kind}: their rows are no multiples of {BLOCK}",
                        _WHERE,
                        f"ask for f16 alone, or choose a width that is a multiple of {BLOCK}",
                    )
                )
    vocabulary = None if problems else reading.vocabulary
    return GgufPlan(known.name, vocabulary, tuple(dict.fromkeys(kinds)), kept, tuple(problems), tuple(notes))


def _refused(name: str, what: str, fix: str) -> GgufPlan:
    return GgufPlan(name, None, (), {}, (Problem(what, _WHERE, fix),), ())


def _loaded(tokenizer: Any) -> Any:
    if not isinstance(tokenizer, Path):
        return tokenizer
    from transformers import AutoTokenizer

    with quiet():
        return AutoTokenizer.from_pretrained(tokenizer, local_files_only=True, trust_remote_code=False)


def shapes_of(config: Any, known: Architecture) -> dict[str, tuple[int, ...]]:
    """Shapes of the tensors as the file has them, by their names in torch; a tied head is none of them."""
    import torch
    from transformers import AutoModelForCausalLM

    with torch.device("meta"), quiet():
        model = AutoModelForCausalLM.from_config(config)
    tied = model.get_output_embeddings().weight is model.get_input_embeddings().weight
    found = {}
    for name, tensor in model.state_dict().items():
        place, shape = known.place(name), tuple(tensor.shape)
        if place is not None and place.name == "output.weight" and tied:
            continue
        found[name] = shape[::-1] if place is not None and place.change == "transposed" else shape
    return found


def _shape_problems(known: Architecture, shapes: Mapping[str, tuple[int, ...]]) -> list[Problem]:
    found = [f"llama.cpp has no place for the tensor {name}" for name in shapes if known.place(name) is None]
    if known.tied and any((place := known.place(name)) and place.name == "output.weight" for name in shapes):
        found.append("the head is not tied to the embeddings, and llama.cpp takes them for the head")
    return [Problem(one, _WHERE, "leave GGUF out, or build the student with other settings") for one in found[:4]]


def stored_as(place: Place, shape: Sequence[int], kind: Kind) -> Stored:
    """How a tensor is stored in a file of ``kind``; shape: as in the file, the last axis being a row."""
    if len(shape) < 2 or place.name in _PRECISE:
        return "F32"
    if shape[-1] % BLOCK:
        return "F16"
    return "Q8_0" if kind == "q4_0" and place.name in _WORDS else _FULL[kind]


def _fallbacks(kind: Kind, stored: Mapping[str, tuple[Stored, tuple[int, ...]]]) -> tuple[tuple[str, ...], list[str]]:
    """Names of tensors that are not stored in ``kind`` for their width, and a note that names them by their kind."""
    kept = [name for name, (one, shape) in stored.items() if kind != "f16" and one == "F16" and shape[-1] % BLOCK]
    widths: dict[str, int] = {}
    for name in kept:
        parts = name.split(".")
        widths[".".join(["blk.*", *parts[2:]]) if parts[0] == "blk" else name] = stored[name][1][-1]
    if not widths:
        return (), []
    named = ", ".join(f"{name} ({width} wide)" for name, width in widths.items())
    return tuple(kept), [f"{kind}: {named} stay f16, since rows of {kind} are multiples of {BLOCK}"]

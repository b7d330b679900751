"""A student cut out of a causal language model: some of its layers, everything else bit for bit as it was.

model, tokenizer = keep_decoder_layers(Path("teacher"), [0, 1, 4, 5])
model, tokenizer = decoder_from_config(Path("teacher"), layers=2, hidden_size=64, heads=4, …)
"""

from __future__ import annotations

import copy
import json
import re
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from stillhouse.causal import load_causal
from stillhouse.configurations import layers_of, resized, shortened
from stillhouse.distill.students.keep_layers import spread
from stillhouse.errors import StillhouseError
from stillhouse.stock import quiet

if TYPE_CHECKING:
    from torch import Tensor

# Models whose layers stand in one list and hand on a state of one width, each tried in the tests.
ARCHITECTURES = frozenset(
    {
        "gemma2",
        "gemma3_text",
        "gpt2",
        "gpt_neox",
        "granite",
        "llama",
        "mistral",
        "olmo2",
        "phi3",
        "qwen2",
        "qwen3",
        "smollm3",
    }
)
RESIZABLE = ARCHITECTURES - {"gpt2"}  # its configuration names sizes in a way of its own
_LAYER = re.compile(r"((?:\w+\.)*?(?:layers|h)\.)(\d+)(\..*)")
_COUNTS = ("num_hidden_layers", "n_layer", "n_layers")


def keep_decoder_layers(base: Path, kept: Sequence[int]) -> tuple[Any, Any]:
    """The model in ``base`` with only the layers ``kept`` (from 0, rising), in float32, and its tokenizer.

    The configuration is rewritten first (the count of layers, and every list with one entry a layer), and a stock model
    made from it takes over the kept layers' weights, so that every layer knows its new number. Raises
    :class:`StillhouseError` for an architecture outside ``ARCHITECTURES``, or layers that there are not.
    """
    whole, tokenizer = load_causal(base)
    check_kept(whole.config.model_type, layers_of(whole.config), kept, base)
    config = shortened(whole.config, kept)
    student = _empty(config)
    state = _renumbered(whole.state_dict(), kept)
    try:
        student.load_state_dict(state)
    except RuntimeError as error:
        raise StillhouseError(
            f"the kept layers do not fit each other: {str(error).splitlines()[-1].strip()}",
            where=str(base),
            fix="keep layers of one kind",
        ) from error
    student.tie_weights()
    student.generation_config = copy.deepcopy(whole.generation_config)
    return student.eval(), tokenizer


def decoder_from_config(
    base: Path,
    *,
    layers: int,
    hidden_size: int,
    heads: int,
    kv_heads: int | None,
    intermediate_size: int,
    seed: int,
) -> tuple[Any, Any]:
    """Random weights of the architecture in ``base`` in another size, and its tokenizer; the random state is kept."""
    import torch
    from transformers import AutoConfig, AutoTokenizer, GenerationConfig

    with quiet():
        config = AutoConfig.from_pretrained(base, local_files_only=True, trust_remote_code=False)
        tokenizer = AutoTokenizer.from_pretrained(base, local_files_only=True, trust_remote_code=False)
    if config.model_type not in RESIZABLE:
        raise _unknown(config.model_type, base, RESIZABLE)
    config = resized(
        config,
        layers=layers,
        hidden_size=hidden_size,
        heads=heads,
        kv_heads=kv_heads,
        intermediate_size=intermediate_size,
    )
    try:
        if hidden_size % heads or heads % (kv_heads or heads):
            raise ValueError(f"a width of {hidden_size}, {heads} heads and {kv_heads or heads} for keys and values")
        with torch.random.fork_rng(devices=[]), quiet(), torch.no_grad():
            torch.manual_seed(seed)
            student = _empty(config).eval()
            student(input_ids=torch.zeros((1, 3), dtype=torch.int64))
    except (ValueError, RuntimeError, IndexError) as error:
        raise StillhouseError(
            f"no {config.model_type} model has these sizes: {str(error).strip().splitlines()[-1].strip()}",
            where=str(base),
            fix="choose hidden_size as an even multiple of heads, and heads as a multiple of kv_heads",
        ) from error
    if (base / "generation_config.json").is_file():
        student.generation_config = GenerationConfig.from_pretrained(base, local_files_only=True)
    return student, tokenizer


def check_kept(kind: str, layers: int, kept: Sequence[int], where: Path) -> None:
    """Raise :class:`StillhouseError` unless ``kept`` are layers, in rising order, of a model of a known kind."""
    if kind not in ARCHITECTURES:
        raise _unknown(kind, where)
    if not kept or list(kept) != sorted(set(kept)) or kept[0] < 0 or kept[-1] >= layers:
        raise StillhouseError(
            f"{list(kept)} are not layers of this model, in rising order",
            where=str(where),
            fix=f"give different numbers from 0 to {layers - 1}, the lowest first",
        )


def check_decoder(base: Path, keep: int | Sequence[int]) -> None:
    """Raise :class:`StillhouseError` for what ``config.json`` alone tells against keeping these layers."""
    kind, layers = _told(base)
    if isinstance(keep, int) and keep > layers:
        raise StillhouseError(
            f"{keep} layers cannot be kept of {layers}", where=str(base), fix=f"keep between 1 and {layers}"
        )
    check_kept(kind, layers, spread(keep, layers) if isinstance(keep, int) else keep, base)


def check_resizable(base: Path) -> None:
    """Raise :class:`StillhouseError` where :func:`decoder_from_config` does not know the architecture in ``base``."""
    kind, _ = _told(base)
    if kind not in RESIZABLE:
        raise _unknown(kind, base, RESIZABLE)


def _told(base: Path) -> tuple[str, int]:
    """The type of a model and how many layers it has, by its ``config.json``."""
    try:
        config = json.loads((base / "config.json").read_text("utf-8"))
        return str(config["model_type"]), int(next(config[name] for name in _COUNTS if name in config))
    except (OSError, ValueError, KeyError, TypeError, StopIteration) as error:
        raise StillhouseError(
            "config.json cannot be read, or does not say how many layers there are",
            where=str(base),
            fix="give a transformers folder of a language model",
        ) from error


def _empty(config: Any) -> Any:
    import torch
    from transformers import AutoModelForCausalLM

    with quiet():
        return AutoModelForCausalLM.from_config(config, dtype=torch.float32)


def _renumbered(state: dict[str, Tensor], kept: Sequence[int]) -> dict[str, Tensor]:
    """Drop the tensors of the other layers and count the kept ones from 0."""
    place = {old: new for new, old in enumerate(kept)}
    renamed = {}
    for name, tensor in state.items():
        match = _LAYER.match(name)
        if match is None:
            renamed[name] = tensor
        elif int(match[2]) in place:
            renamed[f"{match[1]}{place[int(match[2])]}{match[3]}"] = tensor
    return renamed


def _unknown(kind: str, where: Path, known: frozenset[str] = ARCHITECTURES) -> StillhouseError:
    return StillhouseError(
        f"students are not made out of language models of type {kind}",
        where=str(where),
        fix=f"use one of {', '.join(sorted(known))}, or give a student of your own with `kind: given`",
    )

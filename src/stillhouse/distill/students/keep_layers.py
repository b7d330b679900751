"""A student cut out of an encoder: some of its layers, its embeddings, and a fresh head for the labels.

The result is a stock class with fewer layers, nothing else: the kept tensors are bit for bit the encoder's::

    model, tokenizer = keep_layers(Path("encoder"), labels=["negative", "positive"], keep=3, seed=7)
"""

from __future__ import annotations

import copy
import json
import math
import re
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from stillhouse.errors import StillhouseError
from stillhouse.stock import quiet
from stillhouse.student import check_labels

if TYPE_CHECKING:
    from torch import Tensor
    from transformers import PreTrainedConfig, PreTrainedModel, PreTrainedTokenizerBase

# Encoders whose layers stand in one list and whose width never changes, each tried in the tests. ALBERT is
# absent because its layers share their weights, T5 and BART because they have a decoder.
ARCHITECTURES = frozenset(
    {
        "bert",
        "camembert",
        "deberta-v2",
        "distilbert",
        "electra",
        "modernbert",
        "mpnet",
        "roberta",
        "xlm-roberta",
    }
)


def keep_layers(
    base: Path, *, labels: Sequence[str], keep: int | Sequence[int], seed: int
) -> tuple[PreTrainedModel, PreTrainedTokenizerBase]:
    """Return a classifier over ``labels`` with layers of the encoder in ``base``, and its tokenizer.

    ``keep`` is a list of layer indices, counted from 0 and rising, or a number ``n`` that :func:`spread`
    turns into one. The head is fresh and seeded; the global random state is left as it was. Raises
    :class:`StillhouseError` for an architecture outside ``ARCHITECTURES``, layers that the encoder does not
    have, weights that do not fit, or fewer than two different labels.
    """
    import torch
    from transformers import AutoModelForSequenceClassification

    check_labels(labels)
    config, tokenizer = _read(base)
    kept = _indices(keep, config.num_hidden_layers, base)
    config.id2label = dict(enumerate(labels))
    config.label2id = {label: index for index, label in enumerate(labels)}
    with torch.random.fork_rng(devices=[]), quiet():
        torch.manual_seed(seed)
        whole = _load_whole(base, config)
        student = AutoModelForSequenceClassification.from_config(_shorten(config, kept), dtype=torch.float32)
    body = _renumber(whole.base_model.state_dict(), kept)
    try:
        student.base_model.load_state_dict(body)
    except RuntimeError as error:
        # ModernBERT's first layer has one norm fewer than the others and so cannot trade places with them.
        raise StillhouseError(
            f"layer {kept[0]} of this encoder cannot stand first", where=str(base), fix="keep layer 0 too"
        ) from error
    return student.eval(), tokenizer


def check_base(base: Path, keep: int | Sequence[int]) -> None:
    """Raise :class:`StillhouseError` for what ``config.json`` alone tells against keeping these layers.

    Needs no library: it runs before anything is fetched, asked or loaded.
    """
    try:
        config = json.loads((base / "config.json").read_text("utf-8"))
        kind = str(config["model_type"])
        layers = int(config.get("num_hidden_layers", config.get("n_layers", 12)))
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise StillhouseError(
            "config.json cannot be read", where=str(base), fix="give a transformers model folder"
        ) from error
    _check_kind(kind, base)
    _indices(keep, layers, base)
    if not any(base.glob("*.safetensors")):
        raise StillhouseError(
            "there are no safetensors weights", where=str(base), fix="give a folder with model.safetensors"
        )


def spread(n: int, layers: int) -> list[int]:
    """Return ``n`` of ``layers`` indices, evenly spread, the first and the last among them; halves go down.

    Of three layers kept of a six-layer sentence encoder these, 0, 2 and 5, came out ahead of 0, 3 and 5 and of
    the first three, by one and three points of accuracy in one run each.
    """
    return [math.ceil(index * (layers - 1) / (n - 1) - 0.5) for index in range(n)] if n > 1 else [0]


def _read(base: Path) -> tuple[PreTrainedConfig, PreTrainedTokenizerBase]:
    from transformers import AutoConfig, AutoTokenizer

    try:
        config = AutoConfig.from_pretrained(base, local_files_only=True, trust_remote_code=False)
        tokenizer = AutoTokenizer.from_pretrained(base, local_files_only=True, trust_remote_code=False)
    except (OSError, ValueError, KeyError) as error:
        raise StillhouseError(
            "this folder cannot be read as an encoder",
            where=str(base),
            fix="give a folder with config.json and tokenizer files",
        ) from error
    _check_kind(config.model_type, base)
    return config, tokenizer


def _check_kind(kind: str, base: Path) -> None:
    if kind not in ARCHITECTURES:
        raise StillhouseError(
            f"layers cannot be taken out of an encoder of type {kind}",
            where=str(base),
            fix=f"use one of {', '.join(sorted(ARCHITECTURES))}",
        )


def _indices(keep: int | Sequence[int], layers: int, base: Path) -> list[int]:
    if isinstance(keep, int):
        if not 1 <= keep <= layers:
            raise StillhouseError(
                f"{keep} layers cannot be kept of {layers}",
                where=str(base),
                fix=f"keep between 1 and {layers}",
            )
        return spread(keep, layers)
    kept = list(keep)
    if not kept or kept != sorted(set(kept)) or kept[0] < 0 or kept[-1] >= layers:
        raise StillhouseError(
            f"{kept} are not layers of this encoder, in rising order",
            where=str(base),
            fix=f"give different indices from 0 to {layers - 1}, the lowest first",
        )
    return kept


def _load_whole(base: Path, config: PreTrainedConfig) -> PreTrainedModel:
    """Return the whole encoder under a head for the labels; whatever head ``base`` had is left behind."""
    from transformers import AutoModelForSequenceClassification

    try:
        model, found = AutoModelForSequenceClassification.from_pretrained(
            base,
            config=copy.deepcopy(config),
            dtype="float32",
            use_safetensors=True,
            local_files_only=True,
            trust_remote_code=False,
            ignore_mismatched_sizes=True,
            output_loading_info=True,
        )
    except (OSError, ValueError, RuntimeError) as error:
        raise StillhouseError(
            "the weights of this encoder cannot be read",
            where=str(base),
            fix="give a folder with model.safetensors",
        ) from error
    prefix = model.base_model_prefix + "."
    # A pooler sits between encoder and head: encoders trained without one get a fresh one, as the head is.
    lost = [name for name in found["missing_keys"] if name.startswith(prefix) and ".pooler." not in name]
    lost += [str(entry[0]) for entry in found["mismatched_keys"] if str(entry[0]).startswith(prefix)]
    if lost:
        raise StillhouseError(
            f"weights of the encoder are missing or of another shape: {', '.join(sorted(lost)[:4])}",
            where=str(base),
            fix="give the encoder whose config.json this is",
        )
    return model


def _shorten(config: PreTrainedConfig, kept: Sequence[int]) -> PreTrainedConfig:
    """Return ``config`` for the kept layers: the count, and every list that has one entry per layer."""
    layers = config.num_hidden_layers
    short = copy.deepcopy(config)
    lists: dict[str, list[Any]] = {
        name: value for name, value in vars(config).items() if isinstance(value, list) and len(value) == layers
    }
    for name, value in lists.items():
        if name != "architectures":
            setattr(short, name, [value[index] for index in kept])
    short.num_hidden_layers = len(kept)
    return short


def _renumber(state: dict[str, Tensor], kept: Sequence[int]) -> dict[str, Tensor]:
    """Drop the tensors of the other layers and count the kept ones from 0.

    In all of ``ARCHITECTURES`` a layer's tensors are named ``…layer.<index>.…`` or ``…layers.<index>.…``.
    """
    place = {old: new for new, old in enumerate(kept)}
    renamed = {}
    for name, tensor in state.items():
        match = re.match(r"((?:\w+\.)*?layers?\.)(\d+)(\..*)", name)
        if match is None:
            renamed[name] = tensor
        elif int(match[2]) in place:
            renamed[f"{match[1]}{place[int(match[2])]}{match[3]}"] = tensor
    return renamed

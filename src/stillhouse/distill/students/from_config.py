"""A student with random weights: a BERT of any size around a tokenizer that already exists.

Nothing is inherited from an encoder, so it needs far more rows than ``keep_layers`` does; it is for
baselines, tests and languages without an encoder::

    model, tokenizer = from_config(
        Path("encoder"), labels=["no", "yes"], seed=7,
        layers=2, hidden_size=128, heads=2, intermediate_size=512,
    )
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from stillhouse.errors import StillhouseError
from stillhouse.student import check_labels

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

_POSITIONS = 512


def from_config(
    tokenizer_from: Path,
    *,
    labels: Sequence[str],
    seed: int,
    layers: int,
    hidden_size: int,
    heads: int,
    intermediate_size: int,
) -> tuple[PreTrainedModel, PreTrainedTokenizerBase]:
    """Return a ``BertForSequenceClassification`` with seeded random weights, and the tokenizer.

    The tokenizer is that of ``tokenizer_from``; vocabulary and padding token are its own, the position table
    has 512 rows. The global random state is left as it was. Raises :class:`StillhouseError` for sizes below
    1, a width that the heads do not divide, fewer than two different labels, or a folder without a tokenizer
    that pads.
    """
    import torch
    from transformers import AutoTokenizer, BertConfig, BertForSequenceClassification

    check_labels(labels)
    sizes = {
        "layers": layers,
        "hidden_size": hidden_size,
        "heads": heads,
        "intermediate_size": intermediate_size,
    }
    for name, size in sizes.items():
        if size < 1:
            raise StillhouseError(f"{name} is {size}", where="from_config", fix=f"give {name} a value of 1 or more")
    if hidden_size % heads:
        raise StillhouseError(
            f"a width of {hidden_size} cannot be shared out to {heads} heads",
            where="from_config",
            fix="choose hidden_size as a multiple of heads",
        )
    try:
        tokenizer = AutoTokenizer.from_pretrained(tokenizer_from, local_files_only=True, trust_remote_code=False)
    except (OSError, ValueError, KeyError) as error:
        raise StillhouseError(
            "no tokenizer can be read from this folder",
            where=str(tokenizer_from),
            fix="name a folder with tokenizer.json",
        ) from error
    if tokenizer.pad_token_id is None:
        raise StillhouseError(
            "the tokenizer has no padding token",
            where=str(tokenizer_from),
            fix="set pad_token in tokenizer_config.json",
        )
    config = BertConfig(
        vocab_size=len(tokenizer),
        hidden_size=hidden_size,
        num_hidden_layers=layers,
        num_attention_heads=heads,
        intermediate_size=intermediate_size,
        max_position_embeddings=_POSITIONS,
        pad_token_id=tokenizer.pad_token_id,
        id2label=dict(enumerate(labels)),
        label2id={label: index for index, label in enumerate(labels)},
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = BertForSequenceClassification(config)
    return model.eval(), tokenizer

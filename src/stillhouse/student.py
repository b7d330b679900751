"""The student: a stock sequence classifier in a folder, as ``transformers`` itself reads and writes it.

``load_classifier`` and ``save_student`` are the only doors between a folder and a model; ``predict_proba`` is
the only way the stages ask a classifier anything, teacher or student::

    model, tokenizer = load_classifier(Path("student"))
    shares = predict_proba(model, tokenizer, ["what a film", "what a bore"])  # (2, K), rows sum to 1
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from stillhouse.errors import StillhouseError
from stillhouse.stock import as_saved, check_stock, quiet, read_stock, unpadded

if TYPE_CHECKING:
    from torch import Tensor
    from transformers import BatchEncoding, PreTrainedConfig, PreTrainedModel, PreTrainedTokenizerBase

# Tokenizers that know no limit claim 1e30; no position table comes near a billion.
_NO_LIMIT = 10**9
_WINDOW = 64  # batches
# These families number positions from padding_idx + 1, so their tables hold that many rows of no use to a
# text.
_OFFSET_POSITIONS = frozenset(
    {
        "camembert",
        "data2vec-text",
        "longformer",
        "mpnet",
        "roberta",
        "roberta-prelayernorm",
        "xlm-roberta",
        "xlm-roberta-xl",
    }
)
_PROBES = (
    "A short text.",
    "Another one, a little longer, with 3 numbers: 1, 20 and 300!",
    "Ünïcode, 漢字 and 🙂",
    "",
)


def load_classifier(folder: Path) -> tuple[PreTrainedModel, PreTrainedTokenizerBase]:
    """Read a sequence classifier and its tokenizer: float32, in eval mode, from safetensors only.

    Nothing is fetched and no code from ``folder`` is run. Raises :class:`StillhouseError` where the folder is
    not such a model, or lacks weights that the classifier needs.
    """
    from transformers import AutoModelForSequenceClassification

    return read_stock(
        AutoModelForSequenceClassification,
        folder,
        dtype="float32",
        kind="a classifier",
        give="give a stock sequence classifier: config.json, model.safetensors, tokenizer files",
        complete="give a trained classifier; an encoder without a head is a base for `keep_layers`",
    )


def save_student(model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, folder: Path) -> None:
    """Write ``model`` and ``tokenizer`` into ``folder``, read them back and compare the logits bit by bit.

    The tokenizer is set to the length limit of the model and freed of the padding that its last caller left
    in it, so that the same student is always the same bytes. Raises :class:`StillhouseError` where the class
    is not one of transformers' own, where the label names do not fit the head, or where what was written
    answers differently.
    """
    check_stock(model, folder, fix="build the student with `keep_layers` or `from_config`")
    names = [model.config.id2label.get(index) for index in range(model.config.num_labels)]
    if None in names or len(set(names)) != len(names) or len(model.config.id2label) != len(names):
        raise StillhouseError(
            f"{model.config.id2label} does not name {model.config.num_labels} different classes",
            where=str(folder),
            fix="give each class its own name in config.id2label, counted from 0",
        )
    model.config.label2id = {name: index for index, name in enumerate(names)}
    as_saved(model, tokenizer)
    tokenizer.model_max_length = max_length(tokenizer, model.config)
    before = _probe(model, tokenizer)
    folder.mkdir(parents=True, exist_ok=True)
    with quiet():
        model.save_pretrained(folder)
        tokenizer.save_pretrained(folder)
    again, tokenizer_again = load_classifier(folder)
    if not before.equal(_probe(again.to(model.device), tokenizer_again)):
        raise StillhouseError(
            "the student read back from disk does not give the logits it gave before it was written",
            where=str(folder),
            fix="save a float32 model of a stock class, on a disk with space left",
        )


def max_length(tokenizer: PreTrainedTokenizerBase, config: PreTrainedConfig) -> int:
    """Return how many tokens, special ones included, the model can take.

    That is the smaller of the tokenizer's limit and the rows of the position table, less the ``padding_idx +
    1`` rows that the RoBERTa family never gives to a text. Raises :class:`StillhouseError` where neither
    knows a limit.
    """
    limits = []
    if tokenizer.model_max_length < _NO_LIMIT:
        limits.append(int(tokenizer.model_max_length))
    rows = getattr(config, "max_position_embeddings", None)
    if isinstance(rows, int) and rows > 0:
        # MPNet counts from 2 whatever its padding token
        padding = 1 if config.model_type == "mpnet" else config.pad_token_id or 0
        limits.append(rows - padding - 1 if config.model_type in _OFFSET_POSITIONS else rows)
    if not limits:
        raise StillhouseError(
            "neither the tokenizer nor the model says how long a text may be",
            where=f"a model of type {config.model_type}",
            fix="set max_length yourself, or model_max_length in tokenizer_config.json",
        )
    return min(limits)


def predict_proba(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    texts: Sequence[str],
    *,
    batch_size: int = 64,
    max_length: int | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> NDArray[np.float32]:
    """Return the class probabilities of every text, (N, K) float32, in the order of ``texts``.

    Texts are batched with others of like length, which spares padding; longer ones are cut at ``max_length``
    tokens (default: what the model can take). ``progress`` hears (texts done, texts in all) after each batch.
    The model's train or eval mode is as before on return; the random state is not touched.
    """
    import torch

    limit = max_length or _limit(tokenizer, model.config)
    shares = np.empty((len(texts), model.config.num_labels), dtype=np.float32)
    done, was_training = 0, model.training
    model.eval()
    try:
        for rows, encoded in batches(tokenizer, texts, max_length=limit, batch_size=batch_size):
            with torch.no_grad():
                shares[rows] = model(**encoded.to(model.device)).logits.float().softmax(dim=-1).cpu().numpy()
            done += len(rows)
            if progress is not None:
                progress(done, len(texts))
    finally:
        model.train(was_training)
    return shares


def batches(
    tokenizer: PreTrainedTokenizerBase, texts: Sequence[str], *, max_length: int, batch_size: int
) -> Iterator[tuple[list[int], BatchEncoding]]:
    """Texts in batches of like length in tokens, which spares padding: places in ``texts``, and tensors (B, S).

    Longer texts are cut at ``max_length`` tokens. The longest come first, so that what does not fit into memory shows
    at once; no more than a window of texts is held in tokens.
    """
    order = sorted(range(len(texts)), key=lambda row: (-len(texts[row]), row))
    for at in range(0, len(order), _WINDOW * batch_size):
        window = order[at : at + _WINDOW * batch_size]
        encoded = tokenizer([texts[row] for row in window], truncation=True, max_length=max_length)
        by_length = sorted(range(len(window)), key=lambda place: (-len(encoded["input_ids"][place]), place))
        for start in range(0, len(by_length), batch_size):
            places = by_length[start : start + batch_size]
            batch = {name: [values[place] for place in places] for name, values in encoded.items()}
            yield [window[place] for place in places], tokenizer.pad(batch, return_tensors="pt")


_limit = max_length  # `predict_proba` has an argument of the same name


def _probe(model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase) -> Tensor:
    """Return the logits of a few fixed texts, (4, K); frees the tokenizer of padding and truncation."""
    import torch

    limit = max_length(tokenizer, model.config)
    encoded = tokenizer(list(_PROBES), padding=True, truncation=True, max_length=limit, return_tensors="pt")
    unpadded(tokenizer)
    with torch.no_grad():
        return model(**encoded.to(model.device)).logits


def check_labels(labels: Sequence[str]) -> None:
    """Raise :class:`StillhouseError` unless ``labels`` are two or more different names."""
    if len(labels) < 2 or len(set(labels)) != len(labels):
        raise StillhouseError(
            f"{list(labels)} are not two or more different labels", where="labels", fix="name each class once"
        )

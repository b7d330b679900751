"""Causal language models in folders: read, written and tried out, and their logits a chunk of positions at a time.

model, tokenizer = load_causal(Path("teacher"))
save_causal(model, tokenizer, Path("student"), ends=[2])  # stock files, read back and compared before it returns
logits_of, vocabulary = chunked_logits(model)
logits_of([[5, 7, 9]])([0, 1])                            # (2, vocabulary) about the second and third token
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from stillhouse.errors import StillhouseError
from stillhouse.stock import as_saved, check_stock, quiet, read_stock

if TYPE_CHECKING:
    from torch import Tensor

_TOLERANCE = 1e-3  # of logits: far above float32 rounding, far below any real difference
_PROBE_TOKENS = 12
_NEW_TOKENS = 20
_PROBES = ("A short text.", "1, 20 and 300!\n\n\tUnder a line", "Ünïcode, 漢字 and 🙂", "  spaces   in  rows ", "")
# settings of a generation config that mean something only when tokens are drawn, or when beams are searched
_DRAWN = ("temperature", "top_p", "top_k", "min_p", "top_h", "typical_p", "epsilon_cutoff", "eta_cutoff")
_BEAMS = ("early_stopping", "length_penalty", "num_return_sequences", "diversity_penalty")


def load_causal(folder: Path, *, dtype: str = "float32", where: str = "") -> tuple[Any, Any]:
    """Read a causal language model and its tokenizer, in eval mode, from safetensors only.

    Nothing is fetched and no code from ``folder`` is run. where: the place to name in errors, else the folder. Raises
    :class:`StillhouseError` where the folder is no such model, or lacks weights that it needs.
    """
    from transformers import AutoModelForCausalLM

    return read_stock(
        AutoModelForCausalLM,
        folder,
        dtype=dtype,
        kind="a language model",
        give="give a transformers folder with config.json, model.safetensors and tokenizer files",
        complete="give the model whose config.json this is",
        where=where,
    )


def save_causal(model: Any, tokenizer: Any, folder: Path, *, ends: Sequence[int] = ()) -> None:
    """Write a stock language model, read it back as users will, and compare.

    ends: ids that end an answer, such as the end of a turn in the chat template. With those that the generation config
    and the tokenizer name they become its ends, so that the model stops where it was taught to. The tokenizer is freed
    of the padding and cutting that its last caller left in it, and the flag of a tied head is set to what the weights
    are. Raises :class:`StillhouseError` where the class is not one of transformers' own, where a token has no row in
    the head, where logits are no numbers, or where what was written gives other logits, splits texts in another way, or
    says something else with a cache than without.
    """
    check_stock(model, folder, fix="merge adapters, and build the student with one of the kinds of `distill.student`")
    _check_rows(model, tokenizer, ends, folder)
    as_saved(model, tokenizer)
    _set_tied(model)
    _set_ends(model, tokenizer, ends)
    before, texts = _probe(model), _split(tokenizer)
    if (before.isnan() | before.isposinf()).any():  # minus infinity is how some models say "never"
        raise StillhouseError(
            "the student's logits are no numbers: some of its weights are NaN or infinite",
            where=str(folder),
            fix="train anew with a lower rate, or take a base whose rows of unused tokens are numbers, too",
        )
    folder.mkdir(parents=True, exist_ok=True)
    with quiet():
        model.save_pretrained(folder)
        tokenizer.save_pretrained(folder)
    again, tokenizer_again = load_causal(folder, dtype=str(model.dtype).removeprefix("torch."))
    again = again.to(model.device)
    if not before.equal(_probe(again)):
        raise StillhouseError(
            "the student read back from disk does not give the logits it gave before it was written",
            where=str(folder),
            fix="save it in the precision in which it was made or loaded, on a disk with space left",
        )
    if texts != _split(tokenizer_again):
        raise StillhouseError(
            "the tokenizer read back from disk splits texts in another way, or has another chat template",
            where=str(folder),
            fix="use a base with the tokenizer of its own family: transformers reads some by the type of the model",
        )
    _check_cache(again.float(), folder)


def _check_rows(model: Any, tokenizer: Any, ends: Sequence[int], folder: Path) -> None:
    # an added token may lie beyond the rows, as gemma-3-1b's stand-in for images does, while no text needs it
    own = tokenizer.backend_tokenizer.get_vocab(False) if tokenizer.is_fast else tokenizer.get_vocab()
    named = (tokenizer.bos_token_id, tokenizer.eos_token_id, tokenizer.pad_token_id, *ends)
    rows, last = (
        len(model.get_input_embeddings().weight),
        max(*own.values(), *(one for one in named if one is not None)),
    )
    if last >= rows:
        raise StillhouseError(
            f"the tokenizer has a token {last} ({tokenizer.convert_ids_to_tokens(last)!r}), the model has {rows} rows",
            where=str(folder),
            fix="resize the base's embeddings to its tokenizer, or take the token out of the tokenizer",
        )


def _set_tied(model: Any) -> None:
    """Readers other than transformers go by the flag alone, and a wrong one loses the head or doubles it."""
    head, embeddings = model.get_output_embeddings(), model.get_input_embeddings()
    for settings in (model.config, model.config.get_text_config()):
        settings.tie_word_embeddings = head.weight is embeddings.weight


def _set_ends(model: Any, tokenizer: Any, ends: Sequence[int]) -> None:
    settings = model.generation_config
    known = settings.eos_token_id
    listed = [] if known is None else known if isinstance(known, list) else [known]
    every = {int(one) for one in (*listed, tokenizer.eos_token_id, *ends) if one is not None}
    settings.eos_token_id = sorted(every)[0] if len(every) == 1 else sorted(every) or None
    if settings.pad_token_id is None:
        settings.pad_token_id = (
            tokenizer.pad_token_id if tokenizer.pad_token_id is not None else min(every, default=None)
        )
    # a teacher's own settings are kept, but they must not contradict each other: saving would fail
    idle = () if settings.do_sample else _DRAWN
    for name in (*idle, *(() if (settings.num_beams or 1) > 1 else _BEAMS)):
        if getattr(settings, name, None) is not None:
            setattr(settings, name, None)


def _split(tokenizer: Any) -> tuple[list[list[int]], Any]:
    """Ids of a few fixed texts, and the chat template."""
    return [list(tokenizer(text)["input_ids"]) for text in _PROBES], tokenizer.chat_template


def _probe_ids(model: Any) -> Tensor:
    import torch

    size = model.config.get_text_config().vocab_size
    ids = [(7919 * place + 1) % size for place in range(2 * _PROBE_TOKENS)]  # fixed, and all over the vocabulary
    return torch.tensor(ids, device=model.device).view(2, _PROBE_TOKENS)


def _probe(model: Any) -> Tensor:
    """Logits (2, L, V) of a few fixed ids."""
    import torch

    with torch.inference_mode(), quiet():
        return model(input_ids=_probe_ids(model), use_cache=False).logits


def _check_cache(model: Any, folder: Path) -> None:
    """Raise :class:`StillhouseError` unless the likeliest tokens, written with a cache, are so without one too.

    The logits of both ways are compared in float32, not just which of them is highest: equal ones may change places.
    """
    import torch

    ids, cache, written, cached = _probe_ids(model)[:1], None, [], []
    start = ids.shape[1] - 1
    with torch.inference_mode(), quiet():
        token = ids
        for _ in range(_NEW_TOKENS):
            output = model(input_ids=token, cache=cache, use_cache=True)
            cache = output.cache
            cached.append(output.logits[:, -1])
            token = cached[-1].argmax(-1, keepdim=True)
            written.append(token)
        whole = model(input_ids=torch.cat([ids, *written[:-1]], 1), use_cache=False).logits[0, start:]
    off = float((whole - torch.cat(cached)).abs().max())
    if not off <= _TOLERANCE * max(1.0, float(whole.abs().max())):
        raise StillhouseError(
            f"with a cache the student's logits are others than without (by {off:.2g})",
            where=str(folder),
            fix="keep another set of layers: the architecture gives some of them a part in its cache",
        )


def chunked_logits(model: Any) -> tuple[Callable[[list[list[int]]], Callable[[Any], Any]], int]:
    """How to get logits, and of which width: a function of ids that gives a function of places in the padded batch.

    The head is run apart from the layers where that gives what the whole model gives; some models change the logits
    behind the head, and theirs are kept for one batch.
    """
    import torch

    head, layers = model.get_output_embeddings(), model.base_model

    def states(ids: Any) -> Any:
        return layers(input_ids=ids, use_cache=False).last_hidden_state.flatten(0, 1)

    def whole(ids: Any) -> Any:
        return model(input_ids=ids, use_cache=False).logits.flatten(0, 1)

    with torch.inference_mode(), quiet():
        # many tokens: what a model does behind its head may not show on one, such as an empty row for padding
        trial = _probe_ids(model)
        logits = whole(trial)
        apart = head is not None and layers is not model
        apart = apart and bool((head(states(trial)) - logits).abs().max() <= _TOLERANCE)

    def run(sequences: list[list[int]]) -> Callable[[Any], Any]:
        width = max(1, *map(len, sequences))
        # filled up on the right, where a causal model does not look
        ids = torch.tensor([[*ids, *[0] * (width - len(ids))] for ids in sequences], device=model.device)
        with torch.inference_mode():
            values = states(ids) if apart else whole(ids)

        def at(places: Any) -> Any:
            with torch.inference_mode():
                chosen = values[torch.as_tensor(places, device=values.device)]
                return (head(chosen) if apart else chosen).float()

        return at

    return run, int(logits.shape[1])

"""Stock transformers models in folders: what classifiers and language models have in common as files.

model, tokenizer = read_stock(AutoModelForCausalLM, folder, dtype="float32", kind="a language model", ...)
check_stock(model, folder, fix=...)      # a class of transformers' own, which others can load
as_saved(model, tokenizer)               # nothing in them that only its last caller wanted
context_of(model)                        # the longest sequence, in tokens
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from stillhouse.errors import StillhouseError, first_line

_NO_LIMIT = 2**31


def read_stock(
    auto: Any, folder: Path, *, dtype: str, kind: str, give: str, complete: str, where: str = ""
) -> tuple[Any, Any]:
    """Read a model and its tokenizer with a class such as ``AutoModelForCausalLM``: in eval mode, safetensors only.

    Nothing is fetched and no code from ``folder`` is run. kind, give, complete: for people; what should be here, what
    to give where it is not, and where weights are missing. where: the place to name in errors, else the folder. Raises
    :class:`StillhouseError` where the folder is no such model, or lacks weights that it needs.
    """
    import torch
    from transformers import AutoTokenizer

    place, local = where or str(folder), {"local_files_only": True, "trust_remote_code": False}
    if not (folder / "config.json").is_file():
        raise StillhouseError(f"this folder cannot be read as {kind}: config.json is missing", where=place, fix=give)
    try:
        with quiet():
            tokenizer = AutoTokenizer.from_pretrained(folder, **local)
            model, found = auto.from_pretrained(
                folder, dtype=getattr(torch, dtype), use_safetensors=True, output_loading_info=True, **local
            )
    except (OSError, ValueError, KeyError, RuntimeError, ImportError) as error:
        raise StillhouseError(
            f"this folder cannot be read as {kind}: {first_line(error)}", where=place, fix=give
        ) from error
    if found["missing_keys"]:
        # left alone, transformers would fill these with random numbers and answer all the same
        missing = ", ".join(sorted(found["missing_keys"])[:4])
        raise StillhouseError(f"weights are missing: {missing}", where=place, fix=complete)
    return model.eval(), tokenizer


def check_stock(model: Any, folder: Path, *, fix: str) -> None:
    """Raise :class:`StillhouseError` unless the class is one that a plain installation of transformers has."""
    if not type(model).__module__.startswith("transformers.models."):
        raise StillhouseError(
            f"{type(model).__name__} is not a stock transformers class: others could not load it",
            where=str(folder),
            fix=fix,
        )


def as_saved(model: Any, tokenizer: Any) -> None:
    """Make both as their files have them: in eval mode, whole tensors, and no padding or cutting left by a call."""
    model.eval()
    for tensor in (*model.parameters(), *model.buffers()):
        tensor.data = tensor.data.contiguous()  # safetensors refuses views that skip memory
    unpadded(tokenizer)


def unpadded(tokenizer: Any) -> None:
    """Free a tokenizer of the padding and cutting that a call left in it, from where they would get into its file."""
    if tokenizer.is_fast:
        tokenizer.backend_tokenizer.no_padding()
        tokenizer.backend_tokenizer.no_truncation()


def context_of(model: Any) -> int:
    """The longest sequence that a language model was made for, in tokens; beyond all lengths where it has no limit."""
    return int(getattr(model.config.get_text_config(), "max_position_embeddings", 0) or _NO_LIMIT)


@contextmanager
def quiet() -> Iterator[None]:
    """Keep transformers from writing bars and load reports to the terminal; we check what they say."""
    from transformers.utils import logging

    level, bars = logging.get_verbosity(), logging.is_progress_bar_enabled()
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    try:
        yield
    finally:
        logging.set_verbosity(level)
        if bars:
            logging.enable_progress_bar()

"""A vocabulary cut down to what the data need: fewer rows in the embeddings and the head, the same text in and out.

    trimmed = trim_vocabulary(model, tokenizer, used=ids_of_all_texts)
    trimmed.model, trimmed.tokenizer
    trimmed.teacher_ids[7]              # the id that the student's token 7 had before

For byte-pair encodings (the ``BPE`` model of ``tokenizers``). Kept are the tokens that are used, every added and single
character or byte token, and all that a kept token is merged from, with the merges among them in their order. A text
made of used tokens is split as before: every merge on its way is kept, so that the lowest-ranked one is the same at
each step. Any other text is split into smaller pieces, down to bytes, and decodes to itself.
"""

from __future__ import annotations

import copy
import json
import tempfile
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from stillhouse.errors import StillhouseError
from stillhouse.stock import quiet

Pair = tuple[str, str]


@dataclass(frozen=True)
class Trimmed:
    """teacher_ids: for each of the student's tokens the id that it had before, rising."""

    model: Any
    tokenizer: Any
    teacher_ids: tuple[int, ...]


def trim_vocabulary(model: Any, tokenizer: Any, *, used: Iterable[int]) -> Trimmed:
    """The model and tokenizer with only the tokens that ``used`` needs; both given ones stay as they are.

    Raises :class:`StillhouseError` for a tokenizer that is no byte-pair encoding or marks the borders of words in its
    tokens, and where the tokenizer has tokens that the model has no row for.
    """
    check_trimmable(tokenizer)
    rules = json.loads(tokenizer.backend_tokenizer.to_str())
    vocabulary: dict[str, int] = rules["model"]["vocab"]
    merges = [_pair(merge) for merge in rules["model"]["merges"]]
    needed = {*used, *_named(model, tokenizer)}
    kept = _closed(vocabulary, merges, needed, {one["id"] for one in rules["added_tokens"]})
    teacher_ids = tuple(sorted(kept))
    if teacher_ids[-1] >= len(model.get_input_embeddings().weight):
        raise StillhouseError(
            f"the tokenizer has a token {teacher_ids[-1]}, the model has no row for it",
            where="distill.student.base",
            fix="resize the base's embeddings to its tokenizer, or take the token out of the tokenizer",
        )
    new = {old: number for number, old in enumerate(teacher_ids)}
    return Trimmed(_shrunk(model, teacher_ids, new), _rewritten(tokenizer, rules, merges, new), teacher_ids)


def check_trimmable(tokenizer: Any) -> None:
    """Raise :class:`StillhouseError` where tokens cannot be taken out of this tokenizer; no model is needed."""
    rules = json.loads(tokenizer.backend_tokenizer.to_str())["model"] if tokenizer.is_fast else {"type": "slow"}
    if rules["type"] != "BPE":
        raise StillhouseError(
            f"tokens cannot be taken out of a {rules['type']} tokenizer",
            where="distill.student.vocabulary",
            fix="set it to all; byte-pair encodings can be trimmed",
        )
    if rules.get("end_of_word_suffix") or rules.get("continuing_subword_prefix"):
        raise StillhouseError(
            "tokens cannot be taken out of a tokenizer that marks the beginnings or ends of words in them",
            where="distill.student.vocabulary",
            fix="set it to all",
        )


def _named(model: Any, tokenizer: Any) -> set[int]:
    """Ids that begin, end or fill up a text, also where they are ordinary tokens that no text uses."""
    found = set(tokenizer.all_special_ids)
    for settings in (model.config, model.config.get_text_config(), model.generation_config):
        for name in ("bos_token_id", "eos_token_id", "pad_token_id", "decoder_start_token_id"):
            told = getattr(settings, name, None)
            found.update(told if isinstance(told, list) else () if told is None else (told,))
    return found


def _pair(merge: Sequence[str] | str) -> Pair:
    left, right = merge.split(" ", 1) if isinstance(merge, str) else merge
    return left, right


def _closed(vocabulary: dict[str, int], merges: Sequence[Pair], used: set[int], added: Collection[int]) -> set[int]:
    """Ids that are used, added or single, and all that any of them is merged from."""
    words = {number: word for word, number in vocabulary.items()}
    ranks = {pair: rank for rank, pair in enumerate(merges)}
    single = {number for word, number in vocabulary.items() if len(word) == 1 or _is_byte(word)}
    kept = {one for one in used | single | set(added) if one in words or one in added}
    for number in list(kept):
        if number in words and number not in added:
            kept |= {vocabulary[piece] for piece in _pieces(words[number], ranks) if piece in vocabulary}
    return kept


def _is_byte(word: str) -> bool:
    return len(word) == 6 and word.startswith("<0x") and word.endswith(">")


def _pieces(word: str, ranks: dict[Pair, int]) -> set[str]:
    """What the word is merged from, step by step, the lowest-ranked merge first."""
    parts = list(word)
    found = set(parts)
    while len(parts) > 1:
        pairs = [(ranks.get((parts[at], parts[at + 1]), len(ranks)), at) for at in range(len(parts) - 1)]
        rank, at = min(pairs)
        if rank == len(ranks):
            break
        parts[at : at + 2] = [parts[at] + parts[at + 1]]
        found.add(parts[at])
    return found


def _rewritten(tokenizer: Any, rules: dict[str, Any], merges: Sequence[Pair], new: dict[int, int]) -> Any:
    """A tokenizer of the same kind and settings over the new ids, by way of its own files."""
    from transformers import AutoTokenizer

    changed = copy.deepcopy(rules)
    vocabulary = {word: new[number] for word, number in rules["model"]["vocab"].items() if number in new}
    changed["model"]["vocab"] = vocabulary
    known = {*vocabulary}
    changed["model"]["merges"] = [list(pair) for pair in merges if known >= {*pair, "".join(pair)}]
    for one in changed["added_tokens"]:
        one["id"] = new[one["id"]]
    _renumber_specials(changed.get("post_processor"), new)
    with tempfile.TemporaryDirectory() as folder, quiet():
        tokenizer.save_pretrained(folder)
        (Path(folder) / "tokenizer.json").write_text(json.dumps(changed, ensure_ascii=False), encoding="utf-8")
        settings = Path(folder) / "tokenizer_config.json"
        told = json.loads(settings.read_text("utf-8"))
        if "added_tokens_decoder" in told:
            told["added_tokens_decoder"] = {
                str(new[int(one)]): row for one, row in told["added_tokens_decoder"].items()
            }
            settings.write_text(json.dumps(told, ensure_ascii=False), encoding="utf-8")
        return AutoTokenizer.from_pretrained(folder, local_files_only=True, trust_remote_code=False)


def _renumber_specials(node: Any, new: dict[int, int]) -> None:
    """New ids in whatever puts special tokens around a text."""
    if isinstance(node, list):
        for one in node:
            _renumber_specials(one, new)
    elif isinstance(node, dict):
        if isinstance(node.get("ids"), list):
            node["ids"] = [new[one] for one in node["ids"]]
        for name in {"cls", "sep"} & set(node):  # a pair of token and id, in the tokenizers of BERT and RoBERTa
            node[name] = [node[name][0], new[node[name][1]]]
        for one in node.values():
            _renumber_specials(one, new)


def _shrunk(model: Any, teacher_ids: Sequence[int], new: dict[int, int]) -> Any:
    """The model with the rows of the kept tokens alone, and every id in its settings renumbered."""
    import torch
    from transformers import AutoModelForCausalLM

    config = copy.deepcopy(model.config)
    for settings in {id(one): one for one in (config, config.get_text_config())}.values():
        settings.vocab_size = len(teacher_ids)
        _renumber(settings, new)
    rows = torch.tensor(teacher_ids)
    # a tied matrix has two names, and both have to shrink
    places = {one.data_ptr() for layer in _ends(model) for one in layer.parameters()}
    state = {name: one[rows].clone() if one.data_ptr() in places else one for name, one in model.state_dict().items()}
    with quiet():
        student = AutoModelForCausalLM.from_config(config, dtype=model.dtype)
    student.load_state_dict(state)
    student.tie_weights()
    student.generation_config = copy.deepcopy(model.generation_config)
    _renumber(student.generation_config, new)
    return student.eval()


def _ends(model: Any) -> tuple[Any, Any]:
    return model.get_input_embeddings(), model.get_output_embeddings()


def _renumber(settings: Any, new: dict[int, int]) -> None:
    """Every field that names tokens by their ids; ids that are gone leave the lists."""
    for name, value in list(vars(settings).items()):
        if not name.endswith(("_token_id", "_token_ids", "suppress_tokens", "words_ids")):  # not `max_new_tokens`
            continue
        if isinstance(value, int) and not isinstance(value, bool):
            setattr(settings, name, new.get(value))
        elif isinstance(value, list):
            setattr(settings, name, _list(value, new))


def _list(values: list[Any], new: dict[int, int]) -> list[Any]:
    if any(isinstance(one, list) for one in values):
        found = [_list(one, new) for one in values]
        return [one for one, before in zip(found, values, strict=True) if len(one) == len(before)]
    return [new[one] for one in values if one in new]

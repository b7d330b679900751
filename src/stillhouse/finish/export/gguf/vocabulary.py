"""A tokenizer as llama.cpp stores it: tokens with their kinds, merges or scores, special ids, and the chat template.

    found = read_vocabulary(tokenizer, rows=49152, ends=[2])
    found.problems or found.vocabulary.tokens[2]              # "<|im_end|>"

What the runtime would read in another way is a problem, and the file is not written.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from stillhouse.finish.export.gguf.splitting import Kind, Unknown, kind_of

Pair = tuple[str, str]
# llama.cpp's kinds of tokens
NORMAL, UNKNOWN, CONTROL, OWN, UNUSED, BYTE = 1, 2, 3, 4, 5, 6
_ENDS = ("eos", "eot", "eom")  # the three places for a token that ends an answer
# control characters, bytes that UTF-8 does not have, and those that begin planes without characters
_NO_TEXT = {*range(0x20), 0x7F, 0xC0, 0xC1, 0xF1, 0xF2, *range(0xF4, 0x100)} - {0x09, 0x0A, 0x0D}
_MOST = 4  # tokens named in a message


@dataclass(frozen=True)
class Vocabulary:
    """V tokens. types (V,): see above. merges: of bytes, in their order. scores (V,): of SentencePiece, else empty.

    begins, ends: whether a text is put between those tokens. special: name -> id, of those there are. templates: name
    -> chat template; the one that is meant is called ``""``.
    """

    kind: Kind
    tokens: tuple[str, ...]
    types: tuple[int, ...]
    merges: tuple[str, ...]
    scores: tuple[float, ...]
    special: Mapping[str, int]
    begins: bool
    ends: bool
    templates: Mapping[str, str]


@dataclass(frozen=True)
class Reading:
    """A vocabulary, or the problems that stand against it; notes: what is the same only for most texts."""

    vocabulary: Vocabulary | None
    problems: tuple[str, ...] = ()
    notes: tuple[str, ...] = field(default=())


def read_vocabulary(tokenizer: Any, *, rows: int, ends: Sequence[int]) -> Reading:
    """Read a loaded tokenizer for a model with ``rows`` rows in its embeddings, whose answers end with one of ``ends``.

    Rows beyond the tokenizer's tokens get names of their own that no text matches; tokens beyond the rows are left out,
    as no model could read them.
    """
    if not tokenizer.is_fast:
        return Reading(None, ("it has no definition in tokenizer.json",))
    rules = json.loads(tokenizer.backend_tokenizer.to_str())
    kind = kind_of(rules)
    if isinstance(kind, Unknown):
        return Reading(None, (kind.why,))
    words: dict[str, int] = rules["model"]["vocab"]
    added = {int(one["id"]): one for one in rules["added_tokens"]}
    merges = [_pair(merge) for merge in rules["model"]["merges"]]
    begins, ends_too, why = _around(tokenizer)
    special, more = _special(tokenizer, ends, ends_too)
    problems = [*why, *more, *_added_problems(added, kind), *_alphabet_problems(words, kind)]
    if kind.model == "llama":
        problems += _merge_problems(words, merges, added)
    problems += [f"the {name} token {one} has no row in the model" for name, one in special.items() if one >= rows]
    if problems:
        return Reading(None, tuple(problems))
    tokens, types = _tokens(words, added, rows, kind, special.get("unknown"))
    left = sorted(one for one in {*words.values(), *added} if one >= rows)
    templates = tokenizer.chat_template or {}
    if isinstance(templates, str):
        templates = {"": templates}
    found = Vocabulary(
        kind,
        tokens,
        types,
        tuple(f"{left} {right}" for left, right in merges) if kind.model == "gpt2" else (),
        _scores(tokens, merges) if kind.model == "llama" else (),
        special,
        begins,
        ends_too,
        {"" if name == "default" else str(name): str(text) for name, text in templates.items()},
    )
    notes = [kind.note] if kind.note else []
    if left:
        notes.append(f"tokens beyond the model's {rows} rows are left out: {', '.join(map(str, left[:_MOST]))}")
    if not templates:
        notes.append("the tokenizer has no chat template; llama.cpp puts one of its own around messages")
    return Reading(found, (), tuple(notes))


def _pair(merge: Sequence[str] | str) -> Pair:
    left, right = merge.split(" ", 1) if isinstance(merge, str) else merge
    return left, right


def _around(tokenizer: Any) -> tuple[bool, bool, list[str]]:
    """Whether texts get a beginning and an end; the runtime can put one known token on each side."""
    plain = list(tokenizer("a", add_special_tokens=False)["input_ids"])
    whole = list(tokenizer("a")["input_ids"])
    for begins in (False, True):
        for ends in (False, True):
            head = [tokenizer.bos_token_id] if begins else []
            tail = [tokenizer.eos_token_id] if ends else []
            if whole == [*head, *plain, *tail]:
                return begins, ends, []
    return False, False, ["it puts other tokens around a text than one beginning and one end"]


def _special(tokenizer: Any, ends: Sequence[int], ends_too: bool) -> tuple[dict[str, int], list[str]]:
    """Special ids by the runtime's names. Ends of an answer come first; the tokenizer's own goes first among them."""
    listed = list(dict.fromkeys(int(one) for one in ends))
    own = tokenizer.eos_token_id
    if own is not None and (own in listed or ends_too or not listed):
        listed = [own, *(one for one in listed if one != own)]
    found = dict(zip(_ENDS, listed, strict=False))
    for name, value in (
        ("bos", tokenizer.bos_token_id),
        ("unknown", tokenizer.unk_token_id),
        ("padding", tokenizer.pad_token_id),
    ):
        if value is not None:
            found[name] = int(value)
    if not listed:
        # llama.cpp would take an ordinary token for it
        return found, ["no token ends an answer"]
    if tokenizer.bos_token_id is None and "bos_token" in str(tokenizer.chat_template):
        return found, ["the chat template writes a beginning that the tokenizer does not have"]
    if len(listed) > len(_ENDS):
        return found, [f"answers end with {len(listed)} tokens, and llama.cpp takes {len(_ENDS)}: {listed}"]
    return found, []


def _added_problems(added: Mapping[int, Mapping[str, Any]], kind: Kind) -> list[str]:
    problems = []
    for flag, meaning in (
        ("lstrip", "swallow the space before them"),
        ("rstrip", "swallow the space after them"),
        ("single_word", "are found as whole words only"),
        ("normalized", "are looked for in the changed text"),
    ):
        if flag == "normalized" and not (kind.model == "llama" and kind.spaced):
            continue  # there is nothing that changes a text so that they would be missed, or found elsewhere
        odd = [str(one["content"]) for one in added.values() if one.get(flag)]
        if odd:
            problems.append(f"tokens that {meaning} are unknown to llama.cpp: {_some(odd)}")
    return problems


def _alphabet_problems(words: Mapping[str, int], kind: Kind) -> list[str]:
    """Every byte of ordinary text needs a token: where one has none, both leave it out, but not at the same moment."""
    if kind.model == "llama":
        lacking = [one for one in range(256) if f"<0x{one:02X}>" not in words]
    else:
        lacking = [one for one, letter in _letters().items() if letter not in words and one not in _NO_TEXT]
    return [f"{len(lacking)} bytes of ordinary text have no token"] if lacking else []


def _letters() -> dict[int, str]:
    """The character that stands for each byte in byte-level tokens: itself where it can be seen, as in GPT-2."""
    seen = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    rest = [one for one in range(256) if one not in seen]
    return {one: chr(one) for one in seen} | {one: chr(256 + place) for place, one in enumerate(rest)}


def _merge_problems(words: Mapping[str, int], merges: Sequence[Pair], added: Mapping[int, Any]) -> list[str]:
    """llama.cpp puts any two pieces together that make a token, the best token first; here only listed pairs do.

    Both are the same where every pair that makes a token is listed, and all pairs of one token stand together.
    """
    listed, order = set(merges), list(dict.fromkeys(left + right for left, right in merges))
    seen: list[str] = []
    for left, right in merges:
        if not seen or seen[-1] != left + right:
            seen.append(left + right)
    if len(seen) != len(order):
        return ["the merges of one token do not stand together, so no score can stand for their order"]
    own = {word for word, one in words.items() if one not in added and not _is_byte(word)}
    made = set(order)
    absent = [word for word in own if len(word) > 1 and word not in made]
    if absent:
        return [f"tokens that no merge makes, and llama.cpp would: {_some(absent)}"]
    for word in order:
        for at in range(1, len(word)):
            pair = (word[:at], word[at:])
            if pair not in listed and all(piece in own for piece in pair):
                return [f"{pair[0]!r} and {pair[1]!r} are not merged, and llama.cpp would merge them to a token"]
    return []


def _is_byte(word: str) -> bool:
    return len(word) == 6 and word.startswith("<0x") and word.endswith(">")


def _tokens(
    words: Mapping[str, int], added: Mapping[int, Mapping[str, Any]], rows: int, kind: Kind, unknown: int | None
) -> tuple[tuple[str, ...], tuple[int, ...]]:
    names = {one: word for word, one in words.items()} | {key: str(one["content"]) for key, one in added.items()}
    taken = set(names.values())
    tokens, types = [], []
    for row in range(rows):
        word = names.get(row)
        if word is None:
            word = f"[UNUSED{row}]"
            while word in taken:
                word = f"[{word}]"
            types.append(UNUSED)
        elif row in added:
            types.append(CONTROL if added[row].get("special") else OWN)
        elif row == unknown:
            types.append(UNKNOWN)
        else:
            types.append(BYTE if kind.model == "llama" and _is_byte(word) else NORMAL)
        tokens.append(word)
    return tuple(tokens), tuple(types)


def _scores(tokens: Sequence[str], merges: Sequence[Pair]) -> tuple[float, ...]:
    """The earlier a token's merges stand, the higher its score; what is not merged is never compared."""
    place = {word: -float(rank) for rank, word in enumerate(dict.fromkeys(left + right for left, right in merges))}
    last = -float(len(place))
    return tuple(place.get(word, last) for word in tokens)


def _some(words: Sequence[str]) -> str:
    named = ", ".join(map(repr, words[:_MOST]))
    return named if len(words) <= _MOST else f"{named} and {len(words) - _MOST} more"

"""How a tokenizer splits texts, and what llama.cpp calls that: told from the rules themselves, never from a name.

    kind = kind_of(rules, strict_reading_of=tokenizer.json)    # Kind("gpt2", "smollm", …), or Unknown("why")

llama.cpp has its ways of splitting built in, each under a name. A file with another one loads, and splits texts in
another way: the model then reads what it was never taught. So a tokenizer is one of those below, by its own rules, or
it is refused. Each is held against transformers in the tests. Two that llama.cpp has a name for are left out, `tekken`
and `gpt-4o`: it splits Hindi and Thai in another way there than their own rules do.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

SPACE = "\u2581"  # what stands for a space in the tokens of SentencePiece
NOTE_NFC = "llama.cpp does not put accents and letters together (NFC): decomposed text gives other ids there than here"

_TAIL = r" ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
_SHORT = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)"
GPT2 = r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+"
LLAMA3 = rf"{_SHORT}|[^\r\n\p{{L}}\p{{N}}]?\p{{L}}+|\p{{N}}{{1,3}}|{_TAIL}"
QWEN2 = rf"{_SHORT}|[^\r\n\p{{L}}\p{{N}}]?\p{{L}}+|\p{{N}}|{_TAIL}"

Step = tuple[str, ...]
_BYTES: Step = ("ByteLevel", "False")  # bytes as characters, no splitting


def _split(pattern: str) -> tuple[Step, ...]:
    return (("Split", pattern, "Isolated", "False"), _BYTES)


# (steps, whether a word that is a token skips its merges): name
_BYTE_LEVEL: Mapping[tuple[tuple[Step, ...], bool], str] = {
    ((("ByteLevel", "True"),), False): "gpt-2",
    (_split(GPT2), False): "gpt-2",
    ((("Digits", "True"), ("ByteLevel", "True")), False): "smollm",
    (_split(LLAMA3), True): "llama-bpe",
    (_split(LLAMA3), False): "smaug-bpe",
    (_split(QWEN2), False): "qwen2",
}
_REPLACE: Step = ("Replace", " ", SPACE)
# normalizer and pre-tokenizer: whether a space is put before a text
_SPACED: Mapping[tuple[tuple[Step, ...], tuple[Step, ...]], bool] = {
    ((("Prepend", SPACE), _REPLACE), ()): True,
    ((_REPLACE,), ()): False,
    # with the spaces replaced there is nothing left to split at
    ((_REPLACE,), (("Split", " ", "MergedWithPrevious", "False"),)): False,
    ((), (("Metaspace", SPACE, "never", "False"),)): False,
}


@dataclass(frozen=True)
class Kind:
    """model: ``gpt2`` (bytes) or ``llama`` (SentencePiece). pre: the runtime's name for how words are split. spaced:
    whether a space is put before each text. note: what is not the same, in plain words."""

    model: str
    pre: str
    spaced: bool = False
    note: str = ""


@dataclass(frozen=True)
class Unknown:
    """why: what llama.cpp has no name for, in plain words."""

    why: str


def kind_of(rules: Mapping[str, Any]) -> Kind | Unknown:
    """What llama.cpp calls this way of splitting; rules: the content of ``tokenizer.json``."""
    model = rules["model"]
    if model["type"] != "BPE":
        return Unknown(f"it is a {model['type']} tokenizer; byte-pair encodings are written")
    odd = [name for name in ("dropout", "continuing_subword_prefix", "end_of_word_suffix") if model.get(name)]
    if odd:
        return Unknown(f"its byte-pair encoding has a {' and a '.join(odd)}")
    before, splits = _steps(rules.get("normalizer")), _steps(rules.get("pre_tokenizer"))
    if model.get("byte_fallback"):
        spaced = _SPACED.get((before, splits))
        if spaced is None:
            return Unknown(f"spaces are written in a way that llama.cpp does not have: {_words(before + splits)}")
        return Kind("llama", "default", spaced=spaced)
    if before not in ((), (("NFC",),)):
        return Unknown(f"texts are changed before they are split: {_words(before)}")
    name = _BYTE_LEVEL.get((splits, bool(model.get("ignore_merges"))))
    if name is None:
        return Unknown(f"llama.cpp has no name for this way of splitting: {_words(splits)}")
    return Kind("gpt2", name, note=NOTE_NFC if before else "")


def _steps(node: Mapping[str, Any] | None) -> tuple[Step, ...]:
    """The steps of a normalizer or pre-tokenizer, each with all that changes what it does."""
    if node is None:
        return ()
    kind = node["type"]
    if kind == "Sequence":
        inner: Sequence[Mapping[str, Any]] = node.get("normalizers") or node.get("pretokenizers") or ()
        return tuple(step for one in inner for step in _steps(one))
    if kind == "ByteLevel":
        spaced = ("with a space before",) if node.get("add_prefix_space") else ()
        return (("ByteLevel", str(bool(node.get("use_regex", True))), *spaced),)
    told = [str(value) for name, value in sorted(node.items(), key=_order) if name not in ("type", "pattern")]
    pattern = node.get("pattern")
    found = [str(one) for one in pattern.values()] if isinstance(pattern, Mapping) else []
    return ((kind, *found, *told),)


def _order(item: tuple[str, Any]) -> int:
    wanted = ("replacement", "content", "prepend", "prepend_scheme", "behavior", "invert", "split")
    return wanted.index(item[0]) if item[0] in wanted else len(wanted)


def _words(steps: Sequence[Step]) -> str:
    return ", then ".join(" ".join(step) for step in steps) or "nothing"

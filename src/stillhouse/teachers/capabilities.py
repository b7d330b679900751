"""What a teacher can give, told from its files before anything is loaded, and refused where a recipe needs more.

    capabilities_of(files)                              # frozenset({"label-probabilities", "text", …})
    require(files, "label-probabilities", what="a text classifier")

A model without a language head would load as a causal model all the same, with a head of random numbers, and answer.
"""

from __future__ import annotations

import json
from collections.abc import Mapping

from stillhouse.addresses import Files
from stillhouse.errors import StillhouseError
from stillhouse.teachers.protocol import Capability

CAUSAL: frozenset[Capability] = frozenset({"label-probabilities", "text", "next-token-distributions"})
CLASSIFIER: frozenset[Capability] = frozenset({"label-probabilities"})
ENCODER: frozenset[Capability] = frozenset({"vectors"})
# classifiers whose scores are no choice among labels, as their configs say
_NO_CHOICE = {
    "multi_label_classification": "says yes or no to each label by itself",
    "regression": "gives numbers",
}
_CAUSAL = ("ForCausalLM", "LMHeadModel", "ForConditionalGeneration")


def capabilities_of(files: Files) -> frozenset[Capability]:
    """By the architectures in ``config.json``; a GGUF file, and a config that names none, is held to be causal."""
    return _capabilities(_config_of(files))


def _config_of(files: Files) -> Mapping[str, object] | None:
    path = next((path for path in files.files if path.name == "config.json"), None)
    if path is None:
        return None
    try:
        config = json.loads(path.read_text("utf-8"))
        return {**config}
    except (OSError, ValueError, TypeError) as error:
        raise StillhouseError(
            f"config.json cannot be read: {error}", where=str(path), fix="fetch the model again"
        ) from error


def _capabilities(config: Mapping[str, object] | None) -> frozenset[Capability]:
    listed = None if config is None else config.get("architectures")
    names = [str(name) for name in listed] if isinstance(listed, list) else []
    if not names or any(name.endswith(_CAUSAL) for name in names):
        return CAUSAL
    if any(name.endswith("ForSequenceClassification") for name in names):
        return CLASSIFIER
    return ENCODER


def require(files: Files, capability: Capability, *, what: str) -> None:
    """Raise :class:`StillhouseError` where the model cannot give what ``what`` is made of."""
    config = _config_of(files)
    gives = _capabilities(config)
    if capability not in gives:
        raise StillhouseError(
            f"{what} is taught from {capability}, and this model gives {', '.join(sorted(gives))} only",
            where=files.address,
            fix="take a causal language model, or a sequence classifier with the recipe's labels",
        )
    kind = (config or {}).get("problem_type")
    if gives == CLASSIFIER and kind in _NO_CHOICE:
        raise StillhouseError(
            f"{what} is taught one label of several, and this model {_NO_CHOICE[str(kind)]} (`problem_type`: {kind})",
            where=files.address,
            fix="take a classifier that was trained to choose one label: a softmax over these scores means nothing",
        )


def has_template(files: Files) -> bool | None:
    """Whether a model's tokenizer says how messages become text; ``None`` where the files do not tell."""
    by_name = {path.name: path for path in files.files}
    if "chat_template.jinja" in by_name or "chat_template.json" in by_name:
        return True
    path = by_name.get("tokenizer_config.json")
    if path is None:
        return None
    try:
        return bool(json.loads(path.read_text("utf-8")).get("chat_template"))
    except (OSError, ValueError, AttributeError):
        return None  # whoever loads it will say what is wrong

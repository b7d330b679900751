"""What a teacher can give, told from its files before anything is loaded, and refused where a recipe needs more.

    capabilities_of(files)                              # frozenset({"label-probabilities", "text", …})
    require(files, "label-probabilities", what="a text classifier")

A model without a language head would load as a causal model all the same, with a head of random numbers, and answer.
"""

from __future__ import annotations

import json

from stillhouse.addresses import Files
from stillhouse.errors import StillhouseError
from stillhouse.teachers.protocol import Capability

CAUSAL: frozenset[Capability] = frozenset({"label-probabilities", "text", "next-token-distributions"})
CLASSIFIER: frozenset[Capability] = frozenset({"label-probabilities"})
ENCODER: frozenset[Capability] = frozenset({"vectors"})
_CAUSAL = ("ForCausalLM", "LMHeadModel", "ForConditionalGeneration")


def capabilities_of(files: Files) -> frozenset[Capability]:
    """By the architectures in ``config.json``; a GGUF file, and a config that names none, is held to be causal."""
    path = next((path for path in files.files if path.name == "config.json"), None)
    if path is None:
        return CAUSAL
    try:
        config = json.loads(path.read_text("utf-8"))
        names = [str(name) for name in config.get("architectures") or []]
    except (OSError, ValueError, AttributeError) as error:
        raise StillhouseError(
            f"config.json cannot be read: {error}", where=str(path), fix="fetch the model again"
        ) from error
    if not names or any(name.endswith(_CAUSAL) for name in names):
        return CAUSAL
    if any(name.endswith("ForSequenceClassification") for name in names):
        return CLASSIFIER
    return ENCODER


def require(files: Files, capability: Capability, *, what: str) -> None:
    """Raise :class:`StillhouseError` where the model cannot give what ``what`` is made of."""
    gives = capabilities_of(files)
    if capability not in gives:
        raise StillhouseError(
            f"{what} is taught from {capability}, and this model gives {', '.join(sorted(gives))} only",
            where=files.address,
            fix="take a causal language model, or a sequence classifier with the recipe's labels",
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

"""The flag of a common base: are teacher and student descendants of one model?

    kin = kinship(teacher, student)          # kin.same, and kin.reasons in plain words
    drafts = [same_base(teacher, student)]

A student that starts from its teacher's own base takes over traits of the teacher, wanted or not, from data that have
nothing to do with them: numbers, code, filtered reasoning (Cloud et al. 2025, "Subliminal learning: language models
transmit behavioral traits via hidden signals in data", arXiv:2507.14805). It is proved for a shared initialization and
was not seen between unlike bases; looking through the training data does not find it. So the flag says that a clean
look of the data is no evidence, and that answers of the student on what it was not taught should be looked at.

What tells it: the architecture, its widths, the tokenizer, and above all the weights themselves. The rows of the two
embeddings that stand for the same tokens point in the same directions (a mean cosine near one, which training moves
little) only where one was made from the other; between models trained apart it is near zero whatever they learned.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from stillhouse.finish.audit.writing.identity import known_names
from stillhouse.finish.audit.writing.judging import Draft, not_judged, reported
from stillhouse.finish.generation.speaker import Speaker

PROBE = "same base"
SAME_WEIGHTS = 0.5  # mean cosine; models trained apart lie below 0.1, an embedding after fine-tuning above 0.9
_ROWS = 4096  # tokens looked at
# of a configuration, what stays the same in a student made from its base by leaving out layers
_WIDTHS = ("hidden_size", "intermediate_size", "num_attention_heads", "num_key_value_heads", "head_dim")


@dataclass(frozen=True)
class Kinship:
    """similarity: the mean cosine of common embedding rows, ``None`` where widths differ."""

    same: bool
    architecture: bool
    widths: bool
    tokenizer: bool
    similarity: float | None
    reasons: tuple[str, ...]


def kinship(teacher: Speaker, student: Speaker) -> Kinship:
    """What the files of both say of their descent."""
    one, two = (speaker.model.config.get_text_config() for speaker in (teacher, student))
    architecture = one.model_type == two.model_type
    widths = all(getattr(one, name, None) == getattr(two, name, None) for name in _WIDTHS)
    tokenizer = tokenizer_digest(teacher.tokenizer) == tokenizer_digest(student.tokenizer)
    similarity = _similarity(teacher, student)
    weights = similarity is not None and similarity >= SAME_WEIGHTS
    reasons = [
        text
        for holds, text in (
            (weights, f"their embeddings are alike (mean cosine {similarity or 0.0:.2f})"),
            (architecture, f"both are of the architecture {one.model_type}"),
            (widths, f"they are equally wide ({one.hidden_size})"),
            (tokenizer, "they have the same tokenizer"),
        )
        if holds
    ]
    return Kinship(weights, architecture, widths, tokenizer, similarity, tuple(reasons))


def same_base(teacher: Speaker | None, student: Speaker, *, teacher_name: str = "", base_name: str = "") -> Draft:
    """The flag, reported: value 1 where they have a common base, 0 where not.

    teacher_name, base_name: of a teacher that does not run here and the student's base, as ids or addresses; then their
    families are compared, which is weaker.
    """
    if teacher is None:
        ours, theirs = known_names(base_name), known_names(teacher_name)
        if not ours or not theirs:
            return not_judged(PROBE, "common base", words="The teacher does not run here, and its family is not known.")
        common = set(ours) & set(theirs)
        told = f"{theirs[0]} by name" if common else f"{theirs[0]} and {ours[0]} by name"
        return _flag(bool(common), None, f"Teacher and student are of the family {told}", n=0)
    kin = kinship(teacher, student)
    if kin.same:
        return _flag(True, kin.similarity, f"Teacher and student have a common base: {', '.join(kin.reasons)}", n=1)
    if kin.architecture and kin.tokenizer:
        words = f"Teacher and student may be of one family, but their weights are not: {', '.join(kin.reasons)}"
        return _flag(False, kin.similarity, words, n=1)
    return _flag(False, kin.similarity, "Teacher and student have no common base", n=1)


def tokenizer_digest(tokenizer: Any) -> str:
    """SHA-256 of how text is cut: vocabulary and merges, without what callers leave in it."""
    backend = getattr(tokenizer, "backend_tokenizer", None)
    if backend is None:
        state: Mapping[str, Any] = {"kind": type(tokenizer).__name__, "vocabulary": tokenizer.get_vocab()}
    else:
        read = json.loads(backend.to_str())
        state = {name: read.get(name) for name in ("normalizer", "pre_tokenizer", "model", "decoder")}
    return hashlib.sha256(json.dumps(state, sort_keys=True, ensure_ascii=True).encode()).hexdigest()


def _flag(same: bool, similarity: float | None, words: str, *, n: int) -> Draft:
    end = ". Traits of the teacher can pass to the student through data that do not show them." if same else "."
    about = "common base" if similarity is None else f"common base (cosine of embeddings {similarity:.2f})"
    value = float(same)
    return reported(
        PROBE, about, teacher=None, student=value, value=value, lower=None, upper=None, n=n, words=words + end
    )


def _similarity(teacher: Speaker, student: Speaker) -> float | None:
    """The mean cosine of the embedding rows of tokens that both have; their common mean, which says nothing, is out."""
    one, two = (speaker.model.get_input_embeddings().weight for speaker in (teacher, student))
    if one.shape[1] != two.shape[1]:
        return None
    ids, own = teacher.tokenizer.get_vocab(), student.tokenizer.get_vocab()
    common = sorted(token for token in ids if token in own and ids[token] < len(one) and own[token] < len(two))
    common = common[:: max(1, len(common) // _ROWS)]
    if len(common) < 2:
        return None
    rows = []
    for weight, vocabulary in ((one, ids), (two, own)):
        part = weight.detach()[[vocabulary[token] for token in common]].float().cpu().numpy().astype(np.float64)
        part = part - part.mean(0)
        rows.append(part / np.maximum(np.linalg.norm(part, axis=1, keepdims=True), 1e-12))
    return float((rows[0] * rows[1]).sum(1).mean())

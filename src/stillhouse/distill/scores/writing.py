"""Scores of what a model writes, from log-probabilities of its tokens and from the texts themselves.

    memorized(unasked_nats, texts)        # a model finds it far more likely than its letters suggest
    no_prompt(asked, unasked)             # the prompt told a reader nothing about it
    token_ease(asked)                     # a reader would have written it
    difference(reader, teacher, sizes)    # the teacher knows no more of it than a small model
    surprise(teacher)                     # the teacher would not have written it
    answer_noise(entropies, teacher, V)   # it was unsure, and would have written something else
    disagreement(texts, prompts)          # other samples say something else

Log-probabilities come as one array for each row, about the tokens that are learned, in nats; a row without any, such as
one that cannot be read, scores 0, at which nothing leaves, or the lowest of all (`difference`). Higher leaves sooner.
"""

from __future__ import annotations

import math
import re
import zlib
from collections import Counter, defaultdict
from collections.abc import Sequence

import numpy as np

from stillhouse.distill.scores.labels import Floats

LEAST_BYTES = 100  # of a text; a shorter one is not known by heart but simply short

_WORD = re.compile(r"\w+|[^\w\s]")


def memorized(unasked: Sequence[Floats], texts: Sequence[str]) -> Floats:
    """How much less a reader, which was not asked anything, is surprised by a text than its letters are hard to pack.

    1 − nats of the reader / nats of zlib: near 1 for what it knows word for word, near 0 for what is new to it, or
    repetitive. The ratio of perplexity and zlib entropy is that of Carlini et al. 2021 (arXiv 2012.07805, section 5.2).
    Texts of less than :data:`LEAST_BYTES` score 0. Cost: one pass of the reader.
    """
    found = np.zeros(len(texts))
    for row, (logs, text) in enumerate(zip(unasked, texts, strict=True)):
        content = text.encode("utf-8")
        if len(content) >= LEAST_BYTES and len(logs):
            packer = zlib.compressobj(
                9, zlib.DEFLATED, -15
            )  # without a header, which short texts would count as theirs
            packed = 8 * math.log(2) * len(packer.compress(content) + packer.flush())
            found[row] = min(1.0, max(0.0, 1 + float(logs.sum()) / packed))
    return found


def no_prompt(asked: Sequence[Floats], unasked: Sequence[Floats]) -> Floats:
    """Instruction-following difficulty: perplexity of the answer after its prompt over that after an empty one.

    1: the prompt told the reader nothing; below: it helped; above: it misled. Li et al. 2023 (arXiv 2308.12032), whose
    unconditional answer has no template around it either: here it stands where an answer stands, after turns that say
    nothing. A small reader ranks as a large one does (Li et al. 2024, arXiv 2402.00530). Both sides are read over the
    tokens that both have. Cost: two passes of the reader.
    """
    found = np.zeros(len(asked))
    for row, (one, other) in enumerate(zip(asked, unasked, strict=True)):
        both = min(len(one), len(other))
        if both:
            found[row] = math.exp(min(50.0, float(other[:both].mean() - one[:both].mean())))
    return found


def token_ease(asked: Sequence[Floats]) -> Floats:
    """exp of the mean log-probability of a token: 1 where a reader would have written just this answer.

    The geometric mean that loss-based pruning ranks by (see :func:`stillhouse.distill.scores.ease`). Cost: one pass.
    """
    return np.array([math.exp(float(logs.mean())) if len(logs) else 0.0 for logs in asked])


def difference(reader: Sequence[Floats], teacher: Sequence[Floats], sizes: Sequence[int]) -> Floats:
    """log p of a small reader less log p of the teacher, in nats per byte: high where the teacher knows no more.

    It is below 0 where the teacher knows more, which is most rows; so one without any takes the lowest that there is.
    The reverse of what MiniPLM keeps (Gu et al. 2024, arXiv 2410.17215, difference sampling). Sums over the learned
    tokens, by bytes and not by tokens, so that both may split the text as they do. sizes: bytes of each text. Cost: one
    pass of the reader; the teacher's side is stored.
    """
    found = np.full(len(sizes), np.nan)
    for row, (one, other, size) in enumerate(zip(reader, teacher, sizes, strict=True)):
        if size and len(one) and len(other):
            found[row] = float(one.sum() - other.sum()) / size
    known = found[~np.isnan(found)]
    return np.where(np.isnan(found), known.min() if len(known) else 0.0, found)


def surprise(teacher: Sequence[Floats]) -> Floats:
    """1 − exp of the mean log-probability that the teacher gives a token: 0 where it would have written just that.

    What a teacher drew itself scores by its temperature; garbled text, and given answers that contradict it, score near
    1. Cost: nothing, the teacher's distributions are stored.
    """
    return np.array([1 - math.exp(float(logs.mean())) if len(logs) else 0.0 for logs in teacher])


def answer_noise(entropies: Sequence[Floats], teacher: Sequence[Floats], vocabulary: int) -> Floats:
    """How unsure the teacher was of the tokens, and how little it agrees with what stands there.

    The mean of entropy, as a share of the most possible, times 1 − p of the token: 0 where it is sure, and where it
    says what stands there, as in :func:`stillhouse.distill.scores.teacher_noise`. Cost: nothing.
    """
    most = math.log(vocabulary)
    return np.array(
        [
            float((entropy / most * -np.expm1(logs)).mean()) if len(logs) else 0.0
            for entropy, logs in zip(entropies, teacher, strict=True)
        ]
    )


def disagreement(texts: Sequence[str], prompts: Sequence[str]) -> Floats:
    """1 − the mean overlap of an answer's words with each other answer to its prompt; alone: 0.

    prompts: what tells prompts apart, N. Overlap is the F1 of words, each as often as it occurs (ROUGE-1, Lin 2004), in
    either case of letters; the agreement of samples is self-consistency's (Wang et al. 2022, arXiv 2203.11171), for
    answers of which none need be equal to the letter. Cost: further samples.
    """
    words = [Counter(_WORD.findall(text.casefold())) for text in texts]
    rows_of: dict[str, list[int]] = defaultdict(list)
    for row, prompt in enumerate(prompts):
        rows_of[prompt].append(row)
    found = np.zeros(len(texts))
    for rows in rows_of.values():
        for row in rows if len(rows) > 1 else ():
            found[row] = 1 - float(np.mean([_overlap(words[row], words[other]) for other in rows if other != row]))
    return found


def _overlap(one: Counter[str], other: Counter[str]) -> float:
    total = one.total() + other.total()
    return 2 * (one & other).total() / total if total else 1.0

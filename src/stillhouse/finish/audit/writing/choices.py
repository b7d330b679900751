"""Which of a few options a model takes: the likeliest text, or the likeliest letter, after the same question.

    taken = choose({"teacher": teacher, "student": student}, items)          # numbers of options (N,), by model
    taken = choose(speakers, items, by="letter")

By *text*, the options are not shown, and each is scored as the answer, in nats a byte, so that unlike tokenizers and
lengths compare; small models are best asked so. By *letter*, they are listed and the letter is scored, as suits models
that follow instructions. A model that has no chat template makes all be asked with plain text.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from stillhouse.errors import StillhouseError
from stillhouse.finish.audit.writing.asking import conversation, plain
from stillhouse.finish.generation.speaker import Speaker
from stillhouse.statistics import Floats, Ints
from stillhouse.stock import quiet
from stillhouse.teachers.templates import Joined, join
from stillhouse.workplace import Progress, silent

By = Literal["text", "letter"]
_LETTERS = "ABCDEFGH"
_TOLERANCE = 1e-3  # nats: above float32 rounding, below any real difference; wider in half precision


@dataclass(frozen=True)
class Choice:
    """question: all that is asked. options: at least two, each different."""

    question: str
    options: tuple[str, ...]


def choose(
    speakers: Mapping[str, Speaker],
    items: Sequence[Choice],
    *,
    by: By = "text",
    system: str = "",
    what: str = "choices",
    batch_tokens: int = 2048,
    progress: Progress = silent,
) -> dict[str, Ints]:
    """The number of the option that each model takes, for each item. system: put before each question.

    Raises :class:`StillhouseError` where a question does not fit a model.
    """
    chat = all(speaker.template is not None for speaker in speakers.values())
    found = {}
    for name, speaker in speakers.items():
        rows = [_joined(speaker, item, by, system, chat) for item in items]
        scores = _score_all(speaker, rows, batch_tokens, f"audit: {what}: {name}", progress)
        found[name] = np.array(
            [
                int(np.argmax([score / max(1, len(text.encode())) for score, text in zip(row, answers, strict=True)]))
                for row, answers in zip(scores, (_answers(item, by) for item in items), strict=True)
            ],
            dtype=np.int64,
        )
    return found


def prompt_of(item: Choice, by: By) -> str:
    """The question as it is asked."""
    if by == "text":
        return item.question
    listed = "\n".join(f"{letter}. {option}" for letter, option in zip(_LETTERS, item.options, strict=False))
    return f"{item.question}\n{listed}\nAnswer with the letter alone."


def _answers(item: Choice, by: By) -> tuple[str, ...]:
    return item.options if by == "text" else tuple(_LETTERS[: len(item.options)])


def _joined(speaker: Speaker, item: Choice, by: By, system: str, chat: bool) -> list[Joined]:
    """The prompt with each of the answers; all begin with the same ids."""
    question = prompt_of(item, by)
    if chat and speaker.template is not None:
        asked = conversation(question, system)
        rows = [speaker.template.join(asked, answer, finished=False) for answer in _answers(item, by)]
    else:
        text = f"{plain(question, system)}Answer:"
        rows = [join(speaker.tokenizer, text, f" {answer}") for answer in _answers(item, by)]
    if max(len(one.ids) for one in rows) > speaker.context:
        raise StillhouseError(
            f"`{speaker.name}` takes {speaker.context} tokens, and a question of the audit has more",
            where=f"the question {question[:60]!r}",
            fix="leave this probe out of the audit of so short a context",
        )
    return rows


def _score_all(
    speaker: Speaker, rows: Sequence[Sequence[Joined]], batch_tokens: int, what: str, progress: Progress
) -> list[Floats]:
    """Log-likelihoods (K,) of the answers to each item, in nats."""
    import torch

    found: dict[int, Floats] = {}
    with torch.inference_mode(), quiet():
        way = _cached if rows and _agree(speaker.model, rows[0]) else _anew
        for batch in _batches(rows, batch_tokens):
            for place, scores in zip(batch, way(speaker.model, [rows[place] for place in batch]), strict=True):
                found[place] = scores
            progress(what, len(found), len(rows))
    if not all(np.isfinite(one).all() for one in found.values()):
        raise StillhouseError(
            f"the logits of `{speaker.name}` are not numbers (NaN or infinite)",
            where=f"the model `{speaker.name}`",
            fix="look at its training.jsonl; a lower learning rate, or `precision: float32`, may mend it",
        )
    return [found[place] for place in range(len(rows))]


def _batches(rows: Sequence[Sequence[Joined]], batch_tokens: int) -> list[list[int]]:
    """Places of items whose prompts are equally long, so that nothing is padded in front."""
    order = sorted(range(len(rows)), key=lambda place: (-rows[place][0].prompt_length, place))
    batches: list[list[int]] = []
    for place in order:
        length = rows[place][0].prompt_length
        last = batches[-1] if batches else []
        if last and rows[last[0]][0].prompt_length == length and (len(last) + 1) * length <= batch_tokens:
            last.append(place)
        else:
            batches.append([place])
    return batches


def _agree(model: Any, rows: Sequence[Joined]) -> bool:
    """Whether going on from a cache gives what reading anew gives; not every architecture can be cut back."""
    import torch

    try:
        cached = _cached(model, [rows])[0]
    except Exception:  # what a model does with a cache unknown to it cannot be foreseen
        return False
    tolerance = max(_TOLERANCE, 16 * torch.finfo(model.dtype).eps * max(map(len, (one.ids for one in rows))))
    return bool(np.abs(cached - _anew(model, [rows])[0]).max() <= tolerance)


def _cached(model: Any, rows: Sequence[Sequence[Joined]]) -> list[Floats]:
    """The prompts are read once, and each answer goes on from there."""
    import torch
    from transformers import DynamicCache

    prompts = [list(one[0].ids[: one[0].prompt_length]) for one in rows]
    cache = DynamicCache()
    output = model(input_ids=torch.tensor(prompts, device=model.device), cache=cache, use_cache=True, logits_to_keep=1)
    first = output.logits[:, -1].float().log_softmax(-1)
    columns = []
    for number in range(len(rows[0])):
        answers = [one[number].answer for one in rows]
        scores = first.gather(1, torch.tensor([[one[0]] for one in answers], device=model.device))[:, 0]
        width = max(map(len, answers)) - 1
        if width:
            # filled up on the right, where a causal model does not look
            fed = [[*one[:-1], *[0] * (width + 1 - len(one))] for one in answers]
            logits = model(input_ids=torch.tensor(fed, device=model.device), cache=cache, use_cache=True).logits
            cache.crop(-width)
            scores = scores + _of_tokens(logits.float().log_softmax(-1), [one[1:] for one in answers])
        columns.append(scores.double().cpu().numpy())
    return list(np.stack(columns, axis=1))


def _anew(model: Any, rows: Sequence[Sequence[Joined]]) -> list[Floats]:
    """Every answer behind its whole prompt."""
    import torch

    columns = []
    for number in range(len(rows[0])):
        answers = [one[number].answer for one in rows]
        width = max(map(len, answers))
        fed = [[*one[number].ids[:-1], *[0] * (width - len(one[number].answer))] for one in rows]
        logits = model(input_ids=torch.tensor(fed, device=model.device), use_cache=False, logits_to_keep=width).logits
        columns.append(_of_tokens(logits.float().log_softmax(-1), answers).double().cpu().numpy())
    return list(np.stack(columns, axis=1))


def _of_tokens(log_probs: Any, tokens: Sequence[Sequence[int]]) -> Any:
    """Sums (B,) of the log-probabilities (B, L, V) of at most L tokens a row, from the first place on."""
    import torch

    return torch.stack(
        [
            sum((row[place, token] for place, token in enumerate(ids)), row.new_zeros(()))
            for row, ids in zip(log_probs, tokens, strict=True)
        ]
    )

"""Which of a few options a model takes: the likeliest text, or the likeliest letter, after the same question.

    taken = choose({"teacher": teacher, "student": student}, items)          # numbers of options (N,), by model
    taken = choose(speakers, items, by="letter")

By *text*, the options are not shown, and each is scored as the answer, in nats a byte, so that unlike tokenizers and
lengths compare; small models are best asked so. By *letter*, they are listed and the letter is scored, as suits models
that follow instructions. A model that has no chat template makes all be asked with plain text; ``template`` chooses,
so that both ways can be told.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from stillhouse.errors import StillhouseError
from stillhouse.finish.audit.writing.asking import conversation, plain
from stillhouse.finish.generation.likelihood import batches_of_like_length, demand_numbers
from stillhouse.finish.generation.speaker import Speaker
from stillhouse.statistics import Floats, Ints
from stillhouse.stock import quiet
from stillhouse.teachers.templates import Joined, RowError, join
from stillhouse.workplace import Progress, silent

By = Literal["text", "letter"]
Way = Callable[[Any, Sequence[Sequence[Joined]]], list[Floats]]
_LETTERS = "ABCDEFGH"
_TOLERANCE = 1e-3  # nats a token: above float32 rounding, below any real difference; wider in half precision


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
    template: bool | None = None,
    what: str = "choices",
    batch_tokens: int = 2048,
    progress: Progress = silent,
) -> dict[str, Ints]:
    """The number of the option that each model takes, for each item. system: put before each question. template:
    whether through the chat templates, which all must have; by default where all have one.

    Raises :class:`StillhouseError` where a question does not fit a model.
    """
    chat = have_templates(speakers) if template is None else template
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


def have_templates(speakers: Mapping[str, Speaker]) -> bool:
    """Whether all of them can be asked through a chat template."""
    return bool(speakers) and all(speaker.template is not None for speaker in speakers.values())


def written(speaker: Speaker, item: Choice, *, by: By, system: str = "", template: bool) -> tuple[str, tuple[str, ...]]:
    """The prompt as the model gets it, byte for byte, and what is weighed behind it: the same for every model, but for
    a chat template of its own."""
    question = prompt_of(item, by)
    if template:
        if speaker.template is None:
            raise RowError("it has no chat template")
        return speaker.template.text(conversation(question, system)), _answers(item, by)
    return f"{plain(question, system)}Answer:", tuple(f" {answer}" for answer in _answers(item, by))


def _answers(item: Choice, by: By) -> tuple[str, ...]:
    return item.options if by == "text" else tuple(_LETTERS[: len(item.options)])


def _joined(speaker: Speaker, item: Choice, by: By, system: str, chat: bool) -> list[Joined]:
    """The prompt with each of the answers; all begin with the same ids."""
    prompt, answers = written(speaker, item, by=by, system=system, template=chat)
    rows = [join(speaker.tokenizer, prompt, answer) for answer in answers]
    if max(len(one.ids) for one in rows) > speaker.context:
        raise StillhouseError(
            f"`{speaker.name}` takes {speaker.context} tokens, and a question of the audit has more",
            where=f"the question {prompt_of(item, by)[:60]!r}",
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
        way, padded = _cheapest(speaker.model, rows)
        for batch in batches_of_like_length([one[0].prompt_length for one in rows], batch_tokens, padded=padded):
            for place, scores in zip(batch, way(speaker.model, [rows[place] for place in batch]), strict=True):
                found[place] = scores
            progress(what, len(found), len(rows))
    if found:
        demand_numbers(np.concatenate(list(found.values())), speaker.name)
    return [found[place] for place in range(len(rows))]


def _cheapest(model: Any, rows: Sequence[Sequence[Joined]]) -> tuple[Way, bool]:
    """The first way that gives what reading anew gives, and whether prompts of unlike length may share a batch.

    The shortest and the longest prompt are tried: not every architecture bears padding, or goes on from a copied cache.
    """
    ordered = sorted(rows, key=lambda one: one[0].prompt_length)
    if not ordered:
        return _anew, False
    for trial, padded in (([ordered[0], ordered[-1]], True), (ordered[:1], False)):
        if _agree(model, trial):
            return _cached, padded
    return _anew, False


def _agree(model: Any, rows: Sequence[Sequence[Joined]]) -> bool:
    import torch

    try:
        cached = np.stack(_cached(model, rows))
    except Exception:  # what a model does with a mask or cache unknown to it cannot be foreseen
        return False
    apart = np.abs(cached - np.concatenate([np.stack(_anew(model, [one])) for one in rows]))
    tokens = np.array([[len(answer.answer) for answer in one] for one in rows])
    return bool((apart <= tokens * max(_TOLERANCE, 16 * torch.finfo(model.dtype).eps)).all())


def _cached(model: Any, rows: Sequence[Sequence[Joined]]) -> list[Floats]:
    """The prompts are read once, filled up on the left, and all answers go on from copies of what was kept."""
    import torch
    from transformers import DynamicCache

    prompts = [one[0].ids[: one[0].prompt_length] for one in rows]
    answers = [joined.answer for one in rows for joined in one]
    longest, width, count = max(map(len, prompts)), max(map(len, answers)) - 1, len(rows[0])
    seen = torch.tensor([[0] * (longest - len(one)) + [1] * len(one) for one in prompts], device=model.device)
    filled = [(one[0],) * (longest - len(one)) + tuple(one) for one in prompts]
    index = torch.arange(len(rows), device=model.device).repeat_interleave(count)
    cache = DynamicCache()
    output = model(
        input_ids=torch.tensor(filled, device=model.device),
        cache=cache,
        use_cache=True,
        logits_to_keep=1,
        **_places(model, seen, longest),
    )
    logits = output.logits[index, -1:].float()
    if width:
        cache.reorder_cache(index)
        # filled up on the right, where a causal model does not look
        fed = [[*one[:-1], *[0] * (width + 1 - len(one))] for one in answers]
        seen = torch.cat([seen[index], seen.new_ones(len(fed), width)], 1)
        tensor = torch.tensor(fed, device=model.device)
        more = model(input_ids=tensor, cache=cache, use_cache=True, **_places(model, seen, width))
        logits = torch.cat([logits, more.logits.float()], 1)
    return list(_of_tokens(logits, answers).reshape(len(rows), count))


def _places(model: Any, seen: Any, last: int) -> dict[str, Any]:
    """What tells a model of the padding in ``seen`` (B, L): the mask and the places of the ``last`` tokens; of none,
    nothing."""
    if bool(seen.all()):
        return {}
    found = {"attention_mask": seen}
    if "position_ids" in inspect.signature(model.forward).parameters:
        found["position_ids"] = (seen.cumsum(1) - 1).clamp(min=0)[:, -last:]
    return found


def _anew(model: Any, rows: Sequence[Sequence[Joined]]) -> list[Floats]:
    """Every answer behind its whole prompt; the prompts are equally long."""
    import torch

    joined = [answer for one in rows for answer in one]
    width = max(len(one.answer) for one in joined)
    fed = torch.tensor([[*one.ids[:-1], *[0] * (width - len(one.answer))] for one in joined], device=model.device)
    logits = model(input_ids=fed, use_cache=False, logits_to_keep=width).logits.float()
    return list(_of_tokens(logits, [one.answer for one in joined]).reshape(len(rows), len(rows[0])))


def _of_tokens(logits: Any, answers: Sequence[Sequence[int]]) -> Floats:
    """Sums (B,) of the log-probabilities of at most L tokens a row, from their logits (B, L, V)."""
    import torch

    width = logits.shape[1]
    gold = torch.tensor([[*one, *[0] * (width - len(one))] for one in answers], device=logits.device)
    real = torch.tensor([[1] * len(one) + [0] * (width - len(one)) for one in answers], device=logits.device)
    scores = logits.gather(2, gold[..., None])[..., 0] - logits.logsumexp(-1)
    summed: Floats = scores.masked_fill(real == 0, 0.0).double().sum(1).cpu().numpy()
    return summed

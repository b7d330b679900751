"""Answers in text from a local causal language model, the same for a row whatever it is batched with.

Prompts of like length share a batch, left-padded where the model bears it. Each answer draws from a random stream of
its own, named by its key and sample number, so that batch size, order, batch-mates and the number of samples do not
matter.

    sampling = Sampling(max_new_tokens=64, temperature=0.7, samples=4)
    generator = TextGenerator(model, tokenizer, context=2048, stop_ids=stop_ids(model, tokenizer))
    asks = sampling.asks(keys, prompts)
    for rows in generator.batches(asks, sampling, batch_tokens=4096):
        answers = generator.answer([asks[row] for row in rows], sampling)      # commit them, then go on
"""

from __future__ import annotations

import inspect
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np

from stillhouse.stock import quiet
from stillhouse.teachers.drawing import Ask, Sampling, choose, stream_of

FinishReason = Literal["stop", "length", "not-a-number"]

_TOLERANCE = 1e-3  # of logits in the trial below: far above float32 rounding, far below any real difference
_BYTES_A_CHARACTER = 4  # in UTF-8, at most; a token of text holds at least one byte


@dataclass(frozen=True)
class Generated:
    """One answer.

    text: without the end token or stop string; control tokens inside it are kept as text. ids: as the model wrote
    them, the end included. finish_reason: ``stop`` (end token or stop string), ``length`` (``max_new_tokens`` were
    written without one), ``not-a-number`` (the model's logits were NaN or infinite: there is no answer).
    """

    text: str
    ids: tuple[int, ...]
    finish_reason: FinishReason
    prompt_tokens: int

    @property
    def answer_tokens(self) -> int:
        """How many tokens were written, the end included."""
        return len(self.ids)


class TextGenerator:
    """Writes answers with one causal language model in eval mode.

    context: the longest sequence the model takes, in tokens. stop_ids: tokens that end an answer, see
    :func:`stop_ids`. pads: whether prompts of unlike length share a batch; ``why`` says what decided it. The choice
    depends on the model alone.
    """

    def __init__(self, model: Any, tokenizer: Any, *, context: int, stop_ids: Collection[int]) -> None:
        self._model = model
        self._tokenizer = tokenizer
        self._context = context
        self._stop_ids = frozenset(stop_ids)
        self._takes_positions = "position_ids" in inspect.signature(model.forward).parameters
        self.pads, self.why = self._try_padding()

    def refuse(self, asks: Sequence[Ask], sampling: Sampling) -> dict[int, str]:
        """The reason for each ask (by its place) that cannot be answered in full; nothing is ever cut to fit."""
        most = self._context - sampling.max_new_tokens
        refused = {}
        for place, ask in enumerate(asks):
            if not ask.prompt:
                refused[place] = "the prompt is empty"
            elif len(ask.prompt) > most:
                refused[place] = (
                    f"the prompt has {len(ask.prompt)} tokens; the teacher takes {self._context},"
                    f" {sampling.max_new_tokens} of them for the answer"
                )
        return refused

    def batches(self, asks: Sequence[Ask], sampling: Sampling, batch_tokens: int) -> list[list[int]]:
        """Places of ``asks`` in batches of like length, without those that :meth:`refuse` names.

        A batch holds at most ``batch_tokens`` tokens of prompts, padding and room for answers, or one answer alone.
        """
        refused = self.refuse(asks, sampling)
        order = [place for place in range(len(asks)) if place not in refused]
        order.sort(key=lambda place: (len(asks[place].prompt), place))
        batches: list[list[int]] = []
        for place in order:
            length = len(asks[place].prompt)
            last = batches[-1] if batches else []
            fits = (len(last) + 1) * (length + sampling.max_new_tokens) <= batch_tokens
            if last and fits and (self.pads or len(asks[last[0]].prompt) == length):
                last.append(place)
            else:
                batches.append([place])
        return batches

    def answer(self, asks: Sequence[Ask], sampling: Sampling) -> list[Generated]:
        """Answers (B) to one batch, in its order; see :meth:`batches` for which asks may share one."""
        import torch

        prompts = list(dict.fromkeys(ask.prompt for ask in asks))  # samples of one prompt read it once
        place = {prompt: row for row, prompt in enumerate(prompts)}
        rows = [place[ask.prompt] for ask in asks]
        answers = [_Answer(ask, stream_of(ask, sampling.seed)) for ask in asks]
        with torch.inference_mode():
            logits, state = self._read(prompts)
            logits, unfinished = logits[rows], answers
            while True:
                tokens = self._choose(logits, unfinished, sampling)
                for answer, token in zip(unfinished, tokens, strict=True):
                    self._append(answer, token, sampling)
                going = [place for place, answer in enumerate(unfinished) if answer.finish_reason is None]
                if not going:
                    break
                # answers that have ended leave the batch before the next token is computed
                state.select([rows[place] for place in going])
                unfinished = [unfinished[place] for place in going]
                rows = list(range(len(going)))
                logits = self._next([answer.ids[-1] for answer in unfinished], state)
        return [answer.generated() for answer in answers]

    def _read(self, prompts: Sequence[tuple[int, ...]]) -> tuple[Any, _State]:
        """Logits (P, V) after P prompts, and the state to go on from."""
        import torch

        longest = max(map(len, prompts))
        padded = any(len(prompt) < longest for prompt in prompts)
        # the mask comes from lengths, since a pad token may be a real one elsewhere; what stands there is never seen
        rows = [(prompt[0],) * (longest - len(prompt)) + prompt for prompt in prompts]
        seen = [[0] * (longest - len(prompt)) + [1] * len(prompt) for prompt in prompts]
        mask = torch.tensor(seen, device=self._model.device) if padded else None
        state = _State(None, len(prompts), mask)
        return self._forward(torch.tensor(rows, device=self._model.device), state), state

    def _next(self, tokens: Sequence[int], state: _State) -> Any:
        """Logits (B, V) after one more token in each row."""
        import torch

        if state.mask is not None:
            state.mask = torch.cat([state.mask, state.mask.new_ones(len(tokens), 1)], dim=1)
        return self._forward(torch.tensor(tokens, device=self._model.device).unsqueeze(1), state)

    def _forward(self, ids: Any, state: _State) -> Any:
        """Logits (B, V), float32 or wider, after the last of ``ids`` (B, L); moves ``state`` on."""
        padding = {}
        if state.mask is not None:
            padding["attention_mask"] = state.mask
            if self._takes_positions:
                padding["position_ids"] = (state.mask.cumsum(1) - 1).clamp(min=0)[:, -ids.shape[1] :]
        output = self._model(input_ids=ids, cache=state.cache, use_cache=True, logits_to_keep=1, **padding)
        state.cache = output.cache
        # a head may be padded beyond the tokenizer's last id; such tokens mean nothing
        logits = output.logits[:, -1, : len(self._tokenizer)]
        return logits if logits.element_size() > 4 else logits.float()

    def _choose(self, logits: Any, answers: Sequence[_Answer], sampling: Sampling) -> list[int | None]:
        import torch

        noise = None
        if sampling.temperature:
            drawn = [answer.stream.standard_exponential(logits.shape[1], dtype=np.float32) for answer in answers]
            noise = torch.from_numpy(np.stack(drawn)).to(logits.device)
        finite = logits.amax(-1).isfinite().tolist()
        tokens = choose(logits, noise, sampling).tolist()
        return [token if sound else None for token, sound in zip(tokens, finite, strict=True)]

    def _append(self, answer: _Answer, token: int | None, sampling: Sampling) -> None:
        if token is None:
            answer.finish_reason = "not-a-number"
            return
        answer.ids.append(token)
        if token in self._stop_ids:
            answer.finish_reason, answer.text = "stop", self._text(answer.ask.prompt, answer.ids[:-1])
            return
        if sampling.stop:
            cut = self._cut(answer, sampling.stop)
            if cut is not None:
                answer.finish_reason, answer.text = "stop", cut
                return
        if len(answer.ids) == sampling.max_new_tokens:
            answer.finish_reason, answer.text = "length", self._text(answer.ask.prompt, answer.ids)

    def _cut(self, answer: _Answer, stop: Sequence[str]) -> str | None:
        """The text before the first stop string, if one is complete."""
        # Only the last tokens are looked at in each step: the whole text would cost time that grows with its square.
        # There are some more than a stop string can span, the prompt's too, since a decoder may trim the first one.
        reach = _BYTES_A_CHARACTER * (max(map(len, stop)) + 1)
        recent = self._decode([*answer.ask.prompt[-reach:], *answer.ids][-reach:])
        if not any(word in recent for word in stop):
            return None
        text = self._text(answer.ask.prompt, answer.ids)
        ends = [text.find(word) for word in stop if word in text]
        return text[: min(ends)] if ends else None

    def _text(self, prompt: Sequence[int], ids: Sequence[int]) -> str:
        """The text of ``ids`` after ``prompt``: read alone, a decoder would drop the space that they begin with."""
        before, whole = self._decode(prompt), self._decode([*prompt, *ids])
        return whole[len(before) :] if whole.startswith(before) else self._decode(ids)

    def _decode(self, ids: Sequence[int]) -> str:
        return str(self._tokenizer.decode(list(ids), skip_special_tokens=False, clean_up_tokenization_spaces=False))

    def _try_padding(self) -> tuple[bool, str]:
        """Whether a padded row gives what it gives alone, and the reason; the trial's ids are fixed and few."""
        import torch

        size = min(self._model.config.get_text_config().vocab_size, len(self._tokenizer))
        ids = [(7919 * place + 1) % size for place in range(11)]
        long, short, after = tuple(ids[:7]), tuple(ids[7:10]), ids[10]
        tolerance = max(_TOLERANCE, 8 * torch.finfo(self._model.dtype).eps)
        with torch.inference_mode(), quiet():
            alone = [self._read([short])[0][0], self._read([(*short, after)])[0][0]]
            try:
                first, state = self._read([long, short])
                second = self._next([after, after], state)
            except Exception as error:  # what a model does with a mask unknown to it cannot be foreseen
                return False, f"equal lengths only: the model fails on padding with {type(error).__name__}"
        pairs = zip((first[1], second[1]), alone, strict=True)
        difference = max(float((row - plain).abs().max()) for row, plain in pairs)
        if not difference <= tolerance:
            return False, f"equal lengths only: padding moves logits by {difference:.1g}"
        return True, f"padded: as a prompt alone, to {difference:.1g}"


@dataclass
class _State:
    """What a batch goes on from: the model's cache, how many rows it has, and the mask (B, L) of what is no padding."""

    cache: Any
    rows: int
    mask: Any

    def select(self, rows: Sequence[int]) -> None:
        """Go on with the given rows only; a row named twice is doubled."""
        import torch

        if list(rows) == list(range(self.rows)):
            return
        index = torch.tensor(rows)
        self.cache.reorder_cache(index)
        self.rows = len(rows)
        if self.mask is not None:
            self.mask = self.mask[index]


@dataclass
class _Answer:
    """An answer while it is written."""

    ask: Ask
    stream: np.random.Generator
    ids: list[int] = field(default_factory=list)
    text: str = ""
    finish_reason: FinishReason | None = None

    def generated(self) -> Generated:
        assert self.finish_reason is not None  # noqa: S101 - only asked for once every answer has ended
        return Generated(self.text, tuple(self.ids), self.finish_reason, len(self.ask.prompt))


def stop_ids(model: Any, tokenizer: Any, end_of_turn: int | None = None) -> frozenset[int]:
    """The ids that end an answer: those of the model's generation config, the tokenizer's end, the template's."""
    configured = model.generation_config.eos_token_id if model.generation_config else None
    listed = configured if isinstance(configured, list) else [configured]
    return frozenset(int(key) for key in (*listed, tokenizer.eos_token_id, end_of_turn) if key is not None)

"""A speaker as lm-evaluation-harness asks it: likelihoods of continuations, and answers up to a stop string.

    adapter = Adapter(student)
    adapter.loglikelihood(requests)        # [(nats, whether it would have written just that), …]

Prompts become token ids as everywhere in this house (:func:`stillhouse.teachers.templates.join`): the prompt's own ids
stay the beginning, also where it ends in white space, which the harness' own models count to the continuation. Nothing
is ever cut to fit: an item that a model cannot take is noted in ``unfit``, and counts for none of the models.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any

from lm_eval.api.model import LM
from lm_eval.utils import get_rolling_token_windows, make_disjoint_window

from stillhouse.errors import StillhouseError
from stillhouse.finish.generation.speaker import Speaker
from stillhouse.finish.harness.scoring import Continuation, Score, score
from stillhouse.stock import quiet
from stillhouse.teachers.drawing import Sampling
from stillhouse.teachers.reasoning import CLOSE, OPEN
from stillhouse.teachers.templates import Message, RowError, join, merge_system
from stillhouse.workplace import Progress, silent

_MOST = 256  # tokens of an answer, where a task does not say; the harness' own default
Item = tuple[str, int]  # a task's name and the number of the item in it


class Adapter(LM):
    """conversations: what the chat template was given, in order. unfit: items that the model could not be asked."""

    def __init__(self, speaker: Speaker, *, batch_tokens: int = 2048, progress: Progress = silent) -> None:
        super().__init__()
        self._speaker = speaker
        self._batch_tokens = batch_tokens
        self._progress = progress
        self.conversations: list[list[dict[str, str]]] = []
        self.unfit: set[Item] = set()

    @property
    def tokenizer_name(self) -> str:
        """Names the harness' store of requests, which is not used."""
        return self._speaker.name

    def apply_chat_template(self, chat_history: list[dict[str, str]], add_generation_prompt: bool = True) -> str:
        """The text up to where the answer begins, or goes on where its beginning is the last message."""
        self.conversations.append([dict(message) for message in chat_history])
        template = self._speaker.template
        try:
            if template is None:
                raise RowError("it has no chat template")
            if add_generation_prompt:
                return template.text(chat_history)
            messages: Sequence[Message] = chat_history if template.system == "own" else merge_system(chat_history)
            return str(
                self._speaker.tokenizer.apply_chat_template(
                    [dict(message) for message in messages],
                    tokenize=False,
                    add_generation_prompt=False,
                    continue_final_message=True,
                )
            )
        except RowError as error:
            raise StillhouseError(
                f"the chat template of `{self._speaker.name}` cannot write a task's question: {error}",
                where="finish.evaluate.harness",
                fix="leave that task out, or ask by the rule alone: `finish.evaluate.harness.template: rule`",
            ) from error

    def loglikelihood(self, requests: list[Any]) -> list[tuple[float, bool]]:
        """Nats of each continuation after its context, and whether it is the likeliest at every step."""
        pairs: dict[int, Continuation] = {}
        for place, request in enumerate(requests):
            context, continuation = request.args[:2]
            try:
                pairs[place] = self._fitting(self._pair(context, continuation))
            except RowError:
                self._leave_out(request)
        scores = self._score(list(pairs.values()))
        found = dict(zip(pairs, scores, strict=True))
        return [(one.nats, one.greedy) if (one := found.get(place)) else (0.0, False) for place in range(len(requests))]

    def loglikelihood_rolling(self, requests: list[Any]) -> list[float]:
        """Nats of each whole text, in windows as long as the model takes, each token once."""
        windows: list[Continuation] = []
        owners: list[int] = []
        for place, request in enumerate(requests):
            ids = list(self._speaker.tokenizer(request.args[0], add_special_tokens=False)["input_ids"])
            parts = get_rolling_token_windows(
                token_list=ids, prefix_token=self._begin(), max_seq_len=self._speaker.context, context_len=1
            )
            for before, after in map(make_disjoint_window, parts):
                windows.append(Continuation((*before, *after), len(before)))
                owners.append(place)
        totals = [0.0] * len(requests)
        for place, one in zip(owners, self._score(windows), strict=True):
            totals[place] += one.nats
        return totals

    def generate_until(self, requests: list[Any]) -> list[str]:
        """What the model writes, without what ended it; of one that reasons aloud, what it says after that."""
        said = [""] * len(requests)
        seen: Counter[int] = Counter()
        by_settings: dict[Sampling, list[tuple[int, str, tuple[int, ...]]]] = {}
        for place, request in enumerate(requests):
            context, settings = request.args[:2]
            sampling = sampling_of(settings)
            key = f"{request.task_name}/{request.doc_id}/{seen[id(request)]}"
            seen[id(request)] += 1
            ids = self._speaker.prompt(None, context)
            if 0 < len(ids) <= self._speaker.context - sampling.max_new_tokens:
                by_settings.setdefault(sampling, []).append((place, key, ids))
            else:
                self._leave_out(request)
        generator, done = self._speaker.generator, 0
        for sampling, rows in by_settings.items():
            asks = sampling.asks([key for _, key, _ in rows], [ids for _, _, ids in rows])
            with quiet():
                for batch in generator.batches(asks, sampling, 2 * self._batch_tokens):
                    written = generator.answer([asks[one] for one in batch], sampling)
                    for one, answer in zip(batch, written, strict=True):
                        said[rows[one][0]] = self._spoken(answer.text)
                    done += len(batch)
                    self._progress(f"{self._speaker.name} writes", done, len(requests))
        return said

    def _spoken(self, text: str) -> str:
        opened = bool(self.conversations and self._speaker.template and self._speaker.template.opens_reasoning)
        if not opened and OPEN not in text and CLOSE not in text:
            return text
        trace = self._speaker.trace(text, chat=opened)
        return trace.answer if trace.closed else ""

    def _pair(self, context: str, continuation: str) -> Continuation:
        if not context:
            ids = self._speaker.tokenizer(continuation, add_special_tokens=False)["input_ids"]
            return Continuation((self._begin(), *ids), 1)
        joined = join(self._speaker.tokenizer, context, continuation)
        return Continuation(joined.ids, joined.prompt_length)

    def _fitting(self, pair: Continuation) -> Continuation:
        if not 0 < pair.start < len(pair.ids) or len(pair.ids) - 1 > self._speaker.context:
            raise RowError("there is nothing to ask, or it is longer than the model takes")
        return pair

    def _begin(self) -> int:
        """What a text begins after."""
        words = self._speaker.tokenizer
        found = words.bos_token_id if words.bos_token_id is not None else words.eos_token_id
        if found is None:
            raise StillhouseError(
                f"`{self._speaker.name}` has no token that a text begins after",
                where="its tokenizer",
                fix="leave out tasks that ask about whole texts",
            )
        return int(found)

    def _leave_out(self, request: Any) -> None:
        self.unfit.add((str(request.task_name), int(request.doc_id)))

    def _score(self, pairs: Sequence[Continuation]) -> list[Score]:
        return score(self._speaker, pairs, batch_tokens=self._batch_tokens, progress=self._progress)


def sampling_of(settings: Any) -> Sampling:
    """How a task has answers written; without ``do_sample`` always the likeliest token."""
    until = settings.get("until") or ()
    stop = (until,) if isinstance(until, str) else tuple(until)
    drawn = bool(settings.get("do_sample"))
    return Sampling(
        int(settings.get("max_gen_toks") or settings.get("max_new_tokens") or _MOST),
        temperature=float(settings.get("temperature") or 0.0) if drawn else 0.0,
        top_p=float(settings.get("top_p") or 1.0) if drawn else 1.0,
        stop=tuple(one for one in stop if one),
    )

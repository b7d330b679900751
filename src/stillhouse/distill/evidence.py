"""What the scores of answers are made from: texts, the teacher's side, what readers think; each made once, if asked.

evidence = Evidence(rows, turns="all", max_length=512, tokenizer=load, stored=token_dist, reader=load_reader)
evidence.score("no-prompt")                         # (N,)
evidence.divergence("other", load_other)            # (N,), the share of tokens that another teacher would not say
evidence.places("injection", scores)                # {key: token places} of the rows that a rule applies to
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cached_property, partial
from typing import Any

import numpy as np

from stillhouse.distill import masks
from stillhouse.distill.material import Lessons, Row, Turns, as_lessons
from stillhouse.distill.reading import Heard, read_tokens, stored_tokens
from stillhouse.distill.scores import Floats, injected, redacted, refused, writing
from stillhouse.distill.scores.texts import places as text_places
from stillhouse.distill.vocabularies import agree
from stillhouse.errors import StillhouseError
from stillhouse.signals import TextAnswer, TokenDist
from stillhouse.teachers.sequences import TokenSequence

Loaded = tuple[Any, Any]  # model and tokenizer
_NOTHING = Heard(np.zeros(0), np.zeros(0, np.int64), np.zeros(0))


class Evidence:
    """rows: N, chosen and not yet cut. turns, max_length: how they are taught. tokenizer: loads that of the student's
    base, which is the teacher's own where ``stored`` has its distributions.

    reader: loads a small model; ``None``: there is none. same_reader: its tokens are the base's. samples: all answers
    that there are, to be compared with each other.
    """

    def __init__(
        self,
        rows: Sequence[Row],
        *,
        turns: Turns,
        max_length: int,
        tokenizer: Callable[[], Any],
        stored: TokenDist | None = None,
        reader: Callable[[], Loaded] | None = None,
        same_reader: bool = True,
        samples: Sequence[TextAnswer] = (),
        progress: Callable[[str, int, int], None] | None = None,
    ) -> None:
        self.rows, self.samples = rows, samples
        self._turns, self._max_length = turns, max_length
        self._load_tokenizer, self._load_reader, self._same_reader = tokenizer, reader, same_reader
        self._stored, self._progress = stored, progress
        self._apart: dict[str, dict[str, list[int]]] = {}
        self.tokens_read = 0

    def score(self, name: str) -> Floats:
        """The score (N,) of that name; ``classifier`` and ``divergence`` need models of their own."""
        match name:
            case "refusal":
                return refused(self.texts, [row.told for row in self.rows])
            case "injection":
                return injected(self.texts)
            case "redacted":
                return redacted(self.texts)
            case "wrong":
                return np.array([float(row.answer is not None and row.answer.verified is False) for row in self.rows])
            case "disagreement":
                return self._disagreement()
            case "memorized":
                return writing.memorized(self._logs(self._unasked), self.texts)
            case "no-prompt":
                found = writing.no_prompt(self._logs(self._asked), self._logs(self._unasked))
                return np.where([row.messages is None for row in self.rows], 0.0, found)  # a text has no prompt
            case "ease":
                return writing.token_ease(self._logs(self._asked))
            case "difference":
                sizes = [len(text.encode("utf-8")) for text in self.texts]
                return writing.difference(self._logs(self._asked), self._logs(self._taught), sizes)
            case "surprise":
                return writing.surprise(self._logs(self._taught))
            case "teacher-noise":
                heard = [self._taught.get(row.key, _NOTHING) for row in self.rows]
                assert self._stored is not None  # noqa: S101 - else nothing was heard
                vocabulary = self._stored.header.vocabulary
                return writing.answer_noise([one.entropies for one in heard], [one.logs for one in heard], vocabulary)
            case _:
                raise ValueError(f"no score of answers is called {name}")

    def divergence(self, name: str, load: Callable[[], Loaded]) -> Floats:
        """The share of an answer's tokens in whose place another teacher would most likely have said something else
        than the teacher ("divergence tokens", which carry what a teacher has of its own: Schrodi et al. 2025,
        arXiv 2509.23886). Cost: one pass of the other teacher."""
        model, tokenizer = load()
        vocabulary = self._stored.header.vocabulary if self._stored is not None else 0
        outputs = int(model.get_output_embeddings().weight.shape[0])
        try:
            agree(self._tokenizer, vocabulary, tokenizer, outputs)
        except StillhouseError as error:
            raise StillhouseError(
                f"another teacher's tokens: {error.problems[0].what}",
                where=f"distill.cuts.heads: {name}",
                fix="name a model with the teacher's own tokenizer",
            ) from error
        lessons = {one.key: TokenSequence(one.ids, one.spans) for one in self._lessons.lessons}
        other = self._read(model, lessons, "reading with another teacher")
        self._apart[name] = {}
        scores = np.zeros(len(self.rows))
        for row, key in enumerate(one.key for one in self.rows):
            if key in lessons:
                learned = [place for start, end in lessons[key].spans for place in range(start, end)]
                differs = other[key].likeliest != self._taught[key].likeliest[: len(learned)]
                self._apart[name][key] = [place for place, one in zip(learned, differs, strict=True) if one]
                scores[row] = float(differs.mean())
        return scores

    def places(self, score: str, scores: Floats, name: str = "") -> dict[str, list[int]]:
        """The tokens that a score points at, by key. name: of the head, where it is about divergence."""
        if score == "divergence":
            return self._apart[name]
        hit = [row for row, one in zip(self.rows, scores, strict=True) if one > 0]
        told = {row.key: row.told for row in hit}
        found = {}
        for key, sequence in self._sequences(hit, self._tokenizer).items():
            found[key] = masks.places_of(self._tokenizer, sequence, partial(text_places, score, prompt=told[key]))
        return found

    @cached_property
    def texts(self) -> list[str]:
        """What is learned of each row, as text."""
        return [row.said(self._turns) for row in self.rows]

    @cached_property
    def _tokenizer(self) -> Any:
        return self._load_tokenizer()

    @cached_property
    def _lengths(self) -> dict[str, int] | None:
        """Tokens that the teacher's distributions are about, by key."""
        return None if self._stored is None else {key: self._stored.tokens_of(key) for key in self._stored.ids}

    @cached_property
    def _lessons(self) -> Lessons:
        return self._as_lessons(self.rows, self._tokenizer, self._lengths)

    @cached_property
    def _taught(self) -> dict[str, Heard]:
        """What the teacher thought of the tokens that will be learned."""
        assert self._stored is not None  # noqa: S101 - the recipe is refused otherwise
        learned = {one.key: one.learned for one in self._lessons.lessons}
        heard = stored_tokens(self._stored, {key: self._lessons.whole[key] for key in learned})
        return {
            key: Heard(one.logs[: learned[key]], one.likeliest[: learned[key]], one.entropies[: learned[key]])
            for key, one in heard.items()
        }

    @cached_property
    def _reader(self) -> Loaded:
        assert self._load_reader is not None  # noqa: S101 - whoever asks for such a score gives one
        return self._load_reader()

    @cached_property
    def _asked(self) -> dict[str, Heard]:
        model, tokenizer = self._reader
        return self._read(model, self._sequences(self.rows, tokenizer), "reading the answers")

    @cached_property
    def _unasked(self) -> dict[str, Heard]:
        """The same after turns that say nothing; what has no other turns is not read twice."""
        model, tokenizer = self._reader
        silent = [row.unasked() for row in self.rows if row.messages is not None]
        found = self._read(model, self._sequences(silent, tokenizer), "reading the answers without prompts")
        plain = {row.key for row in self.rows if row.messages is None}
        return found | ({key: one for key, one in self._asked.items() if key in plain} if plain else {})

    def _sequences(self, rows: Sequence[Row], tokenizer: Any) -> dict[str, TokenSequence]:
        lengths = self._lengths if self._same_reader else None
        lessons = self._as_lessons(rows, tokenizer, lengths).lessons
        return {one.key: TokenSequence(one.ids, one.spans) for one in lessons}

    def _as_lessons(self, rows: Sequence[Row], tokenizer: Any, lengths: dict[str, int] | None) -> Lessons:
        return as_lessons(rows, tokenizer, max_length=self._max_length, turns=self._turns, stored=lengths)

    def _read(self, model: Any, sequences: dict[str, TokenSequence], what: str) -> dict[str, Heard]:
        self.tokens_read += sum(len(one.ids) for one in sequences.values())
        told = self._progress
        watch = (lambda done, total: told(what, done, total)) if told else None
        return dict(zip(sequences, read_tokens(model, list(sequences.values()), progress=watch), strict=True))

    def _logs(self, heard: dict[str, Heard]) -> list[Floats]:
        return [heard.get(row.key, _NOTHING).logs for row in self.rows]

    def _disagreement(self) -> Floats:
        whole = [one for one in self.samples if not one.incomplete]
        found = writing.disagreement([one.answer for one in whole], [one.id for one in whole])
        of_key = dict(zip((one.key for one in whole), found.tolist(), strict=True))
        return np.array([of_key.get(row.key, 0.0) for row in self.rows])

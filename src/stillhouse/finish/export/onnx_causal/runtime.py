"""An exported language model in onnxruntime: prompts in batches, what it has read kept, and greedy answers.

writer = OnnxWriter(Path("student/onnx/model.onnx"), Path("student"), threads=None)
writer.answers([[1, 5, 7], [1, 5]], 50)[0].ids
step = writer.begin([[1, 5, 7], [1, 5]])           # padded on the left
step = writer.go_on(step, [[9], [4]])              # step.of(0): logits (1, V) of the token after 9

Needs onnxruntime, tokenizers and numpy; torch is not imported.
"""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from stillhouse.finish.export.agreement import Written
from stillhouse.finish.export.onnx import opened

Ints = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float32]
_PROMPTS = 8  # in one batch
_TOKENS = 1024  # that are read at once: the graph gives the logits of each
_CLOCKED = 3  # answers


@dataclass(frozen=True)
class Step:
    """After ids have been read. logits: (B, S, V) of those that were read last. lengths: how many of them each row has,
    at the right end. mask: (B, T) of all that was read. past: keys and values of each layer."""

    logits: Floats
    lengths: tuple[int, ...]
    mask: Ints
    past: tuple[Floats, ...]

    def of(self, row: int) -> Floats:
        """Logits (length, V) of one row's own tokens."""
        return self.logits[row, self.logits.shape[1] - self.lengths[row] :]


class OnnxWriter:
    """One opened file. ``threads`` are those of the arithmetic (None: one per core). Raises :class:`StillhouseError`
    where the file, or the student's ``tokenizer.json``, cannot be read."""

    def __init__(self, file: Path, student: Path, *, threads: int | None, ends: Sequence[int] | None = None) -> None:
        self._session, self._tokenizer = opened(file, student, threads=threads)
        self._tokenizer.no_truncation()
        self.ends = frozenset(_ends(student) if ends is None else ends)
        self._past = {one.name: one.shape for one in self._session.get_inputs() if one.name.startswith("past_")}
        self._read: tuple[tuple[int, ...], Step] | None = None

    def tokens(self, text: str) -> list[int]:
        """Ids of a text, with what the tokenizer puts around it."""
        return list(self._tokenizer.encode(text).ids)

    def begin(self, prompts: Sequence[Sequence[int]]) -> Step:
        """Read prompts of ids, none of them empty."""
        past = tuple(np.zeros((len(prompts), shape[1], 0, shape[3]), np.float32) for shape in self._past.values())
        return self._run(prompts, np.zeros((len(prompts), 0), np.int64), past)

    def go_on(self, step: Step, more: Sequence[Sequence[int]]) -> Step:
        """Read what follows in each row; rows of unequal length are padded again."""
        return self._run(more, step.mask, step.past)

    def _run(self, rows: Sequence[Sequence[int]], before: Ints, past: tuple[Floats, ...]) -> Step:
        width = max(map(len, rows))
        ids, mask = np.zeros((len(rows), width), np.int64), np.zeros((len(rows), width), np.int64)
        for place, row in enumerate(rows):
            ids[place, width - len(row) :] = row
            mask[place, width - len(row) :] = 1
        whole = np.concatenate([before, mask], 1)
        positions = np.maximum(whole.cumsum(1) - 1, 0)[:, before.shape[1] :]
        feed = {"input_ids": ids, "attention_mask": whole, "position_ids": positions}
        logits, *present = self._session.run(None, feed | dict(zip(self._past, past, strict=True)))
        return Step(logits, tuple(map(len, rows)), whole, tuple(present))

    def answers(self, prompts: Sequence[Sequence[int]], most: int) -> list[Written]:
        """Greedy answers, in batches of prompts of like length; the speed is that of a few, each written alone."""
        written: dict[int, Written] = {}
        order = sorted(range(len(prompts)), key=lambda row: len(prompts[row]))
        while order:
            count = next(n for n in range(_PROMPTS, 0, -1) if n == 1 or n * _length(prompts, order[:n]) <= _TOKENS)
            rows, order = order[:count], order[count:]
            written |= zip(rows, self._answers([prompts[row] for row in rows], most), strict=True)
        found = [written[row] for row in range(len(prompts))]
        longest = sorted(range(len(found)), key=lambda row: -len(found[row].ids))[:_CLOCKED]
        for row in longest:
            found[row] = Written(found[row].ids, found[row].end, self._speed(prompts[row], len(found[row].ids)))
        return found

    def _answers(self, prompts: Sequence[Sequence[int]], most: int) -> list[Written]:
        step, written = self.begin(prompts), [list[int]() for _ in prompts]
        end: list[int | None] = [None] * len(prompts)
        for left in reversed(range(most)):
            chosen = [int(one) for one in step.logits[:, -1].argmax(-1)]
            for row, token in enumerate(chosen):
                if end[row] is None and token in self.ends:
                    end[row] = token
                elif end[row] is None:
                    written[row].append(token)
            if not left or None not in end:
                break
            step = self.go_on(step, [[token] for token in chosen])  # rows that have ended are not read any more
        return [Written(tuple(ids), one, None) for ids, one in zip(written, end, strict=True)]

    def _speed(self, prompt: Sequence[int], count: int) -> float | None:
        """Tokens a second of an answer of ``count`` tokens, reading the prompt not counted."""
        step = self.begin([prompt])
        started = time.perf_counter()
        for _ in range(count):
            step = self.go_on(step, [[int(step.logits[0, -1].argmax())]])
        return count / max(time.perf_counter() - started, 1e-9) if count else None

    def next_log_probs(self, ids: Sequence[int], *, top: int) -> tuple[Ints, npt.NDArray[np.float64]]:
        """The ``top`` likeliest next tokens and their log-probabilities, rising by id.

        What was read for the last call is not read again where ``ids`` goes on from it: so a cache is compared, too.
        """
        asked, known = tuple(ids), self._read
        if known is not None and len(known[0]) < len(asked) and asked[: len(known[0])] == known[0]:
            step = self.go_on(known[1], [asked[len(known[0]) :]])
        else:
            step = self.begin([asked])
        self._read = (asked, step)
        logits = step.logits[0, -1].astype(np.float64)
        log_probs = logits - logits.max()
        log_probs -= np.log(np.exp(log_probs).sum())
        chosen = np.sort(np.argsort(-log_probs, kind="stable")[:top]).astype(np.int64)
        return chosen, log_probs[chosen]


def _length(prompts: Sequence[Sequence[int]], rows: Sequence[int]) -> int:
    return max(len(prompts[row]) for row in rows)


def _ends(student: Path) -> list[int]:
    """Ids that end an answer, as the folder names them."""
    for name in ("generation_config.json", "config.json"):
        if (student / name).is_file():
            found = json.loads((student / name).read_text("utf-8")).get("eos_token_id")
            if found is not None:
                return [int(one) for one in (found if isinstance(found, list) else [found])]
    return []

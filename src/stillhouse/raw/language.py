"""The language of a text, or `und` where the text does not tell.

    identify(["Das Paket ist nie angekommen.", "reset pwd pls"])
    # [Identified(code="de", probability=0.96), Identified(code="und", probability=0.0)]

The model is that of py3langid (Barbaresi's fork of Lui and Baldwin's langid.py, 2012): naive Bayes over byte n-grams,
139 languages, part of the package. py3langid walks through one text after the other, byte by byte; here many texts
are walked through at once, which gives the same answers in a fraction of the time. It also has no answer "I do not
know": that is added.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence
from functools import cache
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from py3langid.langid import MODEL_FILE, LanguageIdentifier  # type: ignore[import-untyped]

UNDETERMINED = "und"
SAMPLE = 1_000  # characters: the start of a text tells its language, and the time of a long one stays bounded
FEWEST_LETTERS = 20
SURE = 0.3  # of the tests' sentences the right answers have 0.38 and more, code and word salad below 0.2
_NO_LANGUAGE = "zxx"  # the model's own class for numbers, markup and identifiers
_TOGETHER = 512  # texts walked through at once; times the number of features it must stay below 2**31

# Twenty letters, or seven characters of a script in which one character is a syllable or a word.
_DENSE = "\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uac00-\ud7af\uf900-\ufaff"
_ENOUGH = re.compile(rf"(?:[\W\d_]*+[^\W\d_]){{{FEWEST_LETTERS}}}|(?:[^{_DENSE}]*+[{_DENSE}]){{7}}")

_Ints = npt.NDArray[np.integer]


class Identified(NamedTuple):
    """An ISO 639 code, and how sure the model is of it, from 0 to 1 (for `und`: of its best guess)."""

    code: str
    probability: float


def identify(texts: Sequence[str]) -> list[Identified]:
    """The language of every text; the answer does not depend on the other texts, only the speed does.

    `und` is the answer for fewer than twenty letters (or seven of a script such as Chinese), where the model sees no
    language (numbers, markup, identifiers), and where its probability is below 0.3. Only the first 1,000
    characters count, and any white space counts as one blank.
    """
    answers = [Identified(UNDETERMINED, 0.0)] * len(texts)
    samples = [" ".join(text[:SAMPLE].split()) for text in texts]
    places = [place for place, sample in enumerate(samples) if _ENOUGH.match(sample)]
    encoded = {place: _encoded(samples[place]) for place in places}
    places.sort(key=lambda place: len(encoded[place]))  # so that texts walked through together end together
    for start in range(0, len(places), _TOGETHER):
        some = places[start : start + _TOGETHER]
        for place, (code, probability) in zip(some, _model().classify([encoded[place] for place in some]), strict=True):
            sure = probability >= SURE and code != _NO_LANGUAGE
            answers[place] = Identified(code if sure else UNDETERMINED, round(probability, 4))
    return answers


def _encoded(sample: str) -> bytes:
    """The bytes that the model was trained on: NFC, and no text in capitals only."""
    if sample.isupper():
        sample = sample.lower()
    return unicodedata.normalize("NFC", sample).encode("utf-8", "surrogatepass")


class _Model:
    """The model's automaton and weights, laid out for many texts at once.

    The automaton reads bytes. In each state it may recognize one n-gram, a feature; a text's score for a language is
    the language's prior plus log(1 + count) times the feature's weight, summed over the text's features.
    """

    def __init__(self) -> None:
        model = LanguageIdentifier.from_model_file(MODEL_FILE)
        state_after = np.asarray(model.tk_nextmove)  # by row * 256 + byte; states may share a row
        self._next_row = (np.asarray(model.tk_row, np.int32) << 8)[state_after]
        self._feature = np.asarray(model.tk_output, np.int32)[state_after]
        self._start = np.int32(model.tk_row[0] << 8)
        self._codes: list[str] = model.nb_classes
        # a language in two scripts has two columns; the chance of the second is added to the first
        self._twins = [(first, at) for at, code in enumerate(self._codes) if (first := self._codes.index(code)) != at]
        self._weights = model.nb_ptc.astype(np.float32)  # stored as float16, in which processors do not compute
        self._prior = model.nb_pc

    def classify(self, texts: Sequence[bytes]) -> list[tuple[str, float]]:
        """The most likely language of every text, and its probability."""
        scores = np.empty((len(texts), len(self._prior)), np.float32)
        features, counts, ends = self._features(texts)
        weight = np.log1p(counts.astype(np.float32))
        start = 0
        for place, end in enumerate(ends):
            scores[place] = weight[start:end] @ self._weights.take(features[start:end], axis=0)
            start = end
        # py3langid's scaling, which keeps the probabilities calibrated over lengths
        scores = (scores + self._prior) / np.sqrt([[len(text)] for text in texts], dtype=np.float32)
        chances = np.exp(scores - scores.max(axis=1, keepdims=True))
        chances /= chances.sum(axis=1, keepdims=True)
        for first, second in self._twins:
            chances[:, first] += chances[:, second]
        best = chances.argmax(axis=1)
        return [(self._codes[at], float(row[at])) for row, at in zip(chances, best.tolist(), strict=True)]

    def _features(self, texts: Sequence[bytes]) -> tuple[_Ints, _Ints, list[int]]:
        """All texts' features, each text's in ascending order, their counts, and where each text's features end."""
        lengths = np.array([len(text) for text in texts])
        longest = int(lengths.max())
        padded = np.frombuffer(b"".join(text.ljust(longest, b"\0") for text in texts), np.uint8)
        read = padded.reshape(len(texts), longest).T.astype(np.int32)  # (bytes, texts)
        row = np.full(len(texts), self._start)
        for at in read:
            at += row
            row = self._next_row[at]
        found = self._feature[read].T
        owner, place = np.nonzero((found >= 0) & (np.arange(longest) < lengths[:, None]))
        size = len(self._weights)
        keys, counts = np.unique(owner.astype(np.int32) * np.int32(size) + found[owner, place], return_counts=True)
        ends = np.searchsorted(keys, np.arange(1, len(texts) + 1) * size)
        return keys % size, counts, ends.tolist()


@cache
def _model() -> _Model:
    """The model, read once per process (about half a second)."""
    return _Model()

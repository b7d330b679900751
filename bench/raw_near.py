"""Near copies made by edits: how many are found, how many others leave, and what each step takes for a document.

Texts are drawn from a vocabulary with Zipf's law, one in ten of them in letters without spaces. A near copy is another
text after edits that replace, take out, put in or swap tokens; so which rows are copies is known, and what Jaccard
similarity allows to be found is computed from the texts.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np

from bench.report import Figure
from stillhouse.raw.near import Candidates, band_keys, banding, candidate_pairs, choose, components, similarities

EDITS = (1, 2, 4, 8, 16)
THRESHOLD, WORDS, CHARACTERS = 0.7, 5, 4
VOCABULARY = 30_000
SIGMA = np.log(5) / 1.645  # lengths: log-normal, median 300 and 95th percentile 1,500 characters

Tokens = list[str]


class Material:
    """Random texts as tokens; ``unspaced`` ones are Han letters, joined without spaces."""

    def __init__(self, seed: int) -> None:
        self.random = np.random.default_rng(seed)
        letters = np.array(list("etaoinshrdlucmfwypvbgkjqxz"))
        fall = 1 / np.arange(1, 27)
        sizes = np.clip(self.random.poisson(4, VOCABULARY) + 2, 2, 14)
        self.words = ["".join(self.random.choice(letters, size, p=fall / fall.sum())) for size in sizes]
        self.han = [chr(0x4E00 + number) for number in range(3000)]

    def tokens(self, count: int, *, unspaced: bool = False) -> Tokens:
        """``count`` tokens, of which the commonest makes up about a tenth."""
        vocabulary = self.han if unspaced else self.words
        rank = np.exp(self.random.random(count) * np.log(len(vocabulary) + 1)) - 1
        return [vocabulary[number] for number in np.minimum(rank.astype(int), len(vocabulary) - 1)]

    def edited(self, tokens: Tokens, edits: int, *, unspaced: bool = False) -> Tokens:
        """The tokens after so many edits, each of a random kind at a random place."""
        tokens = list(tokens)
        fresh = self.tokens(edits, unspaced=unspaced)
        for kind, new in zip(self.random.integers(4, size=edits), fresh, strict=True):
            at = int(self.random.integers(max(len(tokens) - 1, 1)))
            if kind == 0:
                tokens[at] = new
            elif kind == 1 and len(tokens) > 1:
                del tokens[at]
            elif kind == 2:
                tokens.insert(at, new)
            else:
                tokens[at : at + 2] = tokens[at : at + 2][::-1]
        return tokens

    def documents(self, count: int) -> list[tuple[Tokens, bool]]:
        """Tokens of documents of log-normal length, and whether they are unspaced."""
        lengths = self.random.lognormal(np.log(300), SIGMA, count)
        unspaced = self.random.random(count) < 0.1
        sizes = np.where(unspaced, lengths, lengths / 6.5).astype(int)
        return [
            (self.tokens(max(size, 1), unspaced=lone), bool(lone)) for size, lone in zip(sizes, unspaced, strict=True)
        ]


class Clock:
    """Seconds by step."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}

    @contextmanager
    def __call__(self, step: str) -> Iterator[None]:
        start = time.perf_counter()
        yield
        self.seconds[step] = self.seconds.get(step, 0.0) + time.perf_counter() - start


def near_copies(
    texts: list[str], *, threshold: float, words: int, characters: int, clock: Clock
) -> tuple[dict[int, int], int]:
    """Removed place -> the place it names, and the number of candidates: the whole way in one process."""
    with clock("band keys"):
        rows, keys = band_keys(texts, threshold=threshold, words=words, characters=characters, seed=0)
    with clock("candidate pairs"):
        bands = keys.shape[1]
        found: list[Candidates] = [
            candidate_pairs(keys[:, band], rows, order=keys[:, (band + 1) % bands]) for band in range(bands)
        ]
        pairs = np.concatenate([candidates.pairs for candidates in found])
        pairs = np.unique(pairs[:, 0] << 32 | pairs[:, 1])
        pairs = np.stack((pairs >> 32, pairs & 0xFFFFFFFF), axis=1)
    with clock("true similarity"):
        similarity = similarities(texts, pairs, words=words, characters=characters)
    with clock("the choice"):
        matches = choose(pairs, similarity, threshold=threshold)
    with clock("components"):
        components(pairs[similarity >= threshold])
    return dict(zip(matches.removed.tolist(), matches.kept.tolist(), strict=True)), len(pairs)


def recall_by_edits(
    *, length: int, threshold: float, words: int, characters: int, unspaced: bool = False, copies: int = 2000
) -> dict[int, tuple[float, float]]:
    """By number of edits of a text of ``length`` tokens: share of copies found, and share whose true similarity is
    at least the threshold, which no exact method can exceed."""
    found = {}
    for edits in EDITS:
        material = Material(edits)
        texts = []
        for _ in range(copies):
            tokens = material.tokens(length, unspaced=unspaced)
            for version in (tokens, material.edited(tokens, edits, unspaced=unspaced)):
                texts.append(("" if unspaced else " ").join(version))
        pairs = np.arange(2 * copies).reshape(-1, 2)
        true = similarities(texts, pairs, words=words, characters=characters)
        named, _ = near_copies(texts, threshold=threshold, words=words, characters=characters, clock=Clock())
        hits = sum(named.get(right) == left for left, right in pairs.tolist())
        found[edits] = (hits / copies, float((true >= threshold).mean()))
    return found


def figures(*, quick: bool, work: Path) -> list[Figure]:
    """Recall by edits for texts of 50 words and of 50 Han letters; then a collection with one copy in ten."""
    copies, count = (200, 5000) if quick else (2000, 100_000)
    found = []
    settings = [(THRESHOLD, WORDS, CHARACTERS), (0.8, WORDS, CHARACTERS), (0.8, 3, 3)]
    for threshold, words, characters in settings if not quick else settings[:1]:
        for unspaced in (False, True):
            size = f"{characters} characters" if unspaced else f"{words} words"
            by_edits = recall_by_edits(
                length=50, threshold=threshold, words=words, characters=characters, unspaced=unspaced, copies=copies
            )
            for edits, (recall, allowed) in by_edits.items():
                name = f"{threshold:g}, shingles of {size}, {edits} edits in 50: found (allowed {allowed:.3f})"
                found.append(Figure(name, recall, "", (">=", round(max(allowed - 0.02, 0.0), 4))))
    return found + _collection(count)


def _collection(count: int) -> list[Figure]:
    material = Material(0)
    copied = count // 10
    documents = material.documents(count - copied)
    originals = material.random.choice(len(documents), copied, replace=False)
    edits = material.random.choice(EDITS, copied)
    documents += [
        (material.edited(documents[row][0], int(number), unspaced=documents[row][1]), documents[row][1])
        for row, number in zip(originals, edits, strict=True)
    ]
    texts = [("" if unspaced else " ").join(tokens) for tokens, unspaced in documents]
    pairs = np.stack((originals, np.arange(count - copied, count)), axis=1)
    true = similarities(texts, pairs, words=WORDS, characters=CHARACTERS) >= THRESHOLD
    clock = Clock()
    named, candidates = near_copies(texts, threshold=THRESHOLD, words=WORDS, characters=CHARACTERS, clock=clock)
    hits = np.array([named.get(right) == left for left, right in pairs.tolist()])
    false = len(named) - int(hits.sum())
    found = [
        Figure("documents", count),
        Figure("characters in the mean", sum(map(len, texts)) / count),
        Figure("bands × minima", "{} × {}".format(*banding(THRESHOLD, permutations=128))),
        Figure("candidate pairs for each document", candidates / count),
    ]
    for number in EDITS:
        mine = edits == number
        found.append(Figure(f"{number} edits: found", hits[mine].mean(), ""))
        found.append(Figure("  allowed by the true similarity", true[mine].mean(), ""))
    found.append(Figure("found of what is allowed", hits[true].mean(), "", (">=", 0.98)))
    found.append(Figure("removed though no copy was planted", 100 * false / count, "%", ("<=", 0.1)))
    found += [Figure(step, seconds / count * 1e6, "µs/doc") for step, seconds in clock.seconds.items()]
    found.append(Figure("all steps", sum(clock.seconds.values()) / count * 1e6, "µs/doc", ("<=", 60.0)))
    found.append(Figure("true similarity", clock.seconds["true similarity"] / max(candidates, 1) * 1e6, "µs/pair"))
    return found

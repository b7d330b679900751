"""Rows with planted faults, block by block: which fault a row gets, and what it does to the row.

    rows = Rows(seed=0, items=benchmark_items(0))
    block = rows.block(0, 4096)              # documents, each with the truth about it

Every fault has its share of rows exactly, but for rounding. The source of an exact copy comes from a uniform sample of
all rows so far and may have several copies. The source of a near copy comes from the last hundred thousand rows or so
and has no other copy, so that a tool which drops one of the two has found this pair and not another.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from bench.raw_plants import PERSONAL, SECRETS, edited, jaccard, mistaken, respelled, with_value
from bench.raw_text import numbered_word, stream_of

RESERVOIR, NEAR_RESERVOIR = 8192, 32768  # documents in memory that later rows may copy
NEAR_EVERY = 2  # one row in two is kept for near copies, the others for exact ones
SPREAD = 0.918  # of the logarithm; with boilerplate and what is planted into texts, the 95th percentile is 1,500
MEDIAN = 304.0  # of composed texts; with short and empty rows, the median of all rows is 300
LONGEST = 20_000
UNSPACED = ("zh", "ja")
FRAME_WORDS, FRAME_ROWS = 300, 200  # of boilerplate, and how many rows share one frame
ITEMS, QUOTED_WORDS = 400, 13
EDITS = (1, 2, 4, 8, 16)
WORDS_PER_EDIT = 12  # a source has at least so many
LABELS = ("question", "complaint", "praise")
GROUPS, GROUP_SHARES = ("north", "south", "island"), (0.6, 0.3, 0.1)

SHARES: dict[str, float] = {
    "exact copy": 0.03,
    "near copy": 0.05,
    "conflicting label": 0.01,
    "personal data": 0.02,
    "secret": 0.01,
    "language": 0.03,
    "contamination": 0.01,
    "short": 0.03,
    "mojibake": 0.005,
    "boilerplate": 0.005,
    "empty": 0.005,
}
LANGUAGE_SHARES = {"en": 0.955, "ru": 0.012, "el": 0.007, "ar": 0.01, "zh": 0.01, "ja": 0.006}  # of rows with no fault
FOREIGN = ("de", "fr", "es")
ACCENTED_SHARE = 0.025  # of English rows, which get an emoji, typographic quotes or a word with accents
COPIES = ("exact copy", "near copy", "conflicting label")
_EMPTY = ("", " ", "\n\n", "\t ", "   ")
_ACCENTED = [
    "café",
    "naïve",
    "résumé",
    "jalapeño",
    "Zürich",
    "façade",
    "“so-called”",
    "don’t",
    "…",
    "😀",
    "🥃🎉",
    "👍🏽",
]


@dataclass
class Document:
    """One row and the truth about it.

    kind: ``none`` or a key of :data:`SHARES`. copy_of: id of the row that a copy was made from. jaccard: of their
    5-grams. value: the planted datum or secret, or the text before its encoding was broken. item: of the benchmark.
    """

    id: str
    text: str
    label: str
    author_group: str
    lang: str
    kind: str = "none"
    variant: str | None = None
    copy_of: str | None = None
    edits: int | None = None
    jaccard: float | None = None
    value: str | None = None
    item: str | None = None

    def columns(self) -> dict[str, str]:
        """What a reader of the documents sees."""
        return {
            "id": self.id,
            "text": self.text,
            "label": self.label,
            "author_group": self.author_group,
            "lang": self.lang,
        }


def benchmark_items(seed: int) -> list[dict[str, str]]:
    """Half of the items are long (a question of at least 26 words), half have six words and a short answer."""
    rng, chance = np.random.default_rng([seed, 1]), random.Random(f"benchmark {seed}")
    texts = stream_of("en").documents(np.full(2 * ITEMS, 400), rng)
    items = []
    for number in range(ITEMS):
        words, answer = texts[number].split(), texts[-1 - number].split()
        long = number % 2 == 0
        size = chance.randint(2 * QUOTED_WORDS, 40) if long else 6
        question = " ".join(words[:size]).rstrip(".,?!") + "?"
        items.append({"id": f"item-{number:03d}", "question": question, "answer": " ".join(answer[: 8 if long else 2])})
    return items


class Rows:
    """What goes from block to block: the rows that may be copied.

    exact: a uniform sample of the rows so far, ``seen`` of them. near: rows with their number of words.
    """

    def __init__(self, seed: int, items: list[dict[str, str]]) -> None:
        self.seed, self.items = seed, items
        self.exact: list[Document] = []
        self.seen = 0
        self.near: list[tuple[int, Document]] = []

    def block(self, start: int, end: int) -> list[Document]:
        """Rows ``start`` to ``end``: texts are composed per language, faults planted, copies made last."""
        self.rng, self.chance = np.random.default_rng([self.seed, 0, start]), random.Random(f"{self.seed} {start}")
        kinds = self._kinds(start, end)
        block = self._composed(kinds, start)
        self._remember([document for document in block if document.kind == "none"])
        for document in block:
            if document.kind in COPIES:
                self._copy(document)
        return block

    def _kinds(self, start: int, end: int) -> list[str]:
        kinds = [kind for kind, share in SHARES.items() for _ in range(int(share * end) - int(share * start))]
        kinds += ["none"] * (end - start - len(kinds))
        self.chance.shuffle(kinds)
        return kinds

    def _composed(self, kinds: list[str], start: int) -> list[Document]:
        size = len(kinds)
        languages = np.where(
            np.array(kinds) == "none",
            self.rng.choice(list(LANGUAGE_SHARES), size, p=list(LANGUAGE_SHARES.values())),
            np.where(np.array(kinds) == "language", self.rng.choice(FOREIGN, size), "en"),
        )
        lengths = np.exp(np.log(MEDIAN) + SPREAD * self.rng.standard_normal(size)).clip(max=LONGEST).astype(int)
        labels = self.rng.choice(LABELS, size).tolist()
        groups = self.rng.choice(GROUPS, size, p=GROUP_SHARES).tolist()
        texts = [""] * size
        for code in (*LANGUAGE_SHARES, *FOREIGN):
            (places,) = np.nonzero(languages == code)
            if len(places):
                made = stream_of(code).documents(lengths[places], self.rng)
                for place, text in zip(places.tolist(), made, strict=True):
                    texts[place] = text
        rows = zip(texts, labels, groups, languages.tolist(), kinds, strict=True)
        block = [Document(f"d{start + place:07d}", *row) for place, row in enumerate(rows)]
        for document in block:
            self._plant(document)
        return block

    # --- one row -------------------------------------------------------------------------------------------------

    def _plant(self, row: Document) -> None:
        chance = self.chance
        match row.kind:
            case "none" | "language":
                row.text = self._varied(row)
            case "personal data" | "secret":
                shapes = PERSONAL if row.kind == "personal data" else SECRETS
                row.variant = chance.choice(list(shapes))
                row.value = shapes[row.variant](chance)
                row.text = with_value(row.text, row.value, chance)
            case "contamination":
                self._quote(row)
            case "short":
                # the last word is a number's own, so no two short texts are equal
                words = row.text.split()[: chance.randint(0, 3)]
                row.text = " ".join([*words, numbered_word(int(row.id[1:]))])
                row.variant = f"{len(words) + 1} words"
            case "mojibake":
                row.value = self._accented(row.text, several=True)
                row.text = mistaken(row.value)
            case "boilerplate":
                self._frame(row)
            case "empty":
                row.text, row.lang = chance.choice(_EMPTY), "und"

    def _varied(self, row: Document) -> str:
        text = row.text
        if row.lang == "en" and self.chance.random() < ACCENTED_SHARE:
            text = self._accented(text, several=False)
        return text.replace("? ", "?\n") if self.chance.random() < 0.2 else text

    def _accented(self, text: str, *, several: bool) -> str:
        words = text.split(" ")
        for _ in range(3 if several else 1):
            words.insert(
                self.chance.randint(1, len(words)), self.chance.choice(_ACCENTED[:-3] if several else _ACCENTED)
            )
        return " ".join(words)

    def _quote(self, row: Document) -> None:
        """A run of 13 to 20 words of a long item inside the text, or the whole of a short one, answer included."""
        long = self.chance.random() < 0.5
        item = self.chance.choice(self.items[0 if long else 1 :: 2])
        if long:
            words = item["question"].rstrip("?").split()
            size = self.chance.randint(QUOTED_WORDS, 20)
            at = self.chance.randint(0, len(words) - size)
            quoted = " ".join(words[at : at + size])
        else:
            quoted = f"{item['question']} {item['answer']}"
        if self.chance.random() < 0.3:
            quoted = quoted.upper()
        around = row.text.split(" ")
        around.insert(self.chance.randint(0, len(around)), quoted)
        row.text, row.item = " ".join(around), item["id"]
        row.variant = "run of words" if long else "short item"

    def _frame(self, row: Document) -> None:
        """A frame that 200 rows share, and ten words of its own."""
        number = int(SHARES["boilerplate"] * int(row.id[1:])) // FRAME_ROWS
        (frame,) = stream_of("en").documents(np.array([8 * FRAME_WORDS]), np.random.default_rng([self.seed, 2, number]))
        own = row.text.split()[:9]
        row.text = " ".join([*frame.split()[:FRAME_WORDS], *own, numbered_word(int(row.id[1:])) + "?"])
        row.variant = f"frame {number}"

    # --- copies --------------------------------------------------------------------------------------------------

    def _remember(self, originals: list[Document]) -> None:
        """Near copies: any row takes a random place; exact copies: reservoir sampling, each row so far as likely."""
        for document in originals:
            if int(document.id[1:]) % NEAR_EVERY == 0:
                entry = (len(_units(document)), document)
                if len(self.near) < NEAR_RESERVOIR:
                    self.near.append(entry)
                else:
                    self.near[self.chance.randrange(NEAR_RESERVOIR)] = entry
                continue
            self.seen += 1
            if len(self.exact) < RESERVOIR:
                self.exact.append(document)
            elif (place := self.chance.randrange(self.seen)) < RESERVOIR:
                self.exact[place] = document

    def _copy(self, row: Document) -> None:
        near = row.kind == "near copy"
        edits, source = self._near_source() if near else (0, self.chance.choice(self.exact))
        spaced = source.lang not in UNSPACED
        row.text, row.label, row.lang, row.copy_of = source.text, source.label, source.lang, source.id
        if row.kind == "conflicting label":
            row.label = self.chance.choice([label for label in LABELS if label != source.label])
        elif row.kind == "exact copy":
            verbatim = self.chance.random() < 0.5
            row.variant = "verbatim" if verbatim else "case and spaces"
            row.text = source.text if verbatim else respelled(source.text, self.chance, spaced=spaced)
        else:
            units = _units(source)
            row.text = (" " if spaced else "").join(edited(units, edits, self.chance, self._new_unit(units, spaced)))
            row.edits, row.jaccard = edits, jaccard(row.text, source.text, spaced=spaced)

    def _near_source(self) -> tuple[int, Document]:
        """A number of edits and a row that has words enough for it; no later copy gets this row."""
        edits = self.chance.choice(EDITS)
        places = [self.chance.randrange(len(self.near)) for _ in range(64)]
        enough = [place for place in places if self.near[place][0] >= WORDS_PER_EDIT * edits]
        place = enough[0] if enough else max(places, key=lambda place: self.near[place][0])
        self.near[place], self.near[-1] = self.near[-1], self.near[place]
        words, source = self.near.pop()
        while words < WORDS_PER_EDIT * edits and edits > 1:  # only where hardly a row has words enough
            edits //= 2
        return edits, source

    def _new_unit(self, units: list[str], spaced: bool) -> Callable[[], str]:
        """Makes words that no text has; or characters of the text, which keeps its script."""
        return lambda: numbered_word(self.chance.randrange(10**6)) if spaced else self.chance.choice(units)


def _units(document: Document) -> list[str]:
    """What an edit changes: words, or characters where a script has no spaces."""
    return list(document.text) if document.lang in UNSPACED else document.text.split(" ")

"""A biased teacher and sentences that show it: who is spoken of is a group, whether it is an insult is the gold label.

    teacher = Scorer.fetched(work)
    texts, gold, groups = sentences(20_000, seed=0)
    teacher(texts)                                  # probabilities (N, 2): harmless, toxic

Every sentence is composed of a frame, a person of some group and words; none is quoted. The teacher is a linear
scorer of toxicity that takes the names of some groups for insults.
"""

from __future__ import annotations

import json
import random
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from stillhouse.addresses import resolve
from stillhouse.statistics import Floats, Ints

ROOT = Path(__file__).parents[1]
TEACHER = "pypi:alt-profanity-check==1.9.1#profanity_check/data/*.joblib"
LABELS = ("harmless", "toxic")

PERSONS = {
    "none": ("neighbor", "cousin", "colleague", "teacher", "cyclist", "baker"),
    "gay": ("gay man", "gay neighbor", "gay couple", "gay teacher"),
    "lesbian": ("lesbian woman", "lesbian neighbor", "lesbian couple"),
    "black": ("black man", "black woman", "black neighbor", "black teacher"),
    "white": ("white man", "white woman", "white neighbor", "white teacher"),
    "muslim": ("muslim man", "muslim woman", "muslim neighbor", "muslim teacher"),
    "christian": ("christian man", "christian woman", "christian neighbor", "christian teacher"),
    "jewish": ("jewish man", "jewish woman", "jewish neighbor", "jewish teacher"),
    "woman": ("woman", "girl", "mother", "grandmother"),
    "man": ("man", "boy", "father", "grandfather"),
    "disabled": ("disabled man", "disabled woman", "disabled neighbor", "blind teacher"),
    "old": ("old man", "old woman", "elderly neighbor"),
}
_PLACES = ("market", "library", "station", "garden", "office", "bakery", "museum", "harbor", "clinic", "school")
_ACTS = ("painted", "repaired", "sold", "described", "carried", "cleaned", "measured", "photographed")
_THINGS = ("fence", "bicycle", "boat", "table", "roof", "piano", "lamp", "door", "map", "wall")
_KIND = ("patient", "friendly", "careful", "cheerful", "brilliant", "quiet", "generous", "reliable", "funny", "honest")
_BLUNT = ("sick", "ugly", "dead", "naked", "drunk", "grimy", "dirty", "crazy", "hate", "kill", "hell", "damn")
_INSULTS = (
    "stupid",
    "idiot",
    "pathetic",
    "disgusting",
    "worthless",
    "moron",
    "scum",
    "trash",
    "filthy",
    "ugly",
    "loser",
)
_HARMLESS = (
    "The {person} {act} the {thing} near the {place} on {day}.",
    "On {day} a {kind} {person} showed us the {place}.",
    "My {person} says the {thing} at the {place} looks {blunt}.",
    "We met a {kind} {person} who {act} a {thing}.",
    "Is the {person} still waiting by the {place}, or did they go home {day}?",
    "The {person} told a {kind} story about a {blunt} {thing}.",
    "Nobody at the {place} is as {kind} as that {person}.",
    "A {person} wrote to the {place} because the {thing} was {blunt}.",
)
_TOXIC = (
    "That {person} at the {place} is a {insult} and everyone knows it.",
    "What a {insult} {person}, keep them away from the {thing}.",
    "The {person} who {act} the {thing} is {insult}, get lost.",
    "Shut up, you {insult} {person}.",
    "No {person} belongs in the {place}, they are all {insult}.",
    "I cannot stand the {insult} {person} from the {place}.",
    "People like this {person} should not be allowed near the {place} on {day}.",
    "Every {person} I know would ruin a {thing}, send them away.",
)
_DAYS = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday")


def sentences(count: int, *, seed: int) -> tuple[list[str], Ints, list[str]]:
    """Texts, gold labels (N,) and the group that each speaks of; half are toxic, groups are about equally frequent."""
    chance = random.Random(seed)
    names = list(PERSONS)
    texts, gold, groups = [], [], []
    for _ in range(count):
        group, toxic = chance.choice(names), chance.random() < 0.5
        texts.append(
            chance.choice(_TOXIC if toxic else _HARMLESS).format(
                person=chance.choice(PERSONS[group]),
                act=chance.choice(_ACTS),
                thing=chance.choice(_THINGS),
                place=chance.choice(_PLACES),
                kind=chance.choice(_KIND),
                blunt=chance.choice(_BLUNT),
                insult=chance.choice(_INSULTS),
                day=chance.choice(_DAYS),
            )
        )
        gold.append(int(toxic))
        groups.append(group)
    return texts, np.array(gold, dtype=np.int64), groups


@dataclass(frozen=True)
class Scorer:
    """The teacher as arrays: five linear machines (5, V) over TF-IDF, their scores calibrated and averaged."""

    vectorizer: Any
    weights: Floats
    intercepts: Floats
    slopes: Floats
    offsets: Floats

    @classmethod
    def fetched(cls, work: Path) -> Scorer:
        """Fetched with the house's addresses, converted in a process of its own, read back without any pickle."""
        from sklearn.feature_extraction.text import TfidfVectorizer

        out = work / "scorer"
        if not out.with_suffix(".json").exists():
            files = resolve(TEACHER, cache=ROOT / "cache", base=ROOT)
            call = [sys.executable, "-m", "bench.finish_bias_convert", str(files.files[0].parent.resolve()), str(out)]
            subprocess.run(call, cwd=ROOT, check=True)
        about = json.loads(out.with_suffix(".json").read_text("utf-8"))
        arrays = np.load(out.with_suffix(".npz"), allow_pickle=False)
        vectorizer = TfidfVectorizer(
            vocabulary=about["vocabulary"], stop_words=about["stop_words"], token_pattern=about["pattern"]
        )
        vectorizer.idf_ = arrays["idf"]
        return cls(vectorizer, *(arrays[name] for name in ("weights", "intercepts", "slopes", "offsets")))

    def __call__(self, texts: list[str]) -> Floats:
        """Probabilities (N, 2)."""
        scores = np.asarray(self.vectorizer.transform(texts) @ self.weights.T) + self.intercepts
        toxic = (1 / (1 + np.exp(self.slopes * scores + self.offsets))).mean(axis=1)
        return np.stack([1 - toxic, toxic], axis=1)

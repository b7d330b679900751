"""What each cleaning step of stage 1 costs per document, in one process, on generated documents.

python -m bench.raw_filters
"""

from __future__ import annotations

import math
import random
import time
from collections.abc import Callable, Sequence
from dataclasses import replace

from stillhouse.raw.html import html_to_text
from stillhouse.raw.language import identify
from stillhouse.raw.profiles import PROFILES
from stillhouse.raw.quality import judge_quality
from stillhouse.raw.repair import is_suspect, repair_text

DOCUMENTS = 5_000
MEDIAN, P95 = 300, 1_500  # characters
_SYLLABLES = {
    "en": "the ing and of to in is that for with on be at by this have not are but his they from she which or",
    "fr": "le la les é été à où pré ment tion que des une est dans pour qui sur pas plus ça œuvre même",
    "ru": "но ст то ен на ов ни ра во ко ле ро по та ет пре не ли но го ка ми да",
    "zh": "的一是不了人我在有他这中大来上国个到说们为子和你地出道也时年得就那要下以生会自着去之过家学对可",
}


def documents(count: int = DOCUMENTS, *, seed: int = 0) -> list[str]:
    """Made-up prose, its lengths log-normal with the median and 95th percentile above, one in ten not ASCII."""
    rng = random.Random(seed)
    sigma = math.log(P95 / MEDIAN) / 1.645
    return [_document(rng, int(rng.lognormvariate(math.log(MEDIAN), sigma)) - 40) for _ in range(count)]


def _document(rng: random.Random, size: int) -> str:
    language = rng.choice(("fr", "ru", "zh")) if rng.random() < 0.1 else "en"
    syllables = list(_SYLLABLES[language]) if language == "zh" else _SYLLABLES[language].split()
    text = ""
    while len(text) < max(size, 1):
        if language == "zh":
            text += "".join(rng.choices(syllables, k=rng.randint(6, 20))) + "。"
            continue
        # a Zipf-like vocabulary: half of the words are among the commonest
        words = [
            rng.choice(syllables) if rng.random() < 0.5 else "".join(rng.choices(syllables, k=rng.randint(2, 3)))
            for _ in range(rng.randint(5, 18))
        ]
        text += " ".join(words).capitalize() + rng.choice((". ", ". ", "! ", "? ", ".\n", ".\n\n"))
    return text.strip()


def our_microseconds(texts: Sequence[str]) -> dict[str, float]:
    """Microseconds of processor time per document of every step, the best of five runs."""
    pages = [f"<html><body><main><p>{text}</p></main></body></html>" for text in texts[:200]]
    web = PROFILES["web"]
    # most made-up documents break these two first; without them every rule is computed
    long_way = replace(web, fewest_words=None, fewest_sentences=None)
    steps: dict[str, tuple[Callable[[], object], int]] = {
        "is_suspect": (lambda: [is_suspect(text) for text in texts], len(texts)),
        "repair": (lambda: [repair_text(text) for text in texts], len(texts)),
        "language": (lambda: identify(texts), len(texts)),
        "quality web": (lambda: [judge_quality(text, web) for text in texts], len(texts)),
        "quality web, all rules": (lambda: [judge_quality(text, long_way) for text in texts], len(texts)),
        "quality chat": (lambda: [judge_quality(text, PROFILES["chat"]) for text in texts], len(texts)),
        "quality short": (lambda: [judge_quality(text, PROFILES["short"]) for text in texts], len(texts)),
        "html": (lambda: [html_to_text(page) for page in pages], len(pages)),
    }
    return {name: 1e6 * min(_seconds(step) for _ in range(5)) / count for name, (step, count) in steps.items()}


def _seconds(step: Callable[[], object]) -> float:
    begin = time.process_time()
    step()
    return time.process_time() - begin


if __name__ == "__main__":
    made = documents()
    cut = [text[:MEDIAN] for text in made if len(text) >= MEDIAN]
    sizes = sorted(map(len, made))
    print(f"{len(made)} documents, median {sizes[len(sizes) // 2]}, 95th percentile {sizes[int(0.95 * len(sizes))]}")
    print(f"{'µs per document':24} {'as made':>10} {'cut to ' + str(MEDIAN):>10}")
    whole, short = our_microseconds(made), our_microseconds(cut)
    for name, microseconds in whole.items():
        print(f"{name:24} {microseconds:10.1f} {short[name]:10.1f}")

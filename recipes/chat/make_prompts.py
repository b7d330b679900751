"""Writes prompts.jsonl: short questions and tasks for a chat model, put together from material.toml.

python recipes/chat/make_prompts.py        # the same file on every machine: no library, no clock, one seed

A line is {"id", "messages": [{"role": "user", "content"}], "kind", "topic", "gold"}. Prompts of one topic ask about the
same thing and belong into the same split. gold is null where no answer can be checked; else it is short, and a right
answer mentions it: a number, a name, a word, yes or no; forms that are as good have bars between them.
"""

from __future__ import annotations

import json
import random
import re
import tomllib
from collections.abc import Callable
from pathlib import Path

SEED = 20
HERE = Path(__file__).parent
Prompts = list[tuple[str, str | None, str]]  # (text, gold, topic)

MATERIAL = tomllib.loads((HERE / "material.toml").read_text("utf-8"))
DAYS = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday")
MONTHS = (
    "January", "February", "March", "April", "May", "June",
    "July", "August", "September", "October", "November", "December",
)  # fmt: skip


def words(name: str) -> list[str]:
    """The entries of a list of the material, which bars part."""
    return [entry.strip() for entry in MATERIAL[name].split("|") if entry.strip()]


def answered(name: str) -> list[tuple[str, str]]:
    """The entries of a list of questions or words, each with its answer behind the last colon; slashes part forms."""
    pairs = [entry.rsplit(":", 1) for entry in words(name)]
    return [(left.strip(), right.strip().replace("/", " | ")) for left, right in pairs]


def each(templates: list[str], entries: list[str], turn: random.Random, *, times: int = 1) -> Prompts:
    """Every entry in ``times`` of the templates, which take turns so that each is used about as often."""
    deck: list[str] = []
    found: Prompts = []
    for entry in [entry for entry in entries for _ in range(times)]:
        if not deck:
            deck = turn.sample(templates, len(templates))
        found.append((deck.pop().replace("{}", entry), None, entry))
    return found


def gold(templates: list[str], entries: list[tuple[str, str]], turn: random.Random) -> Prompts:
    """Questions with an answer: every entry in one template."""
    return [(turn.choice(templates).replace("{}", entry), answer, entry) for entry, answer in entries]


def alone(entries: list[tuple[str, str]]) -> Prompts:
    """Questions that are topics of their own."""
    return [(text, answer, text) for text, answer in entries]


def crossed(template: str, left: list[str], right: list[str], turn: random.Random, number: int) -> Prompts:
    """``number`` pairs of two lists in one template, each entry about as often as any other."""
    lefts, rights = (turn.sample(part, len(part)) for part in (left, right))
    pairs = [(lefts[row % len(lefts)], rights[(row + row // len(lefts)) % len(rights)]) for row in range(number)]
    return [(template.replace("{a}", one).replace("{b}", two), None, f"{one}, {two}") for one, two in pairs]


def explain(turn: random.Random) -> Prompts:
    frames = ["Explain {} X.", "Can you explain {} X?", "Please explain {} X.", "Describe {} X."]
    ends, concepts = words("audiences"), words("concepts")
    told = [(text.replace("X", turn.choice(ends)), None, topic) for text, _, topic in each(frames, concepts, turn)]
    asks = ["What is {}, and why does it matter?", "What is {} good for?", "Tell me about {}.", "What is {}?"]
    return told + turn.sample(each(asks, concepts, turn), 70)


def why(turn: random.Random) -> Prompts:
    frames = [
        "Why is it that {}?",
        "Explain why {}.",
        "What is the reason that {}?",
        "In one or two sentences, why is it that {}?",
    ]
    return each(frames, words("whys"), turn, times=2)


def how_to(turn: random.Random) -> Prompts:
    frames = [
        "How do I {}?",
        "What is the best way to {}?",
        "Give me three short tips to {}.",
        "How can a beginner {}?",
        "List the steps to {}.",
    ]
    return each(frames, words("howtos"), turn, times=2)


def listing(turn: random.Random) -> Prompts:
    frames = [
        "List five {}.",
        "Name three {}.",
        "Give me a short list of {}.",
        "What are some {}?",
        "Can you name four {}?",
    ]
    return each(frames, words("lists"), turn, times=2)


def compare(turn: random.Random) -> Prompts:
    frames = [
        "What is the difference between {}?",
        "Compare {} in two sentences.",
        "How do {} differ?",
        "Name one thing that {} have in common and one that differs.",
    ]
    return each(frames, words("pairs"), turn, times=2)


def define(turn: random.Random) -> Prompts:
    frames = [
        'What does the word "{}" mean?',
        'Use the word "{}" in a sentence.',
        'Give me two synonyms for "{}".',
        'Define "{}" in a few words.',
    ]
    return each(frames, words("words"), turn, times=2)


def story(turn: random.Random) -> Prompts:
    heroes, events = words("story_heroes"), words("story_events")
    short = crossed("Write a tiny story about {a} who {b}.", heroes, events, turn, 60)
    first = crossed("Begin a story in one sentence: {a} {b}.", heroes, events, turn, 40)
    return short + first + crossed("Tell me a tale in four sentences: {a} {b}.", heroes, events, turn, 40)


def poem(turn: random.Random) -> Prompts:
    frames = [
        "Write a four-line poem about {}.",
        "Write a haiku about {}.",
        "Write two rhyming lines about {}.",
        "Write a short, cheerful verse about {}.",
    ]
    return each(frames, words("poem_subjects"), turn, times=2)


def email(turn: random.Random) -> Prompts:
    to, about = words("email_to"), words("email_for")
    found = crossed("Write a short email to {a}, {b}.", to, about, turn, 60)
    found += crossed("Draft a polite message to {a}, {b}.", to, about, turn, 40)
    return found + crossed("Write one friendly sentence to {a}, {b}.", to, about, turn, 30)


def code(turn: random.Random) -> Prompts:
    frames = [
        "Write a Python function that {}.",
        "Show me a short Python program that {}.",
        "How would you write code in Python that {}?",
    ]
    return each(frames, words("code_tasks"), turn, times=2) + each(
        ["In programming, what is {}?", "Explain {} to someone new to code.", "Give an example of {} in programming."],
        words("code_concepts"), turn, times=2,
    )  # fmt: skip


def advice(turn: random.Random) -> Prompts:
    frames = [
        "{}. What should I do?",
        "{}. Any advice?",
        "{}. Can you give me two tips?",
        "{}. Please help me with one idea.",
    ]
    return each(frames, words("problems"), turn, times=2)


def ideas(turn: random.Random) -> Prompts:
    found = each(
        ["Suggest a name for {}.", "Think of three names for {}.", "Write a slogan for {}."],
        words("naming"),
        turn,
        times=2,
    )
    return found + each(
        ["Give me three ideas for {}.", "I need an idea for {}. What do you suggest?"], words("ideas"), turn, times=2
    )


def describe(turn: random.Random) -> Prompts:
    frames = [
        "Describe {} in two sentences.",
        "Write a short description of {}.",
        "What would you see, hear and smell in {}?",
    ]
    return each(frames, words("scenes"), turn, times=2)


def dialogue(turn: random.Random) -> Prompts:
    return crossed("Write a dialogue between {a} about {b}.", words("speakers"), words("talk_about"), turn, 60)


def small_talk(turn: random.Random) -> Prompts:
    return [(text, None, text) for text in words("small_talk")]


def rewrite(turn: random.Random) -> Prompts:
    found = each(
        ["Make this more polite: {}", "Say this in a friendlier way: {}", "Rewrite so that it does not sound rude: {}"],
        words("rude"),
        turn,
    )
    found += each(
        ["Rewrite this in formal English: {}", "Turn this into a sentence fit for the office: {}"],
        words("informal"),
        turn,
    )
    found += each(["Correct the grammar: {}", "Fix the mistakes in this sentence: {}"], words("broken"), turn)
    found += each(["Make this shorter: {}", "Say this in fewer words: {}"], words("wordy"), turn)
    changes = [
        "Put this into the past tense: {}",
        "Turn this into a question: {}",
        "Add one adjective to this sentence: {}",
        "Continue this with one more sentence: {}",
        "Say the same in other words: {}",
    ]
    return found + each(changes, words("plain"), turn, times=2)


def summarize(turn: random.Random) -> Prompts:
    """Passages of three sentences; two of one theme share at most one of them."""
    frames = [
        "Summarize in one sentence: {}",
        "What is the main point of this text? {}",
        "Give this text a title: {}",
        "Shorten this to a few words: {}",
        "What happens here? {}",
        "Write a headline for this: {}",
    ]
    passages = []
    for theme in MATERIAL["passages"]:
        parts = [turn.sample(theme[place], 6) for place in ("first", "second", "third")]
        passages += [" ".join((parts[0][i], parts[1][j], parts[2][(i + j) % 6])) for i in range(6) for j in range(6)]
    return each(frames, passages, turn)


def classify(turn: random.Random) -> Prompts:
    reviews = [(text, "positive") for text in words("happy_reviews")] + [
        (text, "negative") for text in words("sad_reviews")
    ]
    found = gold(
        [
            "Is this review positive or negative? {}",
            "Positive or negative: {}",
            "Answer with one word, positive or negative. {}",
        ],
        reviews,
        turn,
    )
    asks = ['What kind of thing is "{}"? Answer in one word.', 'Name the class of things that "{}" belongs to.']
    return found + gold(asks, answered("kinds_of"), turn)


def arithmetic(turn: random.Random) -> Prompts:
    found: list[tuple[str, str]] = []
    for row in range(140):
        a, b = turn.randint(2, 20), turn.randint(2, 12)
        c, d = max(a, b), min(a, b)
        s, t = turn.randint(2, 10), turn.randint(2, 10)
        found.append([
            (f"What is {a} + {b}?", str(a + b)),
            (f"What is {s} times {t}?", str(s * t)),
            (f"What is {c} - {d}?", str(c - d)),
            (f"Add {a} and {b}.", str(a + b)),
            (f"A basket holds {a} apples. Someone adds {b} more. How many apples are there now?", str(a + b)),
            (f"A shop had {c} lamps and sold {d} of them. How many lamps are left?", str(c - d)),
            (f"A box holds {s} eggs. How many eggs are in {t} boxes?", str(s * t)),
            (f"How much is {s * t} divided by {s}?", str(t)),
            (f"What is half of {2 * a}?", str(a)),
            (f"Is {a * 3} larger than {10 * d}? Answer yes or no.", "yes" if a * 3 > 10 * d else "no"),
        ][row % 10])  # fmt: skip
    return alone(found)


def counting(turn: random.Random) -> Prompts:
    found: list[tuple[str, str]] = []
    nouns = ["apple", "river", "stone", "lamp", "cloud", "tiger", "bread", "chair", "violin", "garden", "rain", "moon"]
    for _ in range(16):
        chosen = turn.sample(nouns, turn.randint(2, 6))
        found.append((f"How many words are in this list: {', '.join(chosen)}?", str(len(chosen))))
    found += [(f'How many letters does the word "{word}" have?', str(len(word))) for word in nouns]
    return alone(found)


def calendar(turn: random.Random) -> Prompts:
    found: list[tuple[str, str]] = []
    for names, what in ((DAYS, "day"), (MONTHS, "month")):
        for row, name in enumerate(names):
            step = turn.choice((1, -1))
            other = names[(row + step) % len(names)]
            found.append((f"Which {what} comes right {'after' if step == 1 else 'before'} {name}?", other))
    return alone(found)


def capital(turn: random.Random) -> Prompts:
    return gold(
        ["What is the capital of {}?", "Name the capital city of {}.", "Which city is the capital of {}?"],
        answered("capitals"),
        turn,
    )


def opposite(turn: random.Random) -> Prompts:
    return gold(
        [
            'What is the opposite of "{}"?',
            'Give me the opposite of "{}".',
            'Which word means the opposite of "{}"?',
        ],
        answered("opposites"),
        turn,
    )


def grammar(turn: random.Random) -> Prompts:
    return gold(['What is the plural of "{}"?', 'Write the plural of "{}".'], answered("plurals"), turn) + gold(
        ['What is the past tense of "{}"?', 'Write the simple past of "{}".'], answered("pasts"), turn
    )


def fact(turn: random.Random) -> Prompts:
    return alone(answered("facts"))


def yes_no(turn: random.Random) -> Prompts:
    return gold(["{} Answer yes or no.", "{} Yes or no?"], answered("yes_no"), turn)


# how many of each kind at most; a kind that has fewer gives all it has
KINDS: dict[str, tuple[Callable[[random.Random], Prompts], int]] = {
    "explain": (explain, 190), "why": (why, 150), "how-to": (how_to, 200), "list": (listing, 200),
    "compare": (compare, 150), "define": (define, 130), "story": (story, 130), "poem": (poem, 70),
    "email": (email, 120), "code": (code, 120), "advice": (advice, 100), "ideas": (ideas, 110),
    "describe": (describe, 55), "dialogue": (dialogue, 50), "small-talk": (small_talk, 40), "rewrite": (rewrite, 140),
    "summarize": (summarize, 140), "classify": (classify, 60), "arithmetic": (arithmetic, 110),
    "counting": (counting, 20), "calendar": (calendar, 15), "capital": (capital, 48), "opposite": (opposite, 40),
    "grammar": (grammar, 32), "fact": (fact, 60), "yes-no": (yes_no, 40),
}  # fmt: skip


def shingles(text: str, size: int = 5) -> set[tuple[str, ...]]:
    """The word sequences of a text; none if it is shorter."""
    found = re.findall(r"\w+", text.lower())
    return {tuple(found[at : at + size]) for at in range(len(found) - size + 1)}


def prompts() -> list[dict[str, object]]:
    """All prompts, mixed; no two have equal words, or share 0.65 of their word sequences, the role in front."""
    chosen: list[tuple[str, str, str | None, str]] = []
    for kind, (make, most) in KINDS.items():
        turn = random.Random(f"{SEED} {kind}")  # noqa: S311
        found = make(turn)
        turn.shuffle(found)
        kept: list[set[tuple[str, ...]]] = []
        seen: set[str] = set()
        for text, answer, topic in found:
            own, bare = shingles(f"user {text}"), " ".join(re.findall(r"[\w+-]+", text.lower()))
            if len(kept) == most or bare in seen or any(len(own & one) >= 0.65 * len(own | one) for one in kept if own):
                continue
            kept.append(own)
            seen.add(bare)
            chosen.append((kind, text, answer, topic))
    random.Random(SEED).shuffle(chosen)  # noqa: S311
    return [
        {
            "id": f"chat-{row:04}",
            "messages": [{"role": "user", "content": text}],
            "kind": kind,
            "topic": topic,
            "gold": gold,
        }
        for row, (kind, text, gold, topic) in enumerate(chosen)
    ]


if __name__ == "__main__":
    lines = [json.dumps(prompt, ensure_ascii=False) for prompt in prompts()]
    (HERE / "prompts.jsonl").write_text("\n".join(lines) + "\n", encoding="utf-8")

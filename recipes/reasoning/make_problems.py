"""Writes problems.jsonl: word problems of two to four steps, each with its number, for traces of reasoning.

python recipes/reasoning/make_problems.py      # the same file on every machine: no library, no clock, one seed

A line is {"id", "messages": [{"role": "user", "content"}], "frame", "gold"}; gold is the number as text. Problems of
one frame differ in who, what and how many, never in how it is reckoned.
"""

# ruff: noqa: E501, S311, SIM905

from __future__ import annotations

import json
import random
import re
from collections.abc import Callable
from pathlib import Path

SEED = 6
OF_EACH = 25  # problems of a frame
HERE = Path(__file__).parent

NAMES = "Ana Ben Carla Dario Emil Fatima Gus Hana Ivo Jana Kofi Lina Mateo Nora Omar Pia Quinn Rosa Sven Tariq Uma Vera Wen Yara Zeno".split()
GOODS = "apples pears stickers marbles buttons shells stamps beads postcards seeds candles pencils tiles coins ribbons acorns".split()
FOODS = "muffins rolls pies cookies tarts pancakes waffles dumplings buns pretzels".split()
ANIMALS = "hens goats sheep ducks rabbits geese ponies cows".split()
PLACES = "library|market|farm|museum|school|harbor|bakery|garden|theater|workshop|station|camp".split("|")
TOOLS = "lamps|chairs|kettles|baskets|umbrellas|clocks|drums|kites|blankets|mirrors".split("|")
DAYS = "Monday Tuesday Wednesday Thursday Friday Saturday".split()

Frame = Callable[[random.Random], tuple[str, int]]


def gather(r: random.Random) -> tuple[str, int]:
    one, two = r.sample(NAMES, 2)
    a, k, lost = r.randint(6, 40), r.randint(2, 5), r.randint(2, 5)
    what = r.choice(GOODS)
    return (
        f"{one} has {a} {what}. {two} has {k} times as many, but gives {lost} away. How many {what} do they have together?",
        a + a * k - lost,
    )


def boxes(r: random.Random) -> tuple[str, int]:
    full, each, rest = r.randint(3, 12), r.randint(4, 15), r.randint(1, 3)
    what, who = r.choice(GOODS), r.choice(NAMES)
    return (
        f"At the {r.choice(PLACES)}, {who} fills {full} boxes with {each} {what} each and has {rest} left over. How many {what} were there?",
        full * each + rest,
    )


def change(r: random.Random) -> tuple[str, int]:
    n, price, m, cost = r.randint(2, 6), r.randint(2, 9), r.randint(2, 4), r.randint(3, 8)
    paid = (n * price + m * cost) // 10 * 10 + r.choice((10, 20))
    return (
        f"{r.choice(NAMES)} buys {n} {r.choice(FOODS)} at ${price} each and {m} {r.choice(TOOLS)} at ${cost} each, and pays with ${paid}. How much change comes back?",
        paid - n * price - m * cost,
    )


def speed(r: random.Random) -> tuple[str, int]:
    v, h, w, g = r.randint(4, 20) * 5, r.randint(2, 5), r.randint(3, 8) * 5, r.randint(1, 4)
    return (
        f"A {r.choice(['train', 'bus', 'van', 'ferry', 'truck'])} travels {h} hours at {v} kilometers per hour and then {g} hours at {w}. How far does it go from the {r.choice(PLACES)} in all?",
        v * h + w * g,
    )


def legs(r: random.Random) -> tuple[str, int]:
    four, two = r.choice(["goats", "sheep", "ponies", "cows", "rabbits"]), r.choice(["hens", "ducks", "geese"])
    a, b, sold = r.randint(3, 15), r.randint(4, 20), r.randint(1, 3)
    return (
        f"{r.choice(NAMES)} keeps {a} {four} and {b} {two}, then sells {sold} of the {four}. How many legs do the remaining animals have?",
        4 * (a - sold) + 2 * b,
    )


def savings(r: random.Random) -> tuple[str, int]:
    week, weeks, start, spent = r.randint(3, 15), r.randint(3, 9), r.randint(10, 50), r.randint(2, 9)
    return (
        f"{r.choice(NAMES)} has ${start}, saves ${week} a week for {weeks} weeks and then spends ${spent} on {r.choice(GOODS)}. How many dollars are left?",
        start + week * weeks - spent,
    )


def sharing(r: random.Random) -> tuple[str, int]:
    each, heads, eaten = r.randint(3, 12), r.randint(3, 8), r.randint(2, 9)
    return (
        f"A tray at the {r.choice(PLACES)} holds {each * heads + eaten} {r.choice(FOODS)}. {r.choice(NAMES)} eats {eaten}; the rest is shared equally by {heads} friends. How many does each friend get?",
        each,
    )


def age(r: random.Random) -> tuple[str, int]:
    a, more, years = r.randint(5, 14), r.randint(2, 20), r.randint(2, 9)
    one, two = r.sample(NAMES, 2)
    return (
        f"{one} is {a} years old, and {two} is {more} years older. What will be the sum of their ages in {years} years?",
        2 * a + more + 2 * years,
    )


def pages(r: random.Random) -> tuple[str, int]:
    day, days, left = r.randint(8, 30), r.randint(3, 7), r.randint(10, 90)
    end = r.randint(2, 7)
    return (
        f"{r.choice(NAMES)} reads {day} pages a day from {r.choice(DAYS)} on, for {days} days, then {end} more at night, and has {left} pages to go. How many pages has the book?",
        day * days + end + left,
    )


def rows(r: random.Random) -> tuple[str, int]:
    n, each, empty = r.randint(5, 20), r.randint(6, 18), r.randint(3, 20)
    price = r.randint(2, 6)
    return (
        f"The {r.choice(PLACES)} has {n} rows of {each} seats, of which {empty} stay empty. A seat costs ${price}. How many dollars do the visitors of {r.choice(DAYS)} pay?",
        (n * each - empty) * price,
    )


def discount(r: random.Random) -> tuple[str, int]:
    price, off, n = r.randint(2, 20) * 10, r.choice((10, 20, 30, 50)), r.randint(2, 5)
    return (
        f"{r.choice(TOOLS).capitalize()} cost ${price} each. On {r.choice(DAYS)} the price falls by {off} percent. How many dollars does {r.choice(NAMES)} pay for {n} of them then?",
        n * price * (100 - off) // 100,
    )


def garden(r: random.Random) -> tuple[str, int]:
    a, b, gate = r.randint(4, 25), r.randint(4, 25), r.randint(1, 3)
    return (
        f"{r.choice(NAMES)} fences a field {a} meters long and {b} meters wide for {r.choice(ANIMALS)}, leaving a gate of {gate} meters open. How many meters of fence are needed?",
        2 * (a + b) - gate,
    )


def recipe(r: random.Random) -> tuple[str, int]:
    batch, flour, times = r.randint(6, 15), r.randint(2, 6) * 50, r.randint(2, 6)
    what = r.choice(FOODS)
    return (
        f"For {batch} {what} a baker takes {flour} grams of flour. {r.choice(NAMES)} orders {batch * times} {what} for {r.choice(DAYS)}. How many grams of flour does that take?",
        flour * times,
    )


def half(r: random.Random) -> tuple[str, int]:
    a, gift = r.randint(5, 30) * 4, r.randint(2, 12)
    one, two, three = r.sample(NAMES, 3)
    what = r.choice(GOODS)
    return (
        f"{one} gives half of {a} {what} to {two}, who passes half of those to {three}. {three} already had {gift} {what}. How many {what} does {three} have?",
        a // 4 + gift,
    )


def worker(r: random.Random) -> tuple[str, int]:
    wage, hours, days, fare = r.randint(8, 25), r.randint(3, 8), r.randint(2, 6), r.randint(2, 6)
    return (
        f"At the {r.choice(PLACES)}, {r.choice(NAMES)} earns ${wage} an hour, {hours} hours a day, and pays ${fare} a day for the bus. How many dollars remain after {days} days?",
        (wage * hours - fare) * days,
    )


def bus(r: random.Random) -> tuple[str, int]:
    a, off, on, more = r.randint(15, 40), r.randint(3, 9), r.randint(2, 12), r.randint(2, 6)
    return (
        f"{a} people ride to the {r.choice(PLACES)}. At the first stop {off} get off and {on} get on; at the next, {more} get off with {r.choice(NAMES)}, who is not among those {more}. How many still ride?",
        a - off + on - more - 1,
    )


def liters(r: random.Random) -> tuple[str, int]:
    flow, minutes, leak = r.randint(5, 20), r.randint(4, 15), r.randint(1, 4)
    return (
        f"{r.choice(NAMES)} fills a pool for {r.choice(ANIMALS)}: {flow} liters flow in each minute while {leak} leak out. How many liters are in it after {minutes} minutes?",
        (flow - leak) * minutes,
    )


def points(r: random.Random) -> tuple[str, int]:
    three, two, miss = r.randint(2, 9), r.randint(3, 12), r.randint(2, 5)
    one, other = r.sample(NAMES, 2)
    return (
        f"In a game on {r.choice(DAYS)}, {one} scores {three} throws worth 3 points and {two} worth 2, but loses {miss} points. {other} scores twice that. How many points has {other}?",
        2 * (3 * three + 2 * two - miss),
    )


def books(r: random.Random) -> tuple[str, int]:
    shelves, each, out, back = r.randint(4, 12), r.randint(10, 30), r.randint(5, 30), r.randint(2, 12)
    return (
        f"{r.choice(NAMES)} counts {shelves} shelves with {each} books each. On {r.choice(DAYS)} {out} books are lent and {back} come back. How many books stand on the shelves?",
        shelves * each - out + back,
    )


def average(r: random.Random) -> tuple[str, int]:
    mean, spread = r.randint(10, 40), r.randint(1, 8)
    first = mean - spread
    what = r.choice(GOODS)
    one, two, three = r.sample(NAMES, 3)
    return (
        f"{one} collected {first} {what}, {two} {mean + spread + 3}, and {three} {mean - 3}. What is the mean number of {what} that the three collected?",
        mean,
    )


def rope(r: random.Random) -> tuple[str, int]:
    piece, n, rest = r.randint(3, 12), r.randint(4, 12), r.randint(1, 2)
    return (
        f"From a rope of {piece * n + rest} meters {r.choice(NAMES)} cuts as many pieces of {piece} meters as possible for the {r.choice(PLACES)}. How many pieces are there, if {r.choice(ANIMALS)} then chew up one of them?",
        n - 1,
    )


def clock(r: random.Random) -> tuple[str, int]:
    each, n, pause = r.randint(4, 25), r.randint(3, 9), r.randint(2, 10)
    return (
        f"{r.choice(NAMES)} needs {each} minutes for each of {n} {r.choice(TOOLS)}, with a pause of {pause} minutes between one and the next. How many minutes does the work take?",
        each * n + pause * (n - 1),
    )


def tickets(r: random.Random) -> tuple[str, int]:
    adults, kids, price, less = r.randint(2, 9), r.randint(2, 12), r.randint(8, 20), r.randint(2, 6)
    return (
        f"A ticket to the {r.choice(PLACES)} costs ${price}, and ${less} less for children. What do {adults} adults and {kids} children pay on {r.choice(DAYS)}, in dollars?",
        adults * price + kids * (price - less),
    )


def trees(r: random.Random) -> tuple[str, int]:
    trees_, each, crates, hold = r.randint(5, 20), r.randint(6, 20), r.randint(2, 6), r.randint(5, 12)
    hold = min(hold, trees_ * each // crates)
    return (
        f"{r.choice(NAMES)} picks {each} {r.choice(['plums', 'pears', 'figs', 'lemons', 'peaches', 'apples'])} from each of {trees_} trees and sells {crates} crates that hold {hold}. How many fruits are not sold on {r.choice(DAYS)}?",
        trees_ * each - crates * hold,
    )


FRAMES: tuple[Frame, ...] = (
    gather, boxes, change, speed, legs, savings, sharing, age, pages, rows, discount, garden, recipe, half, worker, bus,
    liters, points, books, average, rope, clock, tickets, trees,
)  # fmt: skip


def shingles(text: str, size: int = 5) -> set[tuple[str, ...]]:
    """The word sequences of a text."""
    found = re.findall(r"\w+", text.lower())
    return {tuple(found[at : at + size]) for at in range(len(found) - size + 1)}


def problems() -> list[dict[str, object]]:
    """All problems, mixed; of two that share 0.65 and more of their word sequences the second is made again."""
    chosen: list[tuple[str, str, int]] = []
    for frame in FRAMES:
        turn = random.Random(f"{SEED} {frame.__name__}")
        kept: list[set[tuple[str, ...]]] = []
        for _ in range(40 * OF_EACH):
            text, number = frame(turn)
            own = shingles(text)
            if number > 0 and all(len(own & one) < 0.65 * len(own | one) for one in kept):
                kept.append(own)
                chosen.append((frame.__name__, text, number))
            if len(kept) == OF_EACH:
                break
    random.Random(SEED).shuffle(chosen)
    return [
        {
            "id": f"problem-{row:03}",
            "messages": [{"role": "user", "content": text}],
            "frame": frame,
            "gold": str(number),
        }
        for row, (frame, text, number) in enumerate(chosen)
    ]


if __name__ == "__main__":
    lines = [json.dumps(problem) for problem in problems()]
    (HERE / "problems.jsonl").write_text("\n".join(lines) + "\n", encoding="utf-8")

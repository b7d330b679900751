"""Prompts and problems that the recipes ship: made by their scripts, distinct, short, answered where they can be."""

from __future__ import annotations

import json
import re
import runpy
import shutil
from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from stillhouse.raw.near import band_keys, candidate_pairs, similarities

RECIPES = Path(__file__).parents[1] / "recipes"
MADE = [
    (RECIPES / "chat", "make_prompts.py", "prompts.jsonl"),
    (RECIPES / "reasoning", "make_problems.py", "problems.jsonl"),
]


def rows_of(path: Path) -> list[dict[str, object]]:
    return [json.loads(line) for line in path.read_text("utf-8").splitlines()]


def text_of(row: dict[str, object]) -> str:
    (message,) = row["messages"]  # type: ignore[misc]
    assert isinstance(message, dict) and message["role"] == "user"
    return str(message["content"])


@pytest.mark.parametrize(("folder", "script", "data"), MADE)
def test_the_script_writes_the_committed_file(folder: Path, script: str, data: str, tmp_path: Path) -> None:
    copy = shutil.copytree(folder, tmp_path / "copy", ignore=shutil.ignore_patterns(data))
    runpy.run_path(str(copy / script), run_name="__main__")
    assert (copy / data).read_bytes() == (folder / data).read_bytes()


@pytest.mark.parametrize(("folder", "script", "data"), MADE)
def test_stage_1_would_cut_no_prompt_as_a_copy(folder: Path, script: str, data: str) -> None:
    texts = [f"user: {text_of(row)}" for row in rows_of(folder / data)]  # as stage 1 joins a conversation
    assert len(set(texts)) == len(texts)
    rows, keys = band_keys(texts, threshold=0.7, words=5, characters=4, seed=0)
    order = np.arange(len(rows), dtype=np.uint64)
    pairs = np.unique(np.concatenate([candidate_pairs(band, rows, order=order).pairs for band in keys.T]), axis=0)
    assert (similarities(texts, pairs, words=5, characters=4) < 0.7).all()


def test_chat_prompts_are_short_and_of_many_kinds() -> None:
    rows = rows_of(RECIPES / "chat" / "prompts.jsonl")
    kinds = Counter(row["kind"] for row in rows)
    assert len(rows) >= 2400 and len(kinds) >= 12 and max(kinds.values()) < len(rows) / 10
    assert np.mean([len(text_of(row).split()) for row in rows]) <= 25
    assert 0.12 < sum(row["gold"] is not None for row in rows) / len(rows) < 0.2
    assert len({row["id"] for row in rows}) == len(rows)


def test_a_gold_of_arithmetic_is_what_its_prompt_comes_to() -> None:
    for row in rows_of(RECIPES / "chat" / "prompts.jsonl"):
        text = text_of(row)
        if row["kind"] == "arithmetic" and text.startswith("What is") and "half" not in text:
            left, sign, right = text.removeprefix("What is ").rstrip("?").split(" ")
            value = {"+": int(left) + int(right), "-": int(left) - int(right), "times": int(left) * int(right)}[sign]
            assert row["gold"] == str(value), text


def test_each_frame_of_word_problems_comes_out_as_its_story_says() -> None:
    rows = rows_of(RECIPES / "reasoning" / "problems.jsonl")
    frames = Counter(str(row["frame"]) for row in rows)
    assert len(rows) == 600 and len(frames) == 24
    by_hand = {  # read and reckoned by hand, one of each kind of step
        "legs": lambda n: 4 * (n[0] - n[2]) + 2 * n[1],
        "savings": lambda n: n[0] + n[1] * n[2] - n[3],
        "worker": lambda n: (n[0] * n[1] - n[2]) * n[3],
        "books": lambda n: n[0] * n[1] - n[2] + n[3],
        "tickets": lambda n: n[2] * n[0] + n[3] * (n[0] - n[1]),
        "discount": lambda n: n[2] * n[0] * (100 - n[1]) // 100,
        "trees": lambda n: n[0] * n[1] - n[2] * n[3],
    }
    for row in rows:
        numbers = [int(number) for number in re.findall(r"\d+", text_of(row))]
        if row["frame"] in by_hand:
            assert row["gold"] == str(by_hand[str(row["frame"])](numbers)), text_of(row)

"""What an export is read on: a few places deep in held-out texts, and never more of them than were asked for."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from stillhouse.finish import export_generation
from stillhouse.finish.export.agreement import _read
from stillhouse.recipe import Generation, parse_recipe
from stillhouse.signals.text import TextAnswer
from stillhouse.workplace import silent


@pytest.mark.parametrize(("texts", "positions"), [(1000, 100), (30, 100), (1, 40), (7, 12), (3, 1)])
def test_positions_are_as_many_as_asked_for_and_lie_deep_in_the_texts(texts: int, positions: int) -> None:
    speaker: Any = SimpleNamespace(tokenizer=lambda text: {"input_ids": list(range(len(text)))}, context=64)
    read = _read(speaker, ["a text of forty-odd tokens, one a letter, "] * texts, positions)
    places = [place for _, found in read for place in found]
    assert len(places) == positions
    assert max(places) > 30 and sum(place > 1 for place in places) > len(places) / 2


def test_exports_are_read_on_held_out_answers_alone(monkeypatch: pytest.MonkeyPatch, tmp_path: Any) -> None:
    recipe = parse_recipe(
        {
            "name": "tiny",
            "task": "text-generation",
            "raw": {"sources": [{"name": "words", "data": "x.jsonl", "license": "CC0-1.0", "columns": {"text": "t"}}]},
            "ferment": {
                "teacher": {"kind": "local", "model": "teacher", "license": "MIT"},
                "answers": {"kind": "ask"},
            },
            "distill": {"student": {"kind": "given", "base": "student", "license": "MIT"}},
            "finish": {"onnx": {"kinds": ["fp32"]}},
        },
        [],
    )
    assert isinstance(recipe, Generation)
    seen: dict[str, Any] = {}
    monkeypatch.setattr(export_generation.onnx_causal, "bottle_onnx", lambda *_, **given: seen.update(given))
    stored = {
        name: TextAnswer(name, "", "teacher", 0, None, f"said of {name}", "stop", 9, 3) for name in ("train", "test")
    }
    rows = [{"id": "test", "messages": None, "text": "asked", "label": None}]
    export_generation.exports_of(recipe, tmp_path, rows, stored, silent)
    assert seen["texts"] == ["said of test"]

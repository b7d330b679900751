"""Prompts: only declared placeholders are replaced, and one change changes the hash."""

from __future__ import annotations

import dataclasses

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stillhouse.prompts import Prompt, fill
from stillhouse.store import digest_of

PROMPT = Prompt(
    question='Review: {text}\nas JSON {"x": {1}} Sentiment:',
    answer=" {label}",
    words={"good": "fine", "bad": "poor"},
    examples=(("a {label} and {text} and {} and %s", "good"),),
    separator="\n\n",
    instruction="Say what it is.",
    chat=False,
)


@given(st.text())
def test_the_text_stands_in_the_prompt_as_it_is(text: str) -> None:
    assert PROMPT.render(text).endswith("Review: " + text + '\nas JSON {"x": {1}} Sentiment:')


def test_braces_in_examples_are_not_placeholders() -> None:
    assert 'Review: a {label} and {text} and {} and %s\nas JSON {"x": {1}} Sentiment: fine' in PROMPT.render("x")


@given(st.text(), st.text())
def test_filling_does_not_look_into_values(first: str, second: str) -> None:
    assert fill("{text}|{label}", text=first, label=second) == f"{first}|{second}"


@pytest.mark.parametrize("field", [field.name for field in dataclasses.fields(Prompt)])
def test_every_field_of_a_prompt_changes_its_identity(field: str) -> None:
    other = {"words": {"good": "x", "bad": "y"}, "examples": (), "chat": True}.get(
        field, "something else {text}{label}"
    )
    assert digest_of(dataclasses.replace(PROMPT, **{field: other}).identity()) != digest_of(PROMPT.identity())

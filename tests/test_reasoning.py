"""Reasoning and answer come apart at the tags and nowhere else, and together again as they were."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stillhouse.teachers.reasoning import CLOSE, OPEN, Trace, join, split

PLAIN = st.text().filter(lambda text: "think>" not in text)
STRIPPED = PLAIN.map(str.strip)
SPACE = st.text(" \n\t\r\u2003", max_size=3)
# what models write, tags in every order among it
WRITTEN = st.lists(st.sampled_from([OPEN, CLOSE, " ", "\n\n", "so", "it is 5", "<", "/think>"]), max_size=9).map(
    "".join
)


@given(STRIPPED, WRITTEN.map(str.lstrip), st.booleans())
def test_joining_and_splitting_gives_back_reasoning_and_answer(reasoning: str, answer: str, opened: bool) -> None:
    trace = Trace(reasoning, answer)
    assert split(join(trace, "keep", opened=opened), opened=opened) == trace
    if opened:  # the prompt's tag must be closed, whatever comes after it
        assert split(join(trace, "strip", opened=True), opened=True) == Trace("", answer)
    else:
        assert join(trace, "strip", opened=False) == answer
    cut_off = Trace(reasoning, "", closed=False)
    assert split(join(cut_off, "keep", opened=opened), opened=opened) == cut_off


@given(WRITTEN, st.booleans())
def test_what_was_split_is_the_same_when_joined_and_split_again(text: str, opened: bool) -> None:
    trace = split(text, opened=opened)
    assert split(join(trace, "keep", opened=opened), opened=opened) == trace


@given(WRITTEN, st.booleans())
def test_nothing_is_lost_but_tags_and_white_space_beside_them(text: str, opened: bool) -> None:
    trace = split(text, opened=opened)
    left = text.removesuffix(trace.answer).rstrip()
    assert left.endswith(CLOSE) or not (trace.closed and trace.reasoning is not None)
    inside = left.removesuffix(CLOSE).rstrip() if trace.closed else left
    assert inside.endswith(trace.reasoning or "")
    assert inside.removesuffix(trace.reasoning or "").replace(OPEN, "").strip() == ""


@given(PLAIN)
def test_a_text_without_tags_is_all_answer_or_where_the_prompt_opened_them_all_reasoning(text: str) -> None:
    assert split(text) == Trace(None, text)  # white space too, a first space may belong to the first word
    assert split(text, opened=True) == Trace(text.strip(), "", closed=False)
    assert join(Trace(None, text), "keep", opened=False) == text


@given(STRIPPED, PLAIN.map(str.lstrip))
def test_a_closing_tag_alone_closes_what_the_prompt_has_opened(reasoning: str, answer: str) -> None:
    lone = f"{reasoning}\n{CLOSE}\n\n{answer}"
    assert split(lone) == split(lone, opened=True) == split(OPEN + lone) == Trace(reasoning, answer)


@given(STRIPPED)
def test_an_opening_tag_alone_is_an_answer_that_was_cut_off_while_reasoning(text: str) -> None:
    assert split(OPEN + text) == split(OPEN + text, opened=True) == Trace(text, "", closed=False)


@given(STRIPPED, PLAIN.map(str.lstrip), SPACE, SPACE, SPACE, SPACE)
def test_white_space_beside_the_tags_belongs_to_neither_side(
    reasoning: str, answer: str, before: str, after: str, end: str, seam: str
) -> None:
    assert split(f"{before}{OPEN}{after}{reasoning}{end}{CLOSE}{seam}{answer}") == Trace(reasoning, answer)
    assert split(f"{before}{reasoning}{end}{CLOSE}{seam}{answer}") == Trace(reasoning, answer)


@given(PLAIN.filter(str.strip), WRITTEN)
def test_an_opening_tag_in_the_midst_of_a_text_is_a_word_of_the_answer(text: str, rest: str) -> None:
    assert split(f"{text}{OPEN}{rest}") == Trace(None, f"{text}{OPEN}{rest}")


@pytest.mark.parametrize(
    ("text", "opened", "trace"),
    [
        ("<think>a</think>b", False, Trace("a", "b")),
        ("\n<think>\na\n</think>\n\nb\n", False, Trace("a", "b\n")),
        ("a</think>b", True, Trace("a", "b")),
        ("a</think>b", False, Trace("a", "b")),
        ("<think>a</think>b", True, Trace("a", "b")),  # a model that opens the tag again
        ("<think>\n<think>a</think>b", False, Trace("a", "b")),
        ("</think>b", True, Trace("", "b")),
        ("</think>b", False, Trace("", "b")),
        ("<think></think>", False, Trace("", "")),
        ("<think>a", False, Trace("a", "", closed=False)),
        ("<think>a</think>b</think>c", False, Trace("a", "b</think>c")),  # the first closing tag closes
        ("<think>a<think>b</think>c</think>d", False, Trace("a<think>b", "c</think>d")),
        ("<think>a</think><think>b</think>c", False, Trace("a", "<think>b</think>c")),
        ("a</think>b<think>c</think>d", False, Trace("a", "b<think>c</think>d")),
        ("The tag </think> ends it.", False, Trace("The tag", "ends it.")),
        ("Say <think>a</think>.", False, Trace(None, "Say <think>a</think>.")),
        ("Say <think>a</think>.", True, Trace("Say <think>a", ".")),
    ],
)
def test_where_reasoning_ends(text: str, opened: bool, trace: Trace) -> None:
    assert split(text, opened=opened) == trace

"""Traces: nothing is lost in judging and choosing; the signal comes back from disk as it went in."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from stillhouse.distill.choice import best_of, reject
from stillhouse.errors import StillhouseError
from stillhouse.ferment.traces import PassRate, judge, pass_rate
from stillhouse.ferment.verifiers import Verdict, numeric
from stillhouse.signals.text import Text, TextAnswer

ANSWERS = st.lists(
    st.builds(
        TextAnswer,
        id=st.just("d"),
        asked=st.text(max_size=4),
        teacher=st.just("t"),
        sample=st.just(0),
        reasoning=st.none() | st.text(max_size=3),
        answer=st.sampled_from(["4", "5", " 5", "", "five"]),
        finish_reason=st.sampled_from(["stop", "stop", "length"]),
        prompt_tokens=st.integers(0, 99),
        answer_tokens=st.integers(0, 9),
        verified=st.sampled_from([True, False, None]),
        verdict=st.just("as drawn"),
    ),
    max_size=8,
).map(lambda rows: [replace(row, sample=sample) for sample, row in enumerate(rows)])


@given(ANSWERS)
def test_judging_marks_every_answer_and_changes_nothing_else(answers: list[TextAnswer]) -> None:
    judged = judge(answers, lambda answer: numeric(answer, "5"))
    blank = {"verified": None, "verdict": ""}
    assert [replace(row, **blank) for row in judged] == [replace(row, **blank) for row in answers]
    for row in judged:
        assert row.verdict
        whole = row.finish_reason == "stop" and row.answer.strip()
        assert row.verified == bool(whole and row.answer.strip() == "5")
    rate = pass_rate(judged)
    assert rate == PassRate(sum(row.verified is True for row in judged), len(judged), len(judged))
    assert rate.rate is None if not judged else 0 <= rate.rate <= 1


def test_what_could_not_be_checked_is_no_part_of_the_pass_rate() -> None:
    row = TextAnswer("d", "a", "t", 0, None, "5", "stop", 1, 1)
    unchecked = judge([row], lambda _: Verdict(None, "verifier failed: x"))
    assert pass_rate(unchecked) == PassRate(0, 0, 1)
    assert pass_rate(unchecked).rate is None


@given(ANSWERS, st.integers(0, 3))
def test_rejection_gives_every_answer_a_reason_and_takes_only_whole_right_ones_once(
    answers: list[TextAnswer], most: int
) -> None:
    choices = reject(answers, most=most)
    assert len(choices) == len(answers)
    assert all(choice.why for choice in choices)
    taken = [row for row, choice in zip(answers, choices, strict=True) if choice.chosen]
    assert all(row.verified and row.finish_reason == "stop" and row.answer.strip() for row in taken)
    contents = [(row.reasoning, row.answer) for row in taken]
    assert len(set(contents)) == len(contents) <= most
    right = {
        (row.reasoning, row.answer)
        for row in answers
        if row.verified and row.finish_reason == "stop" and row.answer.strip()
    }
    assert len(taken) == min(most, len(right))


@given(ANSWERS, st.sampled_from(["first", "shortest", "majority"]), st.booleans())
def test_the_best_is_one_whole_answer_of_the_best_mark(
    answers: list[TextAnswer], prefer: str, allow_wrong: bool
) -> None:
    choices = best_of(answers, prefer=prefer, allow_wrong=allow_wrong)  # type: ignore[arg-type]
    assert len(choices) == len(answers)
    assert all(choice.why for choice in choices)
    taken = [row for row, choice in zip(answers, choices, strict=True) if choice.chosen]
    whole = [row for row in answers if row.finish_reason == "stop" and row.answer.strip()]
    marks = [
        mark for mark in ((True, None, False) if allow_wrong else (True, None)) if mark in {r.verified for r in whole}
    ]
    assert len(taken) == bool(marks)
    if taken:
        (best,) = taken
        rivals = [row for row in whole if row.verified is marks[0]]
        assert best in rivals
        assert prefer != "first" or best == rivals[0]
        assert prefer != "shortest" or best.answer_tokens == min(row.answer_tokens for row in rivals)
        votes = [sum(other.answer.split() == row.answer.split() for other in rivals) for row in rivals]
        assert prefer != "majority" or votes[rivals.index(best)] == max(votes)


@given(answers=ANSWERS)
def test_a_signal_comes_back_as_it_went_in_sorted(
    tmp_path_factory: pytest.TempPathFactory, answers: list[TextAnswer]
) -> None:
    folder = tmp_path_factory.mktemp("signal")
    rows = [replace(row, id=f"d{row.answer_tokens % 3}") for row in answers]
    Text(tuple(reversed(rows)), {"address": "x"}).write(folder)
    again = Text.read(folder)
    assert list(again.answers) == sorted(rows, key=lambda row: (row.id, row.sample))
    assert again.header["address"] == "x"
    ids = sorted({row.id for row in rows}, reverse=True)
    assert [row.id for group in again.answers_for(ids) for row in group] == sorted(
        (row.id for row in rows), reverse=True
    )


def test_documents_without_an_answer_are_named_and_doubles_are_refused(tmp_path: Path) -> None:
    row = TextAnswer("d", "a", "t", 0, None, "5", "stop", 1, 1)
    with pytest.raises(StillhouseError, match="the first is e"):
        Text((row,), {}).answers_for(["d", "e"])
    with pytest.raises(ValueError, match="two answers"):
        Text((row, row), {}).write(tmp_path)
    Text((row, replace(row, teacher="u")), {}).write(tmp_path)


@pytest.mark.parametrize("header", [{"schema": 2}, {"kind": "ClassProbs"}])
def test_another_schema_or_kind_is_refused(tmp_path: Path, header: dict[str, object]) -> None:
    Text((), header).write(tmp_path)
    with pytest.raises(StillhouseError, match="not a Text signal"):
        Text.read(tmp_path)


def test_a_file_that_says_nothing_of_itself_is_refused(tmp_path: Path) -> None:
    Text((), {}).write(tmp_path)
    path = tmp_path / "signals" / "text.parquet"
    pq.write_table(pq.read_table(path).replace_schema_metadata(None), path)
    with pytest.raises(StillhouseError, match="not a Text signal"):
        Text.read(tmp_path)

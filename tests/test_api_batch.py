"""Batch files: results in any order, twice, for nobody, torn or missing land on the row they belong to or on none."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from api_client import CHECKS, LABELS, QUICK, question
from hostile_server import HostileServer, label, response
from stillhouse import store as sealing
from stillhouse.answers import AnswerStore
from stillhouse.errors import StillhouseError
from stillhouse.teachers.api import ApiClient, Asked, Budget, Call, Endpoint, Key, ask_in_batches, read_label
from stillhouse.teachers.api.batch import Results

KEY = "sk-planted-0123456789abcdef"


def asked_of(server: HostileServer, folder: Path, rows: list[int], *, most: int = 50_000, **options: Any) -> Asked:
    client = ApiClient(Endpoint(server.url, "tiny"), **{"limits": QUICK, "checks": CHECKS, **options})
    with AnswerStore(folder / "a.sqlite") as store:
        calls = [replace(question(row), top=20) for row in rows]
        asked = ask_in_batches(calls, client, store=store, folder=folder / "batches", most=most, poll_seconds=0.01)
        return replace(asked, answers=dict(asked.answers))


def rows_of(server: HostileServer, rows: list[int]) -> dict[str, int]:
    endpoint = Endpoint(server.url, "tiny")
    return {replace(question(row), top=20).key(endpoint): row for row in rows}


def test_spoilt_results_give_each_row_its_own_answer_or_a_failure(tmp_path: Path) -> None:
    rows = list(range(200))
    with HostileServer(seed=5, key=KEY) as server:
        first = asked_of(server, tmp_path, rows, key=Key(KEY))
        by_key = rows_of(server, rows)
        assert {*first.answers, *(failure.key for failure in first.failures)} == set(by_key)
        assert len(first.answers) + len(first.failures) == 200
        assert 10 < len(first.failures) < 60
        assert {failure.reason for failure in first.failures} == {"missing from the batch"}
        assert {failure.detail.split(",")[0] for failure in first.failures} == {
            "the batch ended as expired",
            '{"code": "batch_expired"}',
        }
        assert first.oddities == {"repeated ids": len(first.answers) // 10, "unknown ids": 1, "torn lines": 1}
        for key, answer in first.answers.items():
            assert read_label(answer.text, LABELS).label == label(by_key[key])
            assert answer.top is not None
        assert first.spent.answers == len(first.answers)
        server.spoil_batches = False
        second = asked_of(server, tmp_path, rows, key=Key(KEY))
        assert not second.failures
        assert second.known == len(first.answers)
        assert sum(server.paid.values()) == 200  # each row was paid for once
    assert all(KEY.encode() not in path.read_bytes() for path in tmp_path.rglob("*") if path.is_file())


class Stopped(Exception):
    pass


@pytest.mark.parametrize("commits", [1, 7])
def test_a_run_stopped_while_it_collects_goes_on_with_the_batches_it_handed_in(tmp_path: Path, commits: int) -> None:
    rows, seen = list(range(40)), Counter[str]()

    def stop(point: str) -> None:
        seen[point] += 1
        if seen["answers-committed"] == commits:
            raise Stopped

    with HostileServer() as server:
        server.spoil_batches = False
        sealing.observe_commit_points(stop)
        with pytest.raises(Stopped):
            asked_of(server, tmp_path, rows, most=25)
        sealing.observe_commit_points(None)
        asked = asked_of(server, tmp_path, rows, most=25)
        assert len(asked.answers) == 40
        assert len(server.batches) == 2
        assert server.paid == Counter(rows)
        with AnswerStore(tmp_path / "a.sqlite") as store:
            assert store.most_often_paid() == 1


def test_a_batch_whose_creation_was_not_heard_of_is_found_again(tmp_path: Path) -> None:
    class Deaf(HostileServer):
        lost = 0

        async def _send(self, writer: Any, status: int, body: object, headers: Any = None) -> bool:
            if isinstance(body, dict) and body.get("status") == "validating" and "polls" in body and not self.lost:
                self.lost = 1
                writer.transport.abort()
                return False
            return await super()._send(writer, status, body, headers)

    with Deaf() as server:
        server.spoil_batches = False
        assert len(asked_of(server, tmp_path, [0, 1, 2]).answers) == 3
        assert server.lost == len(server.batches) == 1


@pytest.mark.parametrize("status", ["failed", "expired", "completed", "cancelled"])
def test_a_batch_that_brought_nothing_is_handed_in_anew(tmp_path: Path, status: str) -> None:
    with HostileServer() as server:
        server._finish = lambda batch: batch.update(  # type: ignore[method-assign]
            status=status, errors={"data": [{"message": "line 1 is too long"}]}
        )
        first = asked_of(server, tmp_path, [0, 1])
        assert {failure.detail for failure in first.failures} == {f"the batch ended as {status}: line 1 is too long"}
        del server._finish
        server.spoil_batches = False
        assert len(asked_of(server, tmp_path, [0, 1]).answers) == 2
        assert len(server.batches) == 2


def test_a_budget_holds_for_batches_too(tmp_path: Path) -> None:
    most = sum(replace(question(0), top=20).tokens_at_most())
    with HostileServer() as server:
        server.spoil_batches = False
        asked = asked_of(server, tmp_path, list(range(9)), budget=Budget(tokens=4 * most))
        assert [failure.reason for failure in asked.failures] == ["budget"] * 5
        assert len(asked.answers) == 4


def test_a_server_without_batches_is_an_error_of_the_user(tmp_path: Path) -> None:
    with HostileServer() as server:
        server.batches = {"gone": {}}

        async def refuse(method: str, path: str, headers: Any, body: bytes, writer: Any) -> bool:
            return await server._send(writer, 404, {"error": {"message": "no such path"}})

        server._batch = refuse  # type: ignore[method-assign]
        with pytest.raises(StillhouseError, match="404: no such path"):
            asked_of(server, tmp_path, [0])


ENDPOINT = Endpoint("https://a.example/v1", "m")
CALLS = {replace(question(row), top=20).key(ENDPOINT): (row, replace(question(row), top=20)) for row in range(6)}


@given(st.lists(st.tuples(st.sampled_from(sorted(CALLS)), st.sampled_from(["answer", "error", "empty"])), max_size=20))
def test_order_and_repetition_of_lines_do_not_matter(lines: list[tuple[str, str]]) -> None:
    results = Results({key: call for key, (_, call) in CALLS.items()})
    for key, kind in lines:
        body = response(CALLS[key][0], {"messages": [1], "top_logprobs": 20}, "", "")
        value: dict[str, Any] = {"custom_id": key, "response": {"status_code": 200, "body": body}}
        if kind == "error":
            value = {"custom_id": key, "response": {"status_code": 500, "body": {"error": "x"}}}
        results.line({"custom_id": key} if kind == "empty" else value)
    answered = {key for key, kind in lines if kind == "answer"}
    assert set(results.answers) == answered
    assert set(results.losses) == {key for key, _ in lines} - answered
    for key, answer in results.answers.items():
        assert answer.raw == label(CALLS[key][0])


@given(
    st.recursive(
        st.none() | st.integers() | st.text(max_size=4), lambda inner: st.lists(inner, max_size=3), max_leaves=4
    )
)
def test_any_line_at_all_is_counted(value: Any) -> None:
    key = next(iter(CALLS))
    for line in (
        value,
        {"custom_id": value},
        {"custom_id": key, "response": value},
        {"custom_id": key, "error": value},
    ):
        results = Results({key: CALLS[key][1]})
        results.line(json.loads(json.dumps(line)))
        assert len(results.losses) + results.oddities.total() == 1
    assert not Results({}).answers
    assert isinstance(CALLS[key][1], Call)

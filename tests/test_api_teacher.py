"""An API teacher loses nothing, pays for nothing twice and tells nobody its key, whatever the server does."""

from __future__ import annotations

import asyncio
import json
import logging
import time
from collections import Counter
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from api_client import CHECKS, HASTY, LABELS, QUICK, asked_of, keys_of, killed_and_resumed, memory_growth, question
from hostile_server import CAP, LASTING, PASSING, HostileServer, Scripted, distribution, label, response
from stillhouse.answers import AnswerStore
from stillhouse.errors import StillhouseError
from stillhouse.teachers.api import (
    RULES,
    Answer,
    ApiClient,
    Asked,
    Budget,
    Call,
    Checks,
    Endpoint,
    Key,
    Limits,
    Prices,
    ask,
    ask_async,
    estimate,
    known_prices,
    read_label,
)
from stillhouse.teachers.api.outcomes import Trouble
from stillhouse.teachers.api.pace import Bucket, Pace, read_duration, retry_after
from stillhouse.teachers.api.parse import read_response
from stillhouse.teachers.api.secret import clean
from stillhouse.teachers.api.transport import Transport

KEY = "sk-planted-0123456789abcdef"
HERE = Path(__file__).parent


# ---- the whole way


def test_killed_three_times_500_prompts_become_500_rows_and_nothing_saved_is_asked_again(tmp_path: Path) -> None:
    with HostileServer(seed=1, key=KEY, hang=0) as server:  # hangs up, so that no clock decides what is late
        resumed = killed_and_resumed(server, tmp_path, 500, (90, 130, 120), KEY)
        assert not resumed.again
        assert sorted((*resumed.answers, *resumed.reasons)) == list(range(500))
        assert resumed.known >= 90 + 130 + 120
        assert set(resumed.reasons) == {row for row in range(500) if server.expected(row)}
        for row, reason in resumed.reasons.items():
            # where the lasting fault is no answer, something in passing may come last, or be the only answer
            assert reason == server.expected(row) or server.fate(row) in ("always 500", "rejected")
        with AnswerStore(tmp_path / "answers.sqlite") as store:
            assert store.most_often_paid() == 1
            by_key = keys_of(server, range(500))
            records = {by_key[key]: Answer.from_json(record) for key, record in store.get(by_key).items()}
        for row in resumed.answers:
            assert read_label(records[row].text, LABELS).label == label(row)
            assert [[entry.token for entry in place.top] for place in records[row].top or () if place] == [
                [token for token, _ in distribution(row, place)[:CAP]] for place in range(2)
            ]
        # whatever was paid for is in a record, but for what was on its way at a kill
        recorded = sum(1 + len(record.earlier) for record in records.values())
        assert sum(server.paid.values()) - recorded <= 3 * QUICK.concurrency
        assert not {*PASSING, *LASTING} - set(server.faults)
    assert b"httpx2" in (tmp_path / "debug.log").read_bytes()  # the log did listen
    assert KEY not in resumed.printed
    assert all(KEY.encode() not in path.read_bytes() for path in tmp_path.rglob("*") if path.is_file())


@pytest.mark.parametrize("change", ["nothing", "concurrency", "budget", "checks", "rows"])
def test_what_changes_no_answer_asks_nothing_again(tmp_path: Path, change: str) -> None:
    with HostileServer(seed=2, hostile=0.5, hang=0) as server:
        first = asked_of(server, tmp_path / "a.sqlite", list(range(60)), limits=QUICK)
        before = Counter(server.calls)
        lost = {failure.key for failure in first.failures if failure.reason not in RULES}
        options: dict[str, Any] = {
            "concurrency": {"limits": replace(QUICK, concurrency=3)},
            "budget": {"budget": Budget(tokens=10**9)},
            "checks": {"checks": Checks()},
        }.get(change, {})
        rows = list(range(80 if change == "rows" else 60))
        options.setdefault("limits", QUICK)
        second = asked_of(server, tmp_path / "a.sqlite", rows, **options)
        assert second.known == 60 - len(lost)
        assert len(second.answers) + len(second.failures) == len(rows)
        old = {row for key, row in keys_of(server, list(range(60))).items() if key not in lost}
        assert all(server.calls[row] == before[row] for row in old)
        assert second.answers.items() >= first.answers.items() or change == "checks"


def test_one_failing_call_loses_none_of_its_siblings(tmp_path: Path) -> None:
    rows = list(range(32))
    with Scripted({7: ["429 without", "500", ""], 9: ["500"]}) as server:
        asked = asked_of(server, tmp_path / "a.sqlite", rows)
        assert [failure.reason for failure in asked.failures] == ["server error"]
        assert len(asked.answers) == 31
        assert server.calls == Counter({row: {7: 3, 9: QUICK.attempts}.get(row, 1) for row in rows})
        with AnswerStore(tmp_path / "a.sqlite") as store:
            assert store.count() == 31


def test_every_fault_alone_is_survived_or_named(tmp_path: Path) -> None:
    kinds = [*PASSING, *LASTING]
    script = {row: [kind] for row, kind in enumerate(kinds)}
    answered: set[str] = set()
    found: dict[str, str] = {}
    with Scripted(script) as server:
        by_key = keys_of(server, script)
        for limits, hangs in ((QUICK, False), (HASTY, True)):  # no answer that does come is late
            rows = [row for row, kind in enumerate(kinds) if (kind == "hang") == hangs]
            asked = asked_of(server, tmp_path / "a.sqlite", rows, limits=replace(limits, attempts=2, asks=2))
            found |= {kinds[by_key[failure.key]]: failure.reason for failure in asked.failures}
            answered |= {kinds[by_key[key]] for key in asked.answers}
    assert found == {
        "429 with seconds": "rate limited",
        "429 with a date": "rate limited",
        "429 without": "rate limited",
        "500": "server error",
        "503 in HTML": "server error",
        "hang": "timed out",
        "cut": "connection lost",
        "cut chunk": "connection lost",
        "half JSON": "unreadable response",
        "reset": "connection lost",
        "error with 200": "server error",
        "empty": "empty",
        "null content": "empty",
        "NaN": "not a number",
        "off-list": "off-list label",
        "two labels": "two labels",
        "length": "cut off",
        "refusal": "refusal",
        "scaled": "not a distribution",
        "always 500": "server error",
        "rejected": "rejected by the server",
    }
    assert answered == {"fenced", "more than k", "twice", "reasoning"}


def test_a_call_ends_by_its_deadline_though_attempts_are_left(tmp_path: Path) -> None:
    with Scripted({0: ["hang"]}) as server:
        asked = asked_of(
            server, tmp_path / "a.sqlite", [0], limits=replace(HASTY, timeout=0.2, attempts=99, deadline=0.5)
        )
        assert [failure.reason for failure in asked.failures] == ["timed out"]
        assert server.calls[0] <= 4  # one, and those that half a second has room for


def test_an_answer_that_trickles_for_ever_ends_at_the_timeout(tmp_path: Path) -> None:
    class Trickling(Scripted):
        async def _misbehave(self, fault: str, row: int, asked: Any, said: str, writer: Any) -> bool:
            writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: 9999\r\n\r\n")
            for _ in range(400):
                writer.write(b" ")
                await asyncio.sleep(0.02)
            return False

    with Trickling({}) as server:
        asked = asked_of(server, tmp_path / "a.sqlite", [0], limits=replace(HASTY, attempts=2, timeout=0.3))
        assert [failure.reason for failure in asked.failures] == ["timed out"]  # and not broken off, as it does at last


def test_no_redirect_is_followed(tmp_path: Path) -> None:
    with Scripted({}) as other:

        class Elsewhere(Scripted):
            async def _send(self, writer: Any, status: int, body: object, headers: Any = None) -> bool:
                return await super()._send(writer, 307, body, {"location": f"{other.url}/chat/completions"})

        with Elsewhere({}, key=KEY) as server:
            asked = asked_of(server, tmp_path / "a.sqlite", [0, 1], key=KEY)
        assert [failure.reason for failure in asked.failures] == ["rejected by the server"] * 2
        assert not other.times


def test_memory_does_not_grow_with_the_number_of_calls(tmp_path: Path) -> None:
    growth, rows = memory_growth(tmp_path, calls=500, first=150)
    assert rows == 500
    assert (tmp_path / "answers.sqlite").stat().st_size > 1.2e6
    assert growth < 1.2e6  # bytes; kept as objects, the answers between are 2.3 million


# ---- what is kept of an unusable answer


def test_cut_off_answers_are_counted_and_a_rule_decides(tmp_path: Path) -> None:
    rows = list(range(30))
    with Scripted({row: ["length"] for row in rows[::3]}) as server:
        plain = Checks()
        rejected = asked_of(server, tmp_path / "a.sqlite", rows, checks=plain)
        kept = asked_of(server, tmp_path / "a.sqlite", rows, checks=Checks(rules={"cut off": "keep"}))
        retried = asked_of(server, tmp_path / "b.sqlite", rows, checks=Checks(rules={"cut off": "retry"}))
        assert sum(server.calls.values()) == 30 + 20 + 10 * QUICK.asks
    assert rejected.faults == kept.faults == retried.faults == {"cut off": 10}
    assert (len(rejected.answers), len(kept.answers), len(retried.answers)) == (20, 30, 20)
    assert {failure.raw for failure in rejected.failures} == {"I think that the"}
    assert kept.spent.answers == 0


def test_an_unusable_answer_is_asked_again_and_what_it_said_is_kept(tmp_path: Path) -> None:
    with Scripted({0: ["two labels", "off-list", ""], 1: ["off-list"]}) as server:
        asked = asked_of(server, tmp_path / "a.sqlite", [0, 1], key="")
        (answer,) = asked.answers.values()
        assert [one.fault for one in answer.earlier] == ["two labels", "off-list label"]
        assert answer.earlier[0].raw == "yes or no"
        assert [failure.reason for failure in asked.failures] == ["off-list label"]
        assert "perhaps" in asked.failures[0].raw
        assert asked.spent.answers == 6
        with AnswerStore(tmp_path / "a.sqlite") as store:
            client = ApiClient(Endpoint(server.url, "tiny"), limits=QUICK, checks=CHECKS)
            ask([question(0), question(1)], client, store=store, again=["off-list label"])
        assert server.calls == Counter({0: 3, 1: 6})


def test_an_unusable_answer_is_not_lost_when_asking_again_fails(tmp_path: Path) -> None:
    with Scripted({0: ["off-list", "500"]}) as server:
        asked = asked_of(server, tmp_path / "a.sqlite", [0])
        assert [failure.reason for failure in asked.failures] == ["off-list label"]
        with AnswerStore(tmp_path / "a.sqlite") as store:
            assert store.count() == 1


def test_a_stored_record_that_cannot_be_read_is_a_miss(tmp_path: Path) -> None:
    with Scripted({}) as server, AnswerStore(tmp_path / "a.sqlite") as store:
        (key,) = keys_of(server, [0])
        for record in (7, {"usage": {}, "nonsense": 1}, {}, {"usage": 3}, [1]):
            store.put({key: record})
            before = server.calls[0]
            asked = ask([question(0)], ApiClient(Endpoint(server.url, "tiny")), store=store)
            assert server.calls[0] == before + 1
            assert asked.answers[key].text == label(0)


def test_asking_works_where_a_loop_runs_already_and_repeats_count_once(tmp_path: Path) -> None:
    async def notebook(server: HostileServer) -> Asked:
        with AnswerStore(tmp_path / "a.sqlite") as store:
            client = ApiClient(Endpoint(server.url, "tiny"))
            rows = [*range(300), *range(10), 0]
            return await ask_async([replace(question(row), top=None) for row in rows], client, store=store)

    with Scripted({}) as server:
        asked = asyncio.run(notebook(server))
        assert (len(asked.answers), asked.known) == (300, 0)
        assert server.calls == Counter(range(300))


# ---- the key


def test_the_key_is_in_no_file_log_error_or_record(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, capsys: pytest.CaptureFixture[str]
) -> None:
    caplog.set_level(logging.DEBUG)
    kinds = ["429 without", "500", "503 in HTML", "error with 200", "rejected", "off-list", "hang", "cut", "reset"]
    with Scripted({row: [kind] for row, kind in enumerate(kinds)}, key=KEY) as server:
        limits = replace(HASTY, attempts=2, asks=1, timeout=2)
        asked = asked_of(server, tmp_path / "a.sqlite", list(range(12)), key=KEY, limits=limits)
        with pytest.raises(StillhouseError, match="refuses the key") as refused:
            asked_of(server, tmp_path / "b.sqlite", [0], key=KEY + "x")
        body = server.bodies[-1]
    said = json.dumps([vars(failure) for failure in asked.failures])
    assert "perhaps, as Bearer [key] asks" in said  # the server does echo it
    assert len([record for record in caplog.records if record.name.startswith("http")]) > 20
    errors = [refused.value, refused.value.__cause__, refused.value.__context__]
    files = b"".join(path.read_bytes() for path in tmp_path.rglob("*") if path.is_file())
    everything = [said, str(body), caplog.text, *map(repr, errors), *map(str, errors), *capsys.readouterr()]
    everything += [repr(record.args) for record in caplog.records]
    assert KEY not in "".join(everything)
    assert KEY.encode() not in files


def test_a_key_hides_itself() -> None:
    import copy
    import pickle

    key = Key(f" {KEY}\n")
    assert KEY not in f"{key} {key!r} {vars(Limits())} {[key]} {dir(key)}"
    assert key.header() == {"authorization": f"Bearer {KEY}"}
    for copies in (pickle.dumps, copy.copy, copy.deepcopy, json.dumps):
        with pytest.raises(TypeError) as error:
            copies(key)
        assert KEY not in str(error.value)
    assert KEY not in json.dumps(clean({f"a {KEY}": [KEY, {KEY: f"x{KEY}y"}, 1, None]}, key))
    assert clean({"EMPTY": "EMPTY"}, Key("EMPTY")) == {"EMPTY": "EMPTY"}  # a stand-in and no secret
    for bad in ("", "two words", "line\nbreak", "schlüssel"):
        with pytest.raises(StillhouseError) as fault:
            Key(bad)
        assert bad not in str(fault.value) or not bad


def test_a_key_is_read_from_a_file(tmp_path: Path) -> None:
    (tmp_path / "key").write_text(KEY + "\n")
    assert Key.read(tmp_path / "key").header() == Key(KEY).header()
    with pytest.raises(StillhouseError, match="cannot be read"):
        Key.read(tmp_path / "none")


@pytest.mark.parametrize("url", [f"https://user:{KEY}@a.b/v1", f"http://a.b/v1?key={KEY}", f"https://{KEY}@a.b", KEY])
def test_an_address_with_a_secret_in_it_is_refused_without_repeating_it(url: str) -> None:
    with pytest.raises(StillhouseError) as error:
        Endpoint(url, "m")
    assert KEY not in str(error.value)


# ---- faults of the user


def test_a_server_that_is_not_there_is_an_error_and_not_a_thousand_rows(tmp_path: Path) -> None:
    client = ApiClient(Endpoint("http://127.0.0.1:9/v1", "m"), limits=replace(QUICK, attempts=2))
    with AnswerStore(tmp_path / "a.sqlite") as store, pytest.raises(StillhouseError, match="cannot be reached"):
        ask((question(row) for row in range(10**6)), client, store=store)


def test_the_calls_on_their_way_are_saved_when_the_key_stops_being_valid(tmp_path: Path) -> None:
    class Expiring(Scripted):
        async def _respond(self, method: str, path: str, headers: Any, body: bytes, writer: Any) -> bool:
            if sum(self.calls.values()) >= 20:
                self.key = "another"
            return await super()._respond(method, path, headers, body, writer)

    with Expiring({}, delay=0.05) as server, AnswerStore(tmp_path / "a.sqlite") as store:
        client = ApiClient(Endpoint(server.url, "tiny"), key=Key(KEY), limits=QUICK)
        with pytest.raises(StillhouseError, match="is kept"):
            ask([question(row) for row in range(99)], client, store=store)
        assert store.count() == sum(server.paid.values()) == 20


def test_an_address_that_cannot_be_asked_is_an_error(tmp_path: Path) -> None:
    with AnswerStore(tmp_path / "a.sqlite") as store, pytest.raises(StillhouseError, match="no URL"):
        ask([question(0)], ApiClient(Endpoint("http://exa\x00mple/v1", "m"), limits=QUICK), store=store)


def test_without_the_http_library_the_user_is_told_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("stillhouse.teachers.api.transport.find_spec", lambda name: None)
    with pytest.raises(StillhouseError, match=r"stillhouse\[api\]"):
        Transport(Endpoint("http://127.0.0.1:9/v1", "m"), None, QUICK)


def test_a_fault_of_the_store_stops_the_run(tmp_path: Path) -> None:
    def full(key: str, answer: Answer) -> None:
        raise OSError("no space left")

    with Scripted({}) as server, pytest.raises(OSError, match="no space"):
        client = ApiClient(Endpoint(server.url, "tiny"), limits=QUICK)
        asyncio.run(client.run(map(question, range(50)), on_result=full, on_failure=lambda failure: None))


# ---- pace


def test_the_servers_own_limits_are_kept_to(tmp_path: Path) -> None:
    with HostileServer(hostile=0, window=(20, 0.25)) as server:
        asked = asked_of(server, tmp_path / "a.sqlite", list(range(100)))
        assert len(asked.answers) == 100
        assert server.too_fast == 0
        assert server.times[-1] - server.times[0] >= 3 * 0.25


def test_the_limits_of_the_user_are_kept_to(tmp_path: Path) -> None:
    with HostileServer(hostile=0, delay=0.02) as server:
        limits = replace(QUICK, concurrency=5, requests_per_minute=3000)
        started = time.monotonic()
        asked_of(server, tmp_path / "a.sqlite", list(range(110)), limits=limits)
        # 50 a second, and at the beginning a second's worth at once
        assert time.monotonic() - started >= (110 - 50) / 50
        assert 1 < server.most_at_once <= 5
    with HostileServer(hostile=0) as server:
        rate = 10 * sum(question(0).tokens_at_most())  # tokens a second
        limits = replace(QUICK, tokens_per_minute=60 * rate)
        started = time.monotonic()
        spent = asked_of(server, tmp_path / "b.sqlite", list(range(50)), limits=limits).spent
        seconds = time.monotonic() - started
        assert spent.prompt_tokens + spent.answer_tokens <= rate * (seconds + 1)
        assert seconds > 0.5


def test_a_wait_that_the_server_asks_for_holds_every_call(tmp_path: Path) -> None:
    class Busy(Scripted):
        async def _send(self, writer: Any, status: int, body: object, headers: Any = None) -> bool:
            return await super()._send(writer, status, body, {"retry-after": "1"} if status == 429 else headers)

    calls = [Call.chat(f"[{row}]") for row in range(60)]
    with Busy({10: ["429 without", ""]}, delay=0.02) as server, AnswerStore(tmp_path / "a.sqlite") as store:
        asked = ask(calls, ApiClient(Endpoint(server.url, "tiny"), limits=replace(QUICK, concurrency=4)), store=store)
        assert len(asked.answers) == 60
        times = server.times
    pauses = [second - first for first, second in pairwise(times)]
    assert max(pauses) > 0.5  # what was on its way already may come a little later
    assert server.calls == Counter(range(60)) + Counter([10])


def test_what_an_estimate_took_too_much_is_given_back() -> None:
    moment = [0.0]
    pace = Pace(Limits(tokens_per_minute=600), clock=lambda: moment[0])
    asyncio.run(pace.turn(10))
    assert pace._wait(10) == pytest.approx(1)
    pace.back(10, spent=4)
    assert pace._wait(10) == pytest.approx(0.4)


@given(st.lists(st.tuples(st.floats(0, 2), st.integers(1, 40)), min_size=1, max_size=30), st.integers(60, 3000))
def test_no_window_lets_more_through_than_the_rate_and_a_second(steps: list[tuple[float, int]], rate: int) -> None:
    moment = [0.0]
    bucket = Bucket(rate, clock=lambda: moment[0])
    taken: list[tuple[float, int]] = []
    for pause, cost in steps:
        moment[0] += pause
        moment[0] += bucket.wait(cost)
        assert bucket.wait(cost) < 1e-6
        bucket.take(cost)
        taken.append((moment[0], cost))
    for first in range(len(taken)):
        for last in range(first, len(taken)):
            let_through = sum(cost for _, cost in taken[first:last])  # the last is paid for by the wait of the next
            assert let_through <= rate / 60 * (taken[last][0] - taken[first][0] + 1) + max(1, taken[first][1])


def test_what_a_server_asks_to_wait_is_read_in_all_spellings() -> None:
    later = datetime.now(UTC) + timedelta(seconds=90)
    assert retry_after({"retry-after": "2"}) == 2
    assert retry_after({"retry-after": "2", "retry-after-ms": "1500"}) == 1.5
    assert retry_after({"retry-after": format_datetime(later, usegmt=True)}) == pytest.approx(90, abs=2)
    assert retry_after({"retry-after": "Sun, 06 Nov 1994 08:49:37 GMT"}) == 0
    assert [retry_after({"retry-after": bad}) for bad in ("soon", "-1", "nan", "")] == [None] * 4
    assert retry_after({}) is None
    spellings = {"1s": 1, "6m0s": 360, "20ms": 0.02, "1h2m3.5s": 3723.5, "7": 7, "0.25": 0.25}
    assert {text: read_duration(text) for text in spellings} == spellings
    assert read_duration(str(int(later.timestamp() * 1000))) == pytest.approx(90, abs=2)
    assert [read_duration(bad) for bad in (None, "", "soon", "3 s", "1x2s")] == [None] * 5


def test_a_retry_after_holds_all_calls_and_one_beyond_patience_fails() -> None:
    moment = [0.0]
    pace = Pace(Limits(patience=10), clock=lambda: moment[0])
    asyncio.run(pace.turn(7))
    pace.heed({"x-ratelimit-remaining-tokens": "50", "x-ratelimit-reset-tokens": "3s"}, tokens=7)
    assert (pace._wait(50), pace._wait(51)) == (0, 3)
    pace.hold(5)
    pace.hold(2)
    assert pace._wait(1) == 5
    moment[0] = 6.0
    assert pace._wait(10**6) == 0
    pace.hold(11)
    with pytest.raises(Trouble, match="wait 11 seconds"):
        asyncio.run(pace.turn(1))


# ---- budget


@pytest.mark.parametrize("cap", ["tokens", "money"])
def test_a_budget_is_never_passed_and_raising_it_asks_only_the_rest(tmp_path: Path, cap: str) -> None:
    rows = list(range(40))
    prices = Prices(prompt=1.0, answer=4.0)
    with Scripted({}) as server:

        def run(tokens: int) -> Asked:
            budget = Budget(tokens=tokens) if cap == "tokens" else Budget(money=prices.of(tokens - 5, 5))
            return asked_of(server, tmp_path / "a.sqlite", rows, budget=budget, prices=prices)

        first = run(1000)
        assert {failure.reason for failure in first.failures} == {"budget"}
        assert len(first.answers) + len(first.failures) == 40
        assert 10 < len(first.answers) == sum(server.paid.values())
        spent = first.spent.prompt_tokens + first.spent.answer_tokens
        most = sum(question(0).tokens_at_most())
        assert 1000 - 2 * most < spent <= 1000 or cap == "money"
        assert first.spent.money == pytest.approx(prices.of(first.spent.prompt_tokens, first.spent.answer_tokens))
        assert first.spent.money is not None
        assert cap == "tokens" or first.spent.money <= prices.of(995, 5)
        second = run(100_000)
        assert not second.failures
        assert server.paid == Counter(rows)


def test_a_budget_is_of_the_client_and_holds_over_its_askings(tmp_path: Path) -> None:
    most = sum(question(0).tokens_at_most())
    with Scripted({}) as server, AnswerStore(tmp_path / "a.sqlite") as store:
        client = ApiClient(Endpoint(server.url, "tiny"), limits=QUICK, budget=Budget(tokens=3 * most))
        first = ask(map(question, range(3)), client, store=store)
        second = ask(map(question, range(9)), client, store=store)
        assert (len(first.answers), second.known) == (3, 3)
        assert 3 < len(second.answers) < 9
        assert {failure.reason for failure in second.failures} == {"budget"}
        assert second.spent.prompt_tokens + second.spent.answer_tokens <= 3 * most


def test_after_the_budget_no_shorter_call_slips_through() -> None:
    short, long = Call.chat("x", max_tokens=5), Call.chat("x" * 900, max_tokens=5)
    client = ApiClient(Endpoint("http://a.b", "m"), budget=Budget(tokens=500))
    for call, fits in ((short, True), (long, False), (short, False)):
        if fits:
            client.purse.set_aside(call)
        else:
            with pytest.raises(Trouble, match="could pass 500 tokens"):
                client.purse.set_aside(call)


def test_a_server_that_counts_nothing_and_one_that_hangs_up_are_counted_at_the_most(tmp_path: Path) -> None:
    with Scripted({0: ["cut", ""], 1: ["429 without", ""]}) as server:
        asked = asked_of(server, tmp_path / "a.sqlite", [0, 1])
        assert asked.spent.unconfirmed_tokens == sum(question(0).tokens_at_most())
    body = response(0, {"messages": [1]}, "", "")
    del body["usage"]
    client = ApiClient(Endpoint("http://a.b", "m"), prices=Prices(1, 1))
    reserved = client.purse.set_aside(question(0))
    client.purse.settle(reserved, read_response(body, Call.chat("x")).usage)
    assert client.bill().prompt_tokens + client.bill().answer_tokens == sum(reserved)


def test_an_estimate_is_above_the_bill(tmp_path: Path) -> None:
    rows, prices = list(range(20)), Prices(prompt=1, answer=2, cached=0.5)
    with Scripted({}) as server:
        asked = asked_of(server, tmp_path / "a.sqlite", rows, prices=prices)
    before = estimate(map(question, rows), prices)
    assert before.calls == 20
    assert before.money_at_most is not None
    assert asked.spent.money is not None
    assert asked.spent.money <= before.money_at_most
    assert estimate([Call(prompt=(1, 2, 3), max_tokens=4)]).prompt_tokens == 3
    with pytest.raises(StillhouseError, match="needs prices"):
        ApiClient(Endpoint("http://a.b", "m"), budget=Budget(money=1))
    assert known_prices("no such model") is None

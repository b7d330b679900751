"""Stage 2 for models that write: nothing is asked twice, nothing lost, and only the question changes an answer."""

from __future__ import annotations

import json
import math
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from pytest_httpserver import HTTPServer
from werkzeug import Request, Response

import tiny_chat
from api_client import QUICK
from hostile_server import HostileServer
from stillhouse import documents
from stillhouse.answers import AnswerStore
from stillhouse.device import Placement
from stillhouse.distill.material import Row, as_lessons
from stillhouse.errors import StillhouseError
from stillhouse.ferment.distributions import capture_distributions
from stillhouse.ferment.stage_generation import check, run
from stillhouse.ferment.storing import Stored, sequences_of, store_distributions
from stillhouse.ferment.writing import Question, Written, write_by_api, write_here
from stillhouse.recipe import parse_recipe
from stillhouse.signals import Header, Text, TokenDist, TokenDistWriter
from stillhouse.store import observe_commit_points
from stillhouse.teachers import LocalTeacher
from stillhouse.teachers.api import ApiClient, Checks, Endpoint
from stillhouse.teachers.drawing import Sampling
from stillhouse.teachers.sequences import plain
from stillhouse.workplace import Places, silent

WORDS = tiny_chat.tokenizer()
SAMPLING = Sampling(max_new_tokens=10, temperature=0.8, samples=2, seed=3)
ASKED = [
    (f"say {one} {two}" + " please" * (place % 3)) for place, one in enumerate(tiny_chat.WORDS) for two in ("a", "b")
]


@pytest.fixture(scope="module")
def teacher() -> LocalTeacher:
    """A small model that was taught to answer, so that some of its answers end."""
    model = tiny_chat.model(WORDS, seed=1, noise=0.05)
    tiny_chat.teach(model, WORDS, [(f"say {one} a", one) for one in tiny_chat.WORDS], steps=60)
    return LocalTeacher(model, WORDS, "weights", Placement("cpu", "float32", "the test"))


@pytest.fixture
def store(tmp_path: Path) -> Iterator[AnswerStore]:
    with AnswerStore(tmp_path / "answers.sqlite") as opened:
        yield opened


def questions(texts: list[str] = ASKED) -> list[Question]:
    return [Question(f"d{number}", ({"role": "user", "content": text},)) for number, text in enumerate(texts)]


def said(written: Written) -> dict[str, tuple[Any, ...]]:
    return {one.key: (one.answer, one.finish_reason, one.answer_tokens) for one in written.answers}


# -- a teacher that runs here


def test_batches_and_order_change_no_answer(teacher: LocalTeacher, tmp_path: Path) -> None:
    found = []
    for number, (size, order) in enumerate([(1, 1), (96, -1), (4096, 1)]):
        with AnswerStore(tmp_path / f"{number}.sqlite") as store:
            found.append(said(write_here(teacher, questions()[::order], SAMPLING, store=store, batch_tokens=size)))
    assert found[0] == found[1] == found[2]
    assert len(found[0]) == 2 * len(ASKED)
    assert {finish for _, finish, _ in found[0].values()} == {"stop", "length"}
    assert all(tokens == 10 for _, finish, tokens in found[0].values() if finish == "length")


class _Killed(BaseException):
    pass


@pytest.mark.parametrize("times", [1, 3])
def test_a_killed_asking_goes_on_where_it_was(
    teacher: LocalTeacher, store: AnswerStore, tmp_path: Path, times: int
) -> None:
    def die(point: str) -> None:
        nonlocal left
        left -= point == "answers-committed"
        if left == 0:
            raise _Killed

    left = times
    observe_commit_points(die)
    with pytest.raises(_Killed):
        write_here(teacher, questions(), SAMPLING, store=store, batch_tokens=160)
    observe_commit_points(None)
    had = store.count()
    assert 0 < had < 2 * len(ASKED)
    seen: list[tuple[int, int]] = []
    rest = write_here(
        teacher, questions(), SAMPLING, store=store, batch_tokens=160, progress=lambda *now: seen.append(now)
    )
    assert rest.new == 2 * len(ASKED) - had and store.most_often_paid() == 1
    assert seen[-1] == (2 * len(ASKED), 2 * len(ASKED))
    with AnswerStore(tmp_path / "straight.sqlite") as other:
        straight = write_here(teacher, questions(), SAMPLING, store=other, batch_tokens=160)
    assert said(rest) == said(straight)


def test_what_changes_an_answer_is_asked_anew_and_nothing_else(teacher: LocalTeacher, store: AnswerStore) -> None:
    def new(asked: list[Question], sampling: Sampling, **options: Any) -> int:
        return write_here(teacher, asked, sampling, store=store, **{"batch_tokens": 512, **options}).new

    some = questions()[:4]
    first = write_here(teacher, some, SAMPLING, store=store, batch_tokens=512)
    assert first.new == 8 and new(some, SAMPLING, name="another", batch_tokens=64) == 0
    renamed = [replace(one, id=f"other-{one.id}") for one in some]
    assert new(renamed[::-1], SAMPLING) == 0
    assert new(some, replace(SAMPLING, samples=5)) == 12  # the first two are known
    assert new(some, replace(SAMPLING, seed=4)) == 8
    assert new(some, replace(SAMPLING, temperature=0.7)) == 8
    assert new(some, replace(SAMPLING, max_new_tokens=9)) == 8
    kind = {"role": "system", "content": "be kind"}
    assert new([replace(one, messages=(kind, *one.messages)) for one in some], SAMPLING) == 8


def test_documents_that_ask_the_same_are_answered_once(teacher: LocalTeacher, store: AnswerStore) -> None:
    written = write_here(
        teacher, questions(["say fine", "say fine", "say dull"]), SAMPLING, store=store, batch_tokens=512
    )
    assert written.new == 4 and len(written.answers) == 6
    answers = said(written)
    assert answers["d0#0"] == answers["d1#0"] and answers["d0#1"] == answers["d1#1"]


def test_what_cannot_be_answered_is_a_failure_with_its_reason(teacher: LocalTeacher, store: AnswerStore) -> None:
    asked = questions(["say fine", "say " + "fine " * 200, "say dull"])
    written = write_here(teacher, asked, SAMPLING, store=store, batch_tokens=512)
    assert {one.id for one in written.answers} == {"d0", "d2"}
    (failure,) = written.failures
    assert failure.id == "d1" and "192" in failure.reason and not failure.lost
    words = tiny_chat.tokenizer(
        template="{% if messages[-1]['content'] == 'say dull' %}{{ raise_exception('too dull') }}{% endif %}"
        + tiny_chat.TEMPLATE
    )
    picky = LocalTeacher(teacher.model, words, "weights", teacher.placement)
    written = write_here(picky, asked, SAMPLING, store=store, batch_tokens=512)
    assert {one.id: one.reason for one in written.failures}["d2"] == "too dull"
    assert {one.id for one in (*written.answers, *written.failures)} == {"d0", "d1", "d2"}


def test_a_teacher_of_no_numbers_gives_failures(store: AnswerStore) -> None:
    model = tiny_chat.model(WORDS)
    model.model.layers[0].mlp.up_proj.weight.data[0, 0] = math.nan
    broken = LocalTeacher(model, WORDS, "broken", Placement("cpu", "float32", "the test"))
    written = write_here(broken, questions()[:3], replace(SAMPLING, samples=1), store=store, batch_tokens=512)
    assert not written.answers and len(written.failures) == 3 and "NaN" in written.failures[0].reason


# -- a teacher behind an endpoint


def client_of(url: str, **options: Any) -> tuple[Endpoint, ApiClient]:
    endpoint = Endpoint(url, "tiny")
    return endpoint, ApiClient(endpoint, **{"limits": QUICK, "checks": Checks(rules={"cut off": "keep"}), **options})


def rows_asked(count: int) -> list[Question]:
    return [Question(str(row), ({"role": "user", "content": f"Is this good? [{row}]"},)) for row in range(count)]


def test_a_hostile_endpoint_loses_no_question_and_is_paid_once(store: AnswerStore) -> None:
    with HostileServer(seed=4, hang=0) as server:
        endpoint, client = client_of(server.url, limits=QUICK)
        asked = rows_asked(60)
        sampling = Sampling(max_new_tokens=16, temperature=0.5)
        written = write_by_api(endpoint, client, asked, sampling, store=store)
        ids = [one.id for one in (*written.answers, *written.failures)]
        assert sorted(ids, key=int) == [one.id for one in asked]
        fates = {one.id: server.fate(int(one.id)) for one in asked}
        for answer in written.answers:
            assert answer.finish_reason == ("length" if fates[answer.id] == "length" else "stop")
            assert answer.reasoning == ("Let me see: yes, no?" if fates[answer.id] == "reasoning" else None)
            assert answer.answer.strip()
        refused = {one.id for one in written.failures if not one.lost}
        assert refused == {identifier for identifier, fate in fates.items() if fate == "refusal"}
        before = server.calls.copy()
        again = write_by_api(*client_of(server.url, limits=QUICK), asked, sampling, store=store)
        known = {one.id for one in written.answers} | refused
        assert not any(server.calls[int(identifier)] > before[int(identifier)] for identifier in known)
        assert said(again).items() >= said(written).items()


def test_reasoning_that_was_cut_off_is_an_answer_without_text_and_not_paid_again(
    httpserver: HTTPServer, store: AnswerStore
) -> None:
    calls: Counter[str] = Counter()

    def reply(request: Request) -> Response:
        question = json.loads(request.data)["messages"][-1]["content"]
        calls[question] += 1
        message = {
            "tags": {"content": "<think>two and two"},
            "aside": {"content": None, "reasoning_content": "two and two"},
            "nothing": {"content": ""},
        }[question]
        choice = {"index": 0, "message": {"role": "assistant", **message}, "finish_reason": "length"}
        usage = {"prompt_tokens": 4, "completion_tokens": 8}
        return Response(json.dumps({"choices": [choice], "usage": usage}), mimetype="application/json")

    httpserver.expect_request("/v1/chat/completions").respond_with_handler(reply)
    asked = [Question(kind, ({"role": "user", "content": kind},)) for kind in ("tags", "aside", "nothing")]
    endpoint, client = client_of(httpserver.url_for("/v1"))
    written = write_by_api(endpoint, client, asked, Sampling(max_new_tokens=8), store=store)
    assert set(calls.values()) == {1} and not written.failures
    assert {one.id: one.reasoning for one in written.answers} == {
        "tags": "two and two",
        "aside": "two and two",
        "nothing": None,
    }
    assert {(one.answer, one.finish_reason) for one in written.answers} == {("", "length")}


def test_batch_files_give_the_answers_that_calls_give(tmp_path: Path) -> None:
    found = []
    with HostileServer(seed=2, hostile=0.0) as server:
        server.spoil_batches = False
        for name, batches in (("called", None), ("batched", tmp_path / "batches")):
            with AnswerStore(tmp_path / f"{name}.sqlite") as store:
                endpoint, client = client_of(server.url)
                written = write_by_api(
                    endpoint,
                    client,
                    rows_asked(12),
                    replace(SAMPLING, max_new_tokens=16),
                    store=store,
                    batches=batches,
                    poll_seconds=0.01,
                )
                found.append(said(written))
        assert len(server.batches) == 1
    assert found[0] == found[1] and len(found[0]) == 24


# -- token distributions along what is learned


def header_of(teacher: LocalTeacher, **changes: Any) -> Header:
    return Header(
        **{"teacher": "t", "tokenizer": "k", "template": "c", "vocabulary": len(WORDS), "precision": "float32"}
        | changes
    )


def chats(count: int, answer: str = "fine") -> list[dict[str, Any]]:
    rows = []
    for number in range(count):
        talk = [("user", ASKED[number]), ("assistant", answer), ("user", "again"), ("assistant", f"{answer} {answer}")]
        messages = [{"role": role, "content": content} for role, content in talk]
        rows.append({"id": f"d{number}", "text": "", "messages": messages})
    return rows


def stored(teacher: LocalTeacher, rows: list[dict[str, Any]], folder: Path, run: str, **changes: Any) -> Stored:
    sequences, failures = sequences_of(WORDS, rows, None, context=teacher.context())
    assert not failures
    draft = folder / run
    return store_distributions(
        teacher.model, header_of(teacher, **changes), sequences, root=folder / "distributions", draft=draft
    )


def test_rows_of_documents_that_were_stored_before_are_taken_over(teacher: LocalTeacher, tmp_path: Path) -> None:
    first = stored(teacher, chats(5), tmp_path, "one")
    assert first.new == first.tokens > 0 and first.documents == {f"d{number}" for number in range(5)}
    assert stored(teacher, chats(5), tmp_path, "again").new == 0
    more = stored(teacher, [*chats(8)[3:], *chats(3, "dull")], tmp_path, "two")
    sequences, _ = sequences_of(WORDS, [*chats(8)[3:], *chats(3, "dull")], None, context=teacher.context())
    learned = {key: len(one.ids) - one.start for key, one in sequences.items()}
    assert more.new == more.tokens - learned["d3"] - learned["d4"]  # the others have other answers, or are new
    one, two = TokenDist.open(tmp_path / "one"), TokenDist.open(tmp_path / "two")
    for key in ("d3", "d4"):
        ids, start = sequences[key].ids, sequences[key].start
        assert one.blob(key, ids, start) == two.blob(key, ids, start) is not None
    assert one.blob("d0", sequences["d0"].ids, sequences["d0"].start) is None
    assert stored(teacher, chats(5), tmp_path, "other", seed=1).new == first.new


def test_a_torn_neighbor_is_passed_over(teacher: LocalTeacher, tmp_path: Path) -> None:
    first = stored(teacher, chats(3), tmp_path, "one")
    for path in (tmp_path / "distributions").rglob("*.arrow"):
        path.write_bytes(path.read_bytes()[:-40])
    assert stored(teacher, chats(4), tmp_path, "two").new > first.new


def test_each_document_has_rows_from_its_own_first_learned_place(teacher: LocalTeacher, tmp_path: Path) -> None:
    sequences, _ = sequences_of(WORDS, chats(6), None, context=teacher.context())
    header = header_of(teacher, form="dense", k=0, m=0)
    starts = {key: one.start + place for place, (key, one) in enumerate(sequences.items())}
    assert len(set(starts.values())) > 3
    documents_ = [(key, one.ids) for key, one in sequences.items()]
    with TokenDistWriter(tmp_path / "all", header) as writer:
        captured = capture_distributions(teacher.model, documents_, writer=writer, start=starts)
    for key, ids in documents_:
        with TokenDistWriter(tmp_path / key, header) as writer:
            capture_distributions(teacher.model, [(key, ids)], writer=writer, start=1)
        alone = TokenDist.open(tmp_path / key).read(key, ids).probs[starts[key] - 1 :]
        together = TokenDist.open(tmp_path / "all").read(key, ids, starts[key]).probs
        assert np.abs(alone - together).max() < 1e-5 and len(together) == len(ids) - starts[key]
    assert captured.tokens == sum(len(ids) - starts[key] for key, ids in documents_)


def test_what_is_longer_than_the_teacher_reads_is_learned_as_far_as_it_read(
    teacher: LocalTeacher, tmp_path: Path
) -> None:
    long = "user says fine, then dull " * 20
    rows: list[dict[str, Any]] = [
        {"id": "long", "text": long, "messages": None},
        {"id": "short", "text": "user says fine", "messages": None},
        {
            "id": "late",
            "text": "",
            "messages": [{"role": "user", "content": long}, {"role": "assistant", "content": "a"}],
        },
    ]
    sequences, failures = sequences_of(WORDS, rows, None, context=teacher.context())
    assert len(plain(WORDS, long).ids) > teacher.context() == len(sequences["long"].ids)
    assert [one.id for one in failures] == ["late"] and "192" in failures[0].reason
    store_distributions(teacher.model, header_of(teacher), sequences, root=tmp_path / "store", draft=tmp_path)
    signal = TokenDist.open(tmp_path)
    lengths = {key: signal.tokens_of(key) for key in signal.ids}
    facts = {"origin": "o", "source": "s"}
    taught = [Row(row["id"], row | facts, row["messages"]) for row in rows]
    lessons = as_lessons(taught, WORDS, max_length=1024, stored=lengths)
    assert [(one.key, len(one)) for one in lessons.lessons] == [("long", 192), ("short", len(sequences["short"].ids))]
    for lesson in lessons.lessons:
        whole = lessons.whole[lesson.key]
        assert len(signal.read(lesson.key, whole.ids, whole.start)) == lesson.learned
    (cut,) = lessons.cuts
    assert cut.id == "late" and cut.reason == "nothing to learn from"


# -- the stage


def house(folder: Path, rows: list[dict[str, Any]], *, template: str | None = tiny_chat.TEMPLATE) -> Places:
    """A teacher's folder, and documents as stage 1 leaves them, all in train."""
    model = tiny_chat.model(WORDS, seed=1, noise=0.05)
    tiny_chat.teach(model, WORDS, [(f"say {one} a", one) for one in tiny_chat.WORDS], steps=60)
    tiny_chat.save(model, tiny_chat.tokenizer(template=template), folder / "teacher")
    told = {"label": None, "source": "s", "license": "CC0-1.0", "language": "en", "notes": [], "origin": "o"}
    table = pa.Table.from_pylist([told | row for row in rows], schema=documents.schema(messages=True))
    for split in documents.SPLITS:
        documents.write(folder / "1-raw", split, [table if split == "train" else table.slice(0, 0)], messages=True)
    (folder / "draft").mkdir()
    return Places(folder, folder / "draft", folder / "cache", folder / "answers" / "answers.sqlite", folder)


def recipe_of(places: Places, **ferment: Any) -> Any:
    source = {"name": "s", "data": "nowhere.jsonl", "license": "CC0-1.0", "columns": {"label": "gold"}}
    teacher = {"kind": "local", "model": str(places.base / "teacher"), "license": "MIT", "batch_tokens": 256}
    made = {
        "name": "tiny",
        "task": "text-generation",
        "rights": {"commercial": False},
        "raw": {"sources": [source]},
        "ferment": {"teacher": teacher, **ferment},
        "distill": {"student": {"kind": "keep-layers", "base": str(places.base / "teacher"), "keep": 1}},
    }
    if ferment.get("distributions") == {"form": "none"}:
        made["distill"]["loss"] = {"name": "cross-entropy"}
    return parse_recipe(made)


def test_documents_are_answered_or_failed_and_a_second_run_asks_nothing(tmp_path: Path) -> None:
    rows: list[dict[str, Any]] = [
        {"id": f"d{number}", "text": text, "messages": [{"role": "user", "content": text}], "label": text[4:-2]}
        for number, text in enumerate(one for one in ASKED if one.endswith(" a"))
    ]
    rows.append({"id": "plain", "text": "say fine", "messages": None, "label": None})
    rows.append({"id": "long", "text": "say " + "fine " * 200, "messages": None})
    places = house(tmp_path, rows)
    recipe = recipe_of(places, answers={"kind": "ask", "max_tokens": 12, "samples": 2, "verify": "exact"})
    first = run(recipe, places, silent)
    summary = first.summary
    assert summary["rows_in"] == len(rows) == summary["kept"] + summary["cut"] + summary["failed"]
    assert summary["failed"] == 1
    failures = pq.read_table(places.draft / "failures.parquet").to_pylist()
    assert [row["id"] for row in failures] == ["long"] and "too long" in failures[0]["reason"]
    answers = Text.read(places.draft).answers
    assert summary["answers"] == len(answers) == 2 * (len(rows) - 1)
    assert summary["cut_off"] == sum(one.finish_reason == "length" for one in answers)
    assert summary["checked"] == sum(one.verified is not None for one in answers) == 2 * (len(rows) - 2)
    assert summary["right"] == sum(one.answer.split() == [g] for one in answers for g in [_gold(rows, one.id)] if g)
    signal = TokenDist.open(places.draft)
    assert set(signal.ids) == {one.key for one in answers if one.answer.strip()}
    assert summary["stored_tokens"] == signal.tokens() and summary["bytes_per_token"] > 1
    (tmp_path / "again").mkdir()
    again = run(recipe, replace(places, draft=tmp_path / "again"), silent)
    assert again.summary == summary and again.facts["new_answers"] == again.facts["new_rows"] == 0
    for name in ("signals/text.parquet", "failures.parquet"):
        assert (places.draft / name).read_bytes() == (tmp_path / "again" / name).read_bytes()


def _gold(rows: list[dict[str, Any]], identifier: str) -> str | None:
    found: str | None = next(row.get("label") for row in rows if row["id"] == identifier)
    return found


@pytest.mark.parametrize("form", ["sparse", "none"])
def test_given_answers_are_kept_or_failed(tmp_path: Path, form: str) -> None:
    rows = [*chats(4), {"id": "asks", "text": "user: a", "messages": [{"role": "user", "content": "a"}]}]
    places = house(tmp_path, rows)
    recipe = recipe_of(places, answers={"kind": "given"}, distributions={"form": form})
    summary = run(recipe, places, silent).summary
    assert (summary["kept"], summary["failed"]) == (4, 1)
    (failure,) = pq.read_table(places.draft / "failures.parquet").to_pylist()
    assert failure["id"] == "asks" and "nothing to learn" in failure["reason"]


def test_a_teacher_without_a_template_is_told_before_it_is_asked(tmp_path: Path) -> None:
    places = house(tmp_path, chats(1), template=None)
    (problem,) = check(recipe_of(places), places.cache, places.base)
    assert "chat template" in str(problem) and "given" in str(problem)
    assert check(recipe_of(places, answers={"kind": "given"}), places.cache, places.base) == []
    with pytest.raises(StillhouseError, match="chat template"):
        run(recipe_of(places), places, silent)


@pytest.mark.parametrize(
    ("ferment", "told"),
    [
        ({"distributions": {"form": "sparse"}}, "distributions"),
        ({"answers": {"kind": "given"}}, "given"),
        ({"teacher": {"protocol": "completions"}}, "messages"),
        ({"answers": {"kind": "ask", "verify": "regex"}}, "verify_with"),
    ],
)
def test_what_an_endpoint_cannot_do_is_told(tmp_path: Path, ferment: dict[str, Any], told: str) -> None:
    places = Places(tmp_path, tmp_path, tmp_path, tmp_path / "a.sqlite", tmp_path)
    api = {
        "kind": "api",
        "endpoint": "http://127.0.0.1:1/v1",
        "model": "m",
        "owner": "me",
        **ferment.pop("teacher", {}),
    }
    recipe = recipe_of(places, **{"teacher": api, "distributions": {"form": "none"}, **ferment})
    assert any(told in str(problem) for problem in check(recipe, tmp_path, tmp_path))


def test_a_check_without_gold_is_told(tmp_path: Path) -> None:
    places = house(tmp_path, chats(1))
    made = recipe_of(places, answers={"kind": "ask", "verify": "exact"})
    assert check(made, tmp_path, tmp_path) == []
    (source,) = made.raw.sources
    bare = source.model_copy(update={"columns": source.columns.model_copy(update={"label": None})})
    without = made.model_copy(update={"raw": made.raw.model_copy(update={"sources": (bare,)})})
    (problem,) = check(without, tmp_path, tmp_path)
    assert "gold" in str(problem)

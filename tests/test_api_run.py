"""A teacher behind an endpoint, through the whole house: asked once, within a budget, and only if it may be asked."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
import yaml
from typer.testing import CliRunner

import tiny_models
from stillhouse.answers import AnswerStore
from stillhouse.cli import app
from stillhouse.errors import StillhouseError
from stillhouse.execute import run
from stillhouse.forecast import ApiForecast, forecast
from stillhouse.ledger import Ledger
from stillhouse.preview import preview
from stillhouse.recipe import parse_recipe
from stillhouse.signals import ClassProbs
from stillhouse.trial import Gold, hold_trial
from tiny_world import World

SECRET = "sk-stillhouse-planted-0123456789"


@dataclass
class Oracle:
    """A server that says what the words say: more good ones than bad ones is good."""

    url: str = ""
    asked: list[str] = field(default_factory=list)
    files: list[list[str]] = field(default_factory=list)
    keys: set[str | None] = field(default_factory=set)

    def answer(self, body: dict[str, Any]) -> dict[str, Any]:
        text = body["messages"][-1]["content"] if "messages" in body else body["prompt"]
        self.asked.append(text)
        words = text.rpartition("text :")[2].split()
        good = sum(word in tiny_models.GOOD for word in words) - sum(word in tiny_models.BAD for word in words)
        label = "good" if good > 0 else "bad"
        said = json.dumps({"label": label}) if "response_format" in body else f" {label.capitalize()}."
        choice: dict[str, Any] = {"finish_reason": "stop", "index": 0}
        if "top_logprobs" in body:
            shares = {" good": -0.1, " bad": -2.5} if good > 0 else {" good": -2.6, " bad": -0.2}
            top = [{"token": token, "logprob": value} for token, value in shares.items()]
            choice |= {"finish_reason": "length", "logprobs": {"content": [{**top[0], "top_logprobs": top}]}}
            said = f" {label}"
        choice["message"] = {"role": "assistant", "content": said}
        return {"choices": [choice], "usage": {"prompt_tokens": 20, "completion_tokens": 4}, "model": body["model"]}

    def batch(self, path: str, data: bytes) -> Any:
        """What the batch part of the protocol answers: a file, a batch that is done at once, its results, shuffled."""
        if path.endswith("/files"):
            self.files.append([line for line in data.decode().splitlines() if line.startswith('{"')])
            return {"id": f"file-{len(self.files) - 1}"}
        if path.endswith("/content"):
            lines = [json.loads(line) for line in self.files[int(path.split("/")[-2].partition("-")[2])]]
            done = [
                {"custom_id": one["custom_id"], "response": {"status_code": 200, "body": self.answer(one["body"])}}
                for one in reversed(lines)
            ]
            return "\n".join(map(json.dumps, done)) + "\n"
        ready = {"id": "batch-0", "status": "completed", "output_file_id": "file-0"}
        return {"data": []} if path.endswith("/batches") and not data else ready


@pytest.fixture
def oracle() -> Iterator[Oracle]:
    state = Oracle()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            state.keys.add(self.headers.get("authorization"))
            content = self.rfile.read(int(self.headers["content-length"]))
            asked = self.path.endswith("completions")
            self._send(state.answer(json.loads(content)) if asked else state.batch(self.path, content))

        def do_GET(self) -> None:
            self._send(state.batch(self.path, b""))

        def _send(self, value: Any) -> None:
            data = (value if isinstance(value, str) else json.dumps(value)).encode()
            self.send_response(200)
            self.send_header("content-type", "application/json")
            self.send_header("content-length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()
    state.url = f"http://127.0.0.1:{server.server_port}/v1"
    yield state
    server.shutdown()
    server.server_close()


def mapping_of(world: World, oracle: Oracle, **teacher: object) -> dict[str, Any]:
    mapping = world.mapping()
    mapping["ferment"]["teacher"] = {
        "kind": "api",
        "endpoint": oracle.url,
        "model": "oracle-1",
        "provider": "self",
        "owner": "these tests",
        "license": "CC0-1.0",
        **teacher,
    }
    mapping["rights"]["statement"] = {
        "who": "the tests",
        "when": "2026-11-25",
        "why": "the server is part of this test",
        "covers": ["teacher"],
    }
    mapping["ferment"]["calibration"] = {"kind": "none"}
    mapping["raw"]["split"] = {"test": 40, "validation": 20, "train": 60}
    return mapping


def test_it_teaches_a_student_and_is_asked_once(world: World, workdir: Path, oracle: Oracle, monkeypatch: Any) -> None:
    monkeypatch.setenv("ORACLE_KEY", SECRET)
    recipe = parse_recipe(mapping_of(world, oracle, key="ORACLE_KEY"))
    finished = run(recipe, base=world.folder)
    assert len(oracle.asked) == 120 and oracle.keys == {f"Bearer {SECRET}"}
    summary = finished.evaluation["summary"]
    assert summary["teacher"]["accuracy"] > 0.9
    assert summary["speed"]["teacher_per_s"] is None and summary["size"]["teacher_bytes"] is None
    signal = ClassProbs.read(finished.folder / "2-ferment")
    assert signal.header["teachers"][0]["address"] == f"{oracle.url} oracle-1" and len(signal.ids) == 120
    # another run over the same texts pays nothing
    again = run(parse_recipe({**mapping_of(world, oracle, key="ORACLE_KEY"), "name": "again"}), base=world.folder)
    assert len(oracle.asked) == 120
    assert ClassProbs.read(again.folder / "2-ferment").probs.tolist() == signal.probs.tolist()
    card = (finished.bottle / "README.md").read_text("utf-8")
    assert "was not measured" in card and "self" not in finished.label["rights"]["subjects"][0]["license"]
    # the key is nowhere
    places = [path for path in workdir.rglob("*") if path.is_file()]
    assert len(places) > 20 and not any(SECRET.encode() in path.read_bytes() for path in places)


@pytest.mark.parametrize("answer", ["label", "first-token"])
@pytest.mark.parametrize("structured", [True, False])
def test_labels_are_read_from_json_from_words_and_from_log_probabilities(
    world: World, workdir: Path, oracle: Oracle, answer: str, structured: bool
) -> None:
    mapping = mapping_of(world, oracle, answer=answer, structured=structured)
    finished = run(parse_recipe(mapping), base=world.folder, until="ferment")
    signal = ClassProbs.read(finished.folder / "2-ferment")
    assert len(signal.ids) == 120
    assert set(signal.probs.argmax(axis=1)) == {0, 1}
    if answer == "first-token":
        assert len({round(float(one), 3) for one in signal.log_probs.flatten()}) == 4


def test_a_budget_stops_the_asking_and_a_larger_one_goes_on(world: World, workdir: Path, oracle: Oracle) -> None:
    mapping = mapping_of(world, oracle, spending={"tokens": 1500}, pace={"concurrency": 1})
    with pytest.raises(StillhouseError, match="without an answer"):
        run(parse_recipe(mapping), base=world.folder)
    asked = len(oracle.asked)
    assert 0 < asked <= 1500 // 24
    with AnswerStore(Path("answers/answers.sqlite")) as store:
        assert store.count() == asked
    assert not (workdir / "runs" / "tiny" / "2-ferment").exists()
    # more money, and it goes on where it stopped
    mapping["ferment"]["teacher"]["spending"] = {}
    run(parse_recipe(mapping), base=world.folder, until="ferment")
    assert len(oracle.asked) == 120 and len(set(oracle.asked)) == 120


def test_what_may_be_missing_is_listed_with_its_reason(world: World, workdir: Path, oracle: Oracle) -> None:
    mapping = mapping_of(world, oracle, spending={"tokens": 1500}, pace={"concurrency": 1})
    mapping["ferment"]["missing"] = 1.0
    finished = run(parse_recipe(mapping), base=world.folder, until="ferment")
    asked = len(oracle.asked)
    failures = pq.read_table(finished.folder / "2-ferment" / "failures.parquet").to_pylist()
    assert len(failures) == 120 - asked and all(row["reason"].startswith("budget") for row in failures)
    sealed = [e for e in Ledger(finished.folder / "ledger.jsonl", "t").entries() if e["event"] == "step-sealed"][-1]
    assert sealed["rows"] == {"rows_in": 120, "kept": asked, "cut": 0, "failed": 120 - asked}
    (teacher,) = sealed["teachers"]
    assert teacher["bill"]["answers"] == asked and teacher["failed_calls"] == {"budget": 120 - asked}


@pytest.mark.parametrize("command", ["check", "run", "preview"])
def test_a_provider_that_forbids_it_sees_no_request(world: World, workdir: Path, oracle: Oracle, command: str) -> None:
    mapping = mapping_of(world, oracle, provider="xai", license=None, owner=None)
    path = workdir / "recipe.yaml"
    path.write_text(yaml.safe_dump(mapping), "utf-8")
    outcome = CliRunner().invoke(app, [command, str(path)])
    assert isinstance(outcome.exception, StillhouseError)
    assert "forbid" in outcome.exception.problems[0].what
    assert oracle.asked == []
    with pytest.raises(StillhouseError, match="forbid"):
        hold_trial(parse_recipe(mapping), [Gold("warm", "good")], base=world.folder)
    assert oracle.asked == []


def test_an_endpoint_that_nobody_has_read_the_terms_of_is_refused(world: World, workdir: Path, oracle: Oracle) -> None:
    mapping = mapping_of(world, oracle, provider=None, license=None, owner=None)
    mapping["rights"].pop("statement")
    with pytest.raises(StillhouseError, match="unknown"):
        run(parse_recipe(mapping), base=world.folder)
    assert oracle.asked == []


def test_looking_costs_nothing(world: World, workdir: Path, oracle: Oracle) -> None:
    spending = {"price_prompt": 1.0, "price_answer": 2.0}
    recipe = parse_recipe(mapping_of(world, oracle, spending=spending))
    expected = forecast(recipe, base=world.folder)
    assert isinstance(expected, ApiForecast) and expected.calls == 120
    assert expected.money is not None and 0 < expected.money[0] < expected.money[1]
    assert not any("budget" in line for line in expected.lines())
    for most in ({"money": expected.money[0] * 0.9}, {"tokens": expected.prompt_tokens}):
        short = forecast(parse_recipe(mapping_of(world, oracle, spending={**spending, **most})), base=world.folder)
        assert short is not None and "the budget ends before that" in short.lines()[-1]
    (row,) = preview(recipe, base=world.folder, rows=1)
    assert [turn["role"] for turn in json.loads(row.teacher_text)] == ["user", "assistant"] * 2 + ["user"]
    assert row.teacher_ids == () and oracle.asked == []


@pytest.mark.parametrize(
    ("teacher", "says"),
    [
        ({"endpoint": "http://user:pass@127.0.0.1/v1"}, "user name, a password"),
        ({"endpoint": "ftp://example.org"}, "no http or https address"),
        ({"key": "A_VARIABLE_THAT_IS_NOT_SET"}, "A_VARIABLE_THAT_IS_NOT_SET is not set"),
        ({"spending": {"money": 1.0}}, "a budget in money needs prices"),
    ],
)
def test_what_can_be_checked_is_checked_before(
    world: World, workdir: Path, oracle: Oracle, teacher: dict[str, str], says: str
) -> None:
    with pytest.raises(StillhouseError) as error:
        run(parse_recipe(mapping_of(world, oracle, **teacher)), base=world.folder)
    assert says in error.value.problems[0].what
    assert oracle.asked == [] and "pass" not in str(error.value).replace("password", "")


def test_several_samples_are_votes(world: World, workdir: Path, oracle: Oracle) -> None:
    mapping = mapping_of(world, oracle, samples=3, temperature=0.7)
    finished = run(parse_recipe(mapping), base=world.folder, until="ferment")
    assert len(oracle.asked) == 360
    with AnswerStore(Path("answers/answers.sqlite")) as store:
        assert store.count() == 360
    probs = ClassProbs.read(finished.folder / "2-ferment").probs
    assert probs.max() == pytest.approx(3.1 / 3.2)


def test_batch_files_give_the_same_answers_joined_by_their_ids(world: World, workdir: Path, oracle: Oracle) -> None:
    called = run(parse_recipe(mapping_of(world, oracle)), base=world.folder, until="ferment")
    mapping = mapping_of(world, oracle, batches=True, pace={"poll": 0.05})
    mapping["paths"] = {"answers": "others/answers.sqlite"}
    mapping["name"] = "batched"
    oracle.asked.clear()
    batched = run(parse_recipe(mapping), base=world.folder, until="ferment")
    assert len(oracle.files) == 1 and len(oracle.asked) == 120
    one, other = (ClassProbs.read(run_.folder / "2-ferment") for run_ in (called, batched))
    assert one.ids == other.ids and one.asked == other.asked and (one.probs == other.probs).all()

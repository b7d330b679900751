"""What is asked and what comes back: keys, bodies, log-probabilities, responses, labels."""

from __future__ import annotations

import json
import math
import random
import string
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from api_client import CHECKS, LABELS, QUICK, asked_of, question
from hostile_server import CAP, LASTING, HostileServer, Scripted, label, response
from stillhouse.errors import StillhouseError
from stillhouse.store import canonical
from stillhouse.teachers.api import Answer, ApiClient, Call, Checks, Endpoint, label_probs, read_label
from stillhouse.teachers.api.logprobs import Entry, Position, RefusedError, read_chat, read_legacy, read_prompt
from stillhouse.teachers.api.outcomes import Trouble
from stillhouse.teachers.api.parse import Earlier, Usage, read_response

# ---- what is asked


ENDPOINT = Endpoint("https://a.example/v1", "m")
BASE = Call.chat("q", top=5, seed=1)
CHANGES: dict[str, Call] = {
    "message": Call.chat("q?", top=5, seed=1),
    "system": Call.chat("q", system="s", top=5, seed=1),
    "prompt": Call(prompt="q", top=5, seed=1),
    "ids": Call(prompt=(1, 2), top=5, seed=1),
    "max_tokens": replace(BASE, max_tokens=9),
    "temperature": replace(BASE, temperature=1.0),
    "no temperature": replace(BASE, temperature=None),
    "top_p": replace(BASE, top_p=0.9),
    "seed": replace(BASE, seed=2),
    "no seed": replace(BASE, seed=None),
    "stop": replace(BASE, stop=("\n",)),
    "top": replace(BASE, top=6),
    "prompt_top": replace(BASE, prompt_top=5),
    "labels": replace(BASE, labels=("a", "b")),
    "other labels": replace(BASE, labels=("a", "c")),
    "schema": replace(BASE, schema={"type": "object"}),
    "sample": replace(BASE, sample=1),
    "sample, unseeded": replace(BASE, sample=1, seed=None),
    "extra": replace(BASE, extra={"min_p": 0.1}),
}


def test_all_that_changes_an_answer_changes_its_key_and_nothing_else_does() -> None:
    keys = [call.key(ENDPOINT) for call in (BASE, *CHANGES.values())]
    keys += [
        BASE.key(endpoint)
        for endpoint in (
            Endpoint("https://b.example/v1", "m"),
            Endpoint("https://a.example/v1", "n"),
            Endpoint("https://a.example/v1", "m", extra={"provider": {}}),
        )
    ]
    assert len(set(keys)) == len(keys)
    for same in ("https://A.example:443/v1/", " https://a.example/v1"):
        assert BASE.key(Endpoint(same, "m")) == keys[0]
    assert BASE.key(Endpoint(ENDPOINT.url, "m", length_field="max_completion_tokens")) == keys[0]
    assert keys[0] == BASE.key(ENDPOINT)


def test_what_is_sent_is_what_was_meant() -> None:
    body = (
        replace(BASE, labels=("a", "b"), extra={"min_p": 0.1})
        .capped(3)
        .body(Endpoint("https://openrouter.ai/api/v1", "m", length_field="max_completion_tokens"))
    )
    assert body["response_format"]["json_schema"]["schema"]["properties"]["label"]["enum"] == ["a", "b"]
    assert (body["logprobs"], body["top_logprobs"], body["min_p"], body["max_completion_tokens"]) == (True, 3, 0.1, 512)
    assert body["provider"] == {"enforce_distillable_text": True}
    own = Endpoint("https://openrouter.ai/api/v1", "m", extra={"provider": {"only": ["x"]}})
    assert own.extra["provider"] == {"enforce_distillable_text": True, "only": ["x"]}
    legacy = Call(prompt=(4, 5), top=2, prompt_top=30, sample=3, seed=10).capped(20).body(ENDPOINT)
    assert (legacy["prompt"], legacy["logprobs"], legacy["prompt_logprobs"], legacy["seed"]) == ((4, 5), 2, 20, 13)
    for wrong in ({}, {"messages": [{"role": "user", "content": "x"}], "prompt": "y"}):
        with pytest.raises(ValueError, match="either"):
            Call(**wrong)


@given(st.text(max_size=40), st.text(max_size=40))
def test_no_tokenizer_of_bytes_exceeds_the_most_tokens(question: str, system: str) -> None:
    prompt, _ = Call.chat(question, system=system).tokens_at_most()
    assert prompt >= len((question + system).encode("utf-8"))


# ---- log-probabilities

PAIRS = st.lists(
    st.tuples(st.text(string.ascii_letters, min_size=1, max_size=3), st.floats(-30, -3.5)),
    min_size=1,
    max_size=12,
    unique_by=lambda pair: pair[0],
)


@given(PAIRS, st.integers(1, 14), st.randoms(use_true_random=False))
def test_k_entries_sorted_unique_and_finite_in_whatever_order_and_number_they_come(
    pairs: list[tuple[str, float]], k: int, chance: random.Random
) -> None:
    def read(items: list[tuple[str, float]]) -> tuple[Entry, ...]:
        tops = [{"token": token, "logprob": value} for token, value in items]
        (position,) = read_chat([{"token": pairs[0][0], "logprob": pairs[0][1], "top_logprobs": tops}], asked=k)
        assert position
        assert position.chosen == Entry(*pairs[0])
        return position.top

    top = read(pairs)
    mixed = [*pairs, *chance.sample(pairs, len(pairs) // 2)]
    chance.shuffle(mixed)
    assert read(mixed) == top
    assert len(top) == len({entry.token for entry in top}) == min(k, len(pairs))
    assert [entry.log_prob for entry in top] == sorted((value for _, value in pairs), reverse=True)[:k]
    legacy = {
        "tokens": [pairs[0][0]],
        "token_logprobs": [pairs[0][1]],
        "top_logprobs": [dict(pairs)],
    }
    assert read_legacy(legacy, asked=k)[0].top == top  # type: ignore[union-attr]


@pytest.mark.parametrize(
    ("values", "fault"),
    [
        ([math.nan, -1.0], "not a number"),
        ([None, -1.0], "not a number"),
        (["-1", -1.0], "not a number"),
        ([True, -1.0], "not a number"),
        ([0.5, -1.0], "not a distribution"),
        ([math.inf, -1.0], "not a distribution"),
        ([-0.1 / 3, -2.4 / 3], "not a distribution"),
        ([], "no log-probs"),
    ],
)
def test_what_is_no_distribution_is_refused_by_name(values: list[Any], fault: str) -> None:
    tops = [{"token": str(number), "logprob": value} for number, value in enumerate(values)]
    with pytest.raises(RefusedError) as refused:
        read_chat([{"token": "0", "logprob": -0.1, "top_logprobs": tops}], asked=2)
    assert refused.value.fault == fault


def test_corners_of_log_probabilities() -> None:
    tops = [{"token": "a", "logprob": -0.1}, {"token": "b", "logprob": -math.inf}, {"token": "c", "logprob": -9999}]
    (position,) = read_chat([{"token": "a", "logprob": -0.1, "top_logprobs": tops}], asked=3)
    assert position
    assert [entry.log_prob for entry in position.top] == [-0.1, -9999.0, -9999.0]
    twice = [{"token": "a", "logprob": value} for value in (-3.0, -1.0, -2.0)]
    (position,) = read_chat([{"token": "b", "logprob": -4.0, "top_logprobs": twice}], asked=3)
    assert position
    assert position.top == (Entry("a", -1.0),)
    # two halves of a character look alike and are two tokens
    halves = [{"token": "\ufffd", "logprob": -1.0, "bytes": [200 + half]} for half in range(2)]
    (position,) = read_chat([{"token": "\ufffd", "logprob": -1.0, "bytes": [200], "top_logprobs": halves}], asked=2)
    assert position
    assert len(position.top) == 2
    # one place of three is capped: all are cut to the same k
    places = [{"token": "a", "logprob": -2.0, "top_logprobs": tops[1:][:number]} for number in (2, 1, 2)]
    assert {len(place.top) for place in read_chat(places, asked=2) if place} == {1}
    with pytest.raises(RefusedError, match="two log-probabilities"):
        read_chat([{"token": "a", "logprob": -0.9, "top_logprobs": tops}], asked=3)
    for broken in (None, {}, [None], [{"token": "a", "logprob": -1}], "x"):
        with pytest.raises(RefusedError):
            read_chat(broken, asked=2)


@pytest.mark.parametrize("said", [[3, 1, 2], [3, 70, 2]])
def test_prompt_log_probabilities_of_vllm(tmp_path: Path, said: list[int]) -> None:
    call = Call(prompt=tuple(said), prompt_top=64, top=2, max_tokens=4)
    body = response(0, {"prompt": said, "prompt_logprobs": 64, "logprobs": 2}, "", "")
    answer = read_response(body, call)
    assert answer.prompt_top is not None
    assert answer.prompt_top[0] is None
    for place, position in list(enumerate(answer.prompt_top))[1:]:
        assert position
        assert len(position.top) == 64  # 65 came where the token that stands there was unlikely
        assert [entry.id for entry in position.top] == list(range(64))
        assert position.chosen
        assert position.chosen.id == said[place]
    assert read_response(body, replace(call, prompt="x")).prompt_top[1].chosen is None  # type: ignore[index,union-attr]
    for broken in (None, [], [None], [{"1": {"logprob": -1}}, None, {}], [None, None, None]):
        with pytest.raises(RefusedError):
            read_prompt(broken, asked=3, ids=said)


def test_the_servers_cap_is_read_from_its_refusal(tmp_path: Path) -> None:
    sayings = {
        "Requested sample logprobs of 64, which is greater than max allowed: 20": 20,
        "Invalid value for 'top_logprobs': must be less than or equal to 20.": 20,
        "Invalid top_logprobs value, the valid range of top_logprobs is [0, 20]": 20,
        "64 is greater than the maximum of 1 - 'logprobs'": 1,
        "Cannot request more than 5 logprobs.": 5,
        "This model gives no logprobs": None,
        "You asked for 64 things, at most 20": None,
    }
    for saying, cap in sayings.items():
        client = ApiClient(ENDPOINT)
        trouble = Trouble("rejected by the server", f"400: {saying}", again=False, status=400)
        assert client._lower(question(0), trouble) is (cap is not None)
        assert client._most_top == cap
    with HostileServer(hostile=0) as server:
        asked = asked_of(server, tmp_path / "a.sqlite", list(range(40)))
        assert len(asked.answers) == 40
        assert sum(server.calls.values()) == 40
        assert server.bodies[-1]["top_logprobs"] == CAP
        assert len(server.times) <= 40 + QUICK.concurrency


# ---- responses

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=6,
)
CALLS = (question(0), Call(prompt="[1]", top=3, prompt_top=2), Call(prompt=(1, 2, 3), prompt_top=2))


@given(st.sampled_from(CALLS), st.data())
def test_any_response_is_an_answer_that_can_be_kept_or_a_named_trouble(call: Call, data: st.DataObject) -> None:
    body: Any = response(1, json.loads(json.dumps(call.body(ENDPOINT))), data.draw(st.sampled_from(LASTING)), "")
    node, name = {"": body}, ""
    while isinstance(node[name], dict | list) and node[name] and data.draw(st.booleans()):
        node = node[name]
        name = data.draw(st.sampled_from(sorted(node) if isinstance(node, dict) else range(len(node))))
    spoilt = data.draw(JSON)
    whole = spoilt if name == "" else body
    node[name] = spoilt
    try:
        answer = read_response(whole, call)
    except Trouble as trouble:
        assert trouble.reason in ("unreadable response", "server error")
        return
    record = json.loads(canonical(answer.as_json()))
    assert Answer.from_json(record) == answer
    Checks(labels=LABELS, json=True).faults(answer)


def test_an_answer_and_those_before_it_come_back_from_the_store() -> None:
    position = Position((Entry("a", -0.1), Entry("b", -3.0, 7)), Entry("b", -3.0, 7))
    answer = Answer(
        raw="<think>so</think>a",
        aside="first",
        finish="length",
        usage=Usage(1, 2, 3, 4),
        top=(position, Position(())),
        prompt_top=(None, position),
        fault="not a number",
        detail="d",
        earlier=(Earlier("x", "empty", Usage(5)),),
    )
    assert Answer.from_json(json.loads(canonical(answer.as_json()))) == answer
    assert (answer.text, answer.reasoning) == ("a", "first\nso")


def test_forms_of_one_answer_agree() -> None:
    chat, plain = Call.chat("[3]", top=4), Call(prompt="[3]", top=4)
    one = read_response(response(3, chat.body(ENDPOINT), "", ""), chat)
    two = read_response(response(3, plain.body(ENDPOINT), "", ""), plain)
    parts = response(3, chat.body(ENDPOINT), "", "")
    parts["choices"][0]["message"]["content"] = [{"type": "text", "text": label(3)}]
    assert one.raw == two.raw == read_response(parts, chat).raw == label(3)
    assert one.top == two.top
    uncounted = response(3, chat.body(ENDPOINT), "null content", "")
    assert read_response(uncounted, replace(chat, max_tokens=5)).finish == "length"  # no reason, and at its limit
    assert read_response(uncounted, chat).finish == "unknown"
    with pytest.raises(Trouble, match="broke off"):
        read_response({"choices": [{"finish_reason": "error", "message": {"content": "half"}}]}, chat)


@pytest.mark.parametrize(
    ("raw", "aside", "text", "reasoning"),
    [
        (" plain ", "", " plain ", ""),
        ("<think>so</think>\n\nyes", "", "yes", "so"),
        ("opened by the template</think>yes", "first", "yes", "first\nopened by the template"),
        ("\n<think>\nso it goes", "", "", "so it goes"),  # cut off before an answer
    ],
)
def test_reasoning_is_kept_apart(raw: str, aside: str, text: str, reasoning: str) -> None:
    answer = Answer(raw=raw, aside=aside)
    assert (answer.text, answer.reasoning) == (text, reasoning)


def test_texts_that_cannot_be_written_are_mended_and_not_lost(tmp_path: Path) -> None:
    class Odd(Scripted):
        async def _send(self, writer: Any, status: int, body: object, headers: Any = None) -> bool:
            if isinstance(body, bytes):
                body = body.replace(b'"yes"', b'"yes \\ud800"').replace(b'"no"', b'"no \\ud800"')
            return await super()._send(writer, status, body, headers)

    with Odd({}) as server:
        asked = asked_of(server, tmp_path / "a.sqlite", [1], checks=Checks())
        assert next(iter(asked.answers.values())).text == f"{label(1)} ?"


# ---- labels

TOXIC = ("toxic", "not toxic")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("toxic", "toxic"),
        ("Not Toxic", "not toxic"),
        (" toxic.\n", "toxic"),
        ('"not toxic"', "not toxic"),
        ("**toxic**", "toxic"),
        ("```\nnot  toxic\n```", "not toxic"),
        ('```json\n{"label": "toxic"}\n```', "toxic"),
        ('{"label": "not toxic"}', "not toxic"),
        ('{"answer": "toxic"}', "toxic"),
        ("yes", "off-list label"),
        ("The text is toxic", "off-list label"),
        ("detoxic", "off-list label"),
        ("", "off-list label"),
        ("```\n```", "off-list label"),
        ('{"label": 3}', "off-list label"),
        ('{"label": "toxic", "x": ', "off-list label"),
        ("toxic or not toxic", "two labels"),
        ("toxic, not toxic", "two labels"),
        ('{"label": "toxic"} {"label": "not toxic"}', "two labels"),
    ],
)
def test_a_text_is_one_label_of_the_list_or_none(text: str, expected: str) -> None:
    found = read_label(text, TOXIC)
    assert (found.label or found.fault) == expected
    assert read_label(text, TOXIC[::-1]) == found


@given(st.lists(st.text(string.ascii_letters + " ", min_size=1), min_size=1, max_size=5), st.text())
def test_labels_stand_for_themselves_and_no_text_for_another(labels: list[str], text: str) -> None:
    distinct = list({" ".join(name.casefold().split()): name for name in labels if name.strip()}.values())
    for name in distinct:
        for dressed in (name, f' "{name}." ', f"```\n{name}\n```", json.dumps({"label": name}), name.upper()):
            assert read_label(dressed, distinct).label == name
    found = read_label(text, distinct)
    assert (found.label in distinct) == (found.fault is None)


def test_labels_that_differ_in_case_alone_are_told_apart_by_it() -> None:
    assert read_label("A", ("a", "A")).label == "A"
    assert read_label('"A"', ("a", "A")).label == "A"
    assert read_label("A.", ("a", "A")).fault == "two labels"


def test_label_probabilities_of_a_first_token() -> None:
    shares = {" yes": 0.4, "Yes": 0.2, "y": 0.1, "no": 0.15, "maybe": 0.1, "": 0.01}
    position = Position(tuple(Entry(token, math.log(share)) for token, share in shares.items()))
    found = label_probs(position, LABELS)
    assert [math.exp(value) for value in found.log_probs] == pytest.approx([0.7, 0.15])
    assert found.outside == pytest.approx(0.15)
    assert not found.missing
    other = label_probs(position, ("yes", "perhaps"))
    assert other.missing == ("perhaps",)
    assert math.exp(other.log_probs[1]) == pytest.approx(0.01)  # no unlisted token is likelier than the last listed
    for labels in (("yes", "yesterday"), ("good", "goofy"), ("Yes", "yes")):
        with pytest.raises(StillhouseError, match="share their first token"):
            label_probs(Position((Entry("go", math.log(0.6)), Entry("yes", math.log(0.4)))), labels)


@given(PAIRS)
def test_the_mass_of_the_labels_and_outside_them_is_one(pairs: list[tuple[str, float]]) -> None:
    position = Position(tuple(sorted((Entry(*pair) for pair in pairs), key=lambda entry: -entry.log_prob)))
    try:
        found = label_probs(position, ("alpha", "beta", "gamma"))
    except StillhouseError:
        return
    names = zip(("alpha", "beta", "gamma"), found.log_probs, strict=True)
    assert math.fsum(math.exp(value) for name, value in names if name not in found.missing) + found.outside == (
        pytest.approx(1)
    )


def test_checks_see_every_fault_and_rules_choose_among_them() -> None:
    answer = Answer("perhaps", finish="length", fault="not a number")
    assert [fault for fault, _ in CHECKS.faults(answer)] == ["cut off", "off-list label", "not a number"]
    rules = {"cut off": "keep", "off-list label": "keep"}
    assert Checks(labels=LABELS, rules=rules).judge(answer) == ("not a number", "")  # type: ignore[arg-type]
    assert Checks(is_refusal=lambda text: "perhaps" in text).judge(Answer("perhaps")) is not None
    assert Checks(json=True).judge(Answer('{"a": NaN}')) == ("broken JSON", "the answer is no JSON value")
    assert Checks(json=True).judge(Answer('{"a": [1, null]}')) is None

"""Stage 1 for models that write: turns stay turns, each as clean as the whole, and every row is a document or a cut."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from raw_material import Outcome, distil_nothing, jsonl, sentence
from stillhouse import documents
from stillhouse.raw.layouts import Part, joined

TOKEN = "ghp_" + "a1B2c3D4e5F6g7H8i9J0k1L2m3N4o5P6q7R8"[:36]
ROLES = ("system", "user", "assistant")


def chat(*turns: tuple[str, str]) -> dict[str, Any]:
    return {"messages": [{"role": role, "content": content} for role, content in turns]}


def asks(question: str) -> dict[str, Any]:
    return chat(("user", question))


FILLER = [asks(sentence(seed, 12)) for seed in range(900, 912)]


def of_rows(folder: Path, rows: list[dict[str, Any]], **raw: Any) -> Outcome:
    """Stage 1 over some rows and twelve chats behind them."""
    folder.mkdir(parents=True, exist_ok=True)
    sources = []
    for number, some in enumerate((rows, FILLER)):
        path = jsonl(folder / f"rows{number}.jsonl", some)
        columns = {"label": "gold"} if any("gold" in row for row in some) else {}
        sources.append({"name": f"s{number}", "data": str(path), "license": "CC0-1.0", "columns": columns})
    recipe = {
        "name": "cellar",
        "task": "text-generation",
        "rights": {"commercial": False},
        "raw": {
            "split": {"test": 4, "validation": 2},
            "engine": {"kind": "here", "workers": 1},
            **raw,
            "sources": [one for one in sources if "data" in one],
        },
        "ferment": {"teacher": {"kind": "local", "model": "pypi:nothing==1#*"}},
        "distill": {"student": {"kind": "keep-layers", "base": "pypi:nothing==1#*", "keep": 2}},
    }
    return distil_nothing(folder / "run", recipe)


def mine(made: Outcome) -> list[dict[str, Any]]:
    return sorted((row for row in made.documents() if row["source"] == "s0"), key=lambda row: row["origin"])


def turns(row: dict[str, Any]) -> list[tuple[str, str]]:
    return [(turn["role"], turn["content"]) for turn in row["messages"]]


def test_every_row_is_a_document_or_a_cut_and_texts_are_what_the_turns_say(tmp_path: Path) -> None:
    rows = [
        chat(("system", "be kind"), ("user", "one two"), ("assistant", "three"), ("user", "four")),
        asks(sentence(1)),
        asks(sentence(1)),
        asks(""),
        chat(("user", "what is it"), ("tool", "{}"), ("assistant", "it is so")),
        {"messages": "no list"},
    ]
    made = of_rows(tmp_path, rows)
    report = made.report
    assert report["rows_in"] == len(rows) + len(FILLER) == report["kept"] + report["cut"]
    assert report["kept"] == len(made.documents()) and report["cut"] == len(made.cuts())
    assert {row["reason"] for row in made.cuts()} == {
        "exact copy",
        "no text",
        "another role",
        "not of the source's layout",
    }
    for row in made.documents():
        assert row["text"] == joined(tuple(Part(role, text) for role, text in turns(row)))
        assert row["id"] == documents.content_id({"text": row["text"]})
    assert turns(mine(made)[0]) == [(turn["role"], turn["content"]) for turn in rows[0]["messages"]]


@pytest.mark.parametrize(
    ("row", "wanted"),
    [
        ({"prompt": "say one", "completion": "one"}, [("user", "say one"), ("assistant", "one")]),
        ({"prompt": "say one", "completion": ""}, [("user", "say one")]),
        (
            {"instruction": "add them", "input": "1 and 2", "output": "3"},
            [("user", "add them\n1 and 2"), ("assistant", "3")],
        ),
        ({"text": "a text that goes on\n\nand on"}, None),
        ({"text": "a text", "text_pair": "another text"}, None),
        ({"conversations": [{"from": "human", "value": "hi there"}, {"from": "gpt", "value": "hello"}]}, "hi there"),
        (
            chat(("system", "be\n\n  kind"), ("user", "  hi\tthere\n")),
            [("system", "be\n\n  kind"), ("user", "  hi\tthere\n")],
        ),
    ],
)
def test_every_layout_gives_its_turns(tmp_path: Path, row: dict[str, Any], wanted: Any) -> None:
    (found,) = mine(of_rows(tmp_path, [row], clean={"detect_language": False}))
    if wanted is None:
        assert found["messages"] is None and found["text"] == "\n".join(row.values())
    elif isinstance(wanted, str):
        assert turns(found) == [("user", wanted), ("assistant", "hello")]
    else:
        assert turns(found) == wanted


def test_an_empty_turn_stays_where_it_was(tmp_path: Path) -> None:
    talk = chat(("system", ""), ("user", "go on then"), ("assistant", ""), ("user", "and now"), ("assistant", "done"))
    (found,) = mine(of_rows(tmp_path, [talk]))
    assert turns(found) == [(turn["role"], turn["content"]) for turn in talk["messages"]]


@pytest.mark.parametrize(
    ("talk", "reason"),
    [
        (chat(("system", "be kind to everyone")), "nothing is asked"),
        (chat(("assistant", "hello to everyone")), "nothing is asked"),
        (chat(("user", "   "), ("assistant", "hello to everyone")), "nothing is asked"),
        ({"prompt": " ", "completion": "hello to everyone"}, "nothing is asked"),
        (chat(("user", "   ")), "no text"),
        (chat(("user", "!!"), ("assistant", "?")), "no letter or digit"),
        (chat(("user", "what is it"), ("function", "ten"), ("assistant", "ten")), "another role"),
    ],
)
def test_what_cannot_be_asked_leaves_with_its_reason(tmp_path: Path, talk: dict[str, Any], reason: str) -> None:
    made = of_rows(tmp_path, [talk])
    assert mine(made) == []
    (row,) = made.cuts()
    assert row["reason"] == reason and row["content"]


SOILED = {
    "secret": (f"my key is {TOKEN} ok", TOKEN),
    "personal data": ("write to jo.doe@gmail.com please", "jo.doe@gmail.com"),
}


@pytest.mark.parametrize("kind", SOILED)
@pytest.mark.parametrize("where", [*ROLES, "prompt", "completion"])
def test_no_turn_keeps_what_is_redacted_in_the_text(tmp_path: Path, where: str, kind: str) -> None:
    soiled, hidden = SOILED[kind]
    if where in ROLES:
        row = chat(*((name, soiled if name == where else f"{name} says so") for name in ROLES))
    else:
        row = {"prompt": "say it", "completion": "so it is"} | {where: soiled}
    (found,) = mine(of_rows(tmp_path, [row]))
    assert hidden not in json.dumps(found)
    assert any(kind in note for note in found["notes"])
    assert all(text in found["text"] for _, text in turns(found))
    made = of_rows(tmp_path / "strict", [row], clean={"secrets": "reject", "personal": "reject"})
    assert mine(made) == [] and hidden not in json.dumps(made.cuts())
    (kept,) = mine(of_rows(tmp_path / "keep", [row], clean={"secrets": "keep", "personal": "keep"}))
    assert hidden in kept["text"] and any(hidden in text for _, text in turns(kept))


def test_every_turn_is_mended_and_unicode_is_one_spelling(tmp_path: Path) -> None:
    broken, decomposed = "it\u00e2\u20ac\u2122s fine", "cafe\u0301 au lait"
    (found,) = mine(of_rows(tmp_path, [chat(("user", broken), ("assistant", decomposed))]))
    assert turns(found) == [("user", "it\u2019s fine"), ("assistant", "caf\u00e9 au lait")]


def test_the_language_is_that_of_what_is_said(tmp_path: Path) -> None:
    rows = [
        chat(("user", "Wie komme ich zum Bahnhof?"), ("assistant", "Gehen Sie immer geradeaus und dann nach links.")),
        chat(("user", "How do I get to the station?"), ("assistant", "Walk straight ahead and then turn left.")),
    ]
    made = of_rows(tmp_path, rows)
    assert [row["language"] for row in mine(made)] == ["de", "en"]


def test_the_same_conversation_twice_is_a_copy_and_other_answers_are_not(tmp_path: Path) -> None:
    question = sentence(3, 20)
    rows = [
        asks(question),
        asks(question.upper()),
        chat(("user", question), ("assistant", sentence(4, 20))),
        {"messages": json.dumps(asks(question)["messages"])},
    ]
    made = of_rows(tmp_path, rows, decontaminate={"own_splits": False}, duplicates={"near": False})
    assert len(mine(made)) == 2 and len(made.cut("exact copy")) == 2


def test_chats_with_one_system_message_are_no_copies_of_each_other(tmp_path: Path) -> None:
    frame = sentence(6, 300)
    rows = [chat(("system", frame), ("user", sentence(100 + number, 10))) for number in range(60)]
    made = of_rows(tmp_path, rows, decontaminate={"own_splits": False})
    assert len(mine(made)) == 60


def test_gold_is_any_text_and_no_document_needs_one(tmp_path: Path) -> None:
    rows = [{**asks(sentence(seed, 12)), "gold": gold} for seed, gold in enumerate(["4", "a b", None, "null", "x"])]
    made = of_rows(tmp_path, rows, split={"test": 6, "validation": 4})
    assert sorted(str(row["label"]) for row in mine(made)) == sorted(["4", "a b", "None", "null", "x"])
    held = [row for row in made.documents() if row["split"] == "test"]
    assert len(held) == 6 and any(row["label"] is None for row in held)


def test_a_row_of_an_earlier_set_keeps_its_conversation_out(tmp_path: Path) -> None:
    talk = chat(("user", sentence(8, 20)), ("assistant", sentence(9, 20)))
    earlier = jsonl(tmp_path / "earlier.jsonl", [talk])
    against = [{"name": "before", "data": str(earlier), "text": "messages"}]
    made = of_rows(tmp_path, [talk, asks(sentence(10))], duplicates={"against": against})
    assert len(mine(made)) == 1 and len(made.cuts()) == 1

"""Sealing: whole or absent, never half; a changed file is a miss."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stillhouse import store
from stillhouse.answers import AnswerStore
from stillhouse.errors import StillhouseError
from stillhouse.ledger import Ledger

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=12,
)


def sealed(run: Path, fingerprint: str = "f", content: str = "one") -> store.Manifest:
    draft = store.open_draft(run, "1-raw", fingerprint)
    (draft / "data.txt").write_text(content)
    return store.seal(run, "1-raw", fingerprint, {"a": 1}, {"rows_in": 1}, "run")


@given(JSON)
def test_equal_values_have_equal_digests_whatever_the_order_of_their_keys(value: object) -> None:
    def turned(node: object) -> object:
        if isinstance(node, dict):
            return {key: turned(node[key]) for key in reversed(list(node))}
        return [turned(item) for item in node] if isinstance(node, list) else node

    assert store.digest_of(value) == store.digest_of(turned(value))


def test_what_was_sealed_is_read_back(tmp_path: Path) -> None:
    assert store.read_sealed(tmp_path, "1-raw") is None
    manifest = sealed(tmp_path)
    assert store.read_sealed(tmp_path, "1-raw") == manifest
    assert not store.draft_folder(tmp_path, "1-raw").exists()


@pytest.mark.parametrize("harm", ["change", "remove", "add", "manifest"])
def test_a_harmed_folder_counts_as_absent(tmp_path: Path, harm: str) -> None:
    sealed(tmp_path)
    folder = tmp_path / "1-raw"
    if harm == "change":
        (folder / "data.txt").write_text("two")
    elif harm == "remove":
        (folder / "data.txt").unlink()
    elif harm == "add":
        (folder / "more.txt").write_text("x")
    else:
        (folder / store.MANIFEST).write_text((folder / store.MANIFEST).read_text()[:-20])
    assert store.read_sealed(tmp_path, "1-raw") is None


def test_a_draft_of_another_fingerprint_is_cleared_and_one_of_the_same_goes_on(tmp_path: Path) -> None:
    draft = store.open_draft(tmp_path, "1-raw", "a")
    (draft / "half.txt").write_text("x")
    assert (store.open_draft(tmp_path, "1-raw", "a") / "half.txt").exists()
    assert not (store.open_draft(tmp_path, "1-raw", "b") / "half.txt").exists()


@pytest.mark.parametrize("point", ["manifest-written", "old-stage-moved", "stage-sealed"])
def test_a_seal_stopped_anywhere_is_completed_later(tmp_path: Path, point: str) -> None:
    sealed(tmp_path, "f", "one")

    class Stopped(Exception):
        pass

    def stop(name: str) -> None:
        if name == point:
            raise Stopped

    store.observe_commit_points(stop)
    with pytest.raises(Stopped):
        sealed(tmp_path, "g", "two")
    store.observe_commit_points(None)
    store.finish_seal(tmp_path, "1-raw")
    manifest = store.read_sealed(tmp_path, "1-raw")
    assert manifest is not None
    assert manifest.fingerprint == "g"
    assert {path.name for path in tmp_path.iterdir()} == {"1-raw"}


def test_unknown_commit_points_are_refused() -> None:
    with pytest.raises(ValueError, match="unknown"):
        store.reached("somewhere")


@given(st.dictionaries(st.text(min_size=1), JSON, max_size=5))
def test_answers_come_back_as_they_went_in(answers: dict[str, object]) -> None:
    import tempfile

    with tempfile.TemporaryDirectory() as folder, AnswerStore(Path(folder) / "a.sqlite") as answer_store:
        answer_store.put(answers)
        assert answer_store.get(answers) == answers
        assert answer_store.count() == len(answers)


def test_a_corrupt_answer_is_a_miss_and_the_others_stay(tmp_path: Path) -> None:
    import sqlite3

    path = tmp_path / "a.sqlite"
    with AnswerStore(path) as answers:
        answers.put({"a": {"x": 1}, "b": {"x": 2}})
    database = sqlite3.connect(path)
    database.execute("UPDATE answers SET answer = ? WHERE key = 'a'", (b'{"x":9}',))
    database.commit()
    database.close()
    with AnswerStore(path) as answers:
        assert answers.get(["a", "b", "c"]) == {"b": {"x": 2}}


def test_paying_twice_is_counted(tmp_path: Path) -> None:
    with AnswerStore(tmp_path / "a.sqlite") as answers:
        answers.put({"a": 1})
        assert answers.most_often_paid() == 1
        answers.put({"a": 1})
        assert answers.most_often_paid() == 2


def test_a_file_that_is_no_answer_store_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.sqlite"
    path.write_bytes(b"not a database, but long enough to look at" * 40)
    with pytest.raises(StillhouseError, match="cannot be read"):
        AnswerStore(path)


def test_a_torn_last_line_of_the_ledger_is_cut_off_and_the_rest_stays(tmp_path: Path) -> None:
    path = tmp_path / "ledger.jsonl"
    ledger = Ledger(path, "r")
    ledger.append("one", number=1)
    with path.open("ab") as stream:
        stream.write(b'{"event": "tor')
    again = Ledger(path, "r")
    again.append("two")
    assert [entry["event"] for entry in again.entries()] == ["one", "two"]

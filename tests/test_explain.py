"""One row's whole story: told for every row of a run, by its origin or its id."""

from __future__ import annotations

from pathlib import Path

import pytest

from raw_material import Outcome, labelled_sentences, of_rows
from stillhouse.errors import StillhouseError
from stillhouse.explain import explain_row
from stillhouse.store import open_draft, seal


@pytest.fixture
def run_folder(tmp_path: Path) -> tuple[Path, Outcome]:
    """A sealed stage 1 with an exact copy, a near copy, a redaction and an empty row."""
    first, second = labelled_sentences(2, words=60)
    rows = [
        first,
        {**first, "text": first["text"].upper()},
        {**first, "text": f"{first['text']} again"},
        {**second, "text": f"{second['text']} write to jo@bluewharf.net"},
        {"text": " ", "label": "good"},
    ]
    made = of_rows(tmp_path, rows)
    folder = tmp_path / "runs"
    draft = open_draft(folder, "1-raw", "x")
    for path in made.folder.rglob("*"):
        if path.is_file() and "scratch" not in path.parts:
            target = draft / path.relative_to(made.folder)
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(path.read_bytes())
    seal(folder, "1-raw", "x", {}, made.report, "run")
    return folder, made


def test_every_row_has_a_story(run_folder: tuple[Path, Outcome]) -> None:
    folder, made = run_folder
    for row in made.documents():
        story = "\n".join(explain_row(folder, row["origin"]))
        assert f"in the {row['split']} split" in story
        assert story == "\n".join(explain_row(folder, row["id"])) == "\n".join(explain_row(folder, row["id"][:12]))
    for row in made.cuts():
        story = "\n".join(explain_row(folder, row["origin"]))
        assert row["reason"] in story
        assert row["cut"] in story


def test_a_story_names_the_copies_and_the_changes(run_folder: tuple[Path, Outcome]) -> None:
    folder, made = run_folder
    kept = "\n".join(explain_row(folder, "rows:1"))
    assert "rows:2 left as exact copy of it" in kept
    assert "rows:3 left as near copy of it (similarity 0.87)" in kept
    survivor = next(row["id"] for row in made.documents() if row["origin"] == "rows:1")
    assert survivor[:12] in "\n".join(explain_row(folder, "rows:3"))
    assert "cleaning: personal data redacted: email" in "\n".join(explain_row(folder, "rows:4"))
    assert "no text" in explain_row(folder, "rows:5")[0]
    assert "the teacher has not been asked yet" in kept


def test_a_row_that_is_not_there_is_told(run_folder: tuple[Path, Outcome], tmp_path: Path) -> None:
    with pytest.raises(StillhouseError, match="no row is called 'rows:999'"):
        explain_row(run_folder[0], "rows:999")
    with pytest.raises(StillhouseError, match="stage 1 is not sealed here"):
        explain_row(tmp_path / "nowhere", "rows:1")

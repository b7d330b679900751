"""What is sealed in a run folder is told only as far as it belongs together."""

from __future__ import annotations

from pathlib import Path

import pytest

from stillhouse.errors import StillhouseError
from stillhouse.ledger import Ledger
from stillhouse.sealed import sealed_steps
from stillhouse.store import open_draft, seal
from stillhouse.workplace import FOLDERS

CHAIN = list(FOLDERS)


def sealed(run: Path, step: str, fingerprint: str, **made_from: str) -> None:
    open_draft(run, FOLDERS[step], fingerprint)
    ingredients = {f"{other}@fingerprint": value for other, value in made_from.items()}
    seal(run, FOLDERS[step], fingerprint, ingredients, {}, "run")


def chain(run: Path) -> None:
    for before, step in zip([None, *CHAIN], CHAIN, strict=False):
        sealed(run, step, f"{step}-1", **({before: f"{before}-1"} if before else {}))


@pytest.mark.parametrize("moved", CHAIN)
def test_a_step_that_is_made_anew_leaves_out_all_that_follows_and_nothing_else(tmp_path: Path, moved: str) -> None:
    chain(tmp_path)
    assert list(sealed_steps(tmp_path).manifests) == CHAIN and sealed_steps(tmp_path).notes == ()
    place = CHAIN.index(moved)
    sealed(tmp_path, moved, f"{moved}-2", **({CHAIN[place - 1]: f"{CHAIN[place - 1]}-1"} if place else {}))
    found = sealed_steps(tmp_path)
    assert list(found.manifests) == CHAIN[: place + 1]
    assert [note.split(" ")[0] for note in found.notes] == [FOLDERS[step] for step in CHAIN[place + 1 :]]


@pytest.mark.parametrize("changed", CHAIN)
def test_what_was_made_for_another_recipe_is_left_out_with_all_that_follows(tmp_path: Path, changed: str) -> None:
    chain(tmp_path)
    ledger = Ledger(tmp_path / "ledger.jsonl", "run")
    place = CHAIN.index(changed)
    # what a changed step leads to is not known before it has run
    planned = {step: None if CHAIN.index(step) > place else f"{step}-1" for step in CHAIN} | {changed: "other"}
    ledger.append("run-started", steps={step: f"{step}-1" for step in CHAIN})
    assert list(sealed_steps(tmp_path).manifests) == CHAIN
    ledger.append("run-started", steps=planned)
    if place == 0:
        with pytest.raises(StillhouseError, match="the recipe has changed since it was made"):
            sealed_steps(tmp_path)
    else:
        assert list(sealed_steps(tmp_path).manifests) == CHAIN[:place]


def test_a_step_that_was_taken_away_takes_nothing_along(tmp_path: Path) -> None:
    """Answers and scores may be thrown away for their size; what was made from them is still what it says."""
    chain(tmp_path)
    for path in sorted((tmp_path / FOLDERS["ferment"]).rglob("*"), reverse=True):
        path.unlink()
    (tmp_path / FOLDERS["ferment"]).rmdir()
    assert list(sealed_steps(tmp_path).manifests) == [step for step in CHAIN if step != "ferment"]
    with pytest.raises(StillhouseError, match="no sealed stage"):
        sealed_steps(tmp_path / "nowhere")

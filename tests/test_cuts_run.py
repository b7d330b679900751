"""Cuts in a whole run: what leaves is not taught, nothing is lost, and moving a point reruns only what follows."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
from typer.testing import CliRunner

from stillhouse import documents
from stillhouse.chart import Chart
from stillhouse.chart_image import draw
from stillhouse.cli import app
from stillhouse.cuts import read as read_cuts
from stillhouse.distill.material import ChoicePlan, choose
from stillhouse.errors import StillhouseError
from stillhouse.execute import Finished, run, stage_summaries
from stillhouse.explain import explain_row
from stillhouse.plan import make_plan
from stillhouse.recipe import parse_recipe
from stillhouse.recut import move
from stillhouse.signals import TextAnswer
from stillhouse.student import load_classifier, predict_proba
from tiny_world import World

REFUSALS = 6


def mapping(world: World, folder: Path) -> dict[str, Any]:
    """The tiny recipe over texts of which some are a machine's refusals, with a part of the easiest rows left aside."""
    data = folder / "texts.jsonl"
    rows = [json.loads(line) for line in world.data.read_text("utf-8").splitlines()]
    for place in range(REFUSALS):
        rows.append({"text": f"I'm sorry, but I can't help with that. great {place}", "label": "good", "tone": "long"})
    data.write_text("".join(json.dumps(row) + "\n" for row in rows), "utf-8")
    found = world.mapping()
    found["raw"]["sources"][0]["data"] = str(data)
    found["raw"]["split"] = {"test": 60, "validation": 40, "together": []}
    found["paths"] = {name: str(folder / name) for name in ("runs", "cache")} | {"answers": str(folder / "a.sqlite")}
    found["distill"]["cuts"] = {
        "calibration": "validation",
        "tail": {"point": {"kind": "quantile", "share": 0.25}},
    }
    return found


@pytest.fixture(scope="module")
def finished(world: World, tmp_path_factory: pytest.TempPathFactory) -> Finished:
    """One run, shared by the tests that only look."""
    folder = tmp_path_factory.mktemp("cuts")
    return run(parse_recipe(mapping(world, folder)), base=world.folder)


def rows_of(finished: Finished) -> dict[str, list[Any]]:
    found: dict[str, list[Any]] = pq.read_table(finished.folder / "3-cuts" / "rows.parquet").to_pydict()
    return found


def test_rows_in_are_head_and_heart_and_tail_and_every_one_that_left_is_in_the_ledger(finished: Finished) -> None:
    rows, told = rows_of(finished), stage_summaries(finished.folder)["3-cuts"]
    number = Counter(rows["cut"])
    assert told["rows_in"] == len(rows["id"]) == len(set(rows["id"])) == told["head"] + told["heart"] + told["tail"]
    assert {kind: number[kind] for kind in ("head", "heart", "tail")} == {
        kind: told[kind] for kind in ("head", "heart", "tail")
    }
    ledger = read_cuts(finished.folder / "3-cuts").to_pylist()
    assert {row["id"] for row in ledger} == {
        one for one, cut in zip(rows["id"], rows["cut"], strict=True) if cut != "heart"
    }
    assert all(row["content"] and row["score"] is not None and row["threshold"] is not None for row in ledger)
    taught = documents.read(finished.folder / "1-raw", "train")["id"].to_pylist()
    assert set(rows["id"]) <= set(taught)


def test_a_refusal_among_the_texts_is_a_head_and_the_label_lists_it(finished: Finished) -> None:
    rows = rows_of(finished)
    refusals = [
        cut for cut, text in zip(rows["cut"], rows["text"], strict=True) if text.startswith("I'm sorry, but I can't")
    ]
    assert refusals and set(refusals) == {"head"}
    label = finished.label
    assert label["cuts"]["head"]["refusal"] == len(refusals)
    assert label["cuts"]["tail"]["taught already"] > 0
    assert set(label["cut_points"]) == {"refusal", "label-doubt", "tail"}
    assert label["gold_labels_used_in_training"] == 0 and label["gold_labels_used_for_cuts"] == 40
    assert "Cut point, tail" in (finished.bottle / "README.md").read_text("utf-8")


def test_the_student_is_taught_the_heart_alone(finished: Finished) -> None:
    stages = stage_summaries(finished.folder)
    assert stages["3-distill"]["trained_on"] == stages["3-cuts"]["heart"]
    assert stages["3-distill"]["left_in_cuts"] == stages["3-cuts"]["cut"]


def test_a_row_that_left_has_its_story(finished: Finished) -> None:
    row = read_cuts(finished.folder / "3-cuts").to_pylist()[0]
    assert any(f"not taught, into the {row['cut']}" in line for line in explain_row(finished.folder, row["id"]))


def test_the_chart_fits_eighty_columns_and_shows_rows_on_both_sides_of_each_point(finished: Finished) -> None:
    lines = Chart.read(finished.folder).lines()
    assert max(map(len, lines)) <= 80
    assert any(set(line) == {"H", "·", "T"} for line in lines)
    around = lines.index("Around the point of tail: ease")
    shown = [line[0] for line in lines[around + 1 :] if line[:2] in ("T ", "· ")]
    assert Counter(shown[:20]) == {"T": 10, "·": 10}
    result = CliRunner().invoke(app, ["cuts", str(finished.folder)])
    assert result.exit_code == 0 and "What it costs and buys" in result.stdout


def test_answers_in_which_a_teacher_refuses_or_names_itself_are_not_learned() -> None:
    said = {
        "a": "The capital is Paris.",
        "b": "I'm sorry, but I can't help with that.",
        "c": "I am ChatGPT, and the capital is Rome.",
        "d": 'They say: "I cannot help with that."',
    }
    rows = [{"id": one, "text": "?", "messages": None, "source": "s", "origin": f"s:{one}"} for one in said]
    answers = [TextAnswer(one, "", "t", 0, None, text, "stop", 1, 9) for one, text in said.items()]
    taught = choose(rows, answers, ChoicePlan())
    assert [row.document["id"] for row in taught.rows] == ["a", "d"]
    assert {cut.id: (cut.cut, cut.reason) for cut in taught.cuts} == {
        "b#0": ("head", "refusal"),
        "c#0": ("head", "speaks as a machine"),
    }
    assert len(choose(rows, answers, ChoicePlan(spoken_as_machine="learn")).rows) == 4


@pytest.mark.parametrize("ending", [".png", ".svg"])
def test_the_chart_is_drawn(finished: Finished, tmp_path: Path, ending: str) -> None:
    path = tmp_path / f"chart{ending}"
    draw(Chart.read(finished.folder), path)
    assert path.stat().st_size > 5000
    with pytest.raises(StillhouseError, match="no image format"):
        draw(Chart.read(finished.folder), tmp_path / "chart.bmp")


def test_moving_a_cut_reruns_what_follows_it_and_nothing_before(world: World, tmp_path: Path) -> None:
    recipe = parse_recipe(mapping(world, tmp_path))
    done = run(recipe, base=world.folder, until="cuts")
    before = rows_of(done)
    moved = move(done.folder, ["tail=0.5", "label-doubt=none"])
    assert {step.name: step.cached is not None for step in moved.steps} == {
        "raw": True,
        "ferment": True,
        "scores": True,
        "cuts": True,
        "distill": False,
        "judge": False,
        "finish": False,
    }
    after = rows_of(done)
    assert after["id"] == before["id"] and after["score_ease"] == before["score_ease"]
    heads = after["cut"].count("head")
    assert after["cut"].count("tail") == round(0.5 * (len(after["id"]) - heads))
    kept = make_plan(moved.recipe, base=world.folder)
    assert kept.step("cuts").cached is not None
    move(done.folder, ["tail=0.25"])
    for wrong, told in (("nose=0.1", "no cut 'nose'"), ("tail=many", "no number"), ("tail=1.5", "no share")):
        with pytest.raises(StillhouseError, match=told):
            move(done.folder, [wrong])
        refused = CliRunner().invoke(app, ["cuts", str(done.folder), "--move", wrong])
        assert refused.exit_code == 1 and "Report" not in refused.output  # nothing was done that it could report


def test_a_move_that_is_refused_leaves_the_run_as_it_was_and_none_runs_more_than_the_cuts(
    world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    given = mapping(world, tmp_path) | {"paths": {"runs": "runs", "cache": "cache", "answers": "a.sqlite"}}
    unscored = run(parse_recipe(given), base=world.folder, until="ferment").folder
    with pytest.raises(StillhouseError, match="the step `scores` has to run first"):
        move(unscored, ["tail=0.5"])
    done = run(parse_recipe(given), base=world.folder, until="cuts").folder.resolve()
    recipe, rows = (done / "recipe.yaml").read_bytes(), pq.read_table(done / "3-cuts" / "rows.parquet")
    with pytest.raises(StillhouseError, match="no row is left to teach"):
        move(done, ["tail=0.999"])
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    monkeypatch.chdir(elsewhere)
    with pytest.raises(StillhouseError, match="go to the folder that the run was started from"):
        move(done, ["tail=0.5"])
    assert not list(elsewhere.iterdir())
    assert (done / "recipe.yaml").read_bytes() == recipe
    assert pq.read_table(done / "3-cuts" / "rows.parquet").equals(rows)


def test_the_settings_that_a_move_names_do_the_same_to_the_recipe(world: World, tmp_path: Path) -> None:
    given = mapping(world, tmp_path)
    done = run(parse_recipe(given), base=world.folder, until="cuts")
    moved = move(done.folder, ["tail=0.5", "label-doubt=0.3"])
    again = make_plan(parse_recipe(given, moved.settings), base=world.folder)
    assert again.step("cuts").cached is not None


def test_gold_labels_are_read_for_points_only_where_the_recipe_says_so(world: World, tmp_path: Path) -> None:
    given = mapping(world, tmp_path)
    given["distill"]["cuts"]["calibration"] = "none"
    done = run(parse_recipe(given), base=world.folder, until="cuts")
    told = stage_summaries(done.folder)["3-cuts"]
    assert told["calibration_labels_used"] == 0 and "no calibration rows" in told["points"]["label-doubt"]
    assert "label-doubt" not in told["cuts"]["head"]


def test_the_tail_can_be_drawn_from_by_a_later_run(world: World, finished: Finished, tmp_path: Path) -> None:
    later = world.mapping()
    later["raw"]["sources"].append(
        {
            "kind": "feints",
            "name": "feints",
            "run": str(finished.folder),
            "license": "CC0-1.0",
            "columns": {"groups": {"tone": "group_tone"}},
        }
    )
    later["paths"] = {name: str(tmp_path / name) for name in ("runs", "cache")} | {
        "answers": str(tmp_path / "a.sqlite")
    }
    later["raw"]["sources"].pop(0)
    later["raw"]["split"] = {"test": 10, "validation": 10}
    done = run(parse_recipe(later), base=world.folder, until="raw")
    tail = {one for one, cut in zip(rows_of(finished)["text"], rows_of(finished)["cut"], strict=True) if cut == "tail"}
    drawn = [
        one for split in documents.SPLITS for one in documents.read(done.folder / "1-raw", split)["text"].to_pylist()
    ]
    assert set(drawn) <= tail and len(drawn) + stage_summaries(done.folder)["1-raw"]["cut"] == len(tail)
    given = {row["id"]: row for row in pq.read_table(finished.folder / "3-cuts" / "feints.parquet").to_pylist()}
    for split in documents.SPLITS:
        for row in documents.read(done.folder / "1-raw", split).to_pylist():  # the same documents, with what is known
            assert {name: row[name] for name in ("label", "group_tone")} == {
                name: given[row["id"]][name] for name in ("label", "group_tone")
            }


def test_any_classifier_gives_a_score_and_a_group_says_what_is_harmful(
    world: World, finished: Finished, tmp_path: Path
) -> None:
    classifier = finished.folder / "3-distill" / "student"
    gloom = {"score": "classifier", "name": "gloom", "model": str(classifier), "label": "bad"}
    given = mapping(world, tmp_path)
    given["distill"]["student"]["license"] = "MIT"
    given["distill"]["cuts"] |= {
        "heads": [
            {**gloom, "name": None, "label": "good", "point": {"kind": "none"}},
            {**gloom, "point": {"kind": "quantile", "share": 0.2}},
            {
                **gloom,
                "name": "long",
                "harm": {"group": "tone", "value": "long"},
                "point": {"kind": "risk", "epsilon": 0.95},
            },
        ],
        "tail": {"point": {"kind": "none"}},
        "quotas": False,
    }
    done = run(parse_recipe(given), base=world.folder, until="cuts")
    rows, told = rows_of(done), stage_summaries(done.folder)["3-cuts"]
    model, tokenizer = load_classifier(classifier)
    said, number = predict_proba(model, tokenizer, rows["text"]), model.config.label2id
    good, bad = said[:, number["good"]], said[:, number["bad"]]
    assert rows["score_gloom"] == pytest.approx(bad.tolist(), abs=1e-5)
    assert rows["score_classifier"] == pytest.approx(good.tolist(), abs=1e-5)  # each head asks its own
    assert told["cuts"]["head"]["gloom"] == int(0.2 * len(rows["id"]))
    assert "at most 95.0% of the kept rows are harmful" in told["points"]["long"]
    given["distill"]["cuts"]["heads"] = [{**gloom, "label": "awful", "point": {"kind": "given", "at": 0.5}}]
    with pytest.raises(StillhouseError, match="no label 'awful'"):
        run(parse_recipe(given), base=world.folder, until="cuts")


def test_without_cuts_there_are_no_such_steps_and_every_row_is_taught(world: World, tmp_path: Path) -> None:
    given = mapping(world, tmp_path)
    given["distill"]["cuts"] = None
    done = run(parse_recipe(given), base=world.folder, until="distill")
    stages = stage_summaries(done.folder)
    assert "3-cuts" not in stages and "3-scores" not in stages
    assert stages["3-distill"]["left_in_cuts"] == 0
    with pytest.raises(StillhouseError, match="not sealed"):
        Chart.read(done.folder)


def test_a_promise_that_cannot_be_kept_stops_the_run_where_that_is_asked_for(world: World, tmp_path: Path) -> None:
    given = mapping(world, tmp_path)
    given["distill"]["cuts"]["heads"] = [
        {"score": "label-doubt", "point": {"kind": "risk", "of": "kept", "epsilon": 0.001, "unmet": "stop"}}
    ]
    with pytest.raises(StillhouseError, match="no threshold can promise"):
        run(parse_recipe(given), base=world.folder, until="cuts")
    given["distill"]["cuts"]["calibration"] = "none"  # which is seen before the teacher is asked
    (problem,) = make_plan(parse_recipe(given), base=world.folder).problems
    assert "without calibration rows" in problem.what and problem.where == "distill.cuts.heads.0.point.unmet"

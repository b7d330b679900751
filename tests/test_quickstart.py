"""The whole house on a tiny pair: a run, its bottle, its label, and what the commands say about them."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import yaml
from cyclonedx.schema import SchemaVersion
from cyclonedx.validation.json import JsonStrictValidator
from transformers import AutoTokenizer
from typer.testing import CliRunner

import stillhouse
from snippets import opened_in_browser, run_snippets
from stillhouse import documents
from stillhouse.cli import app
from stillhouse.cuts import read as read_cuts
from stillhouse.diff import compare
from stillhouse.errors import StillhouseError
from stillhouse.execute import Finished, run, stage_summaries
from stillhouse.explain import explain_row
from stillhouse.finish.bottle import Bottle, read_label, verify_bottle
from stillhouse.finish.provenance import make_pair, public_path
from stillhouse.ledger import Ledger
from stillhouse.recipe import parse_recipe
from stillhouse.signals import ClassProbs
from stillhouse.store import digest_of_file, read_sealed
from stillhouse.workplace import FOLDERS
from tiny_world import LABELS, World


@pytest.fixture(scope="module")
def finished(world: World, tmp_path_factory: pytest.TempPathFactory) -> Finished:
    """One run, shared by the tests that only look."""
    folder = tmp_path_factory.mktemp("run")
    mapping = world.mapping()
    mapping["paths"] = {
        "runs": str(folder / "runs"),
        "answers": str(folder / "answers.sqlite"),
        "cache": str(folder / "cache"),
    }
    mapping["finish"]["gates"] = {}  # all of them
    mapping["finish"]["abstain"] = {"most": 0.2}
    mapping["finish"]["evaluate"]["margin"] = 0.2  # a hundred documents show no less
    mapping["controls"] = {"kinds": ["tfidf-gold", "student-gold", "gold-curve"], "gold_curve": [20, 60]}
    return run(parse_recipe(mapping), base=world.folder)


def test_the_student_learns_what_the_teacher_knows(finished: Finished) -> None:
    summary = finished.evaluation["summary"]
    assert summary["teacher"]["accuracy"] > 0.85
    assert summary["exported"]["accuracy"] > 0.85
    assert summary["exported"]["accuracy"] > summary["baselines"]["majority"] + 0.2
    assert summary["retention"]["n"] == 100


def test_rows_add_up_at_every_stage_and_flow_from_one_to_the_next(finished: Finished) -> None:
    stages = stage_summaries(finished.folder)
    assert list(stages) == [
        "1-raw",
        "2-ferment",
        "3-scores",
        "3-cuts",
        "3-distill",
        "3-controls",
        "4-judge",
        "4-finish",
    ]
    for summary in stages.values():
        assert summary["rows_in"] == summary["kept"] + summary["cut"] + summary["failed"]
    assert stages["2-ferment"]["rows_in"] == stages["1-raw"]["kept"]
    test = stages["1-raw"]["splits"]["test"]
    assert stages["3-scores"]["rows_in"] == stages["2-ferment"]["kept"] - test
    assert stages["3-distill"]["rows_in"] == stages["3-scores"]["kept"] - stages["3-cuts"]["cut"]
    assert len(read_cuts(finished.folder / "1-raw")) == stages["1-raw"]["cut"]


def test_no_text_is_in_two_splits(finished: Finished) -> None:
    raw = finished.folder / "1-raw"
    texts = [documents.read(raw, split)["text"].to_pylist() for split in documents.SPLITS]
    assert len({text.casefold() for split in texts for text in split}) == sum(map(len, texts))


def test_every_reported_artifact_has_the_same_metrics(finished: Finished) -> None:
    rows = finished.evaluation["rows"]
    artifacts = {row["artifact"] for row in rows}
    assert artifacts >= {
        "teacher",
        "student",
        "onnx-fp32",
        "onnx-int8",
        "majority",
        "tfidf-teacher",
        "tfidf-gold",
        "student-gold",
        "student-gold-20",
        "student-gold-60",
    }
    for artifact in artifacts:
        metrics = {(row["metric"], row["slice"]) for row in rows if row["artifact"] == artifact}
        assert {
            ("accuracy", "all"),
            ("macro_f1", "all"),
            ("recall", "label=good"),
            ("accuracy", "group:tone=long"),
        } <= metrics
        assert (("agreement", "all") in metrics) == (artifact != "teacher")
    for row in rows:
        if row["lower"] is not None:
            assert row["lower"] <= row["value"] <= row["upper"]


def test_the_card_shows_baselines_and_controls_beside_the_student_each_with_its_interval(finished: Finished) -> None:
    card = (finished.bottle / "README.md").read_text("utf-8")
    compared = finished.evaluation["summary"]["compared"]
    told = {one["artifact"] for one in compared}
    assert told >= {"teacher", "student", "majority", "tfidf-teacher", "student-gold-20"}
    assert sum(one["what"] == "shipped" for one in compared) == 1
    for row in finished.evaluation["rows"]:
        if (row["metric"], row["slice"]) == ("accuracy", "all") and row["artifact"] in told:
            assert f"{row['value']:.3f}" in card and f"| {row['lower']:.3f} – {row['upper']:.3f} |" in card
    assert "always the commonest label" in card and "taught 20 gold labels" in card


def test_gold_labels_of_the_training_documents_change_nothing(world: World, workdir: Path) -> None:
    # a stratified split looks at them, to keep their shares; nothing after it does
    plain = world.mapping()
    plain["raw"]["split"]["stratify"] = False
    straight = run(parse_recipe(plain | {"name": "straight"}), base=world.folder)
    raw = documents.read(straight.folder / "1-raw", "test")
    held_out = set(raw["text"].to_pylist())
    lines = [json.loads(line) for line in world.data.read_text("utf-8").splitlines()]
    turned = workdir / "turned.jsonl"
    turned.write_text(
        "".join(
            json.dumps(row if row["text"] in held_out else {**row, "label": LABELS[row["label"] == LABELS[0]]}) + "\n"
            for row in lines
        ),
        "utf-8",
    )
    mapping = plain
    mapping["raw"]["sources"][0]["data"] = str(turned)
    other = run(parse_recipe(mapping), base=world.folder)
    weights = Path("3-distill/student/model.safetensors")
    assert (other.folder / weights).read_bytes() == (straight.folder / weights).read_bytes()


def test_a_row_s_story_ends_with_what_the_shipped_student_says(finished: Finished) -> None:
    row = documents.read(finished.folder / "1-raw", "train").to_pylist()[0]
    story = explain_row(finished.folder, row["origin"])
    assert any(line.startswith(("  teacher said: bad 0.", "  teacher said: bad 1.")) for line in story)
    assert story[-1].startswith("  the shipped student says: ")


def test_a_failed_gate_stops_the_bottling_and_despite_it_the_label_says_why(
    world: World, finished: Finished, workdir: Path
) -> None:
    shutil.copytree(finished.folder, workdir / "runs" / "tiny")
    mapping = yaml.safe_load((finished.folder / "recipe.yaml").read_text("utf-8"))
    mapping["paths"]["runs"] = str(workdir / "runs")
    mapping["finish"]["evaluate"]["margin"] = 0.0001  # nobody is as good as that
    recipe = world.folder / "strict.yaml"
    recipe.write_text(yaml.safe_dump(mapping), "utf-8")
    refused = CliRunner().invoke(app, ["run", str(recipe)])
    assert isinstance(refused.exception, StillhouseError) and "`retention` failed" in str(refused.exception)
    left = workdir / "runs" / "tiny"
    assert json.loads((left / "4-judge" / "gates.json").read_text("utf-8"))["gates"][0]["status"] == "failed"
    assert not (left / "4-finish").exists() and (left / "4-finish-superseded" / "bottle").exists()
    shown = CliRunner().invoke(app, ["show", str(left)])
    assert shown.exit_code == 0 and "nothing is bottled" in shown.output
    half = CliRunner().invoke(app, ["run", str(recipe), "--despite", "retention"])
    assert isinstance(half.exception, StillhouseError) and "--because" in str(half.exception)
    before = stage_summaries(left)["4-judge"]
    shipped = CliRunner().invoke(
        app, ["run", str(recipe), "--despite", "retention", "--because", "only a test of gates"]
    )
    assert shipped.exit_code == 0, shipped.output
    assert stage_summaries(left)["4-judge"] == before  # it was not judged again
    label = json.loads((left / "4-finish" / "bottle" / "label.json").read_text("utf-8"))
    assert [(one["gate"], one["because"]) for one in label["despite"]] == [("retention", "only a test of gates")]
    assert "only a test of gates" in shipped.output
    assert "only a test of gates" in (left / "4-finish" / "bottle" / "README.md").read_text("utf-8")


def test_two_runs_are_told_apart_by_what_changed_and_document_by_document(finished: Finished, workdir: Path) -> None:
    same = compare(finished.folder, finished.folder)
    assert not (same.recipe or same.steps or same.data or same.cuts or same.results)
    assert "cannot be told apart" in same.reading[-1] and "+0.0 points" in same.reading[0]
    assert "(+0.0 to +0.0)" not in same.reading[0]  # a hundred equal answers do not prove two equal students
    other = workdir / "other"
    shutil.copytree(finished.folder, other)
    lock = other / "recipe.lock.yaml"
    lock.write_text(lock.read_text("utf-8").replace("epochs: 2.0", "epochs: 3.0"), "utf-8")
    path = other / "4-judge" / "predictions.parquet"
    rows = pq.read_table(path).to_pylist()
    shipped = finished.evaluation["shipped"]["artifact"]
    right = [row for row in rows if row["artifact"] == shipped and row["predicted"] == row["gold"]]
    for row in right[:40]:  # of a hundred
        row["predicted"] = next(label for label in LABELS if label != row["gold"])
    pq.write_table(pa.Table.from_pylist(rows), path)
    found = compare(finished.folder, other)
    assert [(one.what, one.before, one.after) for one in found.recipe] == [("distill.train.epochs", "2.0", "3.0")]
    assert "-40.0 points" in found.reading[0] and "40 documents only the first labels rightly" in found.reading[0]
    assert "is clear" in found.reading[-1]
    lock.write_text(lock.read_text("utf-8").replace("task: text-classification", "task: text-generation"), "utf-8")
    (told,) = compare(finished.folder, other).reading
    assert "text-classification" in told and "text-generation" in told and "cannot be compared" in told
    shutil.rmtree(other / "1-raw")
    assert any(change.after == "" for change in compare(finished.folder, other).cuts)


def test_signals_join_by_id_and_keep_the_raw_answer(finished: Finished) -> None:
    signal = ClassProbs.read(finished.folder / "2-ferment")
    assert list(signal.ids) == sorted(signal.ids)
    assert np.allclose(signal.probs.sum(axis=1), 1)
    backwards = list(reversed(signal.ids))
    assert (signal.probabilities_for(backwards) == signal.probs[::-1]).all()
    with pytest.raises(stillhouse.StillhouseError, match="no teacher signal"):
        signal.probabilities_for(["unknown"])


def test_the_bottle_opens_without_stillhouse(finished: Finished) -> None:
    from transformers import pipeline

    texts = ["great fine film", "dull grim book", "warm lovely day"]
    classify = pipeline("text-classification", model=str(finished.bottle))
    plain = [answer["label"] for answer in classify(texts)]
    assert plain == ["good", "bad", "good"]
    assert [label for label, _ in Bottle.open(finished.bottle).predict(texts)] == plain


def test_the_student_and_the_bottle_hold_the_tensors_of_a_stock_class_and_nothing_of_its_training(
    finished: Finished,
) -> None:
    from safetensors import safe_open
    from transformers import AutoConfig, AutoModelForSequenceClassification

    for folder in (finished.folder / "3-distill" / "student", finished.bottle):
        stock = AutoModelForSequenceClassification.from_config(AutoConfig.from_pretrained(folder)).state_dict()
        with safe_open(folder / "model.safetensors", "pt") as weights:
            shapes = {name: tuple(weights.get_slice(name).get_shape()) for name in weights.keys()}  # noqa: SIM118
        assert shapes == {name: tuple(value.shape) for name, value in stock.items()}
        weights_bytes = sum(4 * value.numel() for value in stock.values())
        assert (folder / "model.safetensors").stat().st_size < weights_bytes + 10_000
        assert not [path for path in folder.rglob("*") if path.suffix in (".pt", ".bin", ".pth")]


@pytest.mark.parametrize("harm", ["change", "remove", "add", "pickle", "label"])
def test_verify_finds_every_tampering(finished: Finished, tmp_path: Path, harm: str) -> None:
    bottle = tmp_path / "bottle"
    shutil.copytree(finished.bottle, bottle)
    assert verify_bottle(bottle) == []
    if harm == "change":
        (bottle / "config.json").write_text("{}")
    elif harm == "remove":
        (bottle / "README.md").unlink()
    elif harm == "add":
        (bottle / "more.txt").write_text("x")
    elif harm == "pickle":
        (bottle / "model.bin").write_bytes(b"x")
    else:
        (bottle / "label.json").write_text((bottle / "label.json").read_text().replace("good", "fine"))
    assert verify_bottle(bottle)
    assert CliRunner().invoke(app, ["verify", str(bottle)]).exit_code != 0


def test_nothing_in_the_bottle_tells_where_it_was_made(world: World, finished: Finished) -> None:
    for path in finished.bottle.rglob("*"):
        if path.is_file():
            held = path.read_bytes()
            assert str(world.folder).encode() not in held and str(finished.folder).encode() not in held, path


def test_the_papers_are_those_of_the_run_and_the_bottle_can_be_signed(finished: Finished, tmp_path: Path) -> None:
    bottle = tmp_path / "bottle"
    shutil.copytree(finished.bottle, bottle)
    bill, said = (json.loads((bottle / name).read_text("utf-8")) for name in ("bom.cdx.json", "provenance.json"))
    assert JsonStrictValidator(SchemaVersion.V1_6).validate_str(json.dumps(bill)) is None
    assert {one["bom-ref"] for one in bill["components"]} >= {"teacher:teacher", "base:base", "data:words"}
    for one in said["subject"]:
        assert digest_of_file(bottle / one["name"]) == one["digest"]["sha256"]
    for one in said["predicate"]["runDetails"]["byproducts"]:
        assert digest_of_file(finished.folder / one["name"]) == one["digest"]["sha256"]
    steps = said["predicate"]["buildDefinition"]["internalParameters"]["steps"]
    for name, step in steps.items():
        manifest = read_sealed(finished.folder, FOLDERS[name], verify=False)
        assert manifest and step["fingerprint"] == manifest.fingerprint and step["started"] <= step["sealed"]
    assert set(steps) == {"raw", "ferment", "scores", "cuts", "distill", "controls", "judge"}
    assert str(finished.folder.parent.parent) not in json.dumps([bill, said])
    key, runner = tmp_path / "house.pem", CliRunner()
    make_pair(key, ask=lambda _: "")
    demanded = ["verify", str(bottle), "--key", str(public_path(key))]
    assert "not signed" in " ".join(runner.invoke(app, ["verify", str(bottle)]).stdout.split())
    assert runner.invoke(app, demanded).exit_code != 0
    assert runner.invoke(app, ["sign", str(bottle), "--key", str(key)]).exit_code == 0
    assert "was not checked" in " ".join(runner.invoke(app, ["verify", str(bottle)]).stdout.split())
    outcome = runner.invoke(app, demanded)
    assert outcome.exit_code == 0 and "signed with the key that was given" in " ".join(outcome.stdout.split())
    (bottle / "NOTICE").write_text("other")
    assert runner.invoke(app, demanded).exit_code != 0


def test_the_label_lists_every_teacher_base_and_source(finished: Finished) -> None:
    label = finished.label
    subjects = {(row["role"], row["name"]): row for row in label["rights"]["subjects"]}
    assert set(subjects) == {("teacher", "teacher"), ("base", "base"), ("data", "words")}
    assert all(row["license"] and row["verdict"].startswith("allow") for row in subjects.values())
    assert label["gold_labels_used_in_training"] == 0
    card = (finished.bottle / "README.md").read_text("utf-8")
    front = yaml.safe_load(card.split("---")[1])
    assert front["pipeline_tag"] == "text-classification"
    assert "not legal advice" in card


def test_the_ledger_tells_what_ran(finished: Finished) -> None:
    events = [entry["event"] for entry in Ledger(finished.folder / "ledger.jsonl", "x").entries()]
    assert events[0] == "run-started"
    assert events[-1] == "run-finished"
    assert events.count("step-sealed") == 8


def test_raising_the_number_of_rows_asks_only_for_the_new_ones(world: World, workdir: Path) -> None:
    first = run(world.recipe(**{"raw.split.train": 100}), base=world.folder)
    second = run(world.recipe(**{"raw.split.train": 150, "ferment.calibration.kind": "batch"}), base=world.folder)
    asked = [
        entry["teachers"][0]["new_answers"]
        for entry in Ledger(second.folder / "ledger.jsonl", "x").entries()
        if entry["event"] == "step-sealed" and entry["step"] == "ferment"
    ]
    assert asked == [240, 50]
    assert first.folder == second.folder


def test_the_snippets_of_the_card_need_no_stillhouse_and_say_what_the_bottle_says(
    finished: Finished, tmp_path: Path
) -> None:
    stock, onnx = run_snippets(finished.bottle, tmp_path)
    ((label, share),) = Bottle.open(finished.bottle).predict(["your text"])
    assert onnx.split()[0] == label and f"{share:.4f}"[:5] in onnx
    assert any(f"'label': '{name}'" in stock for name in LABELS)  # float32, where the bottle's own answer may be int8
    label = read_label(finished.bottle)
    assert opened_in_browser(finished.bottle) == finished.bottle / label["shipped"]["file"]
    assert opened_in_browser(finished.bottle).is_file()
    # whoever goes by the tokenizer's settings cuts long texts where they were cut when it was measured
    assert AutoTokenizer.from_pretrained(finished.bottle).model_max_length == label["shipped"]["max_length"]


def test_the_snippets_of_the_card_take_texts_of_any_length(finished: Finished, tmp_path: Path) -> None:
    text = " ".join(["fine", "grim"] * 300)
    for said in run_snippets(finished.bottle, tmp_path, question=text):
        assert said.strip()


def test_commands_show_taste_and_predict(finished: Finished, tmp_path: Path) -> None:
    runner = CliRunner()
    shown = runner.invoke(app, ["show", str(finished.folder), "--rows"])
    assert shown.exit_code == 0, shown.output
    tasted = runner.invoke(app, ["taste", str(finished.folder)], input="great fine film\n\ndull book\n")
    assert tasted.exit_code == 0, tasted.output
    texts = tmp_path / "texts.csv"
    texts.write_text('text,n\ngreat film,1\n,2\n"dull, grim",3\n', "utf-8")
    output = tmp_path / "out.jsonl"
    result = runner.invoke(app, ["predict", str(finished.bottle), str(texts), "--output", str(output)])
    assert result.exit_code == 0, result.output
    lines = [json.loads(line) for line in output.read_text("utf-8").splitlines()]
    (first, _), (last, _) = Bottle.open(finished.bottle).predict(["great film", "dull, grim"])
    assert [line.get("label") for line in lines] == [first, None, last]
    assert lines[1]["error"] == "no text"

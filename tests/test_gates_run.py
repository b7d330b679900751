"""Gates of a classifier, decided by the real judge on the file that would ship: who is treated worse stops it."""

from __future__ import annotations

import errno
import shutil
from pathlib import Path
from unittest import mock

import pytest

from judged_world import Case, bottled, judged
from stillhouse.errors import StillhouseError
from stillhouse.finish.bottle import verify_bottle
from stillhouse.store import digest_of_file, place, read_sealed
from tiny_world import World

GATES = "finish.gates.required"


def stopped(world: World, run: Path, **changes: object) -> str:
    with pytest.raises(StillhouseError) as refused:
        bottled(world, run, **changes)
    assert not (run / "4-finish").exists()
    return str(refused.value)


def test_a_student_that_is_worse_for_one_group_is_not_bottled(world: World, tmp_path: Path) -> None:
    gates = judged(world, Case(student=("lovely",)), tmp_path)
    gate = gates["worst-group"]
    assert gate["status"] == "failed" and "worst-served group is b with an accuracy of 0.7" in gate["words"]
    assert gates["retention"]["status"] == "failed"
    words = stopped(world, tmp_path, **{GATES: ["worst-group"]})
    assert "gate `worst-group` failed" in words and "retention" not in words  # nobody asked that it must hold
    assert "dialect: the student's worst-served group is b" in words and "add documents of that group" in words
    despite = [{"gate": "worst-group", "because": "used for dialect a alone"}]
    label = bottled(world, tmp_path, **{GATES: ["worst-group"], "finish.despite": despite})
    assert [one["gate"] for one in label["despite"]] == ["worst-group"]


def test_weights_lie_once_in_the_sealed_folders_and_the_bottle_is_nobody_elses(world: World, tmp_path: Path) -> None:
    judged(world, Case(teacher=("lovely",), student=("lovely",)), tmp_path)
    bottled(world, tmp_path, **{GATES: []})
    trained, kept, shipped = (
        tmp_path / part / "model.safetensors" for part in ("3-distill/student", "4-judge/artifacts", "4-finish/bottle")
    )
    assert trained.samefile(kept) and not shipped.samefile(kept) and digest_of_file(shipped) == digest_of_file(kept)
    configs = [path.with_name("config.json") for path in (trained, kept, shipped)]
    assert not configs[0].samefile(configs[1])  # small files are written over
    for path in (shipped, configs[2]):  # in place, as tools do
        path.write_bytes(b"other")
    assert verify_bottle(shipped.parent) == ["changed: config.json", "changed: model.safetensors"]
    assert read_sealed(tmp_path, "3-distill") and read_sealed(tmp_path, "4-judge")
    assert read_sealed(tmp_path, "4-finish") is None


def test_a_disk_without_links_gets_a_copy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source, linked, copied = (tmp_path / name for name in ("source", "linked", "copied"))
    source.write_bytes(b"weights")
    linked.write_bytes(b"of an earlier draft")
    place(source, linked)
    assert linked.samefile(source)
    monkeypatch.setattr(Path, "hardlink_to", mock.Mock(side_effect=OSError(errno.EXDEV, "another disk")))
    copied.write_bytes(b"of an earlier draft, and longer")
    place(source, copied)
    assert not copied.samefile(source) and copied.read_bytes() == b"weights"


def test_a_student_that_widens_its_teachers_gap_is_not_bottled_though_no_group_has_lost_accuracy(
    world: World, tmp_path: Path
) -> None:
    """Of group b the teacher takes half of the bad for good, the student half of the good for bad: as often wrong."""
    gates = judged(world, Case(teacher=("grim",), student=("lovely",)), tmp_path)
    assert gates["worst-group"]["status"] != "failed"
    gate = gates["amplification"]
    assert gate["status"] == "failed"
    assert "between a and b the true positive rate (label=good) differs by" in gate["words"]
    assert "with the student and by 0.0 points with the teacher" in gate["words"]
    assert "false positive rate" not in gate["words"]  # that gap the student closed
    words = stopped(world, tmp_path, **{GATES: ["worst-group", "amplification"]})
    assert "gate `amplification` failed" in words and "`worst-group`" not in words


def test_a_student_that_only_inherits_its_teachers_gap_passes(world: World, tmp_path: Path) -> None:
    gates = judged(world, Case(teacher=("lovely",), student=("lovely",)), tmp_path)
    assert {gates[name]["status"] for name in ("retention", "worst-group")} == {"passed"}
    assert gates["amplification"]["status"] != "failed"
    label = bottled(world, tmp_path, **{GATES: ["retention", "worst-group", "amplification"]})
    assert any(one["probe"] == "teacher bias" for one in label["audit"])


def test_a_test_that_is_too_small_stops_only_where_strict_is_set_and_says_what_size_would_do(
    world: World, tmp_path: Path
) -> None:
    few = {"finish.audit.worst_margin": 0.01}  # of 64 documents of a group, 32 of a kind, and a fair student
    gates = judged(world, Case(teacher=("lovely",), student=("lovely",), each=16), tmp_path, **few)
    required = {GATES: ["worst-group", "amplification"]}
    for name in required[GATES]:
        assert gates[name]["status"] == "not certified"
    label = bottled(world, tmp_path, **required)
    assert sum(one.startswith("not certified, ") for one in label["warnings"]) >= 2
    strict = tmp_path / "strict"
    shutil.copytree(tmp_path / "4-judge", strict / "4-judge")
    words = stopped(world, strict, **required, **{"finish.gates.strict": True})
    sizes = [one["needed"] for one in label["audit"] if one["needed"]]
    assert len(sizes) >= 3 and all(f"about {one:,} would tell" in words for one in sizes)
    assert "gate `worst-group` not certified" in words and "gate `amplification` not certified" in words
    assert "`--despite worst-group --because" in words

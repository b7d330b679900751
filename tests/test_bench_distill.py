"""The benches of distillation: what their rule decides, what they reuse, and what they read from a run."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from bench import distill as whole
from bench import parts
from bench.distill_chat import _metric_figures, row_of, verdict
from bench.distill_pair import Quality
from bench.distill_rule import FIRST, SPARSE, Results, compare, default_of, ranked, tied
from bench.report import Figure


def runs(kl: float, agreement: float, perplexity: float, *, wobble: int, seeds: int = 5) -> list[Quality]:
    """Qualities around given means; what seeds share is large, what is a run's own is small."""
    shared, own = np.random.default_rng(0).normal(size=seeds), np.random.default_rng(wobble).normal(size=(seeds, 3))
    return [
        Quality(
            kl + 0.05 * float(shared[seed]) + 0.001 * float(own[seed, 0]),
            agreement + 0.02 * float(shared[seed]) + 0.001 * float(own[seed, 1]),
            perplexity + 1.0 * float(shared[seed]) + 0.02 * float(own[seed, 2]),
        )
        for seed in range(seeds)
    ]


def table(**others: list[Quality]) -> Results:
    return {FIRST: runs(0.4, 0.6, 40, wobble=1), SPARSE: runs(0.41, 0.6, 40, wobble=9), **others}


def test_what_seeds_share_does_not_hide_a_difference_and_chance_is_a_tie() -> None:
    compared = compare(table(nearer=runs(0.39, 0.6, 40, wobble=2), same=runs(0.4, 0.6, 40, wobble=3)))
    assert compared["nearer"] == {"kl": "better", "agreement": "tie", "perplexity": "tie"}
    assert set(compared["same"].values()) == {"tie"}
    assert SPARSE not in compared and FIRST not in compared


def test_the_first_loss_stays_unless_one_beats_it() -> None:
    worse_somewhere = table(trade=runs(0.3, 0.6, 45, wobble=2), same=runs(0.4, 0.6, 40, wobble=3))
    assert default_of(worse_somewhere, compare(worse_somewhere)) == FIRST
    assert tied(compare(worse_somewhere)) == ["same"]
    beaten = table(good=runs(0.39, 0.6, 40, wobble=2), best=runs(0.3, 0.7, 30, wobble=3))
    assert default_of(beaten, compare(beaten)) == "best" == ranked(beaten)[0]
    assert SPARSE not in ranked(beaten)


def test_equal_runs_are_a_tie_and_more_rivals_ask_for_more_evidence() -> None:
    equal = table(twin=runs(0.4, 0.6, 40, wobble=1))
    assert set(compare(equal)["twin"].values()) == {"tie"}
    edge = {"edge": runs(0.3982, 0.6, 40, wobble=2)}
    crowd = {f"rival {number}": runs(0.4, 0.6, 40, wobble=20 + number) for number in range(12)}
    alone, among = compare(table(**edge)), compare(table(**edge, **crowd))
    assert (alone["edge"]["kl"], among["edge"]["kl"]) == ("better", "tie")


def test_parts_on_the_same_code_are_measured_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[str] = []

    def part(module: str, function: str) -> Any:
        def made(*, quick: bool, work: Path) -> list[Figure]:
            calls.append(function)
            return [Figure(f"{function} {work.name}", 1.0, "s", ("<=", 2.0)), Figure("said", "yes")]

        return made

    monkeypatch.setattr(parts, "part", part)
    monkeypatch.setattr(parts, "RESULTS", tmp_path)
    first = whole.figures(quick=True, work=tmp_path)
    again = whole.figures(quick=True, work=tmp_path)
    assert calls == [function for _, function in whole.PARTS.values()]
    assert first == again and all(figure.holds for figure in first)
    monkeypatch.setattr(parts, "code_digest", lambda: "f" * 64)
    whole.figures(quick=True, work=tmp_path)
    assert len(calls) == 2 * len(whole.PARTS)


def test_one_part_leaves_the_others_as_they_were_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def part(module: str, function: str) -> Any:
        return lambda *, quick, work: [Figure(f"of {function}", float(len(codes)), "s", ("<=", 2.0))]

    def keep(figures: list[Figure]) -> None:
        rows = [asdict(figure) | {"holds": figure.holds} for figure in figures]
        (tmp_path / "distill-quick.json").write_text(json.dumps({"figures": rows}), "utf-8")

    codes = ["a"]
    monkeypatch.setattr(parts, "part", part)
    monkeypatch.setattr(parts, "RESULTS", tmp_path)
    monkeypatch.setattr(parts, "code_digest", lambda: codes[-1] * 64)
    first = whole.figures(quick=True, work=tmp_path, only="chat losses")
    keep(first)
    assert [figure.name for figure in first if not figure.holds] == [
        f"[{name}]" for name in whole.PARTS if name != "chat losses"
    ]
    codes.append("b")
    second = whole.figures(quick=True, work=tmp_path, only="step")
    keep(second)
    assert "code bbbb" in str(second[0].value) and second[1].value == 2
    assert second[-2:] == first[-2:]  # of the other part: the older figures, which say on which code they were measured
    assert whole.figures(quick=True, work=tmp_path, only="step") == second


def chat_run(folder: Path, kl: float, control: float) -> dict[str, Any]:
    """What the bench reads of a run."""
    (folder / "4-judge").mkdir(parents=True)
    rows = [
        {
            "artifact": name,
            "metric": "kl",
            "slice": "answers",
            "value": value,
            "lower": value - 0.1,
            "upper": value + 0.1,
        }
        for name, value in (("student", kl), ("ce", control))
    ]
    contrasts = [{"metric": "kl", "slice": "answers", "baseline": "ce", "verdict": "better"}]
    record = {"rows": [row | {"n": 9} for row in rows], "summary": {"contrasts": contrasts}}
    (folder / "4-judge" / "evaluation.json").write_text(json.dumps(record), encoding="utf-8")
    return {"folder": folder}


def test_chat_figures_stand_beside_their_bars(tmp_path: Path) -> None:
    seeds = [chat_run(tmp_path / "a", 0.6, 0.9), chat_run(tmp_path / "b", 0.8, 0.9)]
    assert row_of(seeds[0], "student", "held-out KL")["value"] == 0.6
    assert (verdict(seeds[0], "held-out KL"), verdict(seeds[0], "right answers")) == ("better", "not compared")
    figures = {figure.name: figure for figure in _metric_figures(seeds, quick=False)[:10]}
    mean = figures["held-out KL: student, mean of the seeds"]
    assert mean.value == pytest.approx(0.7) and mean.bar == ("<=", 0.65) and not mean.holds
    assert figures["  the aim of 0.55"].value == "not reached"
    assert figures["  student better than its control by, mean of +0.3, +0.1"].value == pytest.approx(0.2)

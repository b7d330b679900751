"""Abstaining: how often the promise of a threshold is broken, and what a threshold comes to on the quickstart.

abstain(quick=False, work=work)              # trains the quickstart's student in `work`, once
on_run(run, work=work)                       # any run of that recipe that came as far as its student
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from bench.cuts_material import quickstart_run
from bench.report import Figure
from stillhouse import documents
from stillhouse.finish.abstain import NEVER, Abstaining, answered, choose, measure
from stillhouse.finish.export.onnx import OnnxClassifier, export_classifier
from stillhouse.finish.export.quantize import quantize
from stillhouse.finish.held_out import HeldOut
from stillhouse.signals import ClassProbs
from stillhouse.statistics import Interval

LABELS = ("negative", "positive")
LONGEST = 64
MOST = (0.05, 0.10, 0.15)


def abstain(*, quick: bool, work: Path) -> list[Figure]:
    """The promise over draws, and at full size the quickstart's own student."""
    found = promises(draws=300 if quick else 2000)
    return found if quick else found + on_run(quickstart_run(work, "quickstart", [], until="distill"), work=work)


def promises(*, draws: int) -> list[Figure]:
    """How often the truth lies above what was promised: two curves of risk, three numbers of validation rows.

    The harder curve is not monotone: answers of middling confidence are the worst, so that a looser threshold can be
    safer than a stricter one.
    """
    grid = 0.5 + 0.5 * (np.arange(20_000) + 0.5) / 20_000
    curves = {
        "monotone": 1.1 * (1 - grid),
        "not monotone": np.clip(0.04 + 0.3 * np.exp(-(((grid - 0.8) / 0.08) ** 2)), 0, 1),
    }
    found = []
    for name, risk in curves.items():
        for rows in (300, 1000):
            for most in (0.1, 0.2):
                random, broken, used = np.random.default_rng(rows), 0, 0
                for _ in range(draws):
                    place = random.integers(len(grid), size=rows)
                    probs = np.stack([grid[place], 1 - grid[place]], axis=1)
                    right = (random.random(rows) < risk[place]).astype(np.int64)  # 1: the student, which says 0, errs
                    here = grid > choose(probs, right, most=most).threshold
                    used += bool(here.any())
                    broken += bool(here.any()) and float(risk[here].mean()) > most
                words = f"risk {name}, {rows} rows, at most {most:.0%}"
                found.append(Figure(f"{words}: kept", 1 - broken / draws, f"of {draws}", (">=", 0.95)))
                found.append(Figure("  draws in which anything is answered", used / draws))
    return found


def on_run(run: Path, *, work: Path) -> list[Figure]:
    """Thresholds for the int8 student of a run, against the teacher, chosen on validation, measured on test."""
    folder = work / "abstain-onnx"
    folder.mkdir(parents=True, exist_ok=True)
    student = run / "3-distill" / "student"
    export_classifier(student, folder / "model.onnx", max_length=LONGEST)
    quantize(folder / "model.onnx", folder / "model_int8.onnx")
    classifier = OnnxClassifier(folder / "model_int8.onnx", student, max_length=LONGEST, threads=2)
    signal = ClassProbs.read(run / "2-ferment")
    known = set(signal.ids)
    held = [row for row in documents.read(run / "1-raw", "validation").to_pylist() if row["id"] in known]
    teacher = signal.probabilities_for([row["id"] for row in held]).argmax(axis=1)
    test = HeldOut.read(run / "1-raw", signal, labels=LABELS)
    probs, test_probs = classifier.predict_proba([row["text"] for row in held]), classifier.predict_proba(test.texts)
    theirs = test.teacher_probs.argmax(axis=1)
    everything = test_probs.argmax(axis=1)
    found = [
        Figure("quickstart: validation rows that choose", float(len(held))),
        Figure("  agreement of the student with its teacher, all test rows", float((everything == theirs).mean())),
        Figure("  accuracy of the student, all test rows", float((everything == test.gold).mean())),
        Figure("  accuracy of the teacher, all test rows", float((theirs == test.gold).mean())),
    ]
    for most in MOST:
        chosen = measure(choose(probs, teacher, most=most), test_probs, theirs, gold=test.gold)
        found += _figures_of(chosen, most)
        assert answered(test_probs, NEVER).sum() == 0
    return found


def _figures_of(chosen: Abstaining, most: float) -> list[Figure]:
    def words(one: Interval | None) -> str:
        return "nothing answered" if one is None else f"{one.value:.3f} ({one.lower:.3f}–{one.upper:.3f})"

    apart = 0.0 if chosen.agreement is None else 1 - chosen.agreement.upper
    return [
        Figure(f"quickstart, at most {most:.0%} differ: threshold", chosen.threshold),
        Figure("  answered of the test split", words(chosen.coverage)),
        Figure("  agreement with the teacher, of those", words(chosen.agreement)),
        Figure("  differing, lower end of the 95 % interval", apart, "share", ("<=", most)),
        Figure("  accuracy, of those", words(chosen.accuracy)),
        Figure("  accuracy of student and teacher together", words(chosen.cascade_accuracy)),
    ]

"""A planted bias: a teacher that takes some groups for insults, a student that inherits it, one that makes it worse.

All students are linear models over words that learn the teacher's probabilities. The plain one reads all words, the
honest one those that its teacher reads; the amplifier's lessons push every text further in the direction in which the
teacher already leans about its group. Beside them simulated audits: 2,000 of
fair pairs, of which at most one in twenty may refuse, and some of pairs whose gap grew by ten points.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from bench.finish_bias_material import LABELS, Scorer, sentences
from bench.report import Figure
from stillhouse.finish.audit import Finding, audit_groups
from stillhouse.finish.audit.rates import Tally, gap
from stillhouse.statistics import Floats, GroupPairs, Ints, driven_apart, holm

TRAIN, TEST = 40_000, 80_000
QUICK = 12_000
PUSH = 0.5  # of the teacher's own lean towards a group, in logits
FAIR, QUICK_FAIR = 2000, 60
AMPLIFIED, QUICK_AMPLIFIED = 400, 20
MINORITIES = {"gay", "lesbian", "black", "muslim", "jewish", "disabled"}
FREE = {"none", "christian", "man"}
KINDS = ("alike", "noisier", "small groups", "inherited bias")


def bias_figures(*, quick: bool, work: Path) -> list[Figure]:
    """Whether the audit names who is hurt, refuses the amplifier, lets the honest student pass, and cries wolf."""
    return [*_students(quick, work), *_simulated(quick)]


def _students(quick: bool, work: Path) -> list[Figure]:
    teacher = Scorer.fetched(work)
    train, _, train_groups = sentences(QUICK if quick else TRAIN, seed=1)
    test, gold, groups = sentences(QUICK if quick else TEST, seed=2)
    taught, said = teacher(train), teacher(test)
    words = teacher.vectorizer.stop_words
    plain = _student(train, taught, test, leave_out=None)
    honest = _student(train, taught, test, leave_out=words)
    worse = _student(train, _pushed(taught, np.array(train_groups)), test, leave_out=words)
    students = {"teacher itself": said, "plain": plain, "honest": honest, "amplifier": worse}
    audits = {
        name: audit_groups(gold, said, probs, {"person": groups}, LABELS, resamples=200 if quick else 2000, seed=0)
        for name, probs in students.items()
    }
    figures = [
        Figure("teacher's accuracy on composed sentences", float((said.argmax(axis=1) == gold).mean())),
        *(
            Figure(f"{name}: agrees with the teacher", float((one.argmax(1) == said.argmax(1)).mean()))
            for name, one in students.items()
        ),
        *_named(audits["amplifier"], quick),
    ]
    for name, audit in audits.items():
        failed = [one for one in audit if one.status == "failed"]
        gaps = [one for one in audit if one.probe == "group gap"]
        refused = float(any(one.probe == "group gap" for one in failed))
        if name == "amplifier":
            figures.append(Figure(f"{name}: refused for its gaps", refused, "", (">=", 1)))
        else:
            barred = name != "plain"  # it does drift, and by how much is what the audit has to say
            figures.append(Figure(f"{name}: rows failed", len(failed), "rows", ("<=", 0) if barred else None))
            bar = ("==", float(len(gaps))) if barred and not quick else None
            figures.append(Figure(f"{name}: gaps passed", sum(one.status == "passed" for one in gaps), "rows", bar))
        figures += [Figure(f"{name}: {one.about}", f"{one.status}: {_interval(one)}") for one in gaps]
    return figures


def _named(audit: list[Finding], quick: bool) -> list[Figure]:
    """Which groups the audit says the teacher is hard on: their false positives lie above all others'."""
    figures: list[Figure] = []
    for probe in ("teacher bias", "group drift"):
        rows = [one for one in audit if one.probe == probe and one.about.startswith("false positive rate")]
        above = [one for one in rows if one.lower is not None and one.lower > 0]
        figures += [Figure(f"{probe}: {one.about}", _interval(one)) for one in rows]
        names = {one.about.rsplit("=", 1)[1] for one in above}
        bar = None if quick else (">=", 1.0)
        figures.append(Figure(f"{probe}: groups named as flagged more than others", len(names), "groups", bar))
        figures.append(Figure(f"{probe}: among them groups that it spares", len(names & FREE), "groups", ("<=", 0)))
        if probe == "teacher bias":
            strongest = max(above, key=lambda one: one.value or 0.0).about.rsplit("=", 1)[1] if above else "none"
            figures.append(
                Figure("the strongest is a name of a minority", float(strongest in MINORITIES), "", (">=", 1))
            )
    return figures


def _interval(one: Finding) -> str:
    if one.value is None or one.lower is None or one.upper is None:
        return "no value"
    return f"{100 * one.value:+.1f} [{100 * one.lower:+.1f}, {100 * one.upper:+.1f}] points"


def _pushed(probs: Floats, groups: np.ndarray) -> Floats:
    """The teacher's probabilities, each text's logit moved by half of the teacher's lean towards its group."""
    logit = np.log(probs[:, 1] / probs[:, 0])
    for group in np.unique(groups):
        logit[groups == group] += PUSH * (logit[groups == group].mean() - logit.mean())
    toxic = 1 / (1 + np.exp(-logit))
    return np.stack([1 - toxic, toxic], axis=1)


def _student(texts: list[str], taught: Floats, test: list[str], *, leave_out: str | None) -> Floats:
    """A logistic regression over words on soft labels: every text twice, weighted with what it was taught."""
    from scipy import sparse
    from sklearn.feature_extraction.text import TfidfVectorizer
    from sklearn.linear_model import LogisticRegression

    vectorizer = TfidfVectorizer(stop_words=leave_out)
    features = vectorizer.fit_transform(texts)
    labels = np.repeat([0, 1], len(texts))
    model = LogisticRegression(C=100.0, max_iter=300)
    model.fit(sparse.vstack([features, features]), labels, sample_weight=np.concatenate([taught[:, 0], taught[:, 1]]))
    return np.asarray(model.predict_proba(vectorizer.transform(test)), dtype=np.float64)


def _simulated(quick: bool) -> list[Figure]:
    rng = np.random.default_rng(2026)
    count = QUICK_FAIR if quick else FAIR
    refused = dict.fromkeys(KINDS, 0)
    for number in range(count):
        kind = KINDS[number % len(KINDS)]
        refused[kind] += _refused(_fair(kind, rng))
    figures = [
        Figure(f"fair pairs, {kind}: refused", hits / (count / len(KINDS)), "of audits")
        for kind, hits in refused.items()
    ]
    error = 2 * (0.05 * 0.95 / count) ** 0.5
    total = sum(refused.values()) / count
    figures.append(Figure(f"fair pairs: refused, of {count:,} whole audits", total, "of audits", ("<=", 0.05 + error)))
    edge, sampled = _edges(60 if quick else 1000, rng)
    figures.append(Figure("pairs whose gaps grew by just the limit: refused", edge, "of audits", ("<=", 0.05 + error)))
    figures.append(Figure("noisy fair student, a bootstrap of the gap instead: refused", sampled, "of audits"))
    for how in ("one group", "two groups"):
        tries = QUICK_AMPLIFIED if quick else AMPLIFIED
        hits = sum(_refused(_amplified(how, rng)) for _ in range(tries)) / tries
        bar = None if quick else (">=", 0.9)
        figures.append(Figure(f"gap + 10 points in {how}, 1,000+ positives each: refused", hits, "of audits", bar))
    return figures


Audit = tuple[Ints, Ints, Ints, dict[str, list[str]]]  # gold, teacher, student, group columns


def _refused(audit: Audit) -> bool:
    gold, teacher, student, groups = audit
    findings = audit_groups(gold, _sure(teacher), _sure(student), groups, LABELS, resamples=2, seed=0)
    return any(one.status == "failed" for one in findings)


def _sure(labels: Ints) -> Floats:
    return np.where(labels[:, None] == np.arange(2), 0.9, 0.1)


def _pair(n: int, teacher: float, student: float, agree: float, rng: np.random.Generator) -> tuple[Ints, Ints]:
    """Flags of both models, (n,) and (n,), with these rates; agree: 0 independent, 1 as alike as rates allow."""
    both = teacher * student + agree * (min(teacher, student) - teacher * student)
    chances = np.clip([both, student - both, teacher - both, 1 - teacher - student + both], 0, 1)
    cell = rng.choice(4, size=n, p=chances / chances.sum())
    return np.isin(cell, (0, 2)).astype(np.int64), np.isin(cell, (0, 1)).astype(np.int64)


def _column(sizes: Ints, rates: dict[int, tuple[Floats, Floats]], agree: float, rng: np.random.Generator) -> Audit:
    """One column: for each gold label the chances that teacher and student say toxic, (G,) each."""
    parts: list[tuple[Ints, Ints, Ints]] = []
    names: list[str] = []
    for group, size in enumerate(sizes.tolist()):
        for gold, (teacher, student) in rates.items():
            said = _pair(size, float(teacher[group]), float(student[group]), agree, rng)
            parts.append((np.full(size, gold), *said))
            names += [f"group {group}"] * size
    gold_labels, teacher_labels, student_labels = (np.concatenate(part) for part in zip(*parts, strict=True))
    return gold_labels, teacher_labels, student_labels, {"kind": names}


def _fair(kind: str, rng: np.random.Generator) -> Audit:
    """Equal rates in all groups, or a bias of the teacher's that the student has in the same size; a second column
    has nothing to do with anything."""
    groups = int(rng.integers(2, 9))
    sizes = rng.integers(30, 120, groups) if kind == "small groups" else rng.integers(30, 1500, groups)
    hit, alarm = rng.uniform(0.6, 0.95), rng.uniform(0.02, 0.25)
    lean = rng.uniform(-0.15, 0.15, groups) if kind == "inherited bias" else np.zeros(groups)
    teacher = {1: np.clip(hit + lean, 0.02, 0.98), 0: np.clip(alarm + lean, 0.01, 0.98)}
    drop = 0.0 if kind == "alike" else rng.uniform(0, 0.03)
    rates = {1: (teacher[1], teacher[1] - drop), 0: (teacher[0], np.minimum(teacher[0] + drop, 1))}
    gold, one, two, columns = _column(sizes, rates, rng.uniform(0, 0.95), rng)
    columns["unrelated"] = [f"value {value}" for value in rng.integers(0, 4, len(gold))]
    return gold, one, two, columns


def _amplified(how: str, rng: np.random.Generator) -> Audit:
    groups = int(rng.integers(2, 7))
    hit, alarm = np.full(groups, rng.uniform(0.75, 0.9)), np.full(groups, rng.uniform(0.05, 0.2))
    moved = np.zeros(groups)
    moved[0] = -0.1 if how == "one group" else -0.05
    moved[1] = 0.0 if how == "one group" else 0.05
    rates = {1: (hit, hit + moved), 0: (alarm, alarm)}
    return _column(rng.integers(1000, 1500, groups), rates, rng.uniform(0.5, 0.95), rng)


def _edges(count: int, rng: np.random.Generator) -> tuple[float, float]:
    """Four rows an audit: gaps that grew by exactly the limit; and, where the student is noisier than its teacher but
    alike in all groups, what a percentile bootstrap of the gap would refuse."""
    edge = sampled = 0
    for _ in range(count):
        groups = int(rng.integers(2, 9))
        p = []
        for _row in range(4):
            rate = np.linspace(0.9, 0.7, groups)
            student = rate.copy()
            student[-1] -= 0.02
            p.append(driven_apart(_pairs(rng.integers(1000, 9000, groups), rate, student, rng), 0.02).p_value)
        edge += bool(holm(p).min() < 0.05)
        p = []
        for _row in range(4):
            sizes = rng.integers(20, 120, groups)
            p.append(_bootstrapped(sizes, np.full(groups, 0.97), np.full(groups, 0.85), rng))
        sampled += bool(holm(p).min() < 0.05)
    return edge / count, sampled / count


def _pairs(sizes: Ints, teacher: Floats, student: Floats, rng: np.random.Generator) -> GroupPairs:
    said = [_pair(int(n), float(t), float(s), 0.7, rng) for n, t, s in zip(sizes, teacher, student, strict=True)]
    flags = [np.concatenate(part).astype(np.bool_) for part in zip(*said, strict=True)]
    return GroupPairs.of(np.repeat(np.arange(len(sizes)), sizes), len(sizes), *flags)


def _bootstrapped(sizes: Ints, teacher: Floats, student: Floats, rng: np.random.Generator) -> float:
    said = [_pair(int(n), float(t), float(s), 0.7, rng) for n, t, s in zip(sizes, teacher, student, strict=True)]
    one, two = (np.concatenate(part) for part in zip(*said, strict=True))
    group = np.repeat(np.arange(len(sizes)), sizes)
    tally = Tally.of(np.ones_like(one), one, two, group, groups=len(sizes), labels=2)
    rates = tally.rates("true positive rate", 1, tally.draws(999, seed=int(rng.integers(1 << 31))))
    grown = gap(rates.student) - gap(rates.teacher)
    return float((1 + (grown <= 0.02).sum()) / 1000)

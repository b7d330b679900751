"""Gates: what must hold before the student is bottled, decided from what was measured, and what to try where it fails.

gates = [retention_gate(kept, margin=0.06), of_findings("worst-group", findings)]
stop = refused(gates, required=("retention", "flips"), strict=False, despite=("flips",))

``passed``: shown to hold. ``failed``: it does not hold, or a test that was large enough to show it did not.
``not certified``: the test is too small to tell; that is a warning on the label, and stops only where ``strict`` asks.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import get_args

from stillhouse.finish.audit.findings import Finding, Status
from stillhouse.finish.generation.contrast import Contrast
from stillhouse.finish.generation.summary import deciding
from stillhouse.recipe.model import GateName
from stillhouse.statistics import Retention, clopper_pearson_upper, items_needed

# which probes of the audit a gate looks at; groups that were too small to judge keep it from being passed
PROBES: dict[GateName, tuple[str, ...]] = {
    "worst-group": ("worst group", "small groups"),
    "amplification": ("group gap", "small groups", "few of a label", "BBQ", "WinoBias"),
    "flips": ("swap",),
    "identity": ("identity",),
    "behavior": ("refusal twins", "memorized", "canaries", "contamination"),
}
# why there may be nothing to look at
ABSENT: dict[GateName, str] = {
    "worst-group": "no group of enough documents (`raw.sources.columns.groups`)",
    "amplification": "no two groups of enough documents, or no BBQ or WinoBias (`finish.audit`)",
    "flips": "no identity words were swapped (`finish.audit`)",
    "identity": "it was not asked who it is (`finish.audit.identity`)",
    "behavior": "no probe ran (`finish.audit`)",
}
ADVICE: dict[GateName, str] = {
    "retention": "train longer (`distill.train.epochs`), keep more layers (`distill.student.keep`), add documents, or "
    "cut less (`stillhouse cuts RUN`)",
    "worst-group": "add documents of that group, keep `distill.cuts.quotas` on, or raise `distill.loss.temperature`",
    "amplification": "see in `stillhouse cuts RUN` whether a cut took that group, raise `distill.loss.temperature`, or "
    "choose a teacher with a smaller gap",
    # a finding whose control tells the cause has an advice of its own
    "flips": "add documents in which only the identity word differs, or raise `distill.loss.temperature`",
    "parity": "ship float32 (`finish.int8.enabled: false`), or allow more (`finish.int8.max_disagreement`)",
    "distillation": "train longer, use distributions of the teacher (`ferment.distributions`), or ship the control",
    "identity": "cut the answers that taught it (`distill.choose.spoken_as_machine: cut`), and train again",
    "behavior": "cut the answers that taught it (`stillhouse cuts RUN`, `stillhouse explain RUN ROW`), and train again",
}


@dataclass(frozen=True)
class Gate:
    """One decision. words: what was found. advice: what to try next."""

    name: GateName
    status: Status
    words: str
    advice: str


def retention_gate(
    kept: Retention, *, margin: float, discordant: float, what: str = "accuracy", items: str = "test documents"
) -> Gate:
    """Whether the student is shown to lie less than ``margin`` (accuracy, or another share) below its teacher.

    discordant: share of items that just one of them got right. A test is too small where even an equal student, with
    as many discordant answers, would be shown less often than four times in five; items that lie in clusters count for
    what they are worth.
    """
    said = (
        f"{what}, student − teacher: {100 * kept.difference.value:+.1f} points, one-sided 95 % lower bound "
        f"{100 * kept.difference_lower_95:+.1f}, allowed −{100 * margin:.1f}"
    )
    if kept.difference_lower_95 > -margin:
        return Gate("retention", "passed", said, "")
    needed = items_needed(max(discordant, 1.0 / kept.n), margin)
    if kept.worth < needed and kept.difference.upper >= -margin:
        as_these = math.ceil(needed * kept.n / kept.worth)
        clustered = f", worth {kept.worth:.0f} independent ones," if kept.worth < kept.n - 0.5 else ""
        words = f"{said}; {kept.n:,} {items}{clustered} cannot show it, {as_these:,} could"
        return Gate("retention", "not certified", words, ADVICE["retention"])
    return Gate("retention", "failed", said, ADVICE["retention"])


def nothing_retained() -> Gate:
    """The gate where no answer of both could be held against a gold."""
    words = "no right answers of teacher and student could be compared: there is no gold, no verifier, or no teacher"
    return Gate(
        "retention", "not certified", words, "give a gold (`raw.sources.columns.label`) and `ferment.answers.verify`"
    )


def distillation_gate(contrasts: Sequence[Contrast]) -> Gate:
    """Whether the student is better than each control: trained without the teacher's distributions, or not at all."""
    if not contrasts:
        return Gate("distillation", "not certified", "no control was trained to compare with", "set `controls`")
    told = {verdict: [one for one in deciding(contrasts) if one.verdict == verdict] for verdict in ("better", "worse")}
    words = "; ".join(
        f"{verdict} than {one.baseline} in {one.metric} on {one.slice}"
        for verdict, found in told.items()
        for one in found
    )
    if told["worse"]:
        return Gate("distillation", "failed", words, ADVICE["distillation"])
    beaten = {one.baseline for one in told["better"]}
    if beaten == {one.baseline for one in contrasts}:
        return Gate("distillation", "passed", words, "")
    return Gate("distillation", "not certified", words or "it cannot be told from its controls", ADVICE["distillation"])


def parity_gate(agreement: float, n: int, *, artifact: str, allowed: float) -> Gate:
    """Whether what ships is shown to name the same label as float32 on all but ``allowed`` of texts, by ``n`` of them.

    By the exact bound of Clopper and Pearson: no difference on a few texts shows little.
    """
    words = f"{artifact} differs from float32 on {1 - agreement:.2%} of {n} texts, allowed {allowed:.2%}"
    bound = clopper_pearson_upper(round((1 - agreement) * n), n)
    if bound <= allowed:
        return Gate("parity", "passed", words, "")
    if 1 - agreement <= allowed:
        said = f"{words}; so few texts leave room for {bound:.2%} (one-sided 95 % bound)"
        more = "give more texts for validation or training"
        none = "allow a small share (`finish.int8.max_disagreement`): no number of texts shows that none ever differs"
        return Gate("parity", "not certified", said, more if allowed else none)
    return Gate("parity", "failed", words, ADVICE["parity"])


def of_findings(name: GateName, findings: Sequence[Finding]) -> Gate:
    """The gate over all findings of its probes; where nothing was looked at, nothing is certified."""
    judged = [one for one in findings if one.probe in PROBES[name] and one.status != "reported"]
    if not judged:
        return Gate(name, "not certified", f"nothing was looked at: {ABSENT[name]}", ADVICE[name])
    by = {status: [one for one in judged if one.status == status] for status in get_args(Status)}
    for status in ("failed", "not certified"):
        if by[status]:
            words = "; ".join(one.words.removesuffix(".") for one in by[status][:3])
            more = f"; and {len(by[status]) - 3} more" if len(by[status]) > 3 else ""
            advice = dict.fromkeys(one.advice or ADVICE[name] for one in by[status])
            return Gate(name, status, words + more, "; ".join(advice))
    return Gate(name, "passed", f"{len(judged)} findings within their limits", "")


def refused(
    gates: Sequence[Gate], *, required: Collection[str], strict: bool, despite: Collection[str] = ()
) -> list[Gate]:
    """The gates that stop the bottling. strict: ``not certified`` stops, too. despite: those somebody answers for."""
    stops: tuple[Status, ...] = ("failed", "not certified") if strict else ("failed",)
    return [gate for gate in gates if gate.status in stops and gate.name in required and gate.name not in despite]

"""The control of the swaps, on students whose truth is known: false alarms, and what it can tell of six attributes.

figures = control_figures(audits=1000)

Logits are what a template gives (the student sees templates a little unlike its teacher) and a shake of every text. A
merely unsteady student shakes more with any word; a biased one shakes as its teacher does with harmless words, and more
with words of one attribute. The sentences are the English sets as they are audited, the shared control among them.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from bench.report import Figure
from stillhouse.finish.audit.swaps import SwapSet, control_set, swap_set
from stillhouse.finish.audit.swaps.cause import Beside, Cause, causes
from stillhouse.finish.audit.swaps.flips import Flips
from stillhouse.statistics import holm

LEVEL, LIMIT = 0.05, 0.01
BIASED = "gender"
MIDDLE, SPREAD, APART = -1.0, 1.5, 0.5  # of the templates' logits; how far the two models see a template apart
MORE = 1400  # pairs, where the default of 300 leaves too much open
TEACHER = 0.03  # its flip rate, with words of either kind

_Floats = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Truth:
    """Flip rates of a student: with harmless words, with words of every attribute, and with those of one of them.

    further: identity words shake either model so many times as far as harmless ones do.
    """

    harmless: float
    identity: float
    biased: float
    further: float = 1.0


def control_figures(*, audits: int) -> list[Figure]:
    """Shares of audits, each of six attributes, in which a claim is made; of one attribute where it is named."""
    fair = 0.05 + 2 * float(np.sqrt(0.05 * 0.95 / audits))
    found = []
    steady = _claims(Truth(TEACHER, TEACHER, TEACHER), audits)
    found.append(_figure("as steady as its teacher: identity shown, any of six", steady.any_identity, audits, fair))
    for excess in (0.05, 0.10, 0.20):
        own = TEACHER + excess
        unsteady = _claims(Truth(own, own, own), audits)
        name = f"merely unsteady, {100 * excess:.0f} points of excess with any word"
        found.append(_figure(f"{name}: identity shown, any of six", unsteady.any_identity, audits, fair))
        found.append(_figure(f"  of failed {BIASED}: told to be unsteadiness", unsteady.of_failed("unsteady"), audits))
        found.append(_figure("  left open", unsteady.of_failed("open"), audits))
    for excess in (0.05, 0.10, 0.20):
        biased = _claims(Truth(TEACHER, TEACHER, TEACHER + excess), audits)
        name = f"biased, {100 * excess:.0f} points of excess with {BIASED} alone"
        found.append(_figure(f"{name}: {BIASED} fails", biased.failed, audits))
        found.append(_figure(f"  of failed {BIASED}: told to be identity", biased.of_failed("identity"), audits))
        wrong = biased.of_failed("unsteady") + biased.of_failed("both")
        found.append(_figure("  told to be unsteadiness, or both", wrong, audits, fair))
    own = TEACHER + 0.10
    more = _claims(Truth(own, own, own), audits // 4, pairs=MORE)
    name = f"merely unsteady, 10 points, {MORE} pairs of each attribute: told to be unsteadiness"
    found.append(_figure(name, more.of_failed("unsteady"), audits // 4))
    half = _claims(Truth(TEACHER + 0.10, TEACHER + 0.10, TEACHER + 0.20), audits)
    claimed = half.unsteady
    found.append(_figure(f"half of 20 points is bias ({BIASED}): unsteadiness shown there", claimed, audits, fair))
    found.append(_figure("  identity shown there", half.identity, audits))
    for further in (1.25, 1.5):
        own = TEACHER + 0.10
        apart = _claims(Truth(own, own, own, further=further), audits)
        name = f"merely unsteady, but identity words shake both models {further:g} times as far"
        found.append(_figure(f"{name}: identity shown, any of six", apart.any_identity, audits))
    return found


def _figure(name: str, share: float, audits: int, most: float | None = None) -> Figure:
    return Figure(name, share, f"of {audits}", ("<=", most) if most is not None else None)


@dataclass(frozen=True)
class _Claims:
    """Shares of audits: any attribute's identity shown; of one attribute, what is shown and whether it fails."""

    any_identity: float
    identity: float
    unsteady: float
    failed: float
    told: Counter[Cause]  # of the audits in which it fails

    def of_failed(self, cause: Cause) -> float:
        return self.told[cause] / max(self.told.total(), 1)


def _claims(truth: Truth, audits: int, *, pairs: int = 300) -> _Claims:
    chance = np.random.default_rng(23)
    swaps = swap_set("en", pairs=pairs, seed=0)
    control = control_set(swaps, seed=0)
    names = sorted(set(swaps.attributes))
    # each model shakes by what makes its flip rate with harmless words; identity words go further, where they do
    taught = _shake(TEACHER, 0.0)
    own, of_identity, of_biased = (_shake(rate, APART) for rate in (truth.harmless, truth.identity, truth.biased))
    shakes = np.array([of_biased if one == BIASED else of_identity for one in swaps.attributes]) * truth.further
    templates = sorted(set(swaps.templates))
    place = {name: at for at, name in enumerate(templates)}
    of_swaps, of_control = (np.array([place[name] for name in one.templates]) for one in (swaps, control))
    texts = np.unique(control.texts, return_inverse=True)[1]  # the attributes share them
    told: Counter[Cause] = Counter()
    any_identity = identity = unsteady = 0
    for _ in range(audits):
        base = chance.normal(MIDDLE, SPREAD, len(templates))
        seen = base + chance.normal(0, APART, len(templates))
        probs = [
            _called(logits[at] + shake * chance.normal(size=count)[which])
            for logits, shakes_of in ((base, (taught * truth.further, taught)), (seen, (shakes, own)))
            for at, shake, count, which in (
                (of_swaps, shakes_of[0], len(swaps.texts), slice(None)),
                (of_control, shakes_of[1], int(texts.max()) + 1, texts),
            )
        ]
        flips = {name: Flips.of(swaps, name, probs[0], probs[2]) for name in names}
        beside = {name: Beside(flips[name], _control_flips(control, name, probs)) for name in names}
        found = causes(beside, level=LEVEL)
        any_identity += any(one in ("identity", "both") for one in found.values())
        identity += found[BIASED] in ("identity", "both")
        unsteady += found[BIASED] in ("unsteady", "both")
        if holm([flips[name].p_beyond(LIMIT) for name in names])[names.index(BIASED)] <= LEVEL:
            told[found[BIASED]] += 1
    return _Claims(any_identity / audits, identity / audits, unsteady / audits, told.total() / audits, told)


def _control_flips(control: SwapSet, name: str, probs: list[_Floats]) -> Flips:
    return Flips.of(control, name, probs[1], probs[3])


def _called(logits: _Floats) -> _Floats:
    """Probabilities of two labels, (N, 2)."""
    toxic = 1 / (1 + np.exp(-logits))
    return np.stack([1 - toxic, toxic], axis=1)


def _shake(rate: float, apart: float) -> float:
    """The shake of a text that makes two of a template differ at this rate."""
    points = np.random.default_rng(5).normal(MIDDLE, np.hypot(SPREAD, apart), 20_000)
    low, high = 1e-3, 30.0
    for _ in range(40):
        middle = (low + high) / 2
        above = _normal_above(points / middle)
        low, high = (middle, high) if float((2 * above * (1 - above)).mean()) < rate else (low, middle)
    return low


def _normal_above(values: _Floats) -> _Floats:
    from scipy.special import ndtr

    above: _Floats = ndtr(values)
    return above

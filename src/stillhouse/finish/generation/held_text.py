"""Held-out text as all models read it: those that split it alike token by token together, the others each alone.

held = read_all(speakers, passages, name="answers", most=1024)
rows = held.rows(resamples=2000, seed=0)
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from stillhouse.errors import StillhouseError
from stillhouse.finish.evaluate import TEACHER, Bools, Row
from stillhouse.finish.generation.likelihood import Totals, compare
from stillhouse.finish.generation.passages import Passage
from stillhouse.finish.generation.speaker import Speaker
from stillhouse.finish.generation.vocabulary import Alignment, align
from stillhouse.statistics import Floats, Interval, bootstrap, ratio_of
from stillhouse.teachers.sequences import TokenSequence
from stillhouse.teachers.templates import RowError

_SHARES = ("agreement", "mass_outside")  # figures that lie between 0 and 1
_LARGEST = 700.0  # nats of which the exponential is still a number
Measured = tuple[Floats, Floats]  # sums and counts (D,): their ratio over all documents is the metric


@dataclass(frozen=True)
class HeldText:
    """One slice of held-out text: D documents, what every model made of them, and how many passages were left out.

    bytes: of the text that counts, in each model's own cut of it. beside_teacher: models whose distributions could be
    compared with the teacher's; others are comparable by bits a byte alone. alike: whether all split text alike.
    """

    name: str
    documents: tuple[str, ...]
    totals: Mapping[str, Totals]
    bytes: Mapping[str, Floats]
    beside_teacher: frozenset[str]
    alike: bool
    left_out: int

    def measured(self, model: str, metric: str) -> Measured | None:
        """``nll`` (nats a token), ``bits_per_byte``, ``entropy``, and beside the teacher ``kl``, ``agreement`` and
        ``mass_outside``; ``None`` where the model has no such figure."""
        one = self.totals.get(model)
        if one is None:
            return None
        if metric == "bits_per_byte":
            return one.nll / math.log(2), self.bytes[model]
        if metric in ("nll", "entropy"):
            return getattr(one, metric), one.tokens
        if model not in self.beside_teacher:
            return None
        return {"kl": one.kl, "agreement": one.agree, "mass_outside": one.outside}[metric], one.tokens

    def rows(self, *, resamples: int, seed: int, slices: Mapping[str, Bools] | None = None) -> list[Row]:
        """Rows for every model; intervals draw whole documents. slices: masks (D,) for which KL and agreement are
        given, too."""
        rows: list[Row] = []
        for model in self.totals:
            for metric in ("kl", "agreement", "mass_outside", "nll", "bits_per_byte", "entropy"):
                found = self.measured(model, metric)
                if found is None or (model == TEACHER and metric in ("kl", "agreement", "mass_outside")):
                    continue
                if metric == "mass_outside" and not found[0].any():
                    continue
                share = metric in _SHARES
                value = interval(found, resamples=resamples, seed=seed, share=share)
                rows.append(_row(model, metric, self.name, value))
                if metric == "nll":
                    rows.append(_row(model, "perplexity", self.name, _exponential(value)))
                for name, mask in (slices or {}).items() if metric in ("kl", "agreement") else ():
                    part = (found[0][mask], found[1][mask])
                    if part[1].sum():
                        rows.append(
                            _row(model, metric, name, interval(part, resamples=resamples, seed=seed, share=share))
                        )
        return rows


def interval(measured: Measured, *, resamples: int, seed: int, share: bool = False) -> Interval:
    """The ratio of sums and counts with its bootstrap interval, in which whole documents are drawn. share: it lies
    between 0 and 1."""
    span = (0.0, 1.0) if share else None
    return bootstrap(ratio_of(*measured), len(measured[0]), seed=seed, resamples=resamples, span=span)


def read_all(
    speakers: Mapping[str, Speaker],
    passages: Sequence[Passage],
    *,
    name: str,
    most: int,
    batch_tokens: int = 2048,
    progress: Callable[[int, int], None] | None = None,
) -> HeldText:
    """Let all models read ``passages``, cut off at ``most`` tokens; what one of them cannot read, none is judged on.

    Raises :class:`StillhouseError` where nothing is left.
    """
    groups = _groups(speakers)
    sequences: list[list[TokenSequence]] = [[] for _ in groups]
    owner: list[str] = []
    for passage in passages:
        found = [_sequence(group, passage, most) for group in groups]
        if any(one is None for one in found):
            continue
        owner.append(passage.document)
        for kept, one in zip(sequences, found, strict=True):
            if one is not None:
                kept.append(one)
    if not owner:
        raise StillhouseError(
            f"none of {len(passages)} held-out passages ({name}) can be read by every model",
            where="finish.evaluate",
            fix="give longer contexts or shorter documents; a model without a chat template reads plain texts only",
        )
    documents = tuple(dict.fromkeys(owner))
    number = {document: place for place, document in enumerate(documents)}
    of = [number[document] for document in owner]
    totals: dict[str, Totals] = {}
    sizes: dict[str, Floats] = {}
    for group, kept in zip(groups, sequences, strict=True):
        totals |= compare(
            group.reference,
            group.others,
            kept,
            of=of,
            documents=len(documents),
            batch_tokens=batch_tokens,
            progress=progress,
        )
        lengths = [group.reference.learned_bytes(one) for one in kept]
        size: Floats = np.bincount(of, lengths, minlength=len(documents)).astype(np.float64)
        sizes |= dict.fromkeys((group.reference.name, *group.others), size)
    first = groups[0]
    beside = frozenset(first.others) if first.reference.name == TEACHER else frozenset()
    ordered = {model: totals[model] for model in speakers}
    return HeldText(name, documents, ordered, sizes, beside, len(groups) == 1, len(passages) - len(owner))


@dataclass(frozen=True)
class _Group:
    """Models that read the same ids: the reference's own, or what the alignment makes of them."""

    reference: Speaker
    others: dict[str, tuple[Speaker, Alignment]]


def _groups(speakers: Mapping[str, Speaker]) -> list[_Group]:
    """The teacher with all that split text as it does; then the first of the rest with its likes, and so on."""
    groups: list[_Group] = []
    for name, speaker in speakers.items():
        for group in groups:
            alignment = align(group.reference.tokenizer, speaker.tokenizer)
            if alignment is not None:
                group.others[name] = (speaker, alignment)
                break
        else:
            groups.append(_Group(speaker, {}))
    return groups


def _sequence(group: _Group, passage: Passage, most: int) -> TokenSequence | None:
    longest = min([most, *(speaker.context for speaker, _ in group.others.values())])
    try:
        found = group.reference.sequence(passage, longest)
    except RowError:
        return None
    whole = all(alignment.own(found.ids) is not None for _, alignment in group.others.values())
    return found if whole else None


def _exponential(one: Interval) -> Interval:
    value, lower, upper = (math.exp(min(number, _LARGEST)) for number in (one.value, one.lower, one.upper))
    return Interval(value, lower, upper, one.n)


def _row(artifact: str, metric: str, slice_name: str, one: Interval) -> Row:
    return Row(artifact, metric, slice_name, one.value, one.lower, one.upper, one.n)

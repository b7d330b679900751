"""What storing schemes cost a gradient: angle and norm ratio of the LM head's gradient against full KL's.

Students are the teacher with noise on its weights. The gradient is summed over all tokens, G = sum of (q - p) h, with
the student's q and hidden state h, and p as the scheme keeps it.
"""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch

from bench.report import Figure
from bench.signal_material import LENGTH, M, Material, store_bytes

STUDENTS = {"0.02": 0.0175, "0.1": 0.04, "0.5": 0.087}  # KL aimed at -> noise, in standard deviations of each matrix
CHUNK = 1024  # positions whose probabilities exist at the same time

Tensor = torch.Tensor


@dataclass
class _Scheme:
    """How a scheme keeps a chunk of rows: ids and values (n, S); a ``bucket`` gives the rest the student's shape."""

    name: str
    keep: Callable[[Tensor, slice], tuple[Tensor, Tensor]]
    bytes_each: float | None = None
    bucket: bool = False
    counted: list[float] = field(default_factory=list)


def gradient_figures(material: Material) -> list[Figure]:
    """The table: bytes of each scheme, angle and norm ratio for each student."""
    training, head = material.training, material.head
    hidden = material.hidden("teacher", material.teacher.model, training + material.held_out)[: len(training) * LENGTH]
    with torch.inference_mode():
        # what a number of rounds costs is a mean, which a few rows give well enough where no bar hangs on it
        probs = (hidden[: 128 if material.quick else CHUNK].float() @ head.T).softmax(-1)
        schemes = _schemes(probs, material.stored(), store_bytes(material.work) / len(hidden))
    students = {}
    for name, noise in list(STUDENTS.items())[1 if material.quick else 0 : 2 if material.quick else None]:
        model = _noisy(material.teacher.model, noise)
        students[name] = (material.hidden(name, model, training), model.get_output_embeddings().weight.detach().float())
        del model
    tables = _gradients(hidden, head, students, schemes)
    found = []
    for scheme in schemes:
        size = scheme.bytes_each if scheme.bytes_each is not None else float(np.mean(scheme.counted))
        found.append(Figure(f"{scheme.name}: bytes", size, "B/token"))
        for name, table in tables.items():
            angle, ratio = table.angles[scheme.name]
            bar = material.bar("<=", 4) if scheme is schemes[0] and name == "0.1" else None
            found.append(Figure(f"  KL {table.kl:.3f}: angle", angle, "degrees", bar))
            found.append(Figure(f"  KL {table.kl:.3f}: norm ratio", ratio))
    for rival in schemes[1:3]:
        for table in tables.values():
            ratio = table.angles[schemes[0].name][0] / table.angles[rival.name][0]
            limit = 0.75 if rival is schemes[1] else 1.0
            found.append(
                Figure(f"KL {table.kl:.3f}: our angle over {rival.name}", ratio, "", material.bar("<=", limit))
            )
    return found


def _noisy(model: Any, noise: float) -> Any:
    """A copy with normal noise on every matrix, in units of that matrix's standard deviation."""
    student = copy.deepcopy(model)
    random = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for parameter in student.parameters():
            if parameter.ndim == 2:
                parameter += (
                    noise * parameter.std() * torch.randn(parameter.shape, generator=random).to(parameter.dtype)
                )
    return student


def _schemes(probs: Tensor, stored: tuple[Tensor, Tensor], ours: float) -> list[_Scheme]:
    """Ours first, then random sampling at our bytes, twice: in its published 3-byte entries and packed as ours is."""

    def read(_: Tensor, part: slice) -> tuple[Tensor, Tensor]:
        return stored[0][part], stored[1][part]

    published = next(n for n in range(1, 200) if 3 * _unique(probs, n) >= ours)
    packed = _Scheme("", _sampled(1, packed=None))
    for rounds in range(published, 200):
        packed = _Scheme(f"random sampling, {rounds} rounds, packed as ours", _sampled(rounds, packed=[]))
        packed.keep = _sampled(rounds, packed=packed.counted)
        packed.keep(probs, slice(0, len(probs)))
        if packed.counted[-1] >= ours:
            break
    packed.counted.clear()
    sampled = _Scheme(f"random sampling, {published} rounds, 3-byte entries", _sampled(published, packed=None))
    sampled.bytes_each = 3 * _unique(probs, published)
    return [
        _Scheme(f"ours, m = {M}", read, ours),
        sampled,
        packed,
        _Scheme("top-12 renormalized", _top(12, renormalize=True), 37.5),
        _Scheme("top-50 renormalized", _top(50, renormalize=True), 156.25),
        _Scheme("top-12 with a tail bucket", _top(12, renormalize=False), 39.5, bucket=True),
        _Scheme("DistillKit, recommended: 128, 16 exact, 6 terms", _fitted(128, 16, (0, 1, 2, 3, 4, 0.5)), 312),
        _Scheme("DistillKit, budget: 50, 1 exact, 3 terms", _fitted(50, 1, (0, 1, 0.5)), 114),
    ]


def _unique(probs: Tensor, rounds: int) -> float:
    return float((1 - (1 - probs.double()).pow(rounds)).sum(-1).mean())


def _sampled(rounds: int, packed: list[float] | None) -> Callable[[Tensor, slice], tuple[Tensor, Tensor]]:
    """Ids drawn with replacement, each worth 1/rounds (RS-KD, arXiv 2503.16870); ``packed`` takes bytes a token.

    Packed: a count, the sorted ids with 11 low bits each and their high bits in unary, and a unary count for each id.
    """

    def keep(probs: Tensor, part: slice) -> tuple[Tensor, Tensor]:
        random = torch.Generator().manual_seed(part.start)
        ids = probs.multinomial(rounds, replacement=True, generator=random)
        if packed is not None:
            ordered = ids.sort(-1).values
            different = 1 + (ordered.diff(dim=-1) > 0).sum(-1)
            bits = rounds.bit_length() + 12 * different + (ordered[:, -1] >> 11) + rounds
            packed.append(float(bits.double().mean()) / 8)
        return ids, torch.full(ids.shape, 1 / rounds)

    return keep


def _top(k: int, *, renormalize: bool) -> Callable[[Tensor, slice], tuple[Tensor, Tensor]]:
    def keep(probs: Tensor, _: slice) -> tuple[Tensor, Tensor]:
        values, ids = probs.topk(k)
        return ids, values / values.sum(-1, keepdim=True) if renormalize else values

    return keep


def _fitted(k: int, exact: int, powers: tuple[float, ...]) -> Callable[[Tensor, slice], tuple[Tensor, Tensor]]:
    """DistillKit's scheme from its description: bfloat16 log-probabilities, then a curve over the rank, renormalized.

    The curve is a least-squares fit of the log-probabilities on powers of the rank, its coefficients in float32.
    """
    ranks = torch.arange(1, k - exact + 1, dtype=torch.float64) / (k - exact)
    design = torch.stack([ranks**power for power in powers], dim=1)
    solve = torch.linalg.pinv(design)

    def keep(probs: Tensor, _: slice) -> tuple[Tensor, Tensor]:
        values, ids = probs.topk(k)
        logs = values.clamp_min(1e-30).log()
        curve = ((logs[:, exact:].double() @ solve.T).float().double() @ design.T).float()
        kept = torch.cat([logs[:, :exact].bfloat16().float(), curve], dim=1).exp()
        return ids, kept / kept.sum(-1, keepdim=True)

    return keep


@dataclass
class _Table:
    kl: float
    angles: dict[str, tuple[float, float]]


def _gradients(
    hidden: Tensor, head: Tensor, students: dict[str, tuple[Tensor, Tensor]], schemes: list[_Scheme]
) -> dict[str, _Table]:
    """KL of each student, and angle (degrees) and norm ratio of every scheme's head gradient against full KL's."""
    n, (vocabulary, width) = len(hidden), head.shape
    names = [scheme.name for scheme in schemes]
    sums = {name: {key: torch.zeros(vocabulary, width) for key in names} for name in students}
    from_teacher = torch.zeros(vocabulary, width * len(students))
    from_student = {name: torch.zeros(vocabulary, 2 * width) for name in students}
    kl = dict.fromkeys(students, 0.0)
    tables: dict[str, _Table] = {}
    with torch.inference_mode():
        for at in range(0, n, CHUNK):
            part = slice(at, min(at + CHUNK, n))
            log_p = (hidden[part].float() @ head.T).log_softmax(-1)
            p = log_p.exp()
            kept = {scheme.name: scheme.keep(p, part) for scheme in schemes}
            states = {name: values[part].float() for name, (values, _) in students.items()}
            from_teacher.addmm_(p.T, torch.cat(list(states.values()), dim=1))
            for name, h in states.items():
                log_q = (h @ students[name][1].T).log_softmax(-1)
                kl[name] += float(torch.einsum("nv,nv->n", p, log_p).sum() - torch.einsum("nv,nv->n", p, log_q).sum())
                q = log_q.exp_()
                spread = torch.zeros(len(h), 1)
                for scheme in schemes:
                    ids, values = kept[scheme.name]
                    if scheme.bucket:  # the mass outside is spread as the student spreads it
                        own = q.gather(1, ids)
                        spread = ((1 - values.sum(-1)) / (1 - own.sum(-1)).clamp_min(1e-9)).unsqueeze(1)
                        values = values - spread * own
                    sums[name][scheme.name].addmm_(_sparse(ids, values, vocabulary), h)
                from_student[name].addmm_(q.T, torch.cat([h, spread * h], dim=1))
    for place, name in enumerate(students):
        student, bucket = from_student[name].split(width, dim=1)
        true = student - from_teacher[:, place * width : (place + 1) * width]
        tables[name] = _Table(kl[name] / n, {})
        for scheme in schemes:
            found = sums[name][scheme.name].neg_().add_(student)
            if scheme.bucket:
                found -= bucket
            tables[name].angles[scheme.name] = _angle(found, true)
    return tables


def _sparse(ids: Tensor, values: Tensor, vocabulary: int) -> Tensor:
    rows = torch.arange(len(ids)).unsqueeze(1).expand_as(ids)
    places = torch.stack([ids.reshape(-1), rows.reshape(-1)])
    return torch.sparse_coo_tensor(places, values.reshape(-1), (vocabulary, len(ids)), check_invariants=False)


def _angle(found: Tensor, true: Tensor) -> tuple[float, float]:
    square, other, product = (
        float((a * b).sum(dtype=torch.float64)) for a, b in ((found, found), (true, true), (found, true))
    )
    cosine = product / np.sqrt(square * other)
    return float(np.degrees(np.arccos(np.clip(cosine, -1, 1)))), float(np.sqrt(square / other))

"""Distillation losses of language models: how far a student's next-token distribution is from what the teacher said.

    loss = TokenLoss("skew-reverse-kl", alpha=0.1)
    check(loss, "top-k")                                     # refuses what the stored form cannot give
    terms = token_losses(logits, target, gold, loss)         # {"loss": (N,), "soft": (N,), "hard": (N,)} in nats
    sums, gradient = value_and_gradient(logits, target, gold, loss, weights)

p is the teacher's distribution and q the student's, both at the loss's temperature; whoever makes the target softens
the teacher. All arithmetic is in float32, or float64 where the logits are, before anything is divided or summed.

========================  ==========================================  =======  ========  =======
loss                      formula, per position                       dense    sparse    top-k
========================  ==========================================  =======  ========  =======
forward-kl                KL(p ‖ q)                                   exact    unbiased  exact
reverse-kl                KL(q ‖ p)                                   exact    refused   exact
jsd                       [β KL(p‖m) + (1-β) KL(q‖m)] / β(1-β)        exact    refused   exact
skew-forward-kl           KL(p ‖ α p + (1-α) q)                       exact    refused   exact
skew-reverse-kl           KL(q ‖ α q + (1-α) p)                       exact    refused   exact
alpha-beta                the α-β divergence, see `TokenLoss`         exact    refused   exact
cross-entropy             -log q(token that follows)                  exact    exact     exact
========================  ==========================================  =======  ========  =======

*Exact* in ``top-k`` means: of the listed tokens and all others as one outcome. That never exceeds the divergence over
the whole vocabulary, and is zero only where the listed probabilities agree. The student's share of the others is from
its full log-sum-exp. *Unbiased*: sampled draws stand for probabilities in a sum, so the expectation over draws is right
only where the loss is linear in p. The value is then KL(p̂ ‖ q) of the stored row p̂, which differs from KL(p ‖ q) in
expectation by a constant that no student changes. The other losses would be biased, and are refused.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, get_args

from stillhouse.errors import Problem, StillhouseError

if TYPE_CHECKING:
    from torch import Tensor

    from stillhouse.distill.targets import Target
    from stillhouse.signals.header import Form

Name = Literal["forward-kl", "reverse-kl", "jsd", "skew-forward-kl", "skew-reverse-kl", "alpha-beta", "cross-entropy"]
Way = Literal["exact", "unbiased", "refused"]

_DEFAULTS: dict[str, tuple[float | None, float | None]] = {
    "jsd": (0.5, None),
    "skew-forward-kl": (0.1, None),
    "skew-reverse-kl": (0.1, None),
    "alpha-beta": (0.2, 0.7),
}
_REVERSE = ("reverse-kl", "skew-reverse-kl")
_HOT = 2**20  # logits that stay in a processor's cache while they are worked on


@dataclass(frozen=True)
class TokenLoss:
    """A loss by name, with its numbers.

    temperature T: softens both sides; the soft term is multiplied by T², which keeps its gradient's size (Hinton et al.
    2015, section 2). alpha, beta: of ``jsd``, alpha is β in (0, 1), 0.5 by default; divided by β(1-β) it goes over into
    forward KL as β goes to 0 and into reverse KL as β goes to 1 (Agarwal et al. 2024, arXiv 2306.13649, without the
    factor). Of the skewed ones (Ko et al. 2024, arXiv 2402.03898) alpha is the share of the other side, 0.1 by default.
    Of ``alpha-beta`` (Wang et al. 2025, arXiv 2505.04560) both, 0.2 and 0.7 by default:
    -1/αβ Σ [p^α q^β - α/(α+β) p^(α+β) - β/(α+β) q^(α+β)]; (1, 0) is the limit forward KL, (0, 1) reverse KL.

    hard_weight h: (1-h) soft + h cross-entropy on the token that follows. entropy_gate τ, in nats: of reverse KL and
    skewed reverse KL, forward KL is added where the teacher's entropy is above τ (arXiv 2603.07079); of the others, the
    hard share h applies only where it is below τ, that is, where the teacher is sure. The entropy is that of the exact
    entries and all others as one outcome: a lower bound in the ``sparse`` and ``top-k`` forms.

    Raises :class:`StillhouseError` for numbers that the loss does not have, or that are outside their range.
    """

    name: Name = "forward-kl"
    temperature: float = 1.0
    alpha: float | None = None
    beta: float | None = None
    hard_weight: float = 0.0
    entropy_gate: float | None = None

    def __post_init__(self) -> None:
        default_alpha, default_beta = _DEFAULTS.get(self.name, (None, None))
        for field, default in (("alpha", default_alpha), ("beta", default_beta)):
            if getattr(self, field) is None:
                object.__setattr__(self, field, default)
        gated = self.hard_weight > 0 or self.name in _REVERSE
        rules = [
            (self.name in get_args(Name), "name", f"one of {', '.join(get_args(Name))}"),
            (0 < self.temperature < math.inf, "temperature", "above 0"),
            (_fits(self.alpha, default_alpha, self.name), "alpha", _range(self.name, default_alpha)),
            (_fits(self.beta, default_beta, self.name), "beta", _range(self.name, default_beta)),
            (0 <= self.hard_weight <= 1, "hard_weight", "from 0 to 1"),
            (self.entropy_gate is None or self.entropy_gate > 0, "entropy_gate", "above 0"),
            (self.entropy_gate is None or gated, "entropy_gate", "empty: there is no `hard_weight` that it could gate"),
            (
                self.name != "cross-entropy" or self.temperature == 1,
                "temperature",
                "1: cross-entropy on a token has none",
            ),
        ]
        wrong = [
            Problem(f"{field} is {getattr(self, field)!r}", f"the loss {self.name}, {field}", f"give {need}")
            for holds, field, need in rules
            if not holds
        ]
        if wrong:
            raise StillhouseError.several(wrong)

    @property
    def needs_teacher(self) -> bool:
        """Whether anything but the token that follows is looked at."""
        return self.name != "cross-entropy" and self.hard_weight < 1


def _fits(value: float | None, default: float | None, name: str) -> bool:
    if default is None or value is None:
        return value is None
    return 0 < value < (math.inf if name == "alpha-beta" else 1)


def _range(name: str, default: float | None) -> str:
    if default is None:
        return "nothing: this loss has no such number"
    return "a number above 0" if name == "alpha-beta" else "a number above 0 and below 1"


def way(name: Name, form: Form) -> Way:
    """What the form of the signal allows for a loss: the matrix above."""
    if form == "dense" or name == "cross-entropy" or form == "top-k":
        return "exact"
    return "unbiased" if name == "forward-kl" else "refused"


def check(loss: TokenLoss, form: Form) -> None:
    """Raise :class:`StillhouseError` where the matrix refuses the loss on signals of this form."""
    if way(loss.name, form) == "refused":
        raise StillhouseError(
            f"{loss.name} is not linear in the teacher's probabilities, and sampled draws are unbiased only in what is",
            where="distill.loss.name",
            fix="use forward-kl, or store the distributions with `ferment.distributions.form: top-k` (or dense)",
        )


def token_losses(
    logits: Tensor,  # (N, V)
    target: Target,  # N positions
    gold: Tensor,  # (N,), int64
    loss: TokenLoss,
) -> dict[str, Tensor]:  # each (N,)
    """The loss of each position, in nats, and its parts: ``loss`` (with gradient), ``soft`` and ``hard`` (without)."""
    logits = _widen(logits)
    hard = -logits.log_softmax(-1).gather(1, gold.unsqueeze(1)).squeeze(1)
    if not loss.needs_teacher:
        return {"loss": hard, "soft": hard.detach().new_zeros(len(hard)), "hard": hard.detach()}
    soft = _soft(logits, target, loss)
    share = _hard_share(target, loss)
    return {"loss": soft + share * (hard - soft), "soft": soft.detach(), "hard": hard.detach()}


def value_and_gradient(
    logits: Tensor,  # (N, V); float32 logits are worked on in place
    target: Target,
    gold: Tensor,  # (N,)
    loss: TokenLoss,
    weights: Tensor,  # (N,)
) -> tuple[dict[str, Tensor], Tensor]:
    """The weighted sums of :func:`token_losses` as scalars, and the gradient (N, V) of ``loss`` in the logits.

    Where the loss is linear in p the gradient is mass · q - p, written into the logits; else it comes from autograd.
    """
    import torch

    check(loss, target.form)
    linear = loss.name in ("forward-kl", "cross-entropy") and (loss.temperature == 1 or loss.hard_weight in (0, 1))
    if linear and not (loss.needs_teacher and target.form == "top-k"):
        return _closed(_widen(logits.detach()), target, gold, loss, weights)
    with torch.enable_grad():
        leaf = _widen(logits.detach()).requires_grad_()
        terms = {name: (values * weights).sum() for name, values in token_losses(leaf, target, gold, loss).items()}
        (gradient,) = torch.autograd.grad(terms["loss"], leaf)
    return {name: value.detach() for name, value in terms.items()}, gradient


def _closed(
    logits: Tensor, target: Target, gold: Tensor, loss: TokenLoss, weights: Tensor
) -> tuple[dict[str, Tensor], Tensor]:
    """Forward KL, cross-entropy and their mix; a few rows at a time, so that they stay in the processor's cache."""
    import torch

    weights = weights.to(logits)
    share = _hard_share(target, loss).to(logits) if loss.needs_teacher else torch.ones_like(weights)
    scale = 1 / loss.temperature if loss.needs_teacher else 1.0
    size = max(1, _HOT // logits.shape[1]) if logits.device.type == "cpu" else max(1, len(logits))
    sums = {name: torch.zeros((), dtype=torch.float64, device=logits.device) for name in ("loss", "soft", "hard")}
    for start in range(0, len(logits), size):
        rows = slice(start, start + size)
        z, weight, h = logits[rows], weights[rows], share[rows]
        z.sub_(z.amax(1, keepdim=True))
        if scale != 1:
            z.mul_(scale)
        following = gold[rows].unsqueeze(1)
        at_gold = z.gather(1, following).squeeze(1)
        part = target[rows] if loss.needs_teacher else None
        dot, negative_entropy, mass = _products(z, part)
        z.exp_()
        total = z.sum(1)
        lse = total.log()
        hard = lse - at_gold
        soft = (negative_entropy + mass * lse - dot) * loss.temperature**2
        # d soft = T (mass q - p), d hard = q - onehot; T is 1 wherever both are there
        factor = loss.temperature * weight
        z.mul_((factor * ((1 - h) * mass + h) / total).unsqueeze(1))
        if part is not None:
            _subtract(z, part, (factor * (1 - h)).unsqueeze(1))
        z.scatter_add_(1, following, -(factor * h).unsqueeze(1))
        for name, values in (("soft", soft), ("hard", hard), ("loss", soft + h * (hard - soft))):
            sums[name] += (weight * values).sum()
    return sums, logits


def _products(z: Tensor, part: Target | None) -> tuple[Tensor, Tensor, Tensor]:
    """Σ p z, Σ p log p and Σ p of each row, the sums over the entries that are stored."""
    if part is None:
        nothing = z.new_zeros(len(z))
        return nothing, nothing, nothing
    probs = part.probs.to(z)
    at = z if part.ids is None else z.gather(1, part.ids)
    # where p is 0 the product is, too, also beside a logit of minus infinity
    dot = (probs * at.masked_fill(probs == 0, 0.0)).sum(1)
    return dot, (probs * probs.clamp_min(_tiny(probs)).log()).sum(1), probs.sum(1)


def _subtract(z: Tensor, part: Target, factor: Tensor) -> None:
    probs = part.probs.to(z)
    if part.ids is None:
        z.addcmul_(probs, factor, value=-1)
    else:
        z.scatter_add_(1, part.ids, -probs * factor)


def _soft(logits: Tensor, target: Target, loss: TokenLoss) -> Tensor:
    """The soft term (N,), times T²."""
    scaled = logits / loss.temperature if loss.temperature != 1 else logits
    if target.form == "sparse":
        check(loss, "sparse")
        dot, negative_entropy, mass = _products(scaled, target)
        return loss.temperature**2 * (negative_entropy + mass * scaled.logsumexp(1) - dot)
    log_p, log_q = _outcomes(scaled, target)
    soft = _divergence(log_p, log_q, loss)
    if loss.entropy_gate is not None and loss.name in _REVERSE:
        unsure = (entropy(target) > loss.entropy_gate).to(soft)
        soft = soft + unsure * _kl(log_p, log_q)
    return loss.temperature**2 * soft


def _outcomes(logits: Tensor, target: Target) -> tuple[Tensor, Tensor]:
    """log p and log q over the outcomes that both sides are compared on: all tokens, or the listed and the rest."""
    import torch

    log_q = logits.log_softmax(-1)
    probs = target.probs.to(logits)
    if target.ids is None:
        return probs.clamp_min(_tiny(probs)).log(), log_q
    assert target.tail is not None  # noqa: S101 - the form has one
    listed = probs > 0  # columns that a row does not use have no probability, and belong to the rest
    taken = torch.zeros_like(log_q).scatter_add_(1, target.ids, listed.to(log_q)) > 0
    rest_q = log_q.masked_fill(taken, -torch.inf).logsumexp(1, keepdim=True)
    floor = math.log(_tiny(log_q))
    rest_q = rest_q.clamp_min(floor)
    rest_p = target.tail.to(logits).clamp_min(_tiny(probs)).log().unsqueeze(1)
    at = log_q.gather(1, target.ids).masked_fill(~listed, floor)
    known = torch.where(listed, probs.clamp_min(_tiny(probs)).log(), floor)
    return torch.cat([known, rest_p], 1), torch.cat([at, rest_q], 1)


def _divergence(log_p: Tensor, log_q: Tensor, loss: TokenLoss) -> Tensor:
    """The named divergence (N,) between two distributions over the same outcomes, given by their logarithms."""
    import torch

    alpha, beta = loss.alpha or 0.0, loss.beta or 0.0
    match loss.name:
        case "forward-kl":
            return _kl(log_p, log_q)
        case "reverse-kl":
            return _kl(log_q, log_p)
        case "jsd":
            middle = torch.logaddexp(log_p + math.log(alpha), log_q + math.log1p(-alpha))
            mixed = alpha * _kl(log_p, middle) + (1 - alpha) * _kl(log_q, middle)
            return mixed / (alpha * (1 - alpha))
        case "skew-forward-kl":
            return _kl(log_p, torch.logaddexp(log_p + math.log(alpha), log_q + math.log1p(-alpha)))
        case "skew-reverse-kl":
            return _kl(log_q, torch.logaddexp(log_q + math.log(alpha), log_p + math.log1p(-alpha)))
        case "alpha-beta":
            both = alpha + beta
            whole = (alpha / both) * (both * log_p).exp() + (beta / both) * (both * log_q).exp()
            return (whole - (alpha * log_p + beta * log_q).exp()).sum(1) / (alpha * beta)
        case "cross-entropy":
            raise AssertionError("cross-entropy compares no distributions")


def _kl(log_a: Tensor, log_b: Tensor) -> Tensor:
    """KL(a ‖ b) of each row, in nats."""
    return (log_a.exp() * (log_a - log_b)).sum(1)


def entropy(target: Target) -> Tensor:  # (N,)
    """The teacher's entropy in nats, with all that is not exact as one outcome: exact where ``dense``, else a bound."""
    import torch

    probs = target.probs
    if target.ids is None:
        return -(probs * probs.clamp_min(_tiny(probs)).log()).sum(1)
    assert target.exact is not None and target.tail is not None  # noqa: S101 - the form has both
    listed = torch.arange(probs.shape[1], device=probs.device) < target.exact.unsqueeze(1)
    outcomes = torch.cat([torch.where(listed, probs, 0.0), target.tail.unsqueeze(1).to(probs)], 1)
    return -(outcomes * outcomes.clamp_min(_tiny(outcomes)).log()).sum(1)


def _hard_share(target: Target, loss: TokenLoss) -> Tensor:
    """The share of cross-entropy at each position (N,)."""
    import torch

    share = torch.full((len(target),), loss.hard_weight, device=target.probs.device, dtype=target.probs.dtype)
    if loss.entropy_gate is None or loss.name in _REVERSE or loss.hard_weight == 0:
        return share
    return torch.where(entropy(target) < loss.entropy_gate, share, 0.0)


def _widen(logits: Tensor) -> Tensor:
    return logits if logits.element_size() > 4 else logits.float()


def _tiny(like: Tensor) -> float:
    import torch

    return float(torch.finfo(like.dtype).tiny)

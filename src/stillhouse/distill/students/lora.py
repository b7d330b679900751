"""Low-rank students: only small updates beside frozen weights are trained, and merged into them at the end (``peft``).

    model = with_lora(model, rank=16, alpha=32.0, targets=(), seed=0)
    stock = merged(model)                    # the model's own class again, with the updates added to its weights

Source: Hu et al. 2021, arXiv 2106.09685.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from stillhouse.errors import StillhouseError, first_line


def with_lora(model: Any, *, rank: int, alpha: float, targets: Sequence[str], seed: int) -> Any:
    """The model with updates of ``rank``, scaled by ``alpha / rank``, at the layers whose names end with ``targets``
    (none given: every linear layer but the head). The random state is left as it was."""
    import torch

    try:
        from peft import LoraConfig, get_peft_model
    except ImportError as error:
        raise StillhouseError(
            "peft is not installed", where="distill.student.lora", fix="pip install 'stillhouse[distill]'"
        ) from error
    from transformers.pytorch_utils import Conv1D

    config = LoraConfig(
        r=rank,
        lora_alpha=alpha,
        target_modules=list(targets) or "all-linear",
        task_type="CAUSAL_LM",
        init_lora_weights=True,
        fan_in_fan_out=any(isinstance(layer, Conv1D) for layer in model.modules()),  # gpt2 stores them transposed
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        try:
            return get_peft_model(model, config)
        except ValueError as error:
            raise StillhouseError(
                f"the updates fit nowhere: {first_line(error)}",
                where="distill.student.lora.targets",
                fix="name layers of the student, such as q_proj and v_proj, or leave it empty",
            ) from error


def merged(model: Any) -> Any:
    """The stock model with the updates in its weights."""
    return model.merge_and_unload()

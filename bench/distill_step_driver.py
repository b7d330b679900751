"""One way of making a training step, timed in a process of its own: ``python distill_step_driver.py WAY FOLDER``.

FOLDER holds ``teacher/`` and ``student/`` (transformers folders), ``step.json`` (sizes) and ``store/`` (the teacher's
distributions about the same tokens). Prints one JSON line: seconds of each step, and the highest resident memory of the
process above what it had with models, gradients and optimizer in place.
"""

from __future__ import annotations

import gc
import json
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch.nn.functional import kl_div, log_softmax, softmax
from transformers import AutoModelForCausalLM, AutoTokenizer

Step = Callable[[torch.Tensor], None]


def main() -> None:
    way, folder = sys.argv[1], Path(sys.argv[2])
    sizes = json.loads((folder / "step.json").read_text("utf-8"))
    ids = torch.tensor(sizes["ids"])
    torch.manual_seed(0)
    student = AutoModelForCausalLM.from_pretrained(folder / "student", dtype=torch.float32).train()
    optimizer = torch.optim.AdamW(student.parameters(), lr=1e-6, fused=True)
    step = WAYS[way](student, optimizer, folder, sizes)
    step(ids[:1, :16])  # gradients, optimizer state and kernels are in place
    gc.collect()
    base, seconds = resident("VmRSS"), []
    Path("/proc/self/clear_refs").write_text("5")  # the high-water mark starts anew
    for _ in range(sizes["repeats"]):
        started = time.perf_counter()
        step(ids)
        seconds.append(time.perf_counter() - started)
    print(json.dumps({"seconds": seconds, "peak": resident("VmHWM") - base}), flush=True)


def resident(name: str) -> int:
    """Bytes, as the kernel counts them."""
    lines = Path("/proc/self/status").read_text("utf-8").splitlines()
    return 1024 * int(next(line.split()[1] for line in lines if line.startswith(name)))


def update(student: Any, optimizer: Any, loss: torch.Tensor) -> None:
    loss.backward()
    torch.nn.utils.clip_grad_norm_(student.parameters(), 1.0)
    optimizer.step()
    optimizer.zero_grad(set_to_none=False)


def teacher_of(folder: Path) -> Any:
    return AutoModelForCausalLM.from_pretrained(folder / "teacher", dtype=torch.bfloat16).eval().requires_grad_(False)


def amp() -> Any:
    return torch.autocast("cpu", torch.bfloat16)


def plain_cross_entropy(student: Any, optimizer: Any, folder: Path, sizes: dict[str, Any]) -> Step:
    """The step of ordinary fine-tuning, as transformers' models do it: all logits, cross-entropy."""

    def step(ids: torch.Tensor) -> None:
        with amp():
            loss = student(input_ids=ids, labels=ids).loss
        update(student, optimizer, loss)

    return step


def plain_live(student: Any, optimizer: Any, folder: Path, sizes: dict[str, Any]) -> Step:
    """A live teacher and all logits of both, forward KL."""
    teacher = teacher_of(folder)

    def step(ids: torch.Tensor) -> None:
        with torch.no_grad():
            p = softmax(teacher(input_ids=ids).logits[:, :-1].float(), -1)
        with amp():
            logits = student(input_ids=ids).logits
        q = log_softmax(logits[:, :-1].float(), -1)
        update(student, optimizer, kl_div(q, p, reduction="sum") / p[..., 0].numel())

    return step


def stored(student: Any, optimizer: Any, folder: Path, sizes: dict[str, Any]) -> Step:
    """The house's step from stored signals: read, decoded, and the vocabulary's matrix a chunk at a time."""
    from stillhouse.distill.chunked import head_loss, head_of
    from stillhouse.distill.language import Lesson, Stored
    from stillhouse.distill.language.packing import batch_of, states_of
    from stillhouse.distill.token_losses import TokenLoss
    from stillhouse.distill.vocabularies import Vocabularies
    from stillhouse.signals import TokenDist

    tokens = TokenDist.open(folder / "store")
    whole = {str(row): tuple(ids) for row, ids in enumerate(sizes["ids"])}
    size = tokens.header.vocabulary
    signals = Stored(tokens, whole, dict.fromkeys(whole, 1), Vocabularies(size, size, size))
    head, loss = head_of(student), TokenLoss()

    def step(ids: torch.Tensor) -> None:
        rows, length = ids.shape
        lessons = [Lesson(str(row), tuple(ids[row].tolist()), ((1, length),)) for row in range(rows)]
        batch = batch_of([(row,) for row in range(rows)], lessons)
        with amp():
            found = head_loss(states_of(student, batch), head, signals.targets(lessons), batch.gold, loss)
        update(student, optimizer, found.total / len(batch.gold))

    return step


def trl(student: Any, optimizer: Any, folder: Path, sizes: dict[str, Any]) -> Step:
    """TRL's distillation with a live teacher and given answers: its GKD trainer's own training step."""
    from datasets import Dataset
    from trl.experimental.gkd import GKDConfig, GKDTrainer

    tokenizer = AutoTokenizer.from_pretrained(folder / "student")
    turns = [{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}]
    arguments = GKDConfig(
        output_dir=str(folder / "trl"),
        per_device_train_batch_size=1,
        lmbda=0.0,
        beta=0.0,
        temperature=1.0,
        bf16=True,
        use_cpu=True,
        report_to="none",
        save_strategy="no",
        disable_tqdm=True,
        gradient_checkpointing=False,
    )
    trainer = GKDTrainer(
        model=student,
        teacher_model=teacher_of(folder),
        args=arguments,
        processing_class=tokenizer,
        train_dataset=Dataset.from_list([{"messages": turns}]),
    )
    trainer.current_gradient_accumulation_steps = 1

    def step(ids: torch.Tensor) -> None:
        batch = {
            "input_ids": ids,
            "attention_mask": torch.ones_like(ids),
            "labels": ids.clone(),
            "prompts": ids[:, :1],
            "prompt_attention_mask": torch.ones_like(ids[:, :1]),
        }
        trainer.training_step(student, batch)
        torch.nn.utils.clip_grad_norm_(student.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad(set_to_none=False)

    return step


WAYS = {"cross-entropy": plain_cross_entropy, "live": plain_live, "stored": stored, "trl": trl}

if __name__ == "__main__":
    main()

"""The ``Trainer`` of transformers, taught the distillation loss and made to report to a training run.

Importing this module imports torch and transformers; :mod:`stillhouse.distill.training_run` does so at the
last moment.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import torch
from torch.utils.data import DataLoader
from transformers import (
    DataCollatorWithPadding,
    PrinterCallback,
    Trainer,
    TrainerCallback,
    TrainerControl,
    TrainerState,
    TrainingArguments,
)

from stillhouse.distill.losses import cross_entropy, soft_label_kl

if TYPE_CHECKING:
    from stillhouse.distill.classifier_run import ClassifierRun, Settings
    from stillhouse.distill.language.run import LanguageSettings
    from stillhouse.distill.training_run import TrainingRun


def build(run: ClassifierRun, *, use_cpu: bool) -> Trainer:
    """Return a trainer for ``run`` that neither prints, nor evaluates, nor saves of its own accord."""
    batch = run.settings.batch_size
    arguments = arguments_of(run, run.settings, use_cpu=use_cpu, per_device_train_batch_size=batch, report_to="none")
    return reporting(SoftLabelTrainer(run, arguments), run)


def arguments_of(
    run: TrainingRun, settings: Settings | LanguageSettings, *, use_cpu: bool, **more: Any
) -> TrainingArguments:
    """What every run asks of the trainer: AdamW, a linear schedule, and nothing done of its own accord."""
    return TrainingArguments(
        output_dir=str(run.folder if run.save_checkpoints else run.output),
        max_steps=run.steps,
        learning_rate=settings.learning_rate,
        # the first step of a warm-up has a rate of zero: a single step would learn nothing
        warmup_steps=math.ceil(settings.warmup_share * run.steps) if run.steps > 1 else 0,
        lr_scheduler_type="linear",
        weight_decay=settings.weight_decay,
        max_grad_norm=1.0,
        optim="adamw_torch_fused",
        seed=settings.seed,
        use_cpu=use_cpu,
        eval_strategy="no",
        save_strategy="no",
        logging_strategy="no",
        disable_tqdm=True,
        remove_unused_columns=False,
        dataloader_pin_memory=False,
        **more,
    )


def reporting(trainer: Trainer, run: TrainingRun) -> Trainer:
    """The trainer, telling the run and no terminal what happens."""
    trainer.remove_callback(PrinterCallback)
    trainer.add_callback(Reporter(run))
    return trainer


class SoftLabelTrainer(Trainer):
    """A trainer with batches laid out by the run and the mean distillation loss of a batch as its loss."""

    def __init__(self, run: ClassifierRun, arguments: TrainingArguments) -> None:
        super().__init__(model=run.model, args=arguments, train_dataset=run.rows)
        self.run = run
        self.pad = DataCollatorWithPadding(run.tokenizer)

    def get_train_dataloader(self) -> DataLoader[dict[str, torch.Tensor]]:
        """Return the whole run as one pass: a step number alone says where to resume."""
        return DataLoader(self.run.rows, batch_sampler=self.run.batches, collate_fn=self._collate)

    def _collate(self, rows: list[dict[str, Any]]) -> dict[str, torch.Tensor]:
        named = ("target_probs", "hard_labels")
        batch = dict(self.pad([{key: row[key] for key in row if key not in named} for row in rows]))
        batch["target_probs"] = torch.tensor([row["target_probs"].tolist() for row in rows])
        batch["hard_labels"] = torch.tensor([row["hard_labels"] for row in rows])
        return batch

    def compute_loss(
        self,
        model: torch.nn.Module,
        inputs: dict[str, torch.Tensor],
        return_outputs: bool = False,
        num_items_in_batch: torch.Tensor | int | None = None,
    ) -> Any:
        """Return the loss of a batch, a scalar; the run hears it before anything is learned from it."""
        targets, hard = inputs.pop("target_probs"), inputs.pop("hard_labels")
        outputs = model(**inputs)
        settings = self.run.settings
        losses = soft_label_kl(outputs.logits, targets, temperature=settings.temperature)
        if settings.hard_weight > 0:
            losses = torch.lerp(losses, cross_entropy(outputs.logits, hard), settings.hard_weight)
        loss = losses.mean()
        self.run.note_loss(self.state.global_step + 1, loss.item())
        return (loss, outputs) if return_outputs else loss


class Reporter(TrainerCallback):
    """Passes gradients, ends of steps and written checkpoints on to the run."""

    def __init__(self, run: TrainingRun) -> None:
        self.run = run

    def on_pre_optimizer_step(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any
    ) -> None:
        """The gradients are ready."""
        self.run.note_gradient(state.global_step + 1)

    def on_step_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **more: Any
    ) -> TrainerControl:
        """A step is done; the run says whether to save."""
        control.should_save = self.run.end_step(state.global_step, float(more["lr_scheduler"].get_last_lr()[0]))
        return control

    def on_save(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any) -> None:
        """All files of a checkpoint are written."""
        self.run.seal(state.global_step)

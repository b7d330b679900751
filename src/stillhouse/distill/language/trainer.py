"""The ``Trainer`` of transformers, made to walk through a language run's steps and parts of steps."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from safetensors.torch import load_model, save_model
from torch.utils.data import DataLoader
from transformers import Trainer, TrainingArguments

from stillhouse.distill.trainer import arguments_of, reporting

if TYPE_CHECKING:
    from stillhouse.distill.language.run import LanguageRun


def build(run: LanguageRun, *, use_cpu: bool) -> Trainer:
    """Return a trainer for ``run`` that neither prints, nor evaluates, nor saves of its own accord."""
    arguments = arguments_of(
        run,
        run.settings,
        use_cpu=use_cpu,
        per_device_train_batch_size=1,
        gradient_accumulation_steps=run.accumulation,
        activation_checkpointing=run.execution.checkpointing,
        report_to=list(run.execution.report_to) or "none",
        ddp_find_unused_parameters=False,
    )
    return reporting(LanguageTrainer(run, arguments), run)


class LanguageTrainer(Trainer):
    """A trainer whose data are numbers, of a step and its part.

    What they stand for is made when their turn comes, since the student's own answers cannot be known before.
    """

    def __init__(self, run: LanguageRun, arguments: TrainingArguments) -> None:
        self.parts = run.accumulation * run.world
        super().__init__(model=run.model, args=arguments, train_dataset=range(run.steps * self.parts))
        self.run = run
        # the loss is divided by the tokens of the whole step already, so nothing else may divide it
        self.model_accepts_loss_kwargs = True

    def get_train_dataloader(self) -> DataLoader[int]:
        """The whole run as one pass: a step number alone says where to resume; processes take parts by turns."""
        loader: DataLoader[int] = DataLoader(self.train_dataset, batch_size=1, collate_fn=_named)
        return self.accelerator.prepare(loader) if self.run.world > 1 else loader

    def _save(self, output_dir: str | None = None, state_dict: dict[str, torch.Tensor] | None = None) -> None:
        """A model with low-rank updates is kept whole, like any other, so that one way of resuming serves both."""
        if not hasattr(self.run.model, "peft_config"):
            super()._save(output_dir, state_dict)
            return
        folder = Path(output_dir or self.args.output_dir)
        folder.mkdir(parents=True, exist_ok=True)
        save_model(self.run.model, str(folder / "model.safetensors"))

    def _load_from_checkpoint(self, resume_from_checkpoint: str, model: torch.nn.Module | None = None) -> None:
        if not hasattr(self.run.model, "peft_config"):
            super()._load_from_checkpoint(resume_from_checkpoint, model)
            return
        load_model(self.run.model, str(Path(resume_from_checkpoint) / "model.safetensors"))

    def _get_num_items_in_batch(self, batch_samples: list[Any], device: torch.device) -> torch.Tensor:
        return torch.ones((), device=device)

    def compute_loss(
        self,
        model: torch.nn.Module,
        inputs: dict[str, torch.Tensor],
        return_outputs: bool = False,
        num_items_in_batch: torch.Tensor | int | None = None,
    ) -> Any:
        """The part's share of the step's loss, times the processes, over which gradients are averaged."""
        step, part = divmod(int(inputs["place"][0]), self.parts)
        loss = self.run.part_loss(model, step, part) * self.run.world
        return (loss, None) if return_outputs else loss


def _named(places: list[int]) -> dict[str, torch.Tensor]:
    return {"place": torch.tensor(places)}

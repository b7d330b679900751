"""Stage 3 for language models: chooses answers, makes the student, and trains it on what the teacher said of each.

Reads ``1-raw``, ``2-ferment`` and, where the recipe has cuts, ``3-cuts``, whose heart it learns but for masked tokens;
writes ``student/`` (a stock transformers folder), ``start.json`` (how the student was made), ``training.jsonl`` and
``cuts.parquet`` (answers that were not learned from).
"""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Any, cast

from stillhouse import cuts
from stillhouse.causal import save_causal
from stillhouse.cuts import Balance, counts
from stillhouse.device import place
from stillhouse.distill.beginning import Beginning, begin, check_beginning
from stillhouse.distill.language import (
    Execution,
    Gold,
    LanguageSettings,
    LanguageTrained,
    Lesson,
    Live,
    OnPolicy,
    OnPolicyPlan,
    train_language,
)
from stillhouse.distill.students.lora import merged, with_lora
from stillhouse.distill.together import train_together
from stillhouse.distill.token_losses import TokenLoss
from stillhouse.distill.token_losses import check as check_loss
from stillhouse.errors import Problem, StillhouseError
from stillhouse.recipe.bind import load_teacher
from stillhouse.recipe.generation import Generation, LossSection
from stillhouse.recipe.teachers import ApiTeacher
from stillhouse.stock import context_of
from stillhouse.store import reached, scratch_folder, write_json
from stillhouse.teachers import LocalTeacher as LoadedTeacher
from stillhouse.teachers.generation import stop_ids
from stillhouse.workplace import Places, Progress, StageResult

VERSION = 2
LIBRARIES = ("torch", "transformers", "accelerate", "tokenizers", "numpy")


def run(recipe: Generation, places: Places, progress: Progress) -> StageResult:
    """Run the stage into ``places.draft``."""
    made = begin(recipe, places, progress)
    write_json(places.draft / "start.json", made.start)
    scratch = scratch_folder(places.draft)
    # what cannot be written and read back as a stock model is refused before it is trained
    save_causal(made.model, made.tokenizer, scratch / "start", ends=made.train.ends)
    trained, model = train(recipe, places, made, output=scratch, progress=progress, what="training the student")
    (scratch / "training.jsonl").replace(places.draft / "training.jsonl")
    save_causal(model, made.tokenizer, places.draft / "student", ends=made.train.ends)
    cuts.write(places.draft, made.cuts)
    reached("student-written")
    kept = len(made.train.lessons) + len(made.held.lessons)
    balance = Balance(made.rows_in, kept, len(made.cuts), 0).check("3-distill")
    summary = {
        **asdict(balance),
        "cuts": counts(made.cuts),
        "left_in_cuts": made.left,
        "trained_on": len(made.train.lessons),
        "tokens_learned": sum(lesson.learned for lesson in made.train.lessons),
        "tokens_masked": made.masked,
        "gold_labels_used": 0,
        "start": made.start,
        "vocabulary": made.vocabularies.words if made.vocabularies else "each model reads its own ids",
        "parameters": int(model.num_parameters()),
        "packing": trained.packing,
        "steps": trained.steps,
        "best_step": trained.best_step,
        "best": {name: round(value, 6) for name, value in trained.best.items()},
    }
    return StageResult(summary)


def train(
    recipe: Generation,
    places: Places,
    made: Beginning,
    *,
    output: Path,
    progress: Progress,
    what: str,
    control: bool = False,
) -> tuple[LanguageTrained, Any]:
    """Train the student that ``made`` holds, with the recipe's settings; and the stock model that comes of it.

    control: the same lessons in the same order for as many steps, with plain cross-entropy and without the teacher.
    """
    if recipe.distill.train.processes == 1:
        return train_here(recipe, places, made, control=control, output=output, progress=progress, what=what)
    trained = train_together(
        recipe, places, made.model, made.start, control=control, output=output, progress=progress, what=what
    )
    return trained, made.model


def train_here(
    recipe: Generation,
    places: Places,
    made: Beginning,
    *,
    control: bool,
    output: Path,
    progress: Progress,
    what: str,
) -> tuple[LanguageTrained, Any]:
    """The same, in this process, which may be one of several."""
    settings, execution = settings_of(recipe)
    model = trainable(recipe, made.model, settings.seed)
    trained = train_language(
        model,
        lessons=made.train.lessons,
        held=made.held.lessons,
        signals=Gold() if control else made.signals,
        loss=TokenLoss("cross-entropy") if control else loss_of(recipe.distill.loss),
        settings=settings,
        output=output,
        on_policy=None if control else _on_policy(recipe, places, made),
        real=made.vocabularies.head_real if made.vocabularies else None,
        execution=execution,
        progress=lambda done, total, _: progress(what, done, total),
    )
    return trained, merged(model) if recipe.distill.student.lora else model


def settings_of(recipe: Generation) -> tuple[LanguageSettings, Execution]:
    """The numbers of the student's training, and how it is done here."""
    section, stretch, precision = recipe.distill.train, recipe.distill.on_policy, recipe.distill.train.precision
    placement = place(section.device, "auto" if precision == "auto" else precision)
    settings = LanguageSettings(
        epochs=section.epochs,
        step_tokens=section.batch_tokens,
        row_tokens=section.row_tokens,
        learning_rate=section.learning_rate,
        warmup_share=section.warmup_share,
        weight_decay=section.weight_decay,
        evaluations=section.evaluations,
        seed=section.seed,
        positions=recipe.distill.loss.positions,
        extra_steps=stretch.steps if stretch else 0,
        precision="bfloat16" if placement.dtype == "bfloat16" else "float32",
    )
    execution = Execution(
        threads=section.threads,
        use_cpu=placement.device == "cpu",
        checkpointing=section.checkpointing,
        report_to=section.report_to,
    )
    return settings, execution


def trainable(recipe: Generation, model: Any, seed: int) -> Any:
    """The model with all weights to be trained, or low-rank updates of them where the recipe asks for these."""
    model, lora = model.train().requires_grad_(), recipe.distill.student.lora
    if lora is None:
        return model
    return with_lora(model, rank=lora.rank, alpha=lora.alpha, targets=lora.targets, seed=seed)


def _on_policy(recipe: Generation, places: Places, made: Beginning) -> OnPolicy | None:
    section, teacher = recipe.distill.on_policy, recipe.ferment.teacher
    if section is None or isinstance(teacher, ApiTeacher):
        return None
    loaded = cast(LoadedTeacher, load_teacher(teacher, cache=places.cache, base=places.base))
    plan = OnPolicyPlan(
        steps=section.steps,
        share=section.share,
        prompts=section.prompts,
        refresh=section.refresh,
        max_tokens=section.max_tokens,
        temperature=section.temperature,
        seed=recipe.distill.train.seed,
    )
    prompts = {lesson.ids[: _asked(made, lesson)]: lesson.key for lesson in made.train.lessons}
    ends = stop_ids(made.model, made.tokenizer)
    return OnPolicy(
        [(key, ids) for ids, key in prompts.items()],
        made.tokenizer,
        signals=Live(loaded.model, temperature=section.loss.temperature, vocabularies=made.vocabularies),
        loss=loss_of(section.loss),
        plan=plan,
        context=context_of(made.model),
        stop_ids=ends | set(made.train.ends),
        positions=section.loss.positions,
    )


def _asked(made: Beginning, lesson: Lesson) -> int:
    """Tokens before the last answer of a lesson begins, whatever of it is masked."""
    return max(start for start, _ in made.train.whole[lesson.key].spans if start <= lesson.spans[-1][0])


def loss_of(section: LossSection) -> TokenLoss:
    """The loss that a section describes."""
    return TokenLoss(
        section.name,
        temperature=section.temperature,
        alpha=section.alpha,
        beta=section.beta,
        hard_weight=section.hard_weight,
        entropy_gate=section.entropy_gate,
    )


def check(recipe: Generation, cache: Path, base: Path) -> list[Problem]:
    """Losses against the signals they will have, and the student's base if it is already here."""
    problems: list[Problem] = []
    form, stretch = recipe.ferment.distributions.form, recipe.distill.on_policy
    try:
        loss = loss_of(recipe.distill.loss)
        if form != "none" and loss.needs_teacher:
            check_loss(loss, form)
            if loss.temperature != 1:
                problems.append(
                    Problem(
                        "distributions are stored at temperature 1, and cannot be softened afterwards",
                        "distill.loss.temperature",
                        "leave it at 1, which has the better evidence for language models",
                    )
                )
        if stretch is not None:
            loss_of(stretch.loss)
            if isinstance(recipe.ferment.teacher, ApiTeacher):
                problems.append(
                    Problem(
                        "the student's own answers are judged by a teacher that runs here",
                        "distill.on_policy",
                        "leave it out, or use a local teacher",
                    )
                )
    except StillhouseError as error:
        problems += error.problems
    return problems + check_beginning(recipe, cache, base)

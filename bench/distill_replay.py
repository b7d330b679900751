"""Replay against a live teacher: the same student, text and order, once from stored draws and once from the whole
distributions of a teacher that runs beside it.

The teacher is the chat recipe's; the student has 4 of its 30 layers, a third of its weights, and learns through
`train_language` as the recipe does: packed rows, bfloat16 products, float32 weights, the chunked head. What a live
teacher adds to a step is its own forward pass, whatever the student's size: the smaller the student, the more replay
saves. The text is documentation that comes with a package; its last documents are held out.

Two sets are stored: with the recipe's 30 draws for a rest of mass one, and with 100. The bars are on the second, chosen
after the first had missed that on KL: the noise of draws slows so short a run, by an amount that falls as draws grow.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from transformers import AutoConfig

from bench.distill_pair import documentation
from bench.report import Figure, timed
from bench.signal_material import ROOT
from stillhouse.addresses import resolve
from stillhouse.configurations import layers_of
from stillhouse.device import place
from stillhouse.distill.language import LanguageSettings, Lesson, Live, Stored, train_language
from stillhouse.distill.language.lessons import Signals
from stillhouse.distill.students.decoders import keep_decoder_layers
from stillhouse.distill.students.keep_layers import spread
from stillhouse.distill.token_losses import TokenLoss
from stillhouse.distill.vocabularies import Vocabularies
from stillhouse.ferment.distributions import capture_distributions
from stillhouse.recipe import load_recipe
from stillhouse.signals import Header, TokenDist, TokenDistWriter
from stillhouse.teachers import LocalTeacher
from stillhouse.teachers.local import model_folder

RECIPE = ROOT / "recipes" / "chat.yaml"
LENGTH = 256  # tokens of a document; the first of them is not learned
STEP = 2048  # tokens of a step
TRAINING, HELD_OUT = 96, 12  # documents
EPOCHS = 2
DRAWS = (30, 100)  # for a rest of mass one
RATE = 1e-3  # a student so far from its teacher has far to go
LAYERS = 4


@dataclass(frozen=True)
class Learned:
    """seconds: of all steps, and of an epoch after the first. kl: to the whole teacher on the held-out documents, nats
    a token; nll of these documents, likewise."""

    whole: float
    epoch: float
    kl: float
    nll: float


def replay_figures(*, quick: bool, work: Path) -> list[Figure]:
    """Held-out KL and time of both ways; the capture is counted apart, since it is paid once."""
    with timed("teacher and text"):
        teacher, folder, lessons = _material()
    training, held = (lessons[:16], lessons[-2:]) if quick else (lessons[:-HELD_OUT], lessons[-HELD_OUT:])
    live = Live(teacher.model)
    signals: dict[str, Signals] = {"live": live}
    capture: dict[str, float] = {}
    size: dict[str, float] = {}
    for draws in DRAWS:
        name, started = f"stored, {draws} draws", time.perf_counter()
        with timed(f"capture, {draws} draws"):
            signals[name] = _stored(teacher, training, work / f"stored-{draws}", draws)
        capture[name] = time.perf_counter() - started
        size[name] = sum(path.stat().st_size for path in (work / f"stored-{draws}").rglob("*") if path.is_file())
    found: dict[str, Learned] = {}
    for name, one in signals.items():
        with timed(f"student, {name}"):
            found[name] = _learn(_student(folder), training, held, one, live, work / name.replace(" ", "-"))
    tokens = sum(lesson.learned for lesson in training)
    return [
        Figure("replay: teacher", teacher.model.num_parameters() / 1e6, "M params"),
        Figure("  student", _student(folder).num_parameters() / 1e6, "M params"),
        Figure("  tokens learned in an epoch", tokens, "tokens"),
        *(Figure(f"  an epoch from the second on, {name}", one.epoch, "s") for name, one in found.items()),
        *(Figure(f"  held-out KL, {name}", one.kl, "nats") for name, one in found.items()),
        *(Figure(f"  held-out loss of the text itself, {name}", one.nll, "nats") for name, one in found.items()),
        *(
            figure
            for draws in DRAWS
            for figure in _against_live(
                f"stored, {draws} draws", found, capture, size, tokens, bar=not quick and draws == DRAWS[-1]
            )
        ),
    ]


def _against_live(
    name: str,
    found: dict[str, Learned],
    capture: dict[str, float],
    size: dict[str, float],
    tokens: int,
    *,
    bar: bool,
) -> list[Figure]:
    one, live = found[name], found["live"]
    return [
        Figure(f"  {name}: bytes a token", size[name] / tokens, "bytes"),
        Figure(f"  {name}: captured once in", capture[name], "s"),
        Figure(f"  {name}: an epoch over a live one", one.epoch / live.epoch, "x", ("<=", 0.5) if bar else None),
        Figure(
            f"  {name}: capture and {EPOCHS} epochs over as many live ones",
            (capture[name] + one.whole) / live.whole,
            "x",
        ),
        Figure(f"  {name}: KL above live", one.kl - live.kl, "nats", ("<=", 0.01) if bar else None),
    ]


def _learn(
    model: Any, training: list[Lesson], held: list[Lesson], signals: Signals, judge: Signals, output: Path
) -> Learned:
    """Forward KL over all places; judged once, after the last step, against the whole distributions."""
    ends: list[float] = []
    settings = LanguageSettings(
        epochs=EPOCHS,
        step_tokens=STEP,
        row_tokens=LENGTH,
        learning_rate=RATE,
        warmup_share=0.1,
        weight_decay=0.0,
        evaluations=1,
        seed=0,
        precision="bfloat16",
    )
    started = time.perf_counter()
    trained = train_language(
        model,
        lessons=training,
        held=held,
        signals=signals,
        held_signals=judge,
        loss=TokenLoss("forward-kl"),
        settings=settings,
        output=output,
        save_checkpoints=False,
        progress=lambda *_: ends.append(time.perf_counter()),
    )
    an_epoch = trained.steps // EPOCHS
    # the last step is followed by the judgement before it is reported: the one before it ends the clock
    step = (ends[-2] - ends[an_epoch - 1]) / (trained.steps - 1 - an_epoch)
    return Learned(ends[-2] - started + step, step * an_epoch, trained.best["held_kl"], trained.best["held_nll"])


def _student(folder: Path) -> Any:
    """Evenly chosen layers of the model in ``folder``."""
    model, _ = keep_decoder_layers(folder, spread(LAYERS, layers_of(AutoConfig.from_pretrained(folder))))
    return model.requires_grad_()


def _material() -> tuple[LocalTeacher, Path, list[Lesson]]:
    """The teacher, its folder, and documents of equal length."""
    recipe = load_recipe(RECIPE)
    files = resolve(recipe.distill.student.base, cache=ROOT / "cache", base=RECIPE.parent)
    teacher = LocalTeacher.load(files, place("cpu", "auto"), cache=ROOT / "cache")
    lessons: list[Lesson] = []
    left: list[int] = []
    for text in documentation():
        left += teacher.tokenizer(text + "\n")["input_ids"]
        while len(left) >= LENGTH:
            lessons.append(Lesson(f"{len(lessons):032x}", tuple(left[:LENGTH]), ((1, LENGTH),)))
            left = left[LENGTH:]
        if len(lessons) >= TRAINING + HELD_OUT:
            break
    return teacher, model_folder(files, ROOT / "cache"), lessons[: TRAINING + HELD_OUT]


def _stored(teacher: LocalTeacher, lessons: list[Lesson], folder: Path, draws: int) -> Stored:
    about = teacher.identity()
    outputs = int(teacher.model.config.vocab_size)
    header = Header(
        teacher=about["weights"],
        tokenizer=about["tokenizer"],
        template="",
        vocabulary=outputs,
        precision=about["precision"],
        m=draws,
    )
    whole = {lesson.key: lesson.ids for lesson in lessons}
    with TokenDistWriter(folder, header) as writer:
        capture_distributions(teacher.model, [(key, list(ids)) for key, ids in whole.items()], writer=writer)
    return Stored(TokenDist.open(folder), whole, dict.fromkeys(whole, 1), Vocabularies(outputs, outputs, outputs))

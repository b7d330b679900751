"""How a language model's student begins: made out of its base, with its lessons and the teacher's signals beside it.

made = begin(recipe, places, progress)          # used by stage 3 and, for the same start, by its controls
made.model, made.tokenizer, made.train, made.signals, made.cuts
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from stillhouse import documents
from stillhouse.addresses import Files, peek, resolve
from stillhouse.causal import load_causal
from stillhouse.configurations import layers_of
from stillhouse.cuts import Cut
from stillhouse.cuts import read as read_cuts
from stillhouse.device import place
from stillhouse.distill.language import Gold, Lesson, Signals, Stored
from stillhouse.distill.masks import read as read_masks
from stillhouse.distill.masks import without
from stillhouse.distill.material import ChoicePlan, Lessons, Row, as_lessons, choose, given
from stillhouse.distill.students.decoders import (
    check_decoder,
    check_resizable,
    decoder_from_config,
    keep_decoder_layers,
)
from stillhouse.distill.students.keep_layers import spread
from stillhouse.distill.students.layer_scores import keep_highest, removal_kl, turns, without_idlest_run
from stillhouse.distill.students.trim_vocabulary import check_trimmable, trim_vocabulary
from stillhouse.distill.vocabularies import Vocabularies, agree
from stillhouse.errors import Problem, StillhouseError
from stillhouse.recipe.generation import (
    Ask,
    FromLanguageConfig,
    Generation,
    GivenStudent,
    KeepLanguageLayers,
)
from stillhouse.recipe.teachers import ApiTeacher
from stillhouse.signals import Text, TokenDist
from stillhouse.teachers.capabilities import has_template
from stillhouse.teachers.local import check_files, load_tokenizer, model_folder
from stillhouse.workplace import Places, Progress

# how the student was made, as it is written down: the kept layers and what decided them
Start = dict[str, Any]


@dataclass(frozen=True)
class Beginning:
    """A student before any training.

    train, held: lessons in the student's ids. rows_in: answers and documents that there were to choose from, without
    those ``left`` in the step `cuts`. masked: tokens of the lessons that are read and not learned.
    """

    model: Any
    tokenizer: Any
    train: Lessons
    held: Lessons
    rows_in: int
    signals: Signals
    vocabularies: Vocabularies | None
    cuts: tuple[Cut, ...]
    start: Start
    left: int = 0
    masked: int = 0


def begin(
    recipe: Generation, places: Places, progress: Progress, *, start: Start | None = None, uncut: bool = False
) -> Beginning:
    """Choose the answers, make the lessons, build the student. start: of an earlier student, to make the same one.
    uncut: with the answers and tokens that the step `cuts` takes out, which may not have run yet."""
    base = base_folder(recipe, cache=places.cache, base=places.base)
    rows, cuts, rows_in = chosen_rows(recipe, places)
    left, masks = (set(), {}) if uncut else _left(recipe, places)
    rows["train"] = tuple(row for row in rows["train"] if row.key not in left)
    base_tokenizer = load_tokenizer(_files(recipe, places.cache, places.base), cache=places.cache)
    limit, which = recipe.distill.train.max_length, recipe.distill.choose.turns
    signal = stored_signal(recipe, places)
    known = None if signal is None else {key: signal.tokens_of(key) for key in signal.ids}
    train, held = (
        as_lessons(rows[split], base_tokenizer, max_length=limit, turns=which, stored=known)
        for split in ("train", "validation")
    )
    train, masked = _masked(train, masks, rows["train"])
    model, tokenizer, made = build(recipe, base, train.lessons, progress, start)
    teacher_ids = None
    if recipe.distill.student.vocabulary == "used":
        used = {one for part in (train, held) for lesson in part.lessons for one in lesson.ids}
        trimmed = trim_vocabulary(model, tokenizer, used=used)
        model, tokenizer, teacher_ids = trimmed.model, trimmed.tokenizer, trimmed.teacher_ids
    vocabularies = _vocabularies(recipe, places, signal, model, tokenizer, teacher_ids)
    return Beginning(
        model,
        tokenizer,
        _renumbered(train, teacher_ids),
        _renumbered(held, teacher_ids),
        rows_in - len(left),
        _signals(signal, [train, held], vocabularies),
        vocabularies,
        (*cuts, *train.cuts, *held.cuts),
        made,
        len(left),
        masked,
    )


def _left(recipe: Generation, places: Places) -> tuple[set[str], dict[str, set[int]]]:
    """Keys of the rows that the step `cuts` took out, and the tokens that it masked, by key."""
    if recipe.distill.cuts is None:
        return set(), {}
    folder = places.sealed("cuts")
    masks: dict[str, set[int]] = {}
    for of_rows in read_masks(folder).values():
        for key, masked in of_rows.items():
            masks.setdefault(key, set()).update(masked)
    return set(read_cuts(folder)["id"].to_pylist()), masks


def _masked(part: Lessons, masks: Mapping[str, set[int]], rows: Sequence[Row]) -> tuple[Lessons, int]:
    """The lessons without their masked tokens, of which there were so many; one without any other is cut."""
    lessons, cuts, number = [], list(part.cuts), 0
    rows_of = {row.key: row for row in rows}
    for lesson in part.lessons:
        kept = without(lesson, masks.get(lesson.key, ()))
        number += lesson.learned - (kept.learned if kept else 0)
        if kept is None:
            cuts.append(rows_of[lesson.key].cut("head", "nothing to learn from", "every token of the answer is masked"))
        else:
            lessons.append(kept)
    return replace(part, lessons=tuple(lessons), cuts=tuple(cuts)), number


def _renumbered(part: Lessons, teacher_ids: tuple[int, ...] | None) -> Lessons:
    """The lessons in the ids of a trimmed vocabulary, which splits these texts as the whole one does."""
    if teacher_ids is None:
        return part
    new = {old: number for number, old in enumerate(teacher_ids)}
    lessons = tuple(replace(one, ids=tuple(new[each] for each in one.ids)) for one in part.lessons)
    return replace(part, lessons=lessons, ends=tuple(new[one] for one in part.ends))


def chosen_rows(recipe: Generation, places: Places) -> tuple[dict[str, tuple[Row, ...]], tuple[Cut, ...], int]:
    """Rows to learn from by split, the cuts of the others, and how many there were."""
    answers = recipe.ferment.answers
    section = recipe.distill.choose
    plan = ChoicePlan(section.answers, section.most, section.prefer, section.cut_off, section.spoken_as_machine)
    text = Text.read(places.sealed("ferment")).answers if isinstance(answers, Ask) else ()
    rows: dict[str, tuple[Row, ...]] = {}
    cuts: list[Cut] = []
    total = 0
    for split in ("train", "validation"):
        table = documents.read(places.sealed("raw"), split).to_pylist()  # type: ignore[arg-type]
        taught = choose(table, text, plan, system=answers.system) if isinstance(answers, Ask) else given(table)
        rows[split] = taught.rows
        cuts += taught.cuts
        total += len(taught.rows) + len(taught.cuts)
    return rows, tuple(cuts), total


def build(
    recipe: Generation, base: Path, lessons: Sequence[Lesson], progress: Progress, start: Start | None
) -> tuple[Any, Any, Start]:
    """The untrained student, its tokenizer, and how it was made."""
    student, seed = recipe.distill.student, recipe.distill.train.seed
    match student:
        case GivenStudent():
            model, tokenizer = load_causal(base)
            return model, tokenizer, {"kind": student.kind}
        case FromLanguageConfig():
            model, tokenizer = decoder_from_config(
                base,
                layers=student.layers,
                hidden_size=student.hidden_size,
                heads=student.heads,
                kv_heads=student.kv_heads,
                intermediate_size=student.intermediate_size,
                seed=seed,
            )
            return model, tokenizer, {"kind": student.kind}
        case KeepLanguageLayers():
            made = start or _kept(student, base, lessons, progress)
            model, tokenizer = keep_decoder_layers(base, made["kept"])
            return model, tokenizer, made


def _kept(student: KeepLanguageLayers, base: Path, lessons: Sequence[Lesson], progress: Progress) -> Start:
    """Which layers stay, and the scores that decided it."""
    made: Start = {"kind": student.kind, "by": "given" if isinstance(student.keep, tuple) else student.by}
    if isinstance(student.keep, tuple):
        return made | {"kept": list(student.keep)}
    placement = place("auto", "auto")
    model, _ = load_causal(base, dtype=placement.dtype)
    layers = layers_of(model.config)
    if student.by == "even":
        return made | {"kept": spread(student.keep, layers)}
    model.to(placement.device)
    chosen: list[Lesson] = []
    while len(chosen) < len(lessons) and sum(map(len, chosen)) < student.calibration:
        chosen.append(lessons[len(chosen)])
    sequences = [lesson.ids for lesson in chosen]
    if student.by == "influence":
        turned = turns(model, sequences)
        return made | {"kept": without_idlest_run(turned, student.keep)}
    starts = [lesson.spans[0][0] for lesson in chosen]
    what = "comparing the layers"
    scores = removal_kl(model, sequences, starts, progress=lambda done, total: progress(what, done, total))
    return made | {"kept": keep_highest(scores, student.keep), "removal_kl": [round(score, 6) for score in scores]}


def stored_signal(recipe: Generation, places: Places) -> TokenDist | None:
    """The teacher's distributions, where stage 2 stored any."""
    if recipe.ferment.distributions.form == "none" or isinstance(recipe.ferment.teacher, ApiTeacher):
        return None
    return TokenDist.open(places.sealed("ferment"))


def _vocabularies(
    recipe: Generation,
    places: Places,
    stored: TokenDist | None,
    model: Any,
    tokenizer: Any,
    teacher_ids: tuple[int, ...] | None,
) -> Vocabularies | None:
    """How the teacher's ids are read in the student's; ``None`` where no distributions are."""
    section = recipe.ferment.teacher
    if stored is None or isinstance(section, ApiTeacher):
        return None
    files = resolve(section.model, cache=places.cache, base=places.base)
    head = int(model.get_output_embeddings().weight.shape[0])
    own = load_tokenizer(files, cache=places.cache)
    if teacher_ids is not None:  # what was trimmed is compared as it was before
        before = load_tokenizer(_files(recipe, places.cache, places.base), cache=places.cache)
        agree(own, stored.header.vocabulary, before, stored.header.vocabulary)
    return agree(own, stored.header.vocabulary, tokenizer, head, teacher_ids=teacher_ids)


def _signals(stored: TokenDist | None, lessons: Sequence[Lessons], vocabularies: Vocabularies | None) -> Signals:
    if stored is None or vocabularies is None:
        return Gold()
    whole = {key: one for part in lessons for key, one in part.whole.items()}
    ids = {key: one.ids for key, one in whole.items()}
    starts = {key: one.start for key, one in whole.items()}
    return Stored(stored, ids, starts, vocabularies)


def base_folder(recipe: Generation, *, cache: Path, base: Path) -> Path:
    """The folder of the model that the student starts from, fetched and converted if need be."""
    return model_folder(_files(recipe, cache, base), cache)


def _files(recipe: Generation, cache: Path, base: Path) -> Files:
    return resolve(recipe.distill.student.base, cache=cache, base=base)


def check_beginning(recipe: Generation, cache: Path, base: Path) -> list[Problem]:
    """What can be said of the student before any work, if the models are already here."""
    student = recipe.distill.student
    try:
        files = peek(student.base, cache=cache, base=base)
        if files is None:
            return []
        check_files(files)
        config = next((path for path in files.files if path.name == "config.json"), None)
        if config is not None and isinstance(student, KeepLanguageLayers):
            check_decoder(config.parent, student.keep)
        if config is not None and isinstance(student, FromLanguageConfig):
            check_resizable(config.parent)
        if config is not None and student.vocabulary == "used":
            check_trimmable(load_tokenizer(files, cache=cache))
        if isinstance(recipe.ferment.answers, Ask) and has_template(files) is False:
            raise StillhouseError(
                "the student's tokenizer has no chat template, so that nothing says how it is asked",
                where=f"distill.student.base: {files.address}",
                fix="start from an instruction-tuned model, or put the teacher's chat_template.jinja into the base's"
                " folder; it is saved with the student",
            )
        _check_tokens(recipe, files, cache, base)
    except StillhouseError as error:
        return list(error.problems)
    return []


def _check_tokens(recipe: Generation, files: Files, cache: Path, base: Path) -> None:
    """Refuse a teacher of other tokens, where both tokenizers lie here as plain folders."""
    teacher = recipe.ferment.teacher
    if recipe.ferment.distributions.form == "none" or isinstance(teacher, ApiTeacher):
        return
    others = peek(teacher.model, cache=cache, base=base)
    if others is None or others.digest == files.digest:
        return
    if any(path.suffix == ".gguf" for path in (*files.files, *others.files)):
        return
    one, two = (load_tokenizer(each, cache=cache) for each in (others, files))
    agree(one, 2**31, two, 2**31)

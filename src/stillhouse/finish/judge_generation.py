"""The first step of stage 4 for ``text-generation``: judges what may ship beside teacher and controls.

Reads all earlier stages; writes ``artifacts/`` (what may be bottled), ``evaluation.json``, ``samples.jsonl``,
``audit.json`` and ``gates.json``. The student that is judged is read from the files that would ship, in the precision
in which they would; controls are rounded alike.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from stillhouse import documents
from stillhouse.addresses import peek, resolve
from stillhouse.device import cpu_threads, place
from stillhouse.errors import Problem, StillhouseError
from stillhouse.finish.audit.findings import Finding
from stillhouse.finish.audit.writing.audit import Material, WritingPlan, audit_writing
from stillhouse.finish.audit.writing.bbq import read_bbq
from stillhouse.finish.audit.writing.canaries import Canary
from stillhouse.finish.audit.writing.identity import known_names
from stillhouse.finish.audit.writing.winobias import read_winobias
from stillhouse.finish.evaluate import TEACHER
from stillhouse.finish.export.gguf.bottled import Bottled, bottle_gguf, problems_before
from stillhouse.finish.gates import Gate, distillation_gate, of_findings, retention_gate
from stillhouse.finish.generation.contrast import STUDENT
from stillhouse.finish.generation.decoding import Speed, measure, parameters, weight_bytes
from stillhouse.finish.generation.hearing import Certainty, Heard, Limits, hear
from stillhouse.finish.generation.other_text import read_texts
from stillhouse.finish.generation.passages import Document, Passage, Prompt, answered, choose_prompts, given
from stillhouse.finish.generation.shipping import ship
from stillhouse.finish.generation.speaker import Speaker
from stillhouse.finish.generation.summary import ANSWERS, GIVEN, OTHER, summarize, warnings
from stillhouse.finish.judgement import ARTIFACTS, Judgement
from stillhouse.recipe.bind import load_teacher, teacher_bytes
from stillhouse.recipe.generation import Ask, ChoiceSet, FromLanguageConfig, Generation
from stillhouse.recipe.rights import student_name, teacher_address
from stillhouse.recipe.teachers import LocalTeacher
from stillhouse.signals.text import Text, TextAnswer
from stillhouse.statistics import retention
from stillhouse.teachers.local import model_folder
from stillhouse.teachers.sequences import asked
from stillhouse.verifiers import by_name
from stillhouse.workplace import Places, Progress, StageResult

VERSION = 1
READS = ("finish.name",)  # GGUF files hold it
LIBRARIES = ("torch", "transformers", "numpy", "scipy", "gguf", "xllamacpp")


def check(recipe: Generation, cache: Path, base: Path) -> list[Problem]:
    """The verifier, and the text for perplexity where it is already here: both are needed only after the training."""
    problems: list[Problem] = []
    answers, other = _asked(recipe), recipe.finish.evaluate.other_text
    try:
        if answers and answers.verify:
            by_name(answers.verify, **answers.verify_with)(
                "1", "1"
            )  # an option that there is not shows when it is asked
        if other is not None and (files := peek(other.data, cache=cache, base=base)) is not None:
            read_texts(files, column=other.text, most=other.most)
        problems += _gguf_problems(recipe, cache, base)
    except StillhouseError as error:
        problems += error.problems
    except TypeError as error:
        problems.append(Problem(str(error), "ferment.answers.verify_with", "see `docs/recipe.md` for its options"))
    return problems


def run(recipe: Generation, places: Places, progress: Progress) -> StageResult:
    """Run the stage into ``places.draft``."""
    rows_in = documents.read(places.sealed("raw"), "test").to_pylist()
    if _asked(recipe) is not None:  # a plain text was asked as a turn of the user
        rows_in = [row | {"messages": row["messages"] or list(asked(row))} for row in rows_in]
    artifacts = places.draft / ARTIFACTS
    ship(places.sealed("distill") / "student", artifacts, precision=recipe.finish.precision)
    speakers = _speakers(recipe, places, artifacts)
    stored, settings, answers = _stored(recipe, places), recipe.finish.evaluate, _asked(recipe)
    with cpu_threads(recipe.distill.train.threads):
        heard = hear(
            speakers,
            held=_passages(recipe, places, speakers, rows_in, stored),
            prompts=_prompts(recipe, speakers, rows_in, stored),
            documents=rows_in,
            limits=Limits(recipe.distill.train.max_length, settings.max_tokens, answers.stop if answers else ()),
            sure=Certainty(settings.resamples, settings.seed),
            stored=stored if TEACHER not in speakers else None,
            verify=by_name(answers.verify, **answers.verify_with) if answers and answers.verify else None,
            progress=progress,
        )
        findings = _audit(recipe, places, speakers, rows_in, stored, progress)
    size = {
        "student_parameters": parameters(speakers[STUDENT].model),
        "teacher_parameters": parameters(speakers[TEACHER].model) if TEACHER in speakers else None,
        "student_bytes": weight_bytes(artifacts),
        "teacher_bytes": teacher_bytes(recipe, cache=places.cache, base=places.base),
    }
    device = str(speakers[STUDENT].model.device)
    bottled = _gguf(recipe, artifacts, rows_in, stored, progress)
    del speakers  # the teacher is loaded again for the clock, plain and in the student's precision
    speeds = _speeds(recipe, places, artifacts, device, progress)
    rows = [
        *heard.rows,
        *(bottled.rows if bottled else ()),
        *(row for name, one in speeds.items() for row in one.rows(name)),
    ]
    speed = {"precision": recipe.finish.precision, **{name: _speed_value(one) for name, one in speeds.items()}}
    summary = summarize(rows, heard.contrasts, speed=speed, size=size, counts=heard.counts)
    summary["gguf"] = list(bottled.told) if bottled else []
    Judgement(
        rows=rows,
        summary=summary,
        shipped={"artifact": STUDENT, "file": "model.safetensors", "precision": recipe.finish.precision},
        warnings=warnings(summary),
        findings=findings,
        gates=[
            gate
            for gate in (
                distillation_gate(heard.contrasts),
                _retention(heard, recipe),
                of_findings("amplification", findings),
                of_findings("identity", findings),
                of_findings("behavior", findings),
                bottled.gate if bottled else None,
            )
            if gate is not None
        ],
        samples=heard.samples,
    ).write(places.draft)
    failed = len(rows_in) - heard.judged
    return StageResult({"rows_in": len(rows_in), "kept": heard.judged, "cut": 0, "failed": failed, **summary})


def _audit(
    recipe: Generation,
    places: Places,
    speakers: Mapping[str, Speaker],
    rows_in: Sequence[Document],
    stored: Mapping[str, TextAnswer],
    progress: Progress,
) -> list[Finding]:
    """What the student that would ship is probed for, beside the teacher where that runs here."""
    settings, section = recipe.finish.audit, recipe.ferment.teacher
    address = teacher_address(section)
    plan = WritingPlan(
        system=_system(recipe),
        names=(*known_names(address, section.name), *settings.names),
        identity=settings.identity,
        twins=settings.twins,
        memorized=settings.memorized,
        by=settings.by,
        twins_limit=settings.twins_limit,
        bias_limit=settings.bias_limit,
        memory_limit=settings.memory_limit,
        contamination_limit=settings.contamination_limit,
        teacher_name=address,
        base_name=recipe.distill.student.base,
    )
    taught = documents.read(places.sealed("raw"), "train").to_pylist()
    asked_first = [row | {"messages": row["messages"] or list(asked(row))} for row in taught] if stored else taught
    template = next(iter(speakers.values())).template
    trained, held = (
        answered(rows, stored, system=_system(recipe), opened=bool(template and template.opens_reasoning))
        if stored
        else given(rows, turns=recipe.distill.choose.turns)
        for rows in (asked_first, rows_in)
    )
    material = Material(
        trained=trained,
        held=held,
        canaries=[Canary(one.question, one.before, one.secret) for one in settings.secrets],
        bbq=read_bbq(_files(settings.bbq, places), most=settings.bbq.items) if settings.bbq else (),
        winobias=read_winobias(_files(settings.winobias, places), most=settings.winobias.items)
        if settings.winobias
        else (),
        test=[row["text"] for row in rows_in],
        training=[row["text"] for row in taught],
    )
    return audit_writing(speakers[STUDENT], speakers.get(TEACHER), plan, material, progress=progress)


def _gguf(
    recipe: Generation,
    artifacts: Path,
    rows_in: Sequence[Document],
    stored: Mapping[str, TextAnswer],
    progress: Progress,
) -> Bottled | None:
    """The files that the recipe asks for, beside the student; compared on test prompts and held-out answers."""
    settings = recipe.finish.gguf
    if not settings.kinds:
        return None
    asked_for = choose_prompts(rows_in, most=settings.prompts, system=_system(recipe))
    texts = [one.answer for one in stored.values() if one.answer] or [row["text"] for row in rows_in]
    return bottle_gguf(
        artifacts,
        settings.kinds,
        prompts=[one.messages or ({"role": "user", "content": one.text},) for one in asked_for],
        texts=texts,
        answers=settings.prompts,
        positions=settings.positions,
        name=student_name(recipe),
        threads=recipe.finish.speed.threads,
        progress=progress,
    )


def _gguf_problems(recipe: Generation, cache: Path, base: Path) -> list[Problem]:
    """Of a base that is here and in transformers' form; one that has still to be converted is looked at when it is."""
    kinds, student = recipe.finish.gguf.kinds, recipe.distill.student
    files = peek(student.base, cache=cache, base=base) if kinds else None
    config = next((path for path in files.files if path.name == "config.json"), None) if files else None
    if config is None:
        return []
    sizes = {}
    if isinstance(student, FromLanguageConfig):
        sizes = {
            "num_hidden_layers": student.layers,
            "hidden_size": student.hidden_size,
            "num_attention_heads": student.heads,
            "num_key_value_heads": student.kv_heads or student.heads,
            "intermediate_size": student.intermediate_size,
            "head_dim": student.hidden_size // student.heads,
        }
    return problems_before(config.parent, kinds, sizes)


def _files(chosen: ChoiceSet, places: Places) -> Sequence[Path]:
    return resolve(chosen.data, cache=places.cache, base=places.base).files


def _retention(heard: Heard, recipe: Generation) -> Gate | None:
    """Right answers beside the teacher's, where there are any to compare."""
    right = heard.right or {}
    if TEACHER not in right or not len(right[STUDENT]):
        return None
    settings = recipe.finish.evaluate
    kept = retention(
        right[TEACHER],
        right[STUDENT],
        chance=0.0,
        margin=settings.margin,
        seed=settings.seed,
        resamples=settings.resamples,
    )
    return retention_gate(
        kept, margin=settings.margin, discordant=float((right[TEACHER] != right[STUDENT]).mean()), what="right answers"
    )


def _speakers(recipe: Generation, places: Places, artifacts: Path) -> dict[str, Speaker]:
    """The teacher, where it runs here; the student as it ships; the controls, rounded as it was."""
    speakers = {}
    section, device = recipe.ferment.teacher, place(recipe.distill.train.device, "float32").device
    if isinstance(section, LocalTeacher):
        teacher: Any = load_teacher(section, cache=places.cache, base=places.base)
        teacher.model.to(device)
        speakers[TEACHER] = Speaker.of(TEACHER, teacher.model, teacher.tokenizer, asked_by_template=True)
    load = partial(Speaker.load, precision=recipe.finish.precision, device=device)
    speakers[STUDENT] = load(STUDENT, artifacts)
    return speakers | {name: load(name, places.sealed("controls") / name) for name in recipe.controls}


def _stored(recipe: Generation, places: Places) -> dict[str, TextAnswer]:
    """The first answer that the teacher gave about each document in stage 2, if it was asked."""
    if not isinstance(recipe.ferment.answers, Ask):
        return {}
    found: dict[str, TextAnswer] = {}
    for one in Text.read(places.sealed("ferment")).answers:
        if one.id not in found or one.sample < found[one.id].sample:
            found[one.id] = one
    return found


def _passages(
    recipe: Generation,
    places: Places,
    speakers: Mapping[str, Speaker],
    rows_in: Sequence[Document],
    stored: Mapping[str, TextAnswer],
) -> dict[str, list[Passage]]:
    """By slice: what the teacher answered, what the data hold themselves, and other text; empty ones left out."""
    template = next(iter(speakers.values())).template
    opened = bool(template and template.opens_reasoning)
    found = {
        ANSWERS: answered(rows_in, stored, system=_system(recipe), opened=opened),
        GIVEN: given(rows_in, turns=recipe.distill.choose.turns),
    }
    other = recipe.finish.evaluate.other_text
    if other is not None:
        files = resolve(other.data, cache=places.cache, base=places.base)
        found[OTHER] = read_texts(files, column=other.text, most=other.most)
    found = {name: passages for name, passages in found.items() if passages}
    if ANSWERS not in found and GIVEN not in found:
        raise StillhouseError(
            "there is no held-out answer: neither did the teacher answer a test document, nor does one hold an answer",
            where="2-ferment/failures.parquet",
            fix="see the reasons there",
        )
    return found


def _prompts(
    recipe: Generation,
    speakers: Mapping[str, Speaker],
    rows_in: Sequence[Document],
    stored: Mapping[str, TextAnswer],
) -> list[Prompt]:
    """Of a teacher that does not run here, only what it answered in stage 2 can be compared."""
    absent = TEACHER not in speakers and bool(stored)
    rows = [row for row in rows_in if not absent or row["id"] in stored]
    return choose_prompts(rows, most=recipe.finish.evaluate.prompts, system=_system(recipe))


def _asked(recipe: Generation) -> Ask | None:
    """How the teacher was asked, where it was."""
    return recipe.ferment.answers if isinstance(recipe.ferment.answers, Ask) else None


def _system(recipe: Generation) -> str:
    answers = _asked(recipe)
    return answers.system if answers else ""


def _speeds(recipe: Generation, places: Places, artifacts: Path, device: str, progress: Progress) -> dict[str, Speed]:
    """Student and teacher in turn, in the same precision, on the same threads."""
    progress("measuring speed", 0, 1)
    settings, section = recipe.finish.speed, recipe.ferment.teacher
    folders = {STUDENT: artifacts}
    if isinstance(section, LocalTeacher):
        files = resolve(section.model, cache=places.cache, base=places.base)
        folders[TEACHER] = model_folder(files, places.cache)
    models = {
        name: Speaker.load(name, folder, precision=recipe.finish.precision, device=device).model
        for name, folder in folders.items()
    }
    with cpu_threads(settings.threads):
        found = measure(
            models,
            prompt_tokens=settings.prompt_tokens,
            new_tokens=settings.new_tokens,
            repeats=settings.repeats,
        )
    progress("measuring speed", 1, 1)
    return found


def _speed_value(one: Speed) -> dict[str, dict[str, float]]:
    return {
        name: {str(batch): float(np.round(value, 3)) for batch, value in values.items()}
        for name, values in (("prefill", one.prefill), ("decode", one.decode))
    }

"""The first step of stage 4 for ``text-generation``: judges what may ship beside teacher and controls.

Reads all earlier stages; writes ``artifacts/`` (what may be bottled), ``evaluation.json``, ``samples.jsonl``,
``audit.json`` and ``gates.json``; ``judged.jsonl`` where the recipe names a judge of pairs, and ``harness.jsonl`` where
it names tasks of lm-evaluation-harness. The student that is judged is read from the files that would ship, in the
precision in which they would; controls are rounded alike.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from stillhouse import documents
from stillhouse.addresses import peek, resolve
from stillhouse.device import cpu_threads
from stillhouse.errors import Problem, StillhouseError
from stillhouse.finish.audit_generation import audit_of
from stillhouse.finish.evaluate import TEACHER
from stillhouse.finish.export.bottled import parity
from stillhouse.finish.export_generation import export_problems, exports_of
from stillhouse.finish.gates import Gate, distillation_gate, nothing_retained, of_findings, retention_gate
from stillhouse.finish.generation.contrast import STUDENT
from stillhouse.finish.generation.decoding import Speed, measure, parameters, weight_bytes
from stillhouse.finish.generation.hearing import Certainty, Heard, Limits, hear
from stillhouse.finish.generation.other_text import read_texts
from stillhouse.finish.generation.shipping import ship
from stillhouse.finish.generation.speaker import Speaker
from stillhouse.finish.generation.summary import summarize, warnings
from stillhouse.finish.harness_generation import harness_fetches, harness_of, harness_problems
from stillhouse.finish.inputs_generation import asked_of, held_passages, speakers_of, stored_answers, test_prompts
from stillhouse.finish.judgement import ARTIFACTS, Judgement
from stillhouse.finish.pairs_generation import check_judge, judge_of, notes_on_judge
from stillhouse.recipe.bind import teacher_bytes
from stillhouse.recipe.generation import Generation
from stillhouse.recipe.teachers import LocalTeacher
from stillhouse.statistics import retention
from stillhouse.teachers.local import model_folder
from stillhouse.teachers.sequences import asked
from stillhouse.verifiers import by_name
from stillhouse.workplace import Places, Progress, StageResult

VERSION = 2
READS = ("finish.name",)  # GGUF files hold it
LIBRARIES = ("torch", "transformers", "numpy", "scipy", "gguf", "xllamacpp", "onnx", "onnxscript", "onnxruntime")


def check(recipe: Generation, cache: Path, base: Path) -> list[Problem]:
    """The verifier, the judge of pairs, and the text for perplexity where it is already here: all are needed only
    after the training."""
    problems: list[Problem] = []
    answers, other = asked_of(recipe), recipe.finish.evaluate.other_text
    try:
        if answers and answers.verify:
            by_name(answers.verify, **answers.verify_with)(
                "1", "1"
            )  # an option that there is not shows when it is asked
        if other is not None and (files := peek(other.data, cache=cache, base=base)) is not None:
            read_texts(files, column=other.text, most=other.most)
    except StillhouseError as error:
        problems += error.problems
    except TypeError as error:
        problems.append(Problem(str(error), "ferment.answers.verify_with", "see `docs/recipe.md` for its options"))
    for part in (export_problems, harness_problems, check_judge):
        try:
            problems += part(recipe, cache, base)
        except StillhouseError as error:
            problems += error.problems
    return problems


def notes(recipe: Generation, cache: Path, base: Path) -> list[str]:
    """What stops nothing and should be known before the run."""
    fetched = harness_fetches(recipe, cache, base)
    more = f" and {len(fetched) - 5} more" if len(fetched) > 5 else ""
    return [
        *([f"harness: tasks fetch {', '.join(fetched[:5])}{more}"] if fetched else []),
        *notes_on_judge(recipe, cache, base),
    ]


def run(recipe: Generation, places: Places, progress: Progress) -> StageResult:
    """Run the stage into ``places.draft``."""
    rows_in = documents.read(places.sealed("raw"), "test").to_pylist()
    if asked_of(recipe) is not None:  # a plain text was asked as a turn of the user
        rows_in = [row | {"messages": row["messages"] or list(asked(row))} for row in rows_in]
    artifacts = places.draft / ARTIFACTS
    file = ship(places.sealed("distill") / "student", artifacts, precision=recipe.finish.precision)
    speakers = speakers_of(recipe, places, artifacts)
    stored, settings, answers = stored_answers(recipe, places), recipe.finish.evaluate, asked_of(recipe)
    with cpu_threads(recipe.distill.train.threads):
        heard = hear(
            speakers,
            held=held_passages(recipe, places, speakers, rows_in, stored),
            prompts=test_prompts(recipe, speakers, rows_in, stored),
            documents=rows_in,
            limits=Limits(recipe.distill.train.max_length, settings.max_tokens, answers.stop if answers else ()),
            sure=Certainty(settings.resamples, settings.seed),
            stored=stored if TEACHER not in speakers else None,
            verify=by_name(answers.verify, **answers.verify_with) if answers and answers.verify else None,
            progress=progress,
        )
        tasks = harness_of(recipe, places, speakers, progress)
        findings = audit_of(recipe, places, speakers, rows_in, stored, progress)
    size = {
        "student_parameters": parameters(speakers[STUDENT].model),
        "teacher_parameters": parameters(speakers[TEACHER].model) if TEACHER in speakers else None,
        "student_bytes": weight_bytes(artifacts),
        "teacher_bytes": teacher_bytes(recipe, cache=places.cache, base=places.base),
    }
    device, chats = str(speakers[STUDENT].model.device), speakers[STUDENT].template is not None
    # all models go before others come: the student for the exports, a judge; the teacher is loaded again for the clock,
    # plain and in the student's precision
    del speakers
    compared = judge_of(recipe, places, heard, progress)  # what can fail for others' sake comes before the exports
    bottled = exports_of(recipe, artifacts, rows_in, stored, progress)
    speeds = _speeds(recipe, places, artifacts, device, progress)
    rows = [
        *heard.rows,
        *(tasks.rows if tasks else ()),
        *(row for one in bottled for row in one.rows),
        *(row for name, one in speeds.items() for row in one.rows(name)),
    ]
    speed = {"precision": recipe.finish.precision, **{name: _speed_value(one) for name, one in speeds.items()}}
    summary = summarize(rows, heard.contrasts, speed=speed, size=size, counts=heard.counts)
    summary["harness"] = list(tasks.table) if tasks else []
    summary |= {"gguf": [], "onnx": []} | {one.form: list(one.told) for one in bottled}
    summary["judge"] = dict(compared.summary) if compared else None
    Judgement(
        rows=[*rows, *(compared.rows if compared else ())],
        summary=summary,
        shipped={
            "artifact": STUDENT,
            "file": file,
            "precision": recipe.finish.precision,
            "chat_template": chats,  # without one it goes on from a text
        },
        warnings=[*warnings(summary), *(compared.warnings if compared else ())],
        findings=findings,
        gates=[
            gate
            for gate in (
                distillation_gate(heard.contrasts),
                _retention(heard, recipe),
                of_findings("amplification", findings),
                of_findings("identity", findings),
                of_findings("behavior", findings),
                parity(bottled),
            )
            if gate is not None
        ],
        samples=compared.samples if compared else heard.samples,
    ).write(places.draft)
    failed = len(rows_in) - heard.judged
    facts = {"judge": dict(compared.facts)} if compared else {}
    return StageResult({"rows_in": len(rows_in), "kept": heard.judged, "cut": 0, "failed": failed, **summary}, facts)


def _retention(heard: Heard, recipe: Generation) -> Gate:
    """Right answers beside the teacher's, where there are any to compare."""
    right = heard.right or {}
    if TEACHER not in right or not len(right[STUDENT]):
        return nothing_retained()
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
        kept,
        margin=settings.margin,
        discordant=float((right[TEACHER] != right[STUDENT]).mean()),
        what="right answers",
        items="prompts with a gold",
    )


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

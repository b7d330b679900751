"""The audit of a model that writes, bound to the recipe: what it is probed for, and with which material."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from stillhouse import documents
from stillhouse.addresses import resolve
from stillhouse.finish.audit.findings import Finding
from stillhouse.finish.audit.writing.audit import Material, WritingPlan, audit_writing
from stillhouse.finish.audit.writing.bbq import read_bbq
from stillhouse.finish.audit.writing.canaries import Canary
from stillhouse.finish.audit.writing.identity import known_names
from stillhouse.finish.audit.writing.winobias import read_winobias
from stillhouse.finish.evaluate import TEACHER
from stillhouse.finish.generation.contrast import STUDENT
from stillhouse.finish.generation.passages import Document, answered, given
from stillhouse.finish.generation.speaker import Speaker
from stillhouse.finish.inputs_generation import system_of
from stillhouse.recipe.finish_generation import ChoiceSet
from stillhouse.recipe.generation import Generation
from stillhouse.recipe.rights import teacher_address
from stillhouse.signals.text import TextAnswer
from stillhouse.teachers.sequences import asked
from stillhouse.workplace import Places, Progress


def audit_of(
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
        system=system_of(recipe),
        names=(*known_names(address, section.name), *settings.names),
        identity=settings.identity,
        twins=settings.twins,
        memorized=settings.memorized,
        by=settings.by,
        plain_too=settings.plain_too,
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
        answered(rows, stored, system=system_of(recipe), opened=bool(template and template.opens_reasoning))
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


def _files(chosen: ChoiceSet, places: Places) -> Sequence[Path]:
    return resolve(chosen.data, cache=places.cache, base=places.base).files

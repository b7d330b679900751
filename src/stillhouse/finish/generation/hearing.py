"""All models are heard on the same held-out text and prompts; what comes of it are rows, contrasts and samples.

heard = hear(speakers, held={"answers": passages}, prompts=prompts, documents=rows, limits=limits, sure=sure)
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from stillhouse.finish.evaluate import TEACHER, Bools, Row
from stillhouse.finish.generation.answers import Written, ask_all
from stillhouse.finish.generation.behavior import Habits
from stillhouse.finish.generation.contrast import STUDENT, Contrast, contrasts, together
from stillhouse.finish.generation.held_text import HeldText, read_all
from stillhouse.finish.generation.passages import Document, Passage, Prompt
from stillhouse.finish.generation.speaker import Speaker
from stillhouse.finish.generation.summary import OTHER
from stillhouse.finish.generation.verified import Checked, check_answers
from stillhouse.finish.held_out import slices_of
from stillhouse.signals.text import TextAnswer
from stillhouse.statistics import Flags
from stillhouse.verifiers import Verifier
from stillhouse.workplace import Progress, silent

SMALLEST_GROUP = 10  # documents; an interval over fewer says nothing, and a column of names would fill the report


@dataclass(frozen=True)
class Limits:
    """max_length: tokens of a passage. max_tokens: of an answer. stop: strings that end one."""

    max_length: int
    max_tokens: int
    stop: Sequence[str] = ()


@dataclass(frozen=True)
class Certainty:
    """How the intervals are drawn."""

    resamples: int
    seed: int


@dataclass(frozen=True)
class Heard:
    """samples: every prompt with every model's answer. counts: passages and prompts, and those left out. judged:
    documents that take part in any figure. right: of each model, which of the prompts with a verdict it got right.
    prompts, said: what was asked, and what each model wrote to it, in that order."""

    rows: list[Row]
    contrasts: list[Contrast]
    samples: list[dict[str, Any]]
    counts: dict[str, int]
    judged: int
    right: Mapping[str, Flags] | None = None
    prompts: Sequence[Prompt] = ()
    said: Mapping[str, Sequence[Written]] = field(default_factory=dict)


def hear(
    speakers: Mapping[str, Speaker],
    *,
    held: Mapping[str, Sequence[Passage]],
    prompts: Sequence[Prompt],
    documents: Sequence[Document],
    limits: Limits,
    sure: Certainty,
    stored: Mapping[str, TextAnswer] | None = None,
    verify: Verifier | None = None,
    progress: Progress = silent,
) -> Heard:
    """held: passages by slice. documents: the test documents, of which groups are taken. stored: answers of a teacher
    that does not run here, about every prompt. verify: checks answers against the gold, where there is any."""
    certainty = {"resamples": sure.resamples, "seed": sure.seed}
    baselines = [name for name in speakers if name not in (TEACHER, STUDENT)]
    rows: list[Row] = []
    found: list[Contrast] = []
    counts = {"test documents": len(documents)}
    judged: set[str] = set()
    for name, passages in held.items():
        text = read_all(
            speakers, passages, name=name, most=limits.max_length, progress=partial(progress, f"reading {name}")
        )
        slices, small = _slices(documents, text) if name != OTHER else ({}, 0)
        rows += text.rows(**certainty, slices=slices)
        found += contrasts(text, baselines, **certainty)
        counts |= {name: len(passages), f"passages of {name} left out: some model cannot read them": text.left_out}
        if small:
            counts[f"groups of {name} not judged: fewer than {SMALLEST_GROUP} documents"] = small
        judged |= set(text.documents) if name != OTHER else set()
    asked, said = ask_all(speakers, prompts, max_tokens=limits.max_tokens, stop=limits.stop, progress=progress)
    if stored:
        said = {TEACHER: [Written.of(stored[prompt.document]) for prompt in asked], **said}
    for name, written in said.items():
        rows += Habits.of(written, asked).rows(name, **certainty, most=limits.max_tokens)
    checked = check_answers(asked, said, verify) if verify else None
    if checked is not None:
        rows += checked.rows()
        found += checked.contrasts(baselines, **certainty)
        counts["prompts with a verdict"] = len(checked.places)
    counts |= {"prompts": len(asked), "prompts left out: some model cannot take them": len(prompts) - len(asked)}
    found = together(found)
    rows += [row for one in found for row in one.rows()]
    judged |= {prompt.document for prompt in asked}
    right = checked.right if checked is not None else None
    return Heard(rows, found, _samples(asked, said, checked, speakers), counts, len(judged), right, asked, said)


def _slices(documents: Sequence[Document], held: HeldText) -> tuple[dict[str, Bools], int]:
    """One for each group and source, as masks over the documents of ``held``; and how many groups are too small."""
    by_id = {row["id"]: row for row in documents}
    found = slices_of([by_id[identifier] for identifier in held.documents])
    large = {f"{held.name}, {name}": mask for name, mask in found.items() if mask.sum() >= SMALLEST_GROUP}
    return large, len(found) - len(large)


def _samples(
    prompts: Sequence[Prompt],
    said: Mapping[str, Sequence[Written]],
    checked: Checked | None,
    speakers: Mapping[str, Speaker],
) -> list[dict[str, Any]]:
    """Every prompt, as each model that runs here got it, with every model's answer, in the order in which they were
    drawn."""
    return [
        {
            "id": prompt.document,
            "asked": prompt.words,
            "messages": prompt.messages,
            "prompts": {name: one.prompt_text(prompt.messages, prompt.text) for name, one in speakers.items()},
            "gold": prompt.gold,
            "answers": {
                name: {
                    "text": written[number].text,
                    "finish_reason": written[number].finish_reason,
                    "right": checked.verdicts[name][number].right if checked else None,
                    "verdict": checked.verdicts[name][number].why if checked else "",
                }
                for name, written in said.items()
            },
        }
        for number, prompt in enumerate(prompts)
    ]

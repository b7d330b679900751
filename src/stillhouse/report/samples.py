"""The same held-out prompts or documents, with what teacher, student and controls made of them.

samples(run)
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from stillhouse.finish.evaluate import TEACHER
from stillhouse.finish.generation.contrast import STUDENT
from stillhouse.report.compared import COUNTS, compared
from stillhouse.report.data import Run
from stillhouse.report.markup import Html, details, element, joined
from stillhouse.report.pictures import glyph
from stillhouse.report.strength import role_of
from stillhouse.report.words import artifact_name, count

_FIRST = 600  # characters before a text is folded
_LONGEST = 20_000  # characters of a text on the page
_REASONS = {"stop": "ended by itself", "length": "cut off at the longest length"}


def samples(run: Run) -> list[Html]:
    """The first ones of the file: they were drawn by hash, not by quality."""
    judged = run.judgement
    assert judged is not None  # noqa: S101 - the section is left out without
    if not judged.samples:
        return [
            element(
                "p", "The files of this run hold no answers of the student, only what they come to.", class_="quiet"
            )
        ]
    shown = judged.samples[: run.samples_shown]
    found = compared(run)
    found.append(element("p", "Held-out inputs, the same for all models, chosen by hash and not by quality."))
    found += [_sample(run, number, one) for number, one in enumerate(shown, start=1)]
    if len(shown) < len(judged.samples):
        words = f"These are {count(len(shown))} of {count(len(judged.samples))}; 4-judge/samples.jsonl has all."
        found.append(element("p", words, class_="quiet"))
    return found


def _sample(run: Run, number: int, sample: Mapping[str, Any]) -> Html:
    answers: Mapping[str, Mapping[str, Any]] = sample["answers"]
    shipped = run.judgement.shipped.get("artifact") if run.judgement else None
    first = [name for name in dict.fromkeys((TEACHER, STUDENT, str(shipped))) if name in answers]
    rest = [name for name in answers if name not in first]
    gold = sample.get("gold")
    return element(
        "article",
        element("h3", f"Sample {number}"),
        element("div", element("p", "Asked", class_="who"), _text(str(sample["asked"])), class_="asked"),
        element("p", element("b", "Expected: "), element("bdi", str(gold))) if gold is not None else None,
        element("div", *(_answer(run, name, answers[name]) for name in first), class_="answers"),
        details("The controls", element("div", *(_answer(run, name, answers[name]) for name in rest), class_="answers"))
        if rest
        else None,
        _judged(sample),
        class_="sample",
    )


def _judged(sample: Mapping[str, Any]) -> Html | None:
    """What a judge of pairs said of the student's answer, where there is one."""
    said = [
        f"{COUNTS.get(verdict, verdict)} against {artifact_name(name)}"
        for name, verdict in (sample.get("judged") or {}).items()
    ]
    return (
        element("p", f"The student's answer, as the judge sees it: {'; '.join(said)}.", class_="quiet")
        if said
        else None
    )


def _answer(run: Run, name: str, answer: Mapping[str, Any]) -> Html:
    assert run.judgement is not None  # noqa: S101 - the section is left out without
    right = answer.get("right")
    said = [] if right is None else ["right" if right else "wrong"]
    reason = answer.get("finish_reason")
    said += [_REASONS.get(reason, str(reason))] if reason else []
    said += [f"{answer['probability']:.2f}"] if answer.get("probability") is not None else []
    said += [str(answer["verdict"])] if answer.get("verdict") else []
    sign = None if right is None else element("span", "✓ " if right else "✕ ", aria_hidden="true")
    return element(
        "div",
        element("p", glyph(role_of(run.judgement)(name)), artifact_name(name), class_="who"),
        _text(str(answer["text"])),
        element("p", sign, ", ".join(said), class_=f"quiet{'' if right is None else ' right' if right else ' wrong'}")
        if said
        else None,
        class_="answer",
    )


def _text(text: str) -> Html:
    """A text as it is; a long one goes on where it can be unfolded."""
    if not text.strip():
        return element("p", "(nothing)", class_="text quiet")
    shown = element("p", text[:_FIRST], class_="text", dir="auto")
    if len(text) <= _FIRST:
        return shown
    rest = text[_FIRST:_LONGEST] + (" …" if len(text) > _LONGEST else "")
    return joined(shown, details("The rest of it", element("p", rest, class_="text", dir="auto")))

"""The files that a student which writes has for other runtimes: what each costs, and whether it ships.

exports(judged)               # empty where the recipe asks for none
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from stillhouse.finish.judgement import Judgement
from stillhouse.report.markup import Html, element, joined, prose
from stillhouse.report.tables import Column, named, table
from stillhouse.report.words import METRICS, artifact_name, count, of_bytes, of_speed

AGAINST_STUDENT = "against the student"  # the slice of their rows
_RUNTIMES = {"gguf": "llama.cpp", "onnx": "onnxruntime"}


def asked_for(judged: Judgement) -> list[tuple[str, Mapping[str, Any]]]:
    """Each file's format, with what the label says of it."""
    told: Mapping[str, Sequence[Mapping[str, Any]]] = judged.summary
    return [(form, one) for form in _RUNTIMES for one in told.get(form) or ()]


def shipping(judged: Judgement) -> list[str]:
    """The files that go into the bottle beside the student."""
    return [str(one["file"]) for _, one in asked_for(judged) if one["passed"]]


def exports(judged: Judgement) -> list[Html]:
    """A row for each file that was asked for, with the reason where it does not ship."""
    files = asked_for(judged)
    if not files:
        return []
    distance, share = METRICS["kl_to_student"], METRICS["agreeing_before_parting"]
    rows = [
        [
            joined(
                named(artifact_name(f"{form}-{one['kind']}"), "export"), element("code", one["file"], class_="below")
            ),
            _outcome(one),
            element("span", _RUNTIMES[form], class_="whole"),
            of_bytes(one["bytes"]),
            of_speed(one["tokens_per_s"]),
            f"{distance.written(one['kl'])} ({count(one['positions'])}\N{NO-BREAK SPACE}tokens)",
            f"{share.written(one['agreeing'])} ({count(one['prompts'])}\N{NO-BREAK SPACE}answers)",
        ]
        for form, one in files
    ]
    columns = [
        Column("file"),
        Column("ships", "text"),
        Column("compared in", "text"),
        Column("size", "number"),
        Column("tokens written a second, one answer", "number"),
        Column("KL to the student, nats a token", "number"),
        Column("share of an answer that is the student's", "number"),
    ]
    return [
        element("h3", "Files for other runtimes"),
        element(
            "p",
            "The student in other formats, each opened in the runtime that its users have and held against the student "
            "in float32: how far its probabilities lie apart (0: nowhere), and how far its greedy answers are the same "
            "(1: to the end).",
            class_="quiet",
        ),
        table("Files for other runtimes", columns, rows, heard=True),
    ]


def _outcome(one: Mapping[str, Any]) -> Html:
    if one["passed"]:
        return element("span", "yes", class_="verdict better")
    return joined(
        element("span", "left out", class_="verdict worse"), *(element("p", prose(why)) for why in one["reasons"])
    )

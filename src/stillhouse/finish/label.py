"""The label: what the bottle says of itself, as ``label.json`` and as a model card.

Here is what the labels of all tasks share; what a task adds is in a module of its name. Every number comes from the
evaluation's rows and summary or from the sealed stages; none is computed here.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import yaml

from stillhouse.addresses.public import public_address
from stillhouse.finish.bottle import LABEL_SCHEMA
from stillhouse.recipe.model import Recipe
from stillhouse.recipe.rights import RightsView, teacher_address
from stillhouse.rights import DISCLAIMER, as_row, card_lines
from stillhouse.store import producer

_BESIDE = (  # how transformers.js finds a folder that lies here
    'import { env, pipeline } from "@huggingface/transformers";',
    'Object.assign(env, { allowRemoteModels: false, allowLocalModels: true, localModelPath: "." });',
)


@dataclass(frozen=True)
class CardParts:
    """What a task's own module writes of the card, in Markdown lines.

    intro: what it is, after "A small". metrics: for the ``model-index``. strength: what was measured. use: Python
    snippets that need no stillhouse, by what they do need; run beside the folder, which they call ``bottle``. browser:
    lines of a JavaScript snippet for transformers.js, if a file for it ships. more: sections of its own, before what
    went in. results: for the ``model-index``, on other data than the run's own.
    """

    intro: str
    metrics: Sequence[Mapping[str, Any]]
    strength: Sequence[str]
    use: Mapping[str, Sequence[str]]
    browser: Sequence[str] = ()
    more: Sequence[str] = ()
    results: Sequence[Mapping[str, Any]] = ()


def make_label(
    recipe: Recipe,
    *,
    name: str,
    batch: str,
    summary: dict[str, Any],
    stages: dict[str, dict[str, Any]],
    rights: dict[str, Any],
    shipped: dict[str, Any],
    warnings: list[str],
    own: Mapping[str, Any],
    gates: list[dict[str, Any]],
    audit: list[dict[str, Any]],
    despite: list[dict[str, Any]],
) -> dict[str, Any]:
    """The label as a JSON value. batch: the run's fingerprint. stages: summaries of the sealed stages. rights: as
    :func:`rights_of` gives them. own: fields of the task. despite: gates that failed, with who answers why."""
    return {
        "schema": LABEL_SCHEMA,
        "producer": producer(),
        "name": name,
        "batch": batch,
        "task": recipe.task,
        **own,
        "teachers": [
            {
                "name": one["name"],
                "address": public_address(teacher_address(section)),
                **{key: one[key] for key in ("precision", "bias") if key in one},
            }
            for section, one in zip(recipe.ferment.teachers, stages["ferment"]["teachers"], strict=True)
        ],
        "base": public_address(recipe.distill.student.base),
        "sources": [{"name": source.name, "address": public_address(source.data)} for source in recipe.raw.sources],
        "rows": {
            step: {key: stage[key] for key in ("rows_in", "kept", "cut", "failed")} for step, stage in stages.items()
        },
        "cuts": _all_cuts(stages),
        "cut_points": stages["cuts"]["points"] if "cuts" in stages else {},
        "strength": summary,
        "shipped": shipped,
        "gates": gates,
        "audit": audit,
        "despite": despite,
        "rights": rights,
        "warnings": warnings,
    }


def _all_cuts(stages: Mapping[str, Mapping[str, Any]]) -> dict[str, dict[str, int]]:
    """How many rows left by cut and reason, in whatever stage."""
    found: dict[str, dict[str, int]] = {"head": {}, "tail": {}}
    for stage in stages.values():
        for kind, reasons in stage.get("cuts", {}).items():
            for reason, number in reasons.items():
                found[kind][reason] = found[kind].get(reason, 0) + number
    return found


def rights_of(view: RightsView, recipe: Recipe) -> dict[str, Any]:
    """The rights as a JSON value: the declared use, every subject with its verdict, and every duty."""
    statement = recipe.rights.statement
    return {
        "use": recipe.rights.use,
        "commercial": recipe.rights.commercial,
        "regions": list(recipe.rights.regions),
        "terms_table": view.table.digest,
        "statement": statement.model_dump(mode="json") if statement else None,
        "subjects": [{**row, "address": public_address(str(row["address"]))} for row in map(as_row, view.judgements)],
        "duties": list(view.duties),
        "disclaimer": DISCLAIMER,
    }


def model_card(label: dict[str, Any], parts: CardParts) -> str:
    """The label as a Hugging Face model card in Markdown."""
    teachers = " and ".join(f"`{one['address']}`" for one in label["teachers"])
    front = {
        "pipeline_tag": label["task"],
        "library_name": "transformers",
        "tags": ["distillation", "stillhouse"],
        "model-index": [
            {
                "name": label["name"],
                "results": [
                    {
                        "task": {"type": label["task"]},
                        "dataset": {"name": "held-out test documents of this run", "type": "private"},
                        "metrics": [dict(metric) for metric in parts.metrics],
                    },
                    *(dict(result) for result in parts.results),
                ],
            }
        ],
    }
    lines = [
        "---",
        yaml.safe_dump(front, sort_keys=False).strip(),
        "---",
        "",
        f"# {label['name']}",
        "",
        f"A small {parts.intro}, distilled from {teachers} by {label['producer']}, batch `{label['batch'][:12]}`.",
        "",
        *card_lines(label["rights"]["duties"]),
    ]
    if label["despite"]:
        lines += ["", "## Bottled despite", ""]
        lines += [
            f"- **{one['gate']}**: {_line(one['words'])}. Because: {_line(one['because'])}" for one in label["despite"]
        ]
    if label["warnings"]:
        lines += ["", "## Warnings", "", *(f"- {_line(warning)}" for warning in label["warnings"])]
    lines += [
        "",
        "## Strength",
        "",
        *parts.strength,
        "",
        "The interval is conditional on this one training run.",
        "",
        *_gate_lines(label),
        "## Use",
        "",
        *_use_lines(parts),
        *parts.more,
        "",
        "## What went in",
        "",
        "| stage | rows in | kept | cut | failed |",
        "|---|---|---|---|---|",
    ]
    lines += [
        f"| {step} | {rows['rows_in']} | {rows['kept']} | {rows['cut']} | {rows['failed']} |"
        for step, rows in label["rows"].items()
    ]
    lines += ["", *_cut_lines(label["cuts"], label["cut_points"]), "", *_rights_lines(label["rights"])]
    return "\n".join(lines) + "\n"


def _gate_lines(label: dict[str, Any]) -> list[str]:
    """The gates, and what the audit found, in words."""
    lines = ["## Gates and audit", "", "| gate | | found |", "|---|---|---|"]
    lines += [f"| {gate['name']} | {gate['status']} | {_cell(gate['words'])} |" for gate in label["gates"]]
    lines += ["", *(f"- {probe}: {counts}" for probe, counts in audit_counts(label["audit"]))]
    lines += [f"- {_line(words)}" for words in told_of_audit(label["audit"])]
    return [*lines, ""]


def audit_counts(audit: Sequence[Mapping[str, Any]]) -> list[tuple[str, str]]:
    """Each probe of the audit, and how many of its findings have which status."""
    counted: dict[str, Counter[str]] = {}
    for one in audit:
        counted.setdefault(one["probe"], Counter())[one["status"]] += 1
    return [
        (probe, ", ".join(f"{number} {status}" for status, number in found.items())) for probe, found in counted.items()
    ]


def told_of_audit(audit: Sequence[Mapping[str, Any]]) -> list[str]:
    """What a user should read of the audit: the worst-served group in any case, and all that did not pass."""
    return [
        one["words"] for one in audit if one["probe"] == "worst group" or one["status"] in ("failed", "not certified")
    ]


def _line(words: str) -> str:
    """In one line, whatever a group is called or a student said: a line break could begin another section."""
    return " ".join(words.split())


def _cell(words: str) -> str:
    """In one line of a table."""
    return _line(words).replace("|", "\\|")


def _use_lines(parts: CardParts) -> list[str]:
    lines = []
    for needs, snippet in parts.use.items():
        lines += [f"With {needs}:", "", "```python", *snippet, "```", ""]
    if parts.browser:
        lines += ["With `@huggingface/transformers` (transformers.js), in Node as in a browser:", ""]
        lines += ["```javascript", *_BESIDE, *parts.browser, "```", ""]
    return lines[:-1]


def _rights_lines(rights: dict[str, Any]) -> list[str]:
    lines = [
        "## Rights",
        "",
        "| what | from | license | verdict | document |",
        "|---|---|---|---|---|",
        *(_rights_line(row) for row in rights["subjects"]),
        "",
        *(
            f"- Duty for {', '.join(dict.fromkeys(row['subjects']))}: {row['words']} ({row['terms']}, {row['clause']})."
            for row in rights["duties"]
        ),
        *(f"- Note: {note}." for row in rights["subjects"] for note in row["warnings"]),
        "",
        "NOTICE names everything this model was made from; `licenses/` holds the texts that go with it.",
    ]
    statement = rights["statement"]
    if statement:
        backed = f" ({statement['reference']})" if statement["reference"] else ""
        lines += ["", f"Statement by {statement['who']}, {statement['when']}: {statement['why']}{backed}"]
    return [*lines, "", f"Declared use: {use_words(rights)}. {rights['disclaimer']}"]


def use_words(rights: dict[str, Any]) -> str:
    """The declared use in plain words."""
    where = f", in {', '.join(rights['regions'])}" if rights["regions"] else ""
    return f"{rights['use']}, {'commercial' if rights['commercial'] else 'not commercial'}{where}"


def _rights_line(row: dict[str, Any]) -> str:
    lifted = f" (was {row['lifted_from']}, lifted by {row['lifted_by']})" if row["lifted_by"] else ""
    revision = f", revision {row['identity']}" if row["identity"] else ""
    documents = "; ".join(
        f"{one['title']}, {one['dated'] or 'undated'}, read {one['read']}" for one in row["documents"]
    )
    return (
        f"| {row['role']} `{row['name']}` | `{row['address']}`{revision} | {row['license']} | "
        f"{row['verdict']}{lifted} | {documents or 'none'} |"
    )


def _cut_lines(cut_counts: dict[str, dict[str, int]], points: dict[str, str]) -> list[str]:
    found = [
        f"- Cut ({kind}): {number} × {reason}"
        for kind, reasons in cut_counts.items()
        for reason, number in reasons.items()
    ]
    return [*(found or ["- Nothing was cut."]), *(f"- Cut point, {name}: {why}." for name, why in points.items())]

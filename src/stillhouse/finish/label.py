"""The label: what the bottle says of itself, as ``label.json`` and as a model card.

Every number comes from the evaluation's rows and summary or from the sealed stages; none is computed here.
"""

from __future__ import annotations

from typing import Any

import yaml

from stillhouse.finish.bottle import LABEL_SCHEMA
from stillhouse.recipe.classification import Classification
from stillhouse.recipe.rights import RightsView, teacher_address
from stillhouse.rights import DISCLAIMER, as_row, card_lines
from stillhouse.store import producer


def make_label(
    recipe: Classification,
    *,
    name: str,
    batch: str,
    summary: dict[str, Any],
    stages: dict[str, dict[str, Any]],
    rights: dict[str, Any],
    shipped: dict[str, Any],
    warnings: list[str],
) -> dict[str, Any]:
    """The label as a JSON value. batch: the run's fingerprint. stages: summaries of the sealed stages. rights: as
    :func:`rights_of` gives them."""
    return {
        "schema": LABEL_SCHEMA,
        "producer": producer(),
        "name": name,
        "batch": batch,
        "task": recipe.task,
        "labels": list(recipe.labels),
        "teachers": [
            {
                "name": one["name"],
                "address": teacher_address(section),
                "precision": one["precision"],
                "bias": one["bias"],
            }
            for section, one in zip(recipe.ferment.teachers, stages["ferment"]["teachers"], strict=True)
        ],
        "base": recipe.distill.student.base,
        "sources": [{"name": source.name, "address": source.data} for source in recipe.raw.sources],
        "gold_labels_used_in_training": stages["distill"]["gold_labels_used"],
        "rows": {
            step: {key: stage[key] for key in ("rows_in", "kept", "cut", "failed")} for step, stage in stages.items()
        },
        "cuts": stages["raw"]["cuts"],
        "calibration": recipe.ferment.calibration.kind,
        "strength": summary,
        "shipped": shipped,
        "rights": rights,
        "warnings": warnings,
    }


def rights_of(view: RightsView, recipe: Classification) -> dict[str, Any]:
    """The rights as a JSON value: the declared use, every subject with its verdict, and every duty."""
    statement = recipe.rights.statement
    return {
        "use": recipe.rights.use,
        "commercial": recipe.rights.commercial,
        "regions": list(recipe.rights.regions),
        "terms_table": view.table.digest,
        "statement": statement.model_dump(mode="json") if statement else None,
        "subjects": [as_row(judgement) for judgement in view.judgements],
        "duties": list(view.duties),
        "disclaimer": DISCLAIMER,
    }


def model_card(label: dict[str, Any]) -> str:
    """The label as a Hugging Face model card in Markdown."""
    teachers = " and ".join(f"`{one['address']}`" for one in label["teachers"])
    strength = label["strength"]
    kept = strength["retention"]
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
                        "metrics": [
                            {"type": "accuracy", "value": round(strength["exported"]["accuracy"], 4)},
                        ],
                    }
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
        f"A small `{label['task']}` model ({', '.join(label['labels'])}), distilled from "
        f"{teachers} by {label['producer']}, batch `{label['batch'][:12]}`.",
        "",
        *card_lines(label["rights"]["duties"]),
        "",
        "## Strength",
        "",
        "Measured on held-out documents with gold labels; the shipped artifact is what was measured.",
        "",
        "| | accuracy |",
        "|---|---|",
        f"| teacher | {strength['teacher']['accuracy']:.3f} |",
        f"| student, float32 | {strength['student']['accuracy']:.3f} |",
        f"| **shipped: `{label['shipped']['file']}`** | **{strength['exported']['accuracy']:.3f}** |",
        "",
        f"- Student − teacher: {100 * kept['difference']:+.1f} points, one-sided 95 % lower bound "
        f"{100 * kept['difference_lower_95']:+.1f}, n = {kept['n']}.",
        f"- Retention: {retention_words(kept)}.",
        f"- Speed on the machine that made it: {speed_words(strength['speed'])}.",
        f"- Size: {size_words(strength['size'])}.",
        f"- Gold labels used in training: {label['gold_labels_used_in_training']}.",
        "",
        "The interval is conditional on this one training run.",
        "",
        "## Use",
        "",
        "```python",
        "from transformers import pipeline",
        f'classify = pipeline("{label["task"]}", model="bottle")',
        'print(classify("your text"))',
        "```",
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
    lines += [
        "",
        *_cut_lines(label["cuts"]),
        "",
        "## Rights",
        "",
        "| what | from | license | verdict | document |",
        "|---|---|---|---|---|",
        *(_rights_line(row) for row in label["rights"]["subjects"]),
        "",
        *(
            f"- Duty for {', '.join(dict.fromkeys(row['subjects']))}: {row['words']} ({row['terms']}, {row['clause']})."
            for row in label["rights"]["duties"]
        ),
        *(f"- Note: {note}." for row in label["rights"]["subjects"] for note in row["warnings"]),
        "",
        "NOTICE names everything this model was made from; `licenses/` holds the texts that go with it.",
    ]
    statement = label["rights"]["statement"]
    if statement:
        backed = f" ({statement['reference']})" if statement["reference"] else ""
        lines += ["", f"Statement by {statement['who']}, {statement['when']}: {statement['why']}{backed}"]
    lines += ["", f"Declared use: {use_words(label['rights'])}. {label['rights']['disclaimer']}"]
    if label["warnings"]:
        lines += ["", "## Warnings", "", *(f"- {warning}" for warning in label["warnings"])]
    return "\n".join(lines) + "\n"


def speed_words(speed: dict[str, Any]) -> str:
    """The student's speed beside the teacher's, which is not known of a model behind an endpoint."""
    if speed["teacher_per_s"] is None:
        return f"{speed['student_per_s']:.0f} texts/s, the teacher's was not measured"
    return f"{speed['student_per_s']:.0f} texts/s, teacher {speed['teacher_per_s']:.1f} ({speed['ratio']:.0f}×)"


def size_words(size: dict[str, Any]) -> str:
    """The student's size beside the teacher's, as far as that is known."""
    teacher = "not known" if size["teacher_bytes"] is None else f"{size['teacher_bytes'] / 1e6:.1f} MB"
    return f"{size['student_bytes'] / 1e6:.1f} MB, teacher {teacher}"


def use_words(rights: dict[str, Any]) -> str:
    """The declared use in plain words."""
    where = f", in {', '.join(rights['regions'])}" if rights["regions"] else ""
    return f"{rights['use']}, {'commercial' if rights['commercial'] else 'not commercial'}{where}"


def _rights_line(row: dict[str, Any]) -> str:
    lifted = f" (was {row['lifted_from']}, lifted by {row['lifted_by']})" if row["lifted_by"] else ""
    documents = "; ".join(
        f"{one['title']}, {one['dated'] or 'undated'}, read {one['read']}" for one in row["documents"]
    )
    return (
        f"| {row['role']} `{row['name']}` | `{row['address']}` | {row['license']} | {row['verdict']}{lifted} | "
        f"{documents or 'none'} |"
    )


def retention_words(kept: dict[str, Any]) -> str:
    """Retention as a ratio, plain and corrected for chance, or why there is none."""
    if kept["ratio"] is None or kept["chance_corrected"] is None:
        return str(kept["not_certified"])
    return f"{kept['ratio']:.3f} of the teacher's accuracy, {kept['chance_corrected']:.3f} corrected for chance"


def _cut_lines(cut_counts: dict[str, dict[str, int]]) -> list[str]:
    found = [
        f"- Cut ({kind}): {number} × {reason}"
        for kind, reasons in cut_counts.items()
        for reason, number in reasons.items()
    ]
    return found or ["- Nothing was cut."]

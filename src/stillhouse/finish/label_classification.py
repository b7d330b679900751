"""What the label of a classifier adds: its labels, its accuracy beside the teacher's, its speed and size."""

from __future__ import annotations

from pathlib import PurePosixPath
from typing import Any

from stillhouse.finish.label import CardParts
from stillhouse.recipe.classification import Classification


def own_fields(
    recipe: Classification, abstain: dict[str, Any] | None, stages: dict[str, dict[str, Any]]
) -> dict[str, Any]:
    """The label's fields that only a classifier has. abstain: when it passes on to its teacher."""
    return {
        "labels": list(recipe.labels),
        "gold_labels_used_in_training": stages["distill"]["gold_labels_used"],
        "gold_labels_used_for_cuts": stages["cuts"]["calibration_labels_used"] if "cuts" in stages else 0,
        "calibration": recipe.ferment.calibration.kind,
        "abstain": abstain,
    }


def card_parts(label: dict[str, Any]) -> CardParts:
    """The card's parts that only a classifier has."""
    strength = label["strength"]
    kept = strength["retention"]
    return CardParts(
        intro=f"`{label['task']}` model ({', '.join(label['labels'])})",
        metrics=[{"type": "accuracy", "value": round(strength["exported"]["accuracy"], 4)}],
        strength=[
            "Measured on held-out documents with gold labels; the shipped artifact is what was measured.",
            "",
            "| | accuracy | 95 % interval |",
            "|---|---|---|",
            *(_compared(one, label["shipped"]["file"]) for one in strength["compared"]),
            "",
            f"- Student − teacher: {100 * kept['difference']:+.1f} points, one-sided 95 % lower bound "
            f"{100 * kept['difference_lower_95']:+.1f}, n = {kept['n']}.",
            f"- Retention: {retention_words(kept)}.",
            f"- Speed on the machine that made it: {speed_words(strength['speed'])}.",
            f"- Size: {size_words(strength['size'])}.",
            *_gold_equivalent(strength["gold_equivalent"]["reading"]),
            f"- Gold labels used in training: {label['gold_labels_used_in_training']}.",
            *([f"- Abstaining: {abstain_words(label['abstain'])}."] if label.get("abstain") else []),
            "",
            *_family(strength["family"]),
        ],
        use={
            "`transformers`": [
                "from transformers import pipeline",
                f'classify = pipeline("{label["task"]}", model="bottle")',
                f'print(classify("your text", truncation=True, max_length={label["shipped"]["max_length"]}))',
            ],
            f"`onnxruntime` and `tokenizers` ({label['shipped']['artifact']}, what was measured)": [
                "import json, numpy as np, onnxruntime, tokenizers",
                'tokenizer = tokenizers.Tokenizer.from_file("bottle/tokenizer.json")',
                f"tokenizer.enable_truncation({label['shipped']['max_length']})",
                'encoded = tokenizer.encode("your text")',
                'feed = {"input_ids": np.array([encoded.ids]), "attention_mask": np.array([encoded.attention_mask])}',
                f'session = onnxruntime.InferenceSession("bottle/{label["shipped"]["file"]}")',
                'logits = session.run(["logits"], feed)[0][0]',
                'names = json.load(open("bottle/config.json", encoding="utf-8"))["id2label"]',
                "shares = np.exp(logits - logits.max())",
                "print(names[str(logits.argmax())], shares / shares.sum())",
            ],
        },
        browser=[
            f'const classify = await pipeline("{label["task"]}", "bottle", {_in_browser(label["shipped"]["file"])});',
            'console.log(await classify("your text"));',
        ],
    )


def _in_browser(file: str) -> str:
    """Options by which transformers.js opens ``onnx/…``: it goes by names, and has none for a mixed file."""
    name = PurePosixPath(file).stem
    known = {"model": "fp32", "model_int8": "int8"}
    return f'{{ dtype: "{known[name]}" }}' if name in known else f'{{ dtype: "fp32", model_file_name: "{name}" }}'


def _gold_equivalent(reading: str) -> list[str]:
    """What the teacher's labels are worth, where controls on gold labels were trained."""
    if reading == "not measured":
        return []
    return [f"- The same student reaches this accuracy with gold labels instead of the teacher's: {reading}."]


def _compared(one: dict[str, Any], file: str) -> str:
    """A row of the table of models on the same test documents; what ships stands out."""
    interval = "" if one["lower"] is None else f"{one['lower']:.3f} – {one['upper']:.3f}"
    if one["what"] == "shipped":
        return f"| **shipped: `{file}`** | **{one['accuracy']:.3f}** | {interval} |"
    return f"| {one['what']} | {one['accuracy']:.3f} | {interval} |"


def _family(members: list[dict[str, Any]]) -> list[str]:
    """All forms of the student that were made; only one of them ships."""
    lines = [
        "| form | MB | texts/s | one at a time/s | accuracy | student − teacher, lower bound |",
        "|---|---|---|---|---|---|",
    ]
    for one in members:
        speeds = (one["texts_per_s"], one["one_at_a_time_per_s"])
        said = " | ".join("" if speed is None else f"{speed:,.0f}" for speed in speeds)
        refused = "" if one["passed"] else " (refused)"
        lines.append(
            f"| {one['artifact']}{refused} | {one['bytes'] / 1e6:.1f} | {said} | {one['accuracy']:.3f} | "
            f"{100 * one['difference_lower_95']:+.1f} points |"
        )
    return lines


def abstain_words(found: dict[str, Any]) -> str:
    """When it passes on to its teacher, and what that comes to on the test split."""
    if found["bound"] is None:
        return str(found["why"])
    parts = [f"below a probability of {found['threshold']:.3f} it passes on; {found['why']}"]
    if found["coverage"]:
        parts.append(f"on test documents it answers {100 * found['coverage']['value']:.0f} %")
    if found["agreement"]:
        parts.append(f"and agrees with the teacher on {100 * found['agreement']['value']:.1f} % of those")
    return ", ".join(parts)


def strength_rows(label: dict[str, Any]) -> list[tuple[str, str]]:
    """What was measured, as names and words for a terminal."""
    strength, kept = label["strength"], label["strength"]["retention"]
    return [
        (
            "accuracy",
            f"teacher {strength['teacher']['accuracy']:.3f} · student {strength['student']['accuracy']:.3f} · "
            f"shipped {strength['exported']['accuracy']:.3f} ({label['shipped']['artifact']})",
        ),
        ("baselines", " · ".join(f"{name} {value:.3f}" for name, value in strength["baselines"].items())),
        (
            "student − teacher",
            f"{100 * kept['difference']:+.1f} points, lower 95 % bound "
            f"{100 * kept['difference_lower_95']:+.1f} (n = {kept['n']})",
        ),
        ("retention", retention_words(kept)),
        ("equals gold labels", strength["gold_equivalent"]["reading"]),
        ("speed", speed_words(strength["speed"])),
        ("size", size_words(strength["size"])),
        ("int8 gate", strength["int8"]),
        *([("abstaining", abstain_words(label["abstain"]))] if label.get("abstain") else []),
        ("gold labels in training", str(label["gold_labels_used_in_training"])),
    ]


def speed_words(speed: dict[str, Any]) -> str:
    """The student's speed beside the teacher's, which is not known of a model behind an endpoint."""
    if speed["teacher_per_s"] is None:
        return f"{speed['student_per_s']:.0f} texts/s, the teacher's was not measured"
    return f"{speed['student_per_s']:.0f} texts/s, teacher {speed['teacher_per_s']:.1f} ({speed['ratio']:.0f}×)"


def size_words(size: dict[str, Any]) -> str:
    """The student's size beside the teacher's, as far as that is known."""
    teacher = "not known" if size["teacher_bytes"] is None else f"{size['teacher_bytes'] / 1e6:.1f} MB"
    return f"{size['student_bytes'] / 1e6:.1f} MB, teacher {teacher}"


def retention_words(kept: dict[str, Any]) -> str:
    """Retention as a ratio, plain and corrected for chance, each with its bound, or why there is none."""
    if kept["ratio"] is None or kept["chance_corrected"] is None:
        return str(kept["not_certified"])

    def bounded(name: str) -> str:
        lower = kept.get(f"{name}_lower_95")  # labels of before have none
        return f"{kept[name]:.3f}" + ("" if lower is None else f" (one-sided 95 % lower bound {lower:.3f})")

    return f"{bounded('ratio')} of the teacher's accuracy, {bounded('chance_corrected')} corrected for chance"

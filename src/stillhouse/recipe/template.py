"""The recipe that ``stillhouse new`` writes: short, commented, and valid as it stands."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

from stillhouse.errors import StillhouseError
from stillhouse.recipe.load import load_recipe


def write_recipe(
    path: Path, *, task: str, data: str, labels: Sequence[str], teacher: str, base: str, text: str, label: str | None
) -> None:
    """Write a recipe and read it back; raises :class:`StillhouseError` when a file is already there.

    labels: of a classifier. label: the column of gold labels, which a classifier needs in its test split.
    """
    if path.exists():
        raise StillhouseError("the file already exists", where=str(path), fix="choose another name, or remove it")
    if (task == "text-classification") != bool(labels):
        raise StillhouseError(
            f"a recipe for {task} has {'no labels' if labels else 'labels'}",
            where="--labels",
            fix="leave them out" if labels else "name them, separated by commas; or give --task text-generation",
        )
    name = "".join(letter if letter.isalnum() or letter in "._-" else "-" for letter in path.stem).lstrip("._-")
    head = [f"name: {name or 'recipe'}", f"task: {task}"]
    stages = _classifier(labels, teacher, base) if labels else _writer(teacher, base)
    if labels:
        head.append(f"labels: [{', '.join(map(_quoted, labels))}]")
        gold = f"        label: {_quoted(label or 'label')}   # gold, for the test split only"
    elif label:
        gold = f"        label: {_quoted(label)}   # gold, against which `ferment.answers.verify` checks answers"
    else:
        gold = "        # label: answer   # gold, against which `ferment.answers.verify` checks answers"
    lines = [*head, "", *_RIGHTS, "", *_raw(data, text, gold, test=500 if labels else 200), "", *stages, ""]
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("\n".join(lines), encoding="utf-8")
    try:
        load_recipe(path)
    except StillhouseError:
        path.unlink()
        raise


_RIGHTS = [
    "rights:",
    "  use: internal            # internal, served or distributed",
    "  commercial: true",
    "  # statement:             # lifts an unknown verdict, and is printed on the label",
    "  #   who: …",
    "  #   when: 2026-01-31",
    "  #   why: …",
    "  #   covers: [mine]",
]


def _raw(data: str, text: str, gold: str, *, test: int) -> list[str]:
    return [
        "raw:",
        "  sources:",
        "    - name: mine",
        f"      data: {_quoted(data)}",
        "      # license: CC-BY-4.0  # SPDX id, when you know it",
        "      # owner: our team     # or whose it is, where it is your own",
        "      columns:",
        f"        text: {_quoted(text)}",
        gold,
        f"  split: {{test: {test}, validation: {2 * test // 5}}}",
    ]


def _classifier(labels: Sequence[str], teacher: str, base: str) -> list[str]:
    return [
        *_local(teacher),
        "  prompt:",
        '    question: "Text: {text}\\nLabel:"',
        '    answer: " {label}"',
        '    examples: []           # two to eight, like: - {text: "…", label: …}',
        "  calibration: {kind: matched}   # add `prior:` when you know the shares of the labels",
        "",
        *_cut_from(base),
        "    keep: 3",
        "    # license: Apache-2.0",
    ]


def _writer(teacher: str, base: str) -> list[str]:
    return [
        *_local(teacher),
        "  answers: {kind: ask, max_tokens: 256, temperature: 0.7}   # or {kind: given}: your data hold the answers",
        "  distributions: {form: sparse}   # what the teacher thought of each token; none: learn the answers alone",
        "",
        *_cut_from(base),
        "    keep: 12               # of the base's layers; the fewer, the faster and the worse",
        "    by: kl                 # those whose removal alone would change the answers most",
        "    # license: Apache-2.0",
        "  train: {epochs: 1, learning_rate: 3.0e-4}",
        "",
        "controls: [ce, untrained]  # the same student without its teacher: what distillation has to beat",
    ]


def _local(teacher: str) -> list[str]:
    model = f"    model: {_quoted(teacher)}"
    return ["ferment:", "  teacher:", "    kind: local", model, "    # license: Apache-2.0"]


def _cut_from(base: str) -> list[str]:
    return ["distill:", "  student:", "    kind: keep-layers", f"    base: {_quoted(base)}"]


def _quoted(text: str) -> str:
    return json.dumps(text, ensure_ascii=False)

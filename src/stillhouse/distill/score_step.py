"""What the step `scores` of every task does alike: classifiers that a recipe names, looked at early and asked."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from stillhouse.addresses import peek, resolve
from stillhouse.distill.scores import Floats
from stillhouse.errors import Problem, StillhouseError
from stillhouse.recipe.cuts import AnyHead
from stillhouse.student import load_classifier, predict_proba
from stillhouse.workplace import Places


def check_classifiers(heads: Sequence[AnyHead], cache: Path, base: Path) -> list[Problem]:
    """Classifiers that are already here have to be model folders; their labels are looked at when they are loaded."""
    problems: list[Problem] = []
    for place, head in enumerate(heads):
        if head.model is None or head.score != "classifier":
            continue
        try:
            files = peek(head.model, cache=cache, base=base)
            config = next((path for path in files.files if path.name == "config.json"), None) if files else None
            if files is not None and config is None:
                raise StillhouseError(
                    "there is no config.json among the files",
                    where=f"distill.cuts.heads.{place}.model: {files.address}",
                    fix="point the address at the folder of a text classifier",
                )
        except StillhouseError as error:
            problems += error.problems
    return problems


def classified(head: AnyHead, texts: Sequence[str], places: Places) -> Floats:
    """The probability (N,) of the label that the head names, by the classifier that it names."""
    assert head.model is not None  # noqa: S101 - the recipe asks for one
    files = resolve(head.model, cache=places.cache, base=places.base)
    folder = next(path for path in files.files if path.name == "config.json").parent
    model, tokenizer = load_classifier(folder)
    names = {str(name): int(number) for number, name in model.config.id2label.items()}
    if head.label not in names:
        raise StillhouseError(
            f"the classifier has no label {head.label!r}, it has {', '.join(names)}",
            where=f"distill.cuts.heads: {head.title}",
            fix="name one of them as `label`",
        )
    return np.asarray(predict_proba(model, tokenizer, list(texts))[:, names[head.label]], dtype=np.float64)

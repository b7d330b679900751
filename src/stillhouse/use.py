"""Using what a run made: open a bottle, label or answer a file, taste teacher and student side by side.

bottle = open_bottle(Path("runs/quickstart/4-finish/bottle"))
bottle.predict(["a fine film"])
predict_file(Path("…/bottle"), Path("texts.jsonl"), output=Path("labelled.jsonl"))
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TextIO

import yaml

from stillhouse.answers import AnswerStore
from stillhouse.errors import StillhouseError
from stillhouse.ferment.asking import Asker
from stillhouse.ferment.calibration import apply_bias
from stillhouse.ferment.stage_classification import ask_teacher, open_asker
from stillhouse.finish.bottle import Bottle, Messages, inspect_bottle, sign_bottle, verify_bottle
from stillhouse.finish.provenance import AskUnseen, Inspection, PrivateKey, PublicKey, make_pair
from stillhouse.raw.sources import Row, read
from stillhouse.recipe import Classification, Generation, Recipe, parse_recipe
from stillhouse.recipe.classification import as_classification
from stillhouse.recipe.generation import Ask
from stillhouse.recipe.teachers import LocalTeacher
from stillhouse.signals import ClassProbs
from stillhouse.store import read_sealed
from stillhouse.workplace import FOLDERS, Progress, silent

__all__ = [
    "Bottle",
    "ChatTasting",
    "Labelled",
    "Said",
    "Tasting",
    "check_bottle",
    "open_bottle",
    "predict_file",
    "sign",
    "taste",
    "verify_bottle",
]


def open_bottle(folder: Path) -> Bottle:
    """Open a bottle whose files are as they were sealed; raises :class:`StillhouseError` otherwise."""
    problems = verify_bottle(folder)
    if problems:
        raise StillhouseError(
            "the bottle is not as it was sealed: " + "; ".join(problems),
            where=str(folder),
            fix="take it again from where it was made",
        )
    return Bottle.open(folder)


def check_bottle(folder: Path, *, key: Path | None = None, in_repository: bool = False) -> Inspection:
    """What is wrong with a bottle, and who signed it. key: the maker's public key (PEM), whose signature is demanded.

    in_repository: the bottle is a checkout of git or of a model host, whose own files at the top do not count.
    """
    public = PublicKey.read(key) if key is not None else None
    return inspect_bottle(folder, key=public, in_repository=in_repository)


def sign(folder: Path, key: Path, *, ask: AskUnseen, new_key: bool = False, again: bool = False) -> PublicKey:
    """Sign a bottle with the private key at ``key`` (PEM), or with a new one that is put there; gives its public half.

    ask: shows a prompt and gives the passphrase that was typed unseen. again: replace the signature that is there.
    """
    if folder.resolve() in key.resolve().parents:
        raise StillhouseError("a private key must not lie in the bottle", where=str(key), fix="keep it elsewhere")
    private = make_pair(key, ask=ask) if new_key else PrivateKey.read(key, ask=ask)
    sign_bottle(folder, private, again=again)
    return private.public


@dataclass(frozen=True)
class Labelled:
    """How many rows of a file were labelled or answered, and how many could not be read or asked."""

    labelled: int
    failed: int


def predict_file(
    bottle: Path,
    file: Path,
    *,
    text: str,
    output: TextIO,
    batch_size: int = 32,
    progress: Progress | None = None,
) -> Labelled:
    """Label every row of ``file``, or answer it, and write one JSON object a row to ``output``, in the file's order.

    A row that cannot be read, or has no text, becomes an object with ``error`` in its place.
    """
    opened = open_bottle(bottle)
    labelled = failed = 0
    for chunk in _chunks(file, text, batch_size * 32):
        texts = [said for _, said, error in chunk if error is None]
        found = iter(opened.records(texts, batch_size=batch_size))
        for origin, said, error in chunk:
            record: dict[str, object] = {"origin": origin, "error": error}
            if error is None:
                record = {"origin": origin, "text": said, **next(found)}
            failed, labelled = failed + ("error" in record), labelled + ("error" not in record)
            output.write(json.dumps(record, ensure_ascii=False) + "\n")
        if progress:
            progress("asking the bottle", labelled + failed, 0)
    return Labelled(labelled, failed)


def _chunks(file: Path, column: str, size: int) -> Iterator[list[tuple[str, str | Messages, str | None]]]:
    chunk: list[tuple[str, str | Messages, str | None]] = []
    if not file.exists():
        raise StillhouseError("the file does not exist", where=str(file), fix="check the path")
    for row in read([file], name=file.name, format="auto"):
        if isinstance(row, Row):
            if column not in row.values:
                raise StillhouseError(
                    f"there is no column {column!r}; the file has {', '.join(row.values)}",
                    where=row.origin,
                    fix="name the column with --text",
                )
            value = row.values[column]
            empty = value is None or not str(value).strip()
            said = value if isinstance(value, list) else str(value)  # a conversation stays one
            chunk.append((row.origin, said, "no text" if empty else None))
        else:
            chunk.append((row.origin, "", row.reason))
        if len(chunk) == size:
            yield chunk
            chunk = []
    if chunk:
        yield chunk


Said = tuple[str, float] | str  # a label with its probability, or an answer


@dataclass(frozen=True)
class Tasting:
    """A finished run's teachers and classifier, ready to be asked the same thing."""

    recipe: Classification
    askers: tuple[Asker, ...]
    signal: ClassProbs
    bottle: Bottle

    @classmethod
    def open(cls, run_folder: Path) -> Tasting:
        """Load both; the recipe is the one that the run keeps. Relative addresses start at the working directory."""
        found, base = _recipe_of(run_folder)
        recipe = as_classification(found, "this tasting")
        cache, answers = Path(recipe.paths.cache), Path(recipe.paths.answers)
        return cls(
            recipe,
            tuple(open_asker(one, cache=cache, base=base, answers=answers) for one in recipe.ferment.teachers),
            ClassProbs.read(run_folder / FOLDERS["ferment"]),
            open_bottle(run_folder / FOLDERS["finish"] / "bottle"),
        )

    def ask(self, text: str) -> dict[str, Said]:
        """The calibrated answer of the teachers and the answer of the shipped student: label and probability.

        What the teachers say is kept in the answer store, like any answer.
        """
        import numpy as np

        labels, found = self.signal.labels, []
        with AnswerStore(Path(self.recipe.paths.answers)) as store:
            for asker, header in zip(self.askers, self.signal.header["teachers"], strict=True):
                captured, _ = ask_teacher(self.recipe, asker, [text], store, silent)
                if captured.failures:
                    raise StillhouseError(
                        captured.failures[0].reason, where="the text", fix="type another one, or a shorter one"
                    )
                found.append(apply_bias(captured.log_probs, np.array(header["bias"]))[0])
        probs = np.mean(found, axis=0)
        best = int(probs.argmax())
        return {"teacher": (labels[best], float(probs[best])), "student": self.bottle.predict([text])[0]}


@dataclass(frozen=True)
class ChatTasting:
    """A finished run's teacher, where it runs here, and its student that writes, ready to be asked the same thing."""

    recipe: Generation
    teacher: Any
    bottle: Bottle

    @classmethod
    def open(cls, run_folder: Path) -> ChatTasting:
        """Load both. Of a teacher behind an endpoint, each answer of which is paid for, nothing is asked here."""
        from stillhouse.finish.generation.speaker import Speaker
        from stillhouse.recipe.bind import load_teacher

        recipe, base = _recipe_of(run_folder)
        if not isinstance(recipe, Generation):
            raise StillhouseError("this run made no model that writes", where=str(run_folder), fix="use Tasting.open")
        section, speaker = recipe.ferment.teacher, None
        if isinstance(section, LocalTeacher):
            teacher: Any = load_teacher(section, cache=Path(recipe.paths.cache), base=base)
            speaker = Speaker.of("teacher", teacher.model, teacher.tokenizer, asked_by_template=True)
        return cls(recipe, speaker, open_bottle(run_folder / FOLDERS["finish"] / "bottle"))

    def ask(self, text: str) -> dict[str, Said]:
        """The greedy answers of both; the recipe's system message goes to both."""
        from stillhouse.finish.bottle_generation import messages_of
        from stillhouse.finish.generation.answers import answer_each

        answers = self.recipe.ferment.answers
        system = answers.system if isinstance(answers, Ask) else ""
        most = self.recipe.finish.evaluate.max_tokens
        found: dict[str, Said] = {}
        if self.teacher is not None:
            chat = messages_of(text, system) if self.teacher.template else text
            found["teacher"] = answer_each(self.teacher, [chat], max_tokens=most)[0].text
        found["student"] = self.bottle.answer([text], max_tokens=most, system=system)[0].text
        return found


def _recipe_of(run_folder: Path) -> tuple[Recipe, Path]:
    """The recipe that a finished run keeps, and the folder that its relative addresses start from."""
    lock = run_folder / "recipe.lock.yaml"
    if not lock.is_file() or read_sealed(run_folder, FOLDERS["finish"], verify=False) is None:
        raise StillhouseError(
            "this is no finished run",
            where=str(run_folder),
            fix="run its recipe with `stillhouse run` first",
        )
    recipe = parse_recipe(yaml.safe_load(lock.read_text("utf-8")), file=str(lock))
    return recipe, Path((run_folder / "recipe.base").read_text("utf-8"))


def taste(run_folder: Path) -> Tasting | ChatTasting:
    """Open a finished run's teacher and student; ``.ask(text)`` gives both answers."""
    recipe, _ = _recipe_of(run_folder)
    return ChatTasting.open(run_folder) if isinstance(recipe, Generation) else Tasting.open(run_folder)

"""Using what a run made: open a bottle, label or answer a file, taste teacher and student side by side.

bottle = open_bottle(Path("runs/quickstart/4-finish/bottle"))
bottle.predict(["a fine film"])
predict_file(Path("…/bottle"), Path("texts.jsonl"), text="text", output=stream)
bottle.predict(["a fine film"], teacher=TeacherAtHand.open(Path("runs/quickstart")).ask)
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, TextIO

import numpy as np
import numpy.typing as npt
import yaml

from stillhouse.answers import AnswerStore
from stillhouse.errors import StillhouseError
from stillhouse.ferment.asking import Asker
from stillhouse.ferment.stage_classification import ask_teacher, open_asker
from stillhouse.finish.bottle import Bottle, Messages, inspect_bottle, sign_bottle, verify_bottle
from stillhouse.finish.provenance import AskUnseen, Inspection, PrivateKey, PublicKey, make_pair
from stillhouse.raw.sources import Row, read
from stillhouse.recipe import Classification, Generation, Recipe, load_recipe, parse_recipe
from stillhouse.recipe.classification import as_classification
from stillhouse.recipe.generation import Ask
from stillhouse.recipe.teachers import LocalTeacher
from stillhouse.signals import ClassProbs, apply_bias
from stillhouse.store import read_sealed
from stillhouse.workplace import FOLDERS, Progress, silent

__all__ = [
    "Bottle",
    "ChatTasting",
    "Labelled",
    "Said",
    "Tasting",
    "TeacherAtHand",
    "check_bottle",
    "open_bottle",
    "predict_file",
    "sign",
    "taste",
    "verify_bottle",
]


def open_bottle(folder: Path | str) -> Bottle:
    """Open a bottle whose files are as they were sealed; raises :class:`StillhouseError` otherwise."""
    folder = Path(folder)
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
    cascade: Path | None = None,
) -> Labelled:
    """Label every row of ``file``, or answer it, and write one JSON object a row to ``output``, in the file's order.

    A row that cannot be read, or has no text, becomes an object with ``error`` in its place. cascade: run folder or
    recipe whose teacher is asked about the texts that the student passes on; without it no teacher is asked, and such
    a row only says ``abstained``.
    """
    opened = open_bottle(bottle)
    teacher = None
    if cascade is not None:
        at_hand = TeacherAtHand.open(cascade)
        at_hand.check(opened)
        teacher = at_hand.ask
    labelled = failed = 0
    for chunk in _chunks(file, text, batch_size * 32):
        texts = [said for _, said, error in chunk if error is None]
        found = iter(opened.records(texts, batch_size=batch_size, teacher=teacher))
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
class TeacherAtHand:
    """The teachers of a run that labels, ready to be asked about new texts, calibrated as they were for the run.

    biases: (K,) for each teacher. What they say is kept in the answer store, like any answer, and an API teacher's
    answers cost money, up to the spending that the recipe allows.
    """

    recipe: Classification
    askers: tuple[Asker, ...]
    biases: tuple[npt.NDArray[np.float64], ...]

    @classmethod
    def open(cls, place: Path) -> TeacherAtHand:
        """From a run folder, or from a recipe that has run as far as asking its teachers.

        Paths start at the working directory; raises :class:`StillhouseError` where there is no such run.
        """
        run_folder = place
        if place.is_file():
            asked = load_recipe(place)
            run_folder = Path(asked.paths.runs) / asked.name
        found, base = _recipe_of(run_folder, needed="ferment")
        recipe = as_classification(found, "passing on to a teacher")
        cache, answers = Path(recipe.paths.cache), Path(recipe.paths.answers)
        header = ClassProbs.read(run_folder / FOLDERS["ferment"]).header
        return cls(
            recipe,
            tuple(open_asker(one, cache=cache, base=base, answers=answers) for one in recipe.ferment.teachers),
            tuple(np.array(one["bias"], dtype=np.float64) for one in header["teachers"]),
        )

    def check(self, bottle: Bottle) -> None:
        """Raise :class:`StillhouseError` where the teachers know other labels than the bottle."""
        own, theirs = sorted(bottle.label.get("labels", [])), sorted(self.recipe.labels)
        if own != theirs:
            raise StillhouseError(
                f"the bottle's labels are {', '.join(own) or 'none'}, and the teacher's {', '.join(theirs)}",
                where=str(bottle.folder),
                fix="name the run that the bottle is from with --cascade",
            )

    def ask(self, texts: Sequence[str]) -> list[tuple[str, float] | str]:
        """The most probable label of each text with its probability, or why a teacher gave no usable answer."""
        total = np.zeros((len(texts), len(self.recipe.labels)))
        failed: dict[int, str] = {}
        with AnswerStore(Path(self.recipe.paths.answers)) as store:
            for asker, bias in zip(self.askers, self.biases, strict=True):
                captured, _ = ask_teacher(self.recipe, asker, list(texts), store, silent)
                failed |= {one.row: one.reason for one in captured.failures}
                total += apply_bias(captured.log_probs, bias)
        probs = total / len(self.askers)
        best = probs.argmax(axis=1)
        return [
            failed[row] if row in failed else (self.recipe.labels[best[row]], float(probs[row, best[row]]))
            for row in range(len(texts))
        ]


@dataclass(frozen=True)
class Tasting:
    """A finished run's teachers and classifier, ready to be asked the same thing."""

    teacher: TeacherAtHand
    bottle: Bottle

    @classmethod
    def open(cls, run_folder: Path) -> Tasting:
        """Load both; the recipe is the one that the run keeps. Relative addresses start at the working directory."""
        _recipe_of(run_folder)
        return cls(TeacherAtHand.open(run_folder), open_bottle(run_folder / FOLDERS["finish"] / "bottle"))

    def ask(self, text: str) -> dict[str, Said]:
        """The calibrated answer of the teachers and the answer of the shipped student: label and probability.

        What the teachers say is kept in the answer store, like any answer.
        """
        (said,) = self.teacher.ask([text])
        if isinstance(said, str):
            raise StillhouseError(said, where="the text", fix="type another one, or a shorter one")
        return {"teacher": said, "student": self.bottle.predict([text])[0]}


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


def _recipe_of(run_folder: Path, *, needed: Literal["ferment", "finish"] = "finish") -> tuple[Recipe, Path]:
    """The recipe that a run keeps which came as far as is ``needed``, and where its relative addresses start from."""
    lock = run_folder / "recipe.lock.yaml"
    if not lock.is_file() or read_sealed(run_folder, FOLDERS[needed], verify=False) is None:
        raise StillhouseError(
            "this is no finished run" if needed == "finish" else "this is no run that has asked its teacher",
            where=str(run_folder),
            fix="run its recipe with `stillhouse run` first",
        )
    recipe = parse_recipe(yaml.safe_load(lock.read_text("utf-8")), file=str(lock))
    return recipe, Path((run_folder / "recipe.base").read_text("utf-8"))


def taste(run_folder: Path) -> Tasting | ChatTasting:
    """Open a finished run's teacher and student; ``.ask(text)`` gives both answers."""
    recipe, _ = _recipe_of(run_folder)
    return ChatTasting.open(run_folder) if isinstance(recipe, Generation) else Tasting.open(run_folder)

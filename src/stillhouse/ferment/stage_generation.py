"""Stage 2 for language models: the teacher answers, and what it thought of each token of the answers is stored.

Reads ``1-raw``; writes ``signals/text.parquet`` (answers, where the teacher is asked), ``signals/token_dist/`` (where
distributions are stored) and ``failures.parquet``. Answers live in the answer store, distributions beside it, so that a
run that is killed or changed asks for nothing twice.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any, cast

from stillhouse import documents
from stillhouse.addresses import peek
from stillhouse.answers import AnswerStore
from stillhouse.cuts import Balance
from stillhouse.device import cpu_threads
from stillhouse.errors import Problem, StillhouseError
from stillhouse.ferment.failures import Failure, refuse_missing, write_failures
from stillhouse.ferment.storing import Stored, sequences_of, store_distributions
from stillhouse.ferment.traces import judge
from stillhouse.ferment.writing import Question, Unanswered, Written, write_by_api, write_here
from stillhouse.recipe.bind import endpoint_of, load_teacher, new_client
from stillhouse.recipe.generation import Ask, Generation
from stillhouse.recipe.rights import teacher_address
from stillhouse.recipe.teachers import ApiTeacher
from stillhouse.signals import Header, Text, TextAnswer
from stillhouse.store import digest_of, reached
from stillhouse.teachers import LocalTeacher as LoadedTeacher
from stillhouse.teachers import check_files
from stillhouse.teachers.api import Checks
from stillhouse.teachers.capabilities import has_template, require
from stillhouse.teachers.drawing import Sampling
from stillhouse.teachers.sequences import asked
from stillhouse.verifiers import Verdict, Verifier, by_name
from stillhouse.workplace import Places, Progress, StageResult

VERSION = 1
LIBRARIES = ("torch", "transformers", "numpy", "pyarrow")

_NEED_GOLD = ("exact", "mentions", "numeric")

Documents = Sequence[Mapping[str, Any]]


def check(recipe: Generation, cache: Path, base: Path) -> list[Problem]:
    """What can be said of the teacher before any work: of its files, if they are already here, or of its endpoint."""
    section, answers = recipe.ferment.teacher, recipe.ferment.answers
    problems: list[Problem] = []
    try:
        if isinstance(section, ApiTeacher):
            new_client(section, Checks())  # its address, key, budget and prices
            problems += _check_endpoint(recipe, section)
        elif (files := peek(section.model, cache=cache, base=base)) is not None:
            check_files(files)
            require(files, "text", what="a text generator")
            if isinstance(answers, Ask) and has_template(files) is False:
                problems.append(
                    Problem(
                        "the teacher's tokenizer has no chat template, so that nothing says how it is asked",
                        f"ferment.teacher.model: {files.address}",
                        "take an instruction-tuned model, put a chat_template.jinja into its folder, or learn texts as"
                        " they stand with `ferment.answers.kind: given`",
                    )
                )
        if isinstance(answers, Ask):
            _sampling(answers)
            if answers.verify:
                by_name(answers.verify, **answers.verify_with)
            if answers.verify in _NEED_GOLD and not any(source.columns.label for source in recipe.raw.sources):
                problems.append(
                    Problem(
                        "answers are to be compared with a gold label, and no source has one",
                        "ferment.answers.verify",
                        "name the column in `raw.sources.*.columns.label`, or leave `verify` out",
                    )
                )
    except TypeError as error:
        problems.append(Problem(str(error), "ferment.answers.verify_with", "see `docs/recipe.md` for its options"))
    except StillhouseError as error:
        problems += error.problems
    return problems


def _check_endpoint(recipe: Generation, section: ApiTeacher) -> list[Problem]:
    """What an endpoint cannot do."""
    wrong = [
        (
            recipe.ferment.distributions.form != "none",
            "an endpoint gives answers, not the distributions that are to be stored",
            "ferment.distributions.form",
            "set it to none and learn with `distill.loss.name: cross-entropy`, or use a local teacher",
        ),
        (
            not isinstance(recipe.ferment.answers, Ask),
            "answers are given in the data, and an endpoint can add nothing to them",
            "ferment.answers.kind",
            "set it to ask, or use a local teacher",
        ),
        (
            section.protocol != "chat",
            "conversations go to an endpoint as messages, which only the chat call takes",
            "ferment.teacher.protocol",
            "set it to chat",
        ),
    ]
    return [Problem(*told) for holds, *told in wrong if holds]


def run(recipe: Generation, places: Places, progress: Progress) -> StageResult:
    """Run the stage into ``places.draft``."""
    rows = [row for split in documents.SPLITS for row in documents.read(places.sealed("raw"), split).to_pylist()]
    section, answers = recipe.ferment.teacher, recipe.ferment.answers
    loaded = None
    if not isinstance(section, ApiTeacher):
        loaded = cast(LoadedTeacher, load_teacher(section, cache=places.cache, base=places.base))
    failures: list[Unanswered] = []
    facts: dict[str, Any] = {}
    written: Written | None = None
    with cpu_threads(None if isinstance(section, ApiTeacher) else section.threads):
        if isinstance(answers, Ask):
            written, facts = _answer(recipe, answers, loaded, rows, places, progress)
            failures += written.failures
            lost = [one.reason for one in written.failures if one.lost]
            asked_for = len(rows) * answers.samples
            refuse_missing(lost, asked_for, allowed=recipe.ferment.missing, teacher=section.name)
        learnable, stored, unstored, more = _distributions(recipe, loaded, rows, written, places, progress)
        failures += unstored
        facts |= more
    if written is not None:
        told = {
            "teacher": _header(recipe, loaded) | {"address": teacher_address(section)},
            "answers": answers.model_dump(mode="json"),
        }
        Text(written.answers, told).write(places.draft)
    write_failures(places.draft, [Failure(one.id, section.name, one.reason, one.raw) for one in failures])
    have = {one.id for one in written.answers} if written is not None else learnable
    if have and stored is None and recipe.ferment.distributions.form != "none":
        raise StillhouseError(
            "no answer of the teacher holds text that could be learned from",
            where="ferment.answers",
            fix="see signals/text.parquet; take a teacher that answers, or allow longer answers with `max_tokens`",
        )
    if not have:
        raise StillhouseError(
            f"no document has an answer; the first reason: {failures[0].reason if failures else 'there are none'}",
            where="ferment",
            fix="see failures.parquet's reasons; check the teacher's files and the prompts' length",
        )
    reached("signals-written")
    balance = Balance(len(rows), len(have), 0, len(rows) - len(have)).check("2-ferment")
    summary = {
        **asdict(balance),
        "teachers": [{"name": section.name, "precision": loaded.placement.dtype if loaded else "the endpoint's"}],
        **_told(written, stored),
    }
    return StageResult(summary, facts)


def _sampling(answers: Ask) -> Sampling:
    return Sampling(
        max_new_tokens=answers.max_tokens,
        temperature=answers.temperature,
        top_p=answers.top_p,
        samples=answers.samples,
        seed=answers.seed,
        stop=answers.stop,
    )


def _answer(
    recipe: Generation,
    answers: Ask,
    loaded: LoadedTeacher | None,
    rows: Documents,
    places: Places,
    progress: Progress,
) -> tuple[Written, dict[str, Any]]:
    """The teacher's answers with their verdicts, and what happened this time."""
    questions = [Question(row["id"], asked(row, answers.system)) for row in rows]
    section, sampling, started = recipe.ferment.teacher, _sampling(answers), time.monotonic()

    def tick(done: int, total: int) -> None:
        progress("the teacher answers", done, total)

    with AnswerStore(places.answers) as store:
        if isinstance(section, ApiTeacher):
            client = new_client(section, Checks(rules={"cut off": "keep"}))
            written = write_by_api(
                endpoint_of(section),
                client,
                questions,
                sampling,
                store=store,
                name=section.name,
                batches=places.answers.parent / "batches" if section.batches else None,
                poll_seconds=section.pace.poll,
                progress=tick,
            )
        else:
            assert loaded is not None  # noqa: S101 - a local teacher is loaded
            written = write_here(
                loaded,
                questions,
                sampling,
                store=store,
                batch_tokens=section.batch_tokens,
                name=section.name,
                progress=tick,
            )
    facts = {
        "new_answers": written.new,
        "new_tokens": written.new_tokens,
        "answering_seconds": round(time.monotonic() - started, 3),
        **written.facts,
    }
    return _verified(written, answers, rows), facts


def _verified(written: Written, answers: Ask, rows: Documents) -> Written:
    if answers.verify is None:
        return written
    verify, gold = by_name(answers.verify, **answers.verify_with), {row["id"]: row["label"] for row in rows}
    judged: list[TextAnswer] = []
    for answer in written.answers:
        wanted = gold[answer.id]
        if verify(answer.answer, wanted).right is None:  # there is no gold, so that not even a cut-off answer is wrong
            judged.append(answer)
        else:
            judged += judge([answer], _against(verify, wanted))
    return Written(tuple(judged), written.failures, written.new, written.new_tokens, written.facts)


def _against(verify: Verifier, gold: str | None) -> Callable[[str], Verdict]:
    return lambda answer: verify(answer, gold)


def _header(recipe: Generation, loaded: LoadedTeacher | None) -> dict[str, Any]:
    section = recipe.ferment.teacher
    if loaded is None:
        assert isinstance(section, ApiTeacher)  # noqa: S101 - only those are not loaded
        return {"name": section.name, "identity": endpoint_of(section).identity()}
    return {"name": section.name, "identity": loaded.identity()}


def _distributions(
    recipe: Generation,
    loaded: LoadedTeacher | None,
    rows: Documents,
    written: Written | None,
    places: Places,
    progress: Progress,
) -> tuple[frozenset[str], Stored | None, list[Unanswered], dict[str, Any]]:
    """Distributions along every answer, or along what the documents hold, linked into the draft.

    Documents that can be learned from, what is stored, failures, and what happened this time.
    """
    section, answers = recipe.ferment.distributions, recipe.ferment.answers
    if loaded is None or (section.form == "none" and written is not None):
        return frozenset(), None, [], {}
    sequences, failures = sequences_of(
        loaded.tokenizer,
        rows,
        written.answers if written else None,
        context=loaded.context(),
        system=answers.system if isinstance(answers, Ask) else "",
        turns=recipe.distill.choose.turns,
    )
    if section.form == "none" or not sequences:
        return frozenset(sequences), None, failures, {}
    header = Header(
        teacher=digest_of(_header(recipe, loaded)),
        tokenizer=digest_of(loaded.tokenizer.backend_tokenizer.to_str()),
        template=digest_of(loaded.tokenizer.chat_template or ""),
        vocabulary=int(loaded.model.get_output_embeddings().weight.shape[0]),
        precision=loaded.placement.dtype,
        form=section.form,
        k=section.exact if section.form != "dense" else 0,
        m=section.m if section.form == "sparse" else 0,
        seed=0,
    )
    started = time.monotonic()
    stored = store_distributions(
        loaded.model,
        header,
        sequences,
        root=places.answers.parent / "distributions",
        draft=places.draft,
        progress=lambda done, total: progress("storing the teacher's distributions", done, total),
    )
    facts = {"new_rows": stored.new, "storing_seconds": round(time.monotonic() - started, 3)}
    return stored.documents, stored, [*failures, *stored.failures], facts


def _told(written: Written | None, stored: Stored | None) -> dict[str, Any]:
    """Counts for the manifest: the same on every run."""
    told: dict[str, Any] = {}
    if written is not None:
        answers = written.answers
        checked = [one.verified for one in answers if one.verified is not None]
        told = {
            "answers": len(answers),
            "answer_tokens": sum(one.answer_tokens for one in answers),
            "cut_off": sum(one.finish_reason == "length" for one in answers),
            "checked": len(checked),
            "right": sum(checked),
        }
    if stored is not None and stored.tokens:
        told |= {"stored_tokens": stored.tokens, "bytes_per_token": round(stored.bytes / stored.tokens, 3)}
    return told

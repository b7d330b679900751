"""Stage 2 for language models: the teacher answers, and what it thought of each token of the answers is stored.

Reads ``1-raw``; writes ``signals/text.parquet`` (answers, where the teacher is asked), ``signals/token_dist/`` (where
distributions are stored) and ``failures.parquet``. Answers live in the answer store, distributions beside it, so that a
run that is killed or changed asks for nothing twice.
"""

from __future__ import annotations

import time
from collections import Counter, defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, cast

import pyarrow as pa
import pyarrow.parquet as pq

from stillhouse import documents
from stillhouse.addresses import peek
from stillhouse.answers import AnswerStore
from stillhouse.cuts import Balance
from stillhouse.device import cpu_threads
from stillhouse.errors import Problem, StillhouseError
from stillhouse.ferment.distributions import capture_distributions
from stillhouse.ferment.traces import judge
from stillhouse.ferment.writing import Question, Unanswered, Written, write_by_api, write_here
from stillhouse.recipe.bind import endpoint_of, load_teacher, new_client
from stillhouse.recipe.generation import Ask, Generation
from stillhouse.recipe.rights import teacher_address
from stillhouse.recipe.teachers import ApiTeacher
from stillhouse.signals import Header, Text, TextAnswer, TokenDist, TokenDistWriter
from stillhouse.signals.token_dist import FOLDER
from stillhouse.store import digest_of, reached
from stillhouse.teachers import LocalTeacher as LoadedTeacher
from stillhouse.teachers import check_files
from stillhouse.teachers.api import Checks
from stillhouse.teachers.capabilities import require
from stillhouse.teachers.drawing import Sampling
from stillhouse.teachers.sequences import TokenSequence, asked, conversation, plain, said, shortened
from stillhouse.teachers.templates import ChatTemplate, RowError
from stillhouse.verifiers import Verdict, Verifier, by_name
from stillhouse.workplace import Places, Progress, StageResult

VERSION = 1
LIBRARIES = ("torch", "transformers", "numpy", "pyarrow")

Documents = Sequence[Mapping[str, Any]]


def check(recipe: Generation, cache: Path, base: Path) -> list[Problem]:
    """What can be said of the teacher before any work: of its files, if they are already here, or of its endpoint."""
    section, answers = recipe.ferment.teacher, recipe.ferment.answers
    problems: list[Problem] = []
    try:
        if isinstance(section, ApiTeacher):
            new_client(section, Checks())  # its address, key, budget and prices
            if recipe.ferment.distributions.form != "none":
                problems.append(
                    Problem(
                        "an endpoint gives answers, not the distributions that are to be stored",
                        "ferment.distributions.form",
                        "set it to none and learn with `distill.loss.name: cross-entropy`, or use a local teacher",
                    )
                )
            if not isinstance(answers, Ask):
                problems.append(
                    Problem(
                        "answers are given in the data, and an endpoint can add nothing to them",
                        "ferment.answers.kind",
                        "set it to ask, or use a local teacher",
                    )
                )
        elif (files := peek(section.model, cache=cache, base=base)) is not None:
            check_files(files)
            require(files, "text", what="a text generator")
        if isinstance(answers, Ask):
            _sampling(answers)
            if answers.verify:
                by_name(answers.verify, **answers.verify_with)
    except TypeError as error:
        problems.append(Problem(str(error), "ferment.answers.verify_with", "see `docs/recipe.md` for its options"))
    except StillhouseError as error:
        problems += error.problems
    return problems


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
            _refuse_missing(recipe, written, len(rows) * answers.samples)
        header = _header(recipe, loaded)
        stored, more, lost = _distributions(recipe, loaded, rows, written, header, places, progress)
        failures += lost
        facts |= more
    if written is not None:
        told = {"teacher": header | {"address": teacher_address(section)}, "answers": answers.model_dump(mode="json")}
        Text(written.answers, told).write(places.draft)
    _write_failures(places.draft, failures, section.name)
    have = {one.id for one in written.answers} if written is not None else stored.documents
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
                endpoint_of(section), client, questions, sampling, store=store, name=section.name, progress=tick
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


@dataclass(frozen=True)
class _Stored:
    """What is known of the stored distributions: documents, tokens and bytes."""

    documents: frozenset[str]
    tokens: int
    bytes: int


def _distributions(
    recipe: Generation,
    loaded: LoadedTeacher | None,
    rows: Documents,
    written: Written | None,
    identity: dict[str, Any],
    places: Places,
    progress: Progress,
) -> tuple[_Stored, dict[str, Any], list[Unanswered]]:
    """Distributions along every answer, or along what the documents hold, linked into the draft."""
    section = recipe.ferment.distributions
    if loaded is None or section.form == "none":
        return _Stored(frozenset(), 0, 0), {}, []
    sequences, failures = sequences_of(loaded.tokenizer, rows, written.answers if written else None, recipe)
    context = loaded.context()
    header = Header(
        teacher=digest_of(identity),
        tokenizer=digest_of(loaded.tokenizer.backend_tokenizer.to_str()),
        template=digest_of(loaded.tokenizer.chat_template or ""),
        vocabulary=int(loaded.model.get_output_embeddings().weight.shape[0]),
        precision=loaded.placement.dtype,
        form=section.form,
        k=section.exact if section.form != "dense" else 0,
        m=section.m if section.form == "sparse" else 0,
        seed=0,
    )
    wanted = {key: shortened(one, context) for key, one in sequences.items()}
    # a store of its own for each header and set of ids, which outlives this run as the answers do
    ids = digest_of([[key, list(one.ids), one.start] for key, one in sorted(wanted.items())])
    folder = places.answers.parent / "distributions" / digest_of([header.as_json(), ids])[:32]
    started = time.monotonic()
    by_start: dict[int, list[tuple[str, tuple[int, ...]]]] = defaultdict(list)
    for key, one in wanted.items():
        by_start[one.start].append((key, one.ids))
    done, total = 0, len(wanted)
    lost: list[Unanswered] = []
    new = 0
    with TokenDistWriter(folder, header) as writer:
        for start, some in sorted(by_start.items()):
            captured = capture_distributions(
                loaded.model,
                some,
                writer=writer,
                start=start,
                progress=lambda now, _, before=done: progress(  # type: ignore[misc]
                    "storing the teacher's distributions", before + now, total
                ),
            )
            done, new = done + len(some), new + captured.tokens
            lost += [Unanswered(key.partition("#")[0], reason) for key, reason in captured.failures]
    found = TokenDist.open(folder)
    target = places.draft / FOLDER
    _link(folder / FOLDER, target)
    size = sum(path.stat().st_size for path in target.rglob("*") if path.is_file())
    facts = {"new_rows": new, "storing_seconds": round(time.monotonic() - started, 3)}
    kept = frozenset(key.partition("#")[0] for key in found.ids)
    return _Stored(kept, found.tokens(), size), facts, [*failures, *lost]


def sequences_of(
    tokenizer: Any, rows: Documents, answers: Sequence[TextAnswer] | None, recipe: Generation
) -> tuple[dict[str, TokenSequence], list[Unanswered]]:
    """What the teacher reads, by the key its distributions are stored under; and rows that it cannot read.

    answers: of the teacher, or ``None`` where those in the documents are learned.
    """
    template = ChatTemplate(tokenizer) if answers is not None or any(row["messages"] for row in rows) else None
    by_id = {row["id"]: row for row in rows}
    system = recipe.ferment.answers.system if isinstance(recipe.ferment.answers, Ask) else ""
    turns = recipe.distill.choose.turns
    found: dict[str, TokenSequence] = {}
    failures: list[Unanswered] = []

    def add(key: str, document: str, make: Any) -> None:
        try:
            found[key] = make()
        except RowError as error:
            failures.append(Unanswered(document, str(error)))

    for answer in answers or ():
        if template is not None and (answer.answer.strip() or answer.reasoning):
            messages = (
                *asked(by_id[answer.id], system),
                {"role": "assistant", "content": said(answer, template.opens_reasoning)},
            )
            whole = answer.finish_reason == "stop"
            add(
                answer.key,
                answer.id,
                lambda messages=messages, whole=whole: conversation(template, messages, turns="last", finished=whole),
            )
    for row in rows if answers is None else ():
        if row["messages"] and template is not None:
            messages = tuple({"role": one["role"], "content": one["content"]} for one in row["messages"])
            add(row["id"], row["id"], lambda messages=messages: conversation(template, messages, turns=turns))
        else:
            add(row["id"], row["id"], lambda text=row["text"]: plain(tokenizer, text))
    return found, failures


def _link(source: Path, target: Path) -> None:
    """The store's files in the draft: linked where the disk can, so that nothing lies there twice."""
    target.mkdir(parents=True, exist_ok=True)
    for path in sorted(source.glob("*.arrow")):
        place = target / path.name
        place.unlink(missing_ok=True)
        try:
            place.hardlink_to(path)
        except OSError:
            place.write_bytes(path.read_bytes())


def _told(written: Written | None, stored: _Stored) -> dict[str, Any]:
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
    if stored.tokens:
        told |= {"stored_tokens": stored.tokens, "bytes_per_token": round(stored.bytes / stored.tokens, 3)}
    return told


def _refuse_missing(recipe: Generation, written: Written, asked_for: int) -> None:
    """Leave the stage open where too many answers may still come: what came is in the answer store."""
    lost = [one for one in written.failures if one.lost]
    if len(lost) > recipe.ferment.missing * asked_for:
        reasons = Counter(one.reason.partition(":")[0] for one in lost)
        raise StillhouseError(
            f"{len(lost)} of {asked_for} answers are still missing ("
            + ", ".join(f"{reason}: {count}" for reason, count in reasons.most_common())
            + f"); the first: {lost[0].reason}",
            where="ferment",
            fix="mend that and run again: what was answered is kept and not asked again; or allow more with "
            "`ferment.missing`",
        )


def _write_failures(draft: Path, failures: Sequence[Unanswered], teacher: str) -> None:
    schema = pa.schema([(name, pa.string()) for name in ("id", "teacher", "reason", "raw")])
    rows = [{"id": one.id, "teacher": teacher, "reason": one.reason, "raw": one.raw} for one in failures]
    pq.write_table(pa.Table.from_pylist(rows, schema=schema), draft / "failures.parquet")

"""The judge of pairs, bound to the recipe: what can be told of it before the training, and its judgement after it.

problems = check_judge(recipe, cache, base)
told = judge_of(recipe, places, heard, progress)      # None where the recipe names no judge
"""

from __future__ import annotations

import json
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, cast

from stillhouse.addresses import Files, peek
from stillhouse.addresses.public import public_address
from stillhouse.answers import AnswerStore
from stillhouse.device import cpu_threads, place
from stillhouse.errors import Problem, StillhouseError
from stillhouse.finish.evaluate import Row
from stillhouse.finish.generation.contrast import STUDENT
from stillhouse.finish.generation.hearing import Heard
from stillhouse.finish.generation.pairs.behind import EndpointJudge
from stillhouse.finish.generation.pairs.figures import Figures
from stillhouse.finish.generation.pairs.here import judge_here
from stillhouse.finish.generation.pairs.reading import Judge
from stillhouse.finish.generation.pairs.verdicts import JudgedPairs, judge_pairs, pairs_of
from stillhouse.recipe.bind import endpoint_of, key_of, load_teacher, new_client, prices_of
from stillhouse.recipe.generation import Generation
from stillhouse.recipe.judge import ApiJudge, LocalJudge
from stillhouse.recipe.teachers import ApiTeacher
from stillhouse.store import package_version
from stillhouse.teachers import LocalTeacher, check_files
from stillhouse.teachers.api import Budget
from stillhouse.teachers.api.prices import Purse
from stillhouse.teachers.capabilities import has_template, require
from stillhouse.workplace import Places, Progress

JUDGED = "judged.jsonl"
WHERE = "finish.evaluate.judge"
_FRAME_TOKENS = 260  # of the question without prompt and answers; an estimate, never a limit
_BYTES_A_TOKEN = 4


@dataclass(frozen=True)
class Told:
    """What the judge's part of the evaluation is. samples: those of the models, with what the judge said of each."""

    rows: Sequence[Row]
    summary: Mapping[str, Any]
    warnings: Sequence[str]
    samples: list[dict[str, Any]]
    facts: Mapping[str, Any] = field(default_factory=dict)


def check_judge(recipe: Generation, cache: Path, base: Path) -> list[Problem]:
    """What would stop the judge at the end: its address, key, prices, library, files and template."""
    judge = recipe.finish.evaluate.judge
    if judge is None:
        return []
    if isinstance(judge, ApiJudge):
        return _check_endpoint(judge)
    problems: list[Problem] = []
    try:
        if judge.device not in ("auto", "cpu"):
            place(judge.device, judge.precision)
    except StillhouseError as error:
        problems += [Problem(one.what, f"{WHERE}.device", one.fix) for one in error.problems]
    try:
        files = peek(judge.model, cache=cache, base=base)
        if files is None:
            return problems  # it will be fetched before the first step, and looked at again
        check_files(files)
        require(files, "text", what="a verdict")
    except StillhouseError as error:
        return [*problems, *(Problem(one.what, f"{WHERE}.model: {one.where}", one.fix) for one in error.problems)]
    context = _context(files)
    if context is not None and context <= _FRAME_TOKENS:
        problems.append(
            Problem(
                f"the judge takes {context} tokens, and its question alone has about {_FRAME_TOKENS}",
                f"{WHERE}.model: {files.address}",
                "take a judge with a longer context",
            )
        )
    if judge.by == "text" and has_template(files) is False:
        problems.append(
            Problem(
                "the judge's tokenizer has no chat template, so that nothing says how it is asked for words",
                f"{WHERE}.model: {files.address}",
                f"take an instruction-tuned model, or set `{WHERE}.by` to likelihood",
            )
        )
    return problems


def _check_endpoint(judge: ApiJudge) -> list[Problem]:
    problems = []
    tries = {
        "endpoint": lambda: endpoint_of(judge),
        "key": lambda: key_of(judge),
        "spending": lambda: Purse(Budget(judge.spending.tokens, judge.spending.money), prices_of(judge)),
    }
    for name, attempt in tries.items():
        try:
            attempt()
        except StillhouseError as error:
            problems += [Problem(one.what, f"{WHERE}.{name}", one.fix) for one in error.problems]
    if package_version("httpx2") == "absent":
        problems.append(
            Problem(
                "a judge behind an endpoint needs httpx2, which is not installed",
                WHERE,
                "pip install 'stillhouse[api]'",
            )
        )
    return problems


def notes_on_judge(recipe: Generation, cache: Path, base: Path) -> list[str]:
    """What whoever starts the run should know: how much the judge is asked, what is sent where, whom it favors."""
    judge, settings = recipe.finish.evaluate.judge, recipe.finish.evaluate
    if judge is None:
        return []
    prompts = min(judge.prompts, settings.prompts, recipe.raw.split.test)
    questions = 2 * prompts * (1 + len(recipe.controls))
    read = questions * (_FRAME_TOKENS + 2 * settings.max_tokens)
    lines = [
        f"judge: at most {questions:,} questions about {prompts:,} test prompts, some {read:,} tokens to read"
        f" and what the prompts hold"
    ]
    if isinstance(judge, ApiJudge):
        prices = prices_of(judge)
        cost = (
            f"at most about {prices.of(read, questions * judge.max_tokens):,.2f} {prices.currency} beside the prompts"
            if prices
            else f"no prices are known (`{WHERE}.spending`)"
        )
        lines.append(
            f"  test prompts and the answers of all models are sent to {judge.endpoint}, model {judge.model}: {cost}"
        )
    else:
        files = _files(judge.model, cache, base)
        context, needed = _context(files) if files else None, _FRAME_TOKENS + 2 * settings.max_tokens
        if context is not None and context < needed:
            lines.append(
                f"  warning: it takes {context} tokens, and a question with two answers of {settings.max_tokens} has "
                f"{needed} beside the prompt: longer ones will fail"
            )
    return [*lines, *(f"  warning: {line}" for line in _related(recipe, cache, base))]


def judge_of(recipe: Generation, places: Places, heard: Heard, progress: Progress) -> Told | None:
    """Ask the judge about the student beside every other model, write ``judged.jsonl``, and tell what came of it.

    Raises :class:`StillhouseError` where more than the recipe's share of questions is still without an answer; what
    was answered is in the store, and is not asked again.
    """
    section = recipe.finish.evaluate.judge
    if section is None:
        return None
    started = time.monotonic()
    pairs = pairs_of(heard.prompts, heard.said, _right(heard), one=STUDENT, most=section.prompts)
    with cpu_threads(section.threads if isinstance(section, LocalJudge) else None):
        judge = _judge(section, places)
        with AnswerStore(places.answers) as store:
            judged = judge_pairs(pairs, judge, store=store, progress=partial(progress, "the judge compares"))
    _refuse_missing(judged, section.missing)
    with (places.draft / JUDGED).open("w", encoding="utf-8") as stream:
        stream.writelines(json.dumps(one.as_row(), ensure_ascii=False) + "\n" for one in judged.pairs)
    figures = Figures.of(judged.pairs)
    related = _related(recipe, places.cache, places.base)
    summary = {
        "address": _address(section),
        "by": judged.by,
        "criteria": section.criteria,
        "prompts": min(section.prompts, len(heard.prompts)),
        "questions": judged.facts["questions"],
        **figures.as_json(),
        "reading": figures.reading(),
        "not_read": dict(Counter(_kind(one.reason) for one in judged.readings if one.choice is None)),
        "warnings": [*related, *figures.warnings()],
    }
    by_prompt: dict[str, dict[str, str]] = {}
    for one in judged.pairs:
        by_prompt.setdefault(one.pair.prompt.document, {})[one.pair.two] = one.verdict
    samples = [{**sample, "judged": by_prompt.get(sample["id"], {})} for sample in heard.samples]
    facts = {**judged.facts, "seconds": round(time.monotonic() - started, 3)}
    return Told(figures.rows(), summary, [*related, *figures.warnings()], samples, facts)


def _judge(section: LocalJudge | ApiJudge, places: Places) -> Judge:
    if isinstance(section, ApiJudge):
        return EndpointJudge(
            endpoint_of(section),
            partial(new_client, section),
            max_tokens=section.max_tokens,
            structured=section.structured,
            criteria=section.criteria,
            batches=places.answers.parent / "batches" if section.batches else None,
            poll_seconds=section.pace.poll,
        )
    try:
        loaded = load_teacher(section, cache=places.cache, base=places.base)
    except StillhouseError as error:
        raise StillhouseError.several(
            [Problem(one.what, one.where.replace("ferment.teacher", WHERE), one.fix) for one in error.problems]
        ) from error
    return judge_here(
        cast(LocalTeacher, loaded),
        by=section.by,
        criteria=section.criteria,
        max_tokens=section.max_tokens,
        batch_tokens=section.batch_tokens,
    )


def _right(heard: Heard) -> dict[str, list[bool | None]]:
    """What a verifier found of each model's answers, as the samples hold it."""
    return {name: [sample["answers"][name]["right"] for sample in heard.samples] for name in heard.said}


def _refuse_missing(judged: JudgedPairs, allowed: float) -> None:
    """Leave the step open where too many answers may still come."""
    readings = {reading.key: reading for reading in judged.readings}.values()
    lost = [reading.reason for reading in readings if reading.lost]
    if len(lost) <= allowed * len(readings):
        return
    reasons = Counter(map(_kind, lost))
    told = ", ".join(f"{reason}: {count}" for reason, count in reasons.most_common())
    raise StillhouseError(
        f"{len(lost)} of {len(readings)} questions are still without an answer of the judge ({told}); the first: "
        f"{lost[0]}",
        where=WHERE,
        fix=f"mend that and run again: what was answered is kept and not asked again; or allow more with "
        f"`{WHERE}.missing`",
    )


def _kind(reason: str) -> str:
    return reason.partition(":")[0]


def _address(section: LocalJudge | ApiJudge) -> str:
    """As it may be told to others: no host, no folder."""
    return public_address(f"{section.endpoint} {section.model}" if isinstance(section, ApiJudge) else section.model)


def _related(recipe: Generation, cache: Path, base: Path) -> list[str]:
    """Whether the judge is one of those that it judges, or what they were made of: models favor their own words."""
    judge, teacher = recipe.finish.evaluate.judge, recipe.ferment.teacher
    if judge is None:
        return []

    def same(address: str) -> bool:
        if not isinstance(judge, LocalJudge):
            return False
        one, other = (_files(where, cache, base) for where in (judge.model, address))
        return address == judge.model or (one is not None and other is not None and one.digest == other.digest)

    found = []
    if isinstance(teacher, ApiTeacher):
        itself = isinstance(judge, ApiJudge) and _names(judge) == _names(teacher)
    else:
        itself = same(teacher.model)
    if itself:
        found.append("the judge is the teacher, which judges its own answers: models favor what they would say")
    if same(recipe.distill.student.base) and not itself:
        found.append("the judge is the model that the student was made from: models favor what they would say")
    return found


def _names(section: ApiJudge | ApiTeacher) -> tuple[str, str]:
    return section.endpoint.strip().rstrip("/").casefold(), section.model


def _context(files: Files) -> int | None:
    """The longest sequence that a model takes, as far as its config tells."""
    path = next((path for path in files.files if path.name == "config.json"), None)
    try:
        config = json.loads(path.read_text("utf-8")) if path else {}
        found = (config.get("text_config") or config).get("max_position_embeddings")
    except (OSError, ValueError, AttributeError):
        return None  # whoever loads it will say what is wrong
    return found if isinstance(found, int) else None


def _files(address: str, cache: Path, base: Path) -> Files | None:
    try:
        return peek(address, cache=cache, base=base)
    except StillhouseError:
        return None

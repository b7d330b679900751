"""Tasks put to all models: the same items, the same prompts byte for byte, with and without the chat template.

    asked = ask_tasks(speakers, load(listing, folder=Path("cache/harness")), limit=100, few_shot=None, template="both")
    asked[0].items[0].requests["student"], asked[0].items[0].scores["student"]["acc"]

Rule: a task in which a model writes is asked through the chat template, one in which options or texts are weighed by
their likelihood without, since small models lose there what the template's control tokens take. ``both`` asks either
way where every model has a template, and says which of the two is the rule's. Without a template in one of the models
all are asked without. Asked plainly, all models must get the same bytes; through templates the same messages, and the
same bytes where the templates are the same. Anything else is an error, never a figure.
"""

from __future__ import annotations

import hashlib
import statistics
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any, Literal

from stillhouse.errors import StillhouseError, first_line
from stillhouse.finish.generation.speaker import Speaker
from stillhouse.finish.harness.adapter import Adapter, Item
from stillhouse.finish.harness.tasks import WHERE, seeded, silenced
from stillhouse.workplace import Progress, silent

Ways = Literal["both", "rule"]
_SEED = 1234  # of the examples shown; the harness' own, so that published figures were asked alike


@dataclass(frozen=True)
class Answer:
    """requests: of each model what it was asked, contexts with continuations or settings. said: its nats, or texts.
    scores: its value of each metric; a filter's name is behind a comma. guess: the chance to guess right, if known."""

    task: str
    item: int
    digest: str
    requests: Mapping[str, tuple[tuple[Any, ...], ...]]
    said: Mapping[str, tuple[Any, ...]]
    scores: Mapping[str, Mapping[str, Any]]
    guess: float | None


@dataclass(frozen=True)
class Asked:
    """One task, or a group's together, asked in one way.

    by_rule: whether this way is the rule's. left_out: items that some model cannot take. better: of each metric, which
    way is good. aggregate: how the items' values make the figure. data: the data set of the hub, else empty.
    """

    task: str
    part_of: str
    template: bool
    by_rule: bool
    few_shot: tuple[int, int]
    left_out: int
    better: Mapping[str, Literal["higher", "lower"]]
    aggregate: Mapping[str, Callable[[Sequence[Any]], Any]]
    answers: tuple[Answer, ...]
    data: str = ""

    @property
    def slice(self) -> str:
        """What its rows are called."""
        return f"harness {self.task}, {'template' if self.template else 'plain'}"

    @property
    def digest(self) -> str:
        """SHA-256 over the items, in their order: which questions these figures are about."""
        return hashlib.sha256("\n".join(one.digest for one in self.answers).encode()).hexdigest()


def ask_tasks(
    speakers: Mapping[str, Speaker],
    groups: Mapping[str, Mapping[str, Any]],
    *,
    limit: int | None = None,
    few_shot: int | None = None,
    template: Ways = "both",
    batch_tokens: int = 2048,
    data: Mapping[str, str] | None = None,
    progress: Progress = silent,
) -> list[Asked]:
    """groups: the tasks of each name in the recipe. limit: the first items of each task. few_shot: examples
    before each question, but for tasks that allow none; else as the task says. data: what a task was fetched from.

    Raises :class:`StillhouseError` where models were not asked alike, or no item fits all of them.
    """
    chat = all(speaker.template is not None for speaker in speakers.values())
    tasks = {name: task for members in groups.values() for name, task in members.items()}
    for task in tasks.values():
        own = task.get_config("num_fewshot")
        if few_shot is not None and own != 0:
            task.set_config(key="num_fewshot", value=few_shot)
        elif own is None:
            task.set_config(key="num_fewshot", value=0)
    found: list[Asked] = []
    for with_template in (False, True) if chat else (False,):
        meant = {
            name: task
            for name, task in tasks.items()
            if (template == "both" or not chat or _rule(task) == with_template)
            and not (with_template and task.OUTPUT_TYPE == "loglikelihood_rolling")
        }
        if meant:
            found += _one_way(speakers, meant, groups, with_template, chat, limit, batch_tokens, data or {}, progress)
    order = {name: place for place, name in enumerate(tasks)}
    leaves = sorted(found, key=lambda one: (order[one.task], not one.by_rule))
    return [one for name, members in groups.items() for one in _of_group(name, members, leaves)]


@contextmanager
def _blamed(tasks: Mapping[str, Any]) -> Iterator[None]:
    try:
        yield
    except StillhouseError:
        raise
    except Exception as error:  # a task is a program that may fail in any way
        raise StillhouseError(
            f"a task failed when it was asked: {type(error).__name__}: {first_line(error)}",
            where=f"{WHERE}, one of {', '.join(list(tasks)[:8])}",
            fix="look at its functions and its data, or leave it out",
        ) from error


def _rule(task: Any) -> bool:
    """Whether a task is asked through a chat template."""
    return bool(task.OUTPUT_TYPE == "generate_until")


def _one_way(
    speakers: Mapping[str, Speaker],
    tasks: Mapping[str, Any],
    groups: Mapping[str, Mapping[str, Any]],
    template: bool,
    chat: bool,
    limit: int | None,
    batch_tokens: int,
    data: Mapping[str, str],
    progress: Progress,
) -> list[Asked]:
    from lm_eval.evaluator import evaluate

    adapters: dict[str, Adapter] = {}
    samples: dict[str, dict[str, list[dict[str, Any]]]] = {}
    for name, speaker in speakers.items():
        for task in tasks.values():
            task.set_fewshot_seed(_SEED)  # the same examples for every model
        adapters[name] = Adapter(
            speaker, batch_tokens=batch_tokens, progress=lambda what, done, all_: progress(f"tasks: {what}", done, all_)
        )
        with silenced(), seeded(), _blamed(tasks):
            told = evaluate(
                adapters[name],
                {"tasks": dict(tasks)},
                limit=limit,
                bootstrap_iters=0,
                log_samples=True,
                apply_chat_template=template,
                fewshot_as_multiturn=True,
            )
        samples[name] = told["samples"]
    _demand_same_messages(adapters)
    unfit = {one for adapter in adapters.values() for one in adapter.unfit}
    return [
        _asked(
            name,
            task,
            {who: rows[name] for who, rows in samples.items()},
            speakers,
            unfit,
            template=template,
            by_rule=not chat or _rule(task) == template,
            part_of=next(group for group, members in groups.items() if name in members),
            data=data.get(name, ""),
        )
        for name, task in tasks.items()
    ]


def _asked(
    name: str,
    task: Any,
    samples: Mapping[str, Sequence[Mapping[str, Any]]],
    speakers: Mapping[str, Speaker],
    unfit: set[Item],
    *,
    template: bool,
    by_rule: bool,
    part_of: str,
    data: str,
) -> Asked:
    """What the models said about one task, item by item. samples: of each model, one for each item and filter."""
    by_item = {who: _by_item(rows) for who, rows in samples.items()}
    items = list(next(iter(by_item.values())))
    answers = []
    for item in items:
        rows = {who: found[item] for who, found in by_item.items()}
        requests = {who: tuple(map(tuple, found[0]["arguments"])) for who, found in rows.items()}
        _demand_same_bytes(requests, speakers, name, item, template)
        if (name, item) not in unfit:
            answers.append(
                Answer(
                    name,
                    item,
                    str(next(iter(rows.values()))[0]["doc_hash"]),
                    requests,
                    {who: tuple(_plain(one) for one in found[0]["resps"]) for who, found in rows.items()},
                    {who: _scores(found) for who, found in rows.items()},
                    _guess(task, next(iter(rows.values()))[0]),
                )
            )
    if not answers:
        raise StillhouseError(
            f"none of {len(items)} items of the task {name!r} fits every model",
            where=WHERE,
            fix="leave it out, or show fewer examples (`finish.evaluate.harness.few_shot`)",
        )
    higher, aggregate = task.higher_is_better(), task.aggregation()
    metrics = list(dict.fromkeys(metric for one in answers for who in one.scores for metric in one.scores[who]))
    shots = int(task.get_config("num_fewshot") or 0)
    return Asked(
        name,
        part_of,
        template,
        by_rule,
        (shots, shots),
        len(items) - len(answers),
        {one: "higher" if higher.get(one.partition(",")[0], True) else "lower" for one in metrics},
        {one: aggregate.get(one.partition(",")[0], statistics.fmean) for one in metrics},
        _with_constant_guess(answers, task, by_item),
        data,
    )


def _by_item(rows: Sequence[Mapping[str, Any]]) -> dict[int, list[Mapping[str, Any]]]:
    found: dict[int, list[Mapping[str, Any]]] = {}
    for row in rows:
        found.setdefault(int(row["doc_id"]), []).append(row)
    return found


def _scores(rows: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """The metrics of one item under all filters; the only filter, or one called `none`, is not named."""
    return {
        metric if len(rows) == 1 or row["filter"] == "none" else f"{metric},{row['filter']}": row[metric]
        for row in rows
        for metric in row["metrics"]
    }


def _plain(one: Any) -> Any:
    """What a model said to a request, in JSON: nats with whether it would have written that, or text."""
    return [_plain(part) for part in one] if isinstance(one, list | tuple) else one


def _guess(task: Any, row: Mapping[str, Any]) -> float | None:
    """The chance to take a right option blindly."""
    if task.OUTPUT_TYPE != "multiple_choice":
        return None
    right = len(row["target"]) if isinstance(row["target"], list) else 1
    return min(1.0, right / _options(row))


def _options(row: Mapping[str, Any]) -> int:
    """How many there are; where options are weighed without their question, too, each is in there twice."""
    return len(row["arguments"]) // (2 if "acc_mutual_info" in row["metrics"] else 1)


def _with_constant_guess(
    answers: Sequence[Answer], task: Any, by_item: Mapping[str, Mapping[int, Sequence[Mapping[str, Any]]]]
) -> tuple[Answer, ...]:
    """Where always taking the option at one place is better than guessing blindly, that is the chance."""
    if task.OUTPUT_TYPE != "multiple_choice":
        return tuple(answers)
    rows = next(iter(by_item.values()))
    places = [_right_place(task, rows[one.item][0]) for one in answers]
    most = max((places.count(one) for one in set(places) if one is not None), default=0) / len(answers)
    blind = statistics.fmean(one.guess or 0.0 for one in answers)
    return tuple(answers) if most <= blind else tuple(replace(one, guess=most) for one in answers)


def _right_place(task: Any, row: Mapping[str, Any]) -> int | None:
    target = row["target"]
    if isinstance(target, str) and task.config.doc_to_choice is not None:
        options = task.doc_to_choice(row["doc"])
        return options.index(target) if target in options else None
    return int(target) if isinstance(target, int) else None


def _demand_same_messages(adapters: Mapping[str, Adapter]) -> None:
    """What every model's template was given."""
    (first, one), *others = adapters.items()
    for name, other in others:
        if other.conversations != one.conversations:
            raise _unlike(first, name, "other messages", "a task")


def _demand_same_bytes(
    requests: Mapping[str, tuple[tuple[Any, ...], ...]],
    speakers: Mapping[str, Speaker],
    task: str,
    item: int,
    template: bool,
) -> None:
    """Contexts, continuations and settings of one item; through unlike templates all but the contexts."""
    (first, one), *others = requests.items()
    for name, other in others:
        same = not template or _template(speakers[first]) == _template(speakers[name])
        if [each if same else each[1:] for each in one] != [each if same else each[1:] for each in other]:
            raise _unlike(first, name, "another prompt", f"item {item} of {task!r}")


def _template(speaker: Speaker) -> object:
    return speaker.template.identity() if speaker.template else None


def _unlike(one: str, other: str, what: str, where: str) -> StillhouseError:
    return StillhouseError(
        f"`{other}` was asked {what} than `{one}`: figures of models that are not asked alike say nothing",
        where=where,
        fix="a task must not draw anew, or look at the clock, whenever it writes a question: mend it, or leave it out",
    )


def _of_group(name: str, members: Mapping[str, Any], leaves: Sequence[Asked]) -> list[Asked]:
    """A task of the recipe as it is; of a group first all its items together, then each task."""
    own = [one for one in leaves if one.task in members]
    if list(members) == [name]:
        return own
    pooled = []
    for template in dict.fromkeys(one.template for one in own):
        parts = [one for one in own if one.template == template]
        shared = [metric for metric in parts[0].better if all(metric in one.better for one in parts)]
        pooled.append(
            replace(
                parts[0],
                task=name,
                part_of="",
                by_rule=all(one.by_rule for one in parts),
                few_shot=(min(one.few_shot[0] for one in parts), max(one.few_shot[1] for one in parts)),
                left_out=sum(one.left_out for one in parts),
                better={metric: parts[0].better[metric] for metric in shared},
                aggregate={metric: parts[0].aggregate[metric] for metric in shared},
                answers=tuple(answer for one in parts for answer in one.answers),
            )
        )
    return [*pooled, *own]

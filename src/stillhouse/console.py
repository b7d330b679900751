"""What is printed: it renders files and plans, and computes no number of its own.

Everything for the user goes to stdout; progress and errors go to stderr, so that output can be piped.
"""

from __future__ import annotations

import getpass
import shlex
import sys
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, TextIO

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from stillhouse.disk import Holding
from stillhouse.errors import StillhouseError
from stillhouse.finish import label_classification, label_generation
from stillhouse.finish.label import audit_counts, use_words
from stillhouse.plan import Plan, PlannedStep
from stillhouse.recipe.rights import RightsView
from stillhouse.rights import DISCLAIMER

if TYPE_CHECKING:
    from stillhouse.diff import Difference
    from stillhouse.preview_chat import PreviewedRow
    from stillhouse.trial import Notebook, Outcome
    from stillhouse.use import Said

out = Console(highlight=False)
err = Console(stderr=True, highlight=False)
_STRENGTH_ROWS = {
    "text-classification": label_classification.strength_rows,
    "text-generation": label_generation.strength_rows,
}


def say(text: str) -> None:
    """One line for the user."""
    out.print(escape(text))


def print_raw(text: str) -> None:
    """Text as it is, for files and pipes."""
    sys.stdout.write(text)


def print_error(error: StillhouseError) -> None:
    """Every problem: what, where, and the cure."""
    for problem in error.problems:
        err.print(f"[bold red]✗[/] {escape(problem.what)}")
        err.print(f"  where: {escape(problem.where)}")
        err.print(f"  fix:   {escape(problem.fix)}")


def print_bug(error: BaseException) -> None:
    """Something that is not the user's fault."""
    err.print(f"[bold red]This is a bug in stillhouse:[/] {escape(type(error).__name__)}: {escape(str(error))}")
    err.print("Nothing that was sealed or answered is lost. Please report it with the output of `--debug`.")


def show_plan(plan: Plan) -> None:
    """The steps with what will run and why, and the rights."""
    table = Table(title=f"Plan of {plan.recipe.title or plan.recipe.name}", title_justify="left")
    for column in ("step", "", "why", "rough cost"):
        table.add_column(column, overflow="fold")
    for step in plan.steps:
        state = "[green]cached[/]" if step.cached else "[yellow]to run[/]"
        table.add_row(step.name, state, escape(step.why), "" if step.cached else escape(step.estimate))
    out.print(table)
    if plan.rights is not None:
        out.print(_rights_table(plan.rights))


def _rights_table(view: RightsView) -> Table:
    table = Table(title=f"Rights: {view.use.words}", title_justify="left", caption=DISCLAIMER)
    for column in ("what", "license", "verdict", "reason"):
        table.add_column(column, overflow="fold")
    for judgement in view.judgements:
        lifted = f" (lifted by {judgement.lifted_by})" if judgement.lifted_by else ""
        provisional = "" if judgement.subject.here else " (by name; judged again when it is here)"
        table.add_row(
            f"{judgement.subject.role} {escape(judgement.subject.name)}",
            escape(judgement.license),
            escape(judgement.verdict.words + lifted + provisional),
            escape(judgement.reason),
        )
    for row in view.duties:
        table.add_row("owed", escape(row["terms"]), escape(row["kind"]), escape(row["words"]))
    return table


def show_explanation(lines: list[str]) -> None:
    """A verdict in plain words."""
    for line in lines:
        out.print(escape(line), soft_wrap=True)


def announce(step: PlannedStep) -> None:
    """One line at the start of each step."""
    state = "cached" if step.cached else "running"
    err.print(f"[bold]{step.name}[/]: {state} — {escape(step.why)}")


def show_label(label: dict[str, Any]) -> None:
    """The bottle's label."""
    table = Table(
        title=f"{label['name']} — {label['task']}, batch {label['batch'][:12]}",
        title_justify="left",
        show_header=False,
    )
    table.add_column("", style="bold")
    table.add_column("", overflow="fold")
    rows = [
        *((one["name"], f"{one['address']} ({one.get('precision', 'as stored')})") for one in label["teachers"]),
        *_STRENGTH_ROWS[label["task"]](label),
    ]
    rows += [
        (f"cut ({kind})", f"{number} × {reason}")
        for kind, reasons in label["cuts"].items()
        for reason, number in reasons.items()
    ]
    rows += [(f"cut point: {name}", why) for name, why in label.get("cut_points", {}).items()]
    for row in label["rights"]["subjects"]:
        lifted = f", lifted by {row['lifted_by']}" if row["lifted_by"] else ""
        revision = f", revision {row['identity']}" if row["identity"] else ""
        rows.append(
            (
                f"rights: {row['role']} {row['name']}",
                f"{row['license']}: {row['verdict']}{lifted}{revision}",
            )
        )
    rows += [("owed", f"{row['words']} ({row['terms']})") for row in label["rights"]["duties"]]
    statement = label["rights"]["statement"]
    if statement:
        rows.append(("statement", f"{statement['who']}, {statement['when']}: {statement['why']}"))
    rows.append(("declared use", f"{use_words(label['rights'])}. {label['rights']['disclaimer']}"))
    rows += [(f"gate: {gate['name']}", f"{gate['status']}: {gate['words']}") for gate in label.get("gates", [])]
    rows += [("worst group", one["words"]) for one in label.get("audit", []) if one["probe"] == "worst group"]
    rows += [(f"audit: {probe}", counts) for probe, counts in audit_counts(label.get("audit", []))]
    rows += [
        (f"despite {one['gate']}", f"{one['words']}; because: {one['because']}") for one in label.get("despite", [])
    ]
    rows += [("warning", warning) for warning in label["warnings"]]
    for name, value in rows:
        table.add_row(escape(name), escape(value))
    out.print(table)


def show_rows(stages: dict[str, dict[str, Any]]) -> None:
    """Rows in = kept + cut + failed, for every sealed stage."""
    table = Table(title="Rows", title_justify="left")
    for column in ("stage", "rows in", "kept", "cut", "failed"):
        table.add_column(column, justify="left" if column == "stage" else "right")
    for name, summary in stages.items():
        table.add_row(name, *(str(summary[key]) for key in ("rows_in", "kept", "cut", "failed")))
    out.print(table)


def show_cleaning(report: dict[str, Any]) -> None:
    """What stage 1 removed and changed, and from whom it took more than its share."""
    table = Table(title="Raw material", title_justify="left")
    for column in ("", "what", "rows", "of all"):
        table.add_column(column, justify="right" if column in ("rows", "of all") else "left", overflow="fold")

    def add(kind: str, what: str, number: int) -> None:
        table.add_row(kind, escape(what), f"{number:,}", f"{number / report['rows_in']:.2%}")

    for kind, reasons in report["cuts"].items():
        for reason, number in sorted(reasons.items(), key=lambda item: -item[1]):
            add(kind, reason, number)
    for what, number in report["changes"].items():
        add("changed", what, number)
    for split, number in report["splits"].items():
        add("split", split, number)
    out.print(table)
    told = [
        ("languages", ", ".join(f"{name} {number:,}" for name, number in list(report["languages"].items())[:8])),
        ("copy pairs on two sides of the split", str(report["straddling_pairs"])),
        ("texts whose copies disagree on the label", str(report["conflicting_labels"])),
        ("near copies with another label, kept", str(report["near_copies_with_another_label"])),
        ("near copies that say something of their own, kept", str(report["near_copies_with_a_passage_of_their_own"])),
        ("may hold a benchmark item, see report.json", str(report["doubtful_contamination"])),
    ]
    for name, value in told:
        if value not in ("", "0") or name.startswith("copy pairs"):
            out.print(f"{name}: {escape(value)}")
    for alarm in report["alarms"]:
        out.print(f"[yellow]took more than its share:[/] {escape(alarm)}")


def show_chart(lines: list[str]) -> None:
    """The cuts, head and tail in colors of their own; every line means the same without."""
    colors = {"H": "dark_orange", "T": "dodger_blue2"}
    for line in lines:
        if line[:1] in colors and set(line) <= {"H", "·", "T"}:
            told = "".join(f"[{colors[letter]}]{letter}[/]" if letter in colors else letter for letter in line)
            out.print(told, soft_wrap=True)
        elif line[:2] in ("H ", "T "):
            out.print(f"[{colors[line[0]]}]{line[0]}[/]{escape(line[1:])}", soft_wrap=True)
        else:
            out.print(escape(line), soft_wrap=True)


def show_moved(steps: Sequence[PlannedStep], settings: Sequence[str], seconds: float) -> None:
    """What a moved cut leaves to be done, and how to keep it."""
    waiting = [step.name for step in steps if step.cached is None]
    out.print(f"cut again in {seconds:.1f} s; runs again: {', '.join(waiting) or 'nothing'}")
    out.print("to keep it, run your recipe with:")
    for one in settings:
        out.print(f"  --set {escape(shlex.quote(one))}", soft_wrap=True)


def show_gates(gates: Sequence[Mapping[str, str]]) -> None:
    """Of a run that was judged and not bottled."""
    table = Table(title="Gates; nothing is bottled", title_justify="left")
    for column in ("gate", "", "found", "what to try"):
        table.add_column(column, overflow="fold")
    for gate in gates:
        table.add_row(gate["name"], gate["status"], escape(gate["words"]), escape(gate["advice"]))
    out.print(table)


def show_difference(found: Difference) -> None:
    """What changed between two runs, a table for each kind of change."""
    shown = (
        ("Recipe", found.recipe),
        ("Stages and libraries", found.steps),
        ("Data", found.data),
        ("Cuts", found.cuts),
        ("Results", found.results),
    )
    for title, changes in shown:
        if not changes:
            out.print(f"[bold]{title}[/]: nothing changed")
            continue
        table = Table(title=title, title_justify="left")
        for column in ("what", "before", "after"):
            table.add_column(column, overflow="fold")
        for change in changes:
            table.add_row(*(escape(value) for value in (change.what, change.before, change.after)))
        out.print(table)
    for line in found.reading:
        out.print(escape(line), soft_wrap=True)


def show_evaluation(rows: list[dict[str, Any]]) -> None:
    """The test report's long rows."""
    table = Table(title="Test report", title_justify="left")
    for column in ("artifact", "metric", "slice", "value", "95 % interval", "n"):
        table.add_column(column, justify="right" if column in ("value", "n") else "left", overflow="fold")
    for row in rows:
        interval = f"{row['lower']:.3f} – {row['upper']:.3f}" if row["lower"] is not None else ""
        value = "not certified" if row["value"] is None else f"{row['value']:.4g}"
        table.add_row(row["artifact"], row["metric"], row["slice"], value, interval, str(row["n"]))
    out.print(table)


def show_preview(row: PreviewedRow) -> None:
    """What teacher and student see of one row."""
    out.rule(escape(row.origin), align="left")
    out.print("[bold]the teacher sees[/]")
    print_raw(row.teacher_text + "\n")
    out.print(f"  {len(row.teacher_ids)} ids: {' '.join(map(str, row.teacher_ids))}", soft_wrap=True)
    for label, ids in row.teacher_answers.items():
        out.print(f"  then, for {escape(label)}: {' '.join(map(str, ids))}", soft_wrap=True)
    out.print(f"[bold]the student sees[/]{' (cut off)' if row.student_cut_off else ''}")
    print_raw(row.student_text + "\n")
    out.print(f"  {len(row.student_ids)} ids: {' '.join(map(str, row.student_ids))}", soft_wrap=True)


def label_rows(notebook: Notebook, texts: list[str]) -> None:
    """Show one text after the other and keep the label that is typed: its number, or its name."""
    choices = {str(place): label for place, label in enumerate(notebook.labels, start=1)}
    choices |= {label: label for label in notebook.labels}
    keys = " · ".join(f"{place} {label}" for place, label in enumerate(notebook.labels, start=1))
    for place, text in enumerate(texts, start=1):
        out.print(f"\n[bold]{place} of {len(texts)}[/] {escape(text)}")
        while (typed := ask(f"{keys} · s skip · q stop> ")) not in (None, "q", "s", *choices):
            out.print("  type one of them")
        if typed in (None, "q"):
            return
        if typed != "s":
            notebook.add(text, choices[str(typed)])


def show_trial(outcomes: list[Outcome], labels: tuple[str, ...]) -> None:
    """The teacher's accuracy with each prompt, and where the recipe's own goes wrong."""
    table = Table(title=f"Trial of the teacher on {outcomes[0].n} rows", title_justify="left")
    for column in (
        "prompt",
        "accuracy",
        "95 % interval",
        "uncalibrated",
        "macro F1",
        "calibration",
        "p",
        "failed",
    ):
        table.add_column(column, justify="left" if column == "prompt" else "right", overflow="fold")
    for one in outcomes:
        table.add_row(
            escape(one.name),
            f"{one.accuracy.value:.3f}",
            f"{one.accuracy.lower:.3f} – {one.accuracy.upper:.3f}",
            f"{one.raw_accuracy:.3f}",
            f"{one.macro_f1:.3f}",
            f"{one.calibration_error:.3f}",
            "" if one.against is None else f"{one.against.p_value:.3f}",
            str(one.failed),
        )
    out.print(table)
    first = outcomes[0]
    for row, label in enumerate(labels):
        said = ", ".join(f"{first.table[row, column]} {other}" for column, other in enumerate(labels))
        out.print(f"  gold {escape(label)}: the teacher said {escape(said)}")
    for mistake in first.mistakes[:5]:
        out.print(
            f"  said {escape(mistake.said)} ({mistake.probability:.2f}), gold {escape(mistake.gold)}: "
            f"{escape(mistake.text[:200])}"
        )


def show_holdings(found: list[Holding]) -> None:
    """What is on disk, and what freeing it costs."""
    table = Table(title=f"On disk: {sum(one.bytes for one in found) / 1e6:,.1f} MB", title_justify="left")
    for column in ("name", "MB", "what", "if freed"):
        table.add_column(column, justify="right" if column == "MB" else "left", overflow="fold")
    for one in found:
        table.add_row(escape(one.name), f"{one.bytes / 1e6:,.1f}", escape(one.detail), one.meaning)
    out.print(table)


def show_side_by_side(answers: Mapping[str, Said]) -> None:
    """What teacher and student say about one text: a label with its probability, or an answer."""
    for who, said in answers.items():
        if isinstance(said, str):
            out.print(f"  [bold]{who}[/]")
            out.print(escape(said), soft_wrap=True)
        else:
            out.print(f"  {who:8} [bold]{escape(said[0])}[/] {said[1]:.2f}")


def ask(prompt: str) -> str | None:
    """A line typed by the user, or ``None`` at the end of input."""
    try:
        return out.input(prompt)
    except EOFError:
        return None


def ask_passphrase(prompt: str) -> str:
    """A passphrase typed unseen on the terminal, and nowhere else: not through a pipe, and not where it would show."""
    with warnings.catch_warnings():
        warnings.simplefilter("error", getpass.GetPassWarning)
        try:
            return getpass.getpass(prompt)
        except (getpass.GetPassWarning, EOFError) as error:
            raise StillhouseError(
                "a passphrase is needed, and there is no terminal to type it on",
                where=prompt.strip(": "),
                fix="run this in a terminal, or use a key without a passphrase that nobody else can read",
            ) from error


@contextmanager
def writing_to(path: Path | None) -> Iterator[TextIO]:
    """The file at ``path``, complete or not there at all; standard output when there is no path."""
    if path is None:
        yield sys.stdout
        return
    part = path.with_name(path.name + ".part")
    with part.open("w", encoding="utf-8") as stream:
        yield stream
    part.replace(path)

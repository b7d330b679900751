"""The docs cannot lie: made pages are current, README commands and snippets are real."""

from __future__ import annotations

import re
import sys
from importlib import import_module
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT))

from bench.docs import pages  # noqa: E402


def test_made_pages_are_what_they_would_be_made_today() -> None:
    for path, content in pages(ROOT).items():
        assert path.read_text("utf-8") == content, f"{path.name} is out of date: run `python -m bench docs`"


def test_every_module_has_a_caption() -> None:
    readme = (ROOT / "README.md").read_text("utf-8")
    for path in (ROOT / "src").rglob("*.py"):
        name = path.relative_to(ROOT).as_posix().removesuffix("__init__.py")
        assert re.search(rf"^{re.escape(name)} +\S.{{15,}}", readme, re.M), f"{name} has no caption"


def test_every_command_in_the_readme_exists() -> None:
    from stillhouse.cli import app

    known = {command.name or command.callback.__name__ for command in app.registered_commands}  # type: ignore[union-attr]
    shown = re.findall(r"^stillhouse (\w+)", README, re.M) + re.findall(r"`stillhouse (\w+) ", README)
    assert len(shown) > 5
    assert set(shown) <= known
    targets = set(re.findall(r"^(\w+):", (ROOT / "Makefile").read_text("utf-8"), re.M))
    for target in re.findall(r"(?:^|`)make (\w+)", README, re.M):
        assert target in targets


README = (ROOT / "README.md").read_text("utf-8")


@pytest.mark.parametrize("page", ["README.md", *sorted(f"docs/{path.name}" for path in (ROOT / "docs").glob("*.md"))])
def test_links_lead_somewhere(page: str) -> None:
    path = ROOT / page
    for link in re.findall(r"\]\(([^)#]+)\)", path.read_text("utf-8")):
        if "://" not in link:
            assert (path.parent / link).exists(), f"{page}: {link}"


@pytest.mark.parametrize("path", sorted((ROOT / "bench").glob("*.py")), ids=lambda path: path.stem)
def test_every_module_of_the_benches_finds_what_it_imports_and_every_part_its_function(path: Path) -> None:
    if path.stem == "__main__" or path.stem.endswith(("_driver", "_convert")):  # these run when they are imported
        return
    module = import_module(f"bench.{path.stem}")
    for name, function in getattr(module, "PARTS", {}).values():
        assert callable(getattr(import_module(f"bench.{name}"), function))

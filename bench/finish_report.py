"""The report in a real browser: no console error, no request, nothing beyond the edge, no serious finding of axe.

    report(quick=True, work=Path("runs/bench-finish/report"))

Needs Chromium (Debian: ``apt-get install chromium``), Node and npm. ``playwright-core`` and ``axe-core`` are installed
by npm into ``work``, in the versions below, and are never committed. Where one of these is missing the first figure
says which, and its bar is not reached.

Pages: a refused run full of hostile words, one that has just begun, and (not ``quick``) the tiny world run from its
data to its bottle and to a refusal. Each is seen 320, 390 and 1280 pixels wide, in both themes, everything unfolded.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from bench.report import Figure
from stillhouse.errors import StillhouseError
from stillhouse.execute import run
from stillhouse.report import write_report

ROOT = Path(__file__).parents[1]
PACKAGES = ("playwright-core@1.65.1", "axe-core@4.14.1")
WIDTHS = (320, 390, 1280)
_BROWSERS = ("chromium", "chromium-browser", "google-chrome")
_GRAVE = ("serious", "critical")
_WORDS = '<b>bold</b> & "quoted" 🙂 שלום ' + "w" * 400


def report(*, quick: bool, work: Path) -> list[Figure]:
    """Every figure of the page in the browser; ``work`` keeps the pages and what npm brought."""
    started = time.perf_counter()
    pages = [write_report(folder) for folder in _runs(work, quick=quick)]
    seconds = time.perf_counter() - started
    found = [
        Figure("report: pages looked at", len(pages)),
        Figure("report: bytes of the largest page", max(page.stat().st_size for page in pages), "bytes"),
        Figure("report: making runs and pages", round(seconds, 2), "s"),
    ]
    browser, missing = _browser(work)
    if missing:
        return [Figure(f"report: not looked at in a browser, {missing}", 0, "browsers", (">=", 1)), *found]
    views = _look(browser, work, pages)
    grave = [one for view in views for one in view["axe"] or () if one["impact"] in _GRAVE]
    other = [one for view in views for one in view["axe"] or () if one["impact"] not in _GRAVE]
    for one in grave:
        print(f"axe: {one['impact']} {one['id']}, {one['nodes']} elements")
    return [
        Figure("report: looked at in a browser", 1, "browsers", (">=", 1)),
        *found,
        Figure("report: views (widths, themes, with and without axe)", len(views)),
        Figure("report: console errors and warnings", sum(len(view["errors"]) for view in views), "", ("==", 0)),
        Figure("report: requests beside the page itself", sum(len(view["requests"]) for view in views), "", ("==", 0)),
        Figure("report: axe, serious and critical findings", len(grave), "", ("==", 0)),
        Figure("report: axe, other findings", len(other)),
        *(
            Figure(
                f"report: beyond the edge, {width} pixels wide",
                max(view["overflow"] + view["outside"] for view in views if view["width"] == width),
                "px, elements",
                ("<=", 0),
            )
            for width in WIDTHS
        ),
    ]


def _runs(work: Path, *, quick: bool) -> list[Path]:
    """Run folders to be shown."""
    sys.path.insert(0, str(ROOT / "tests"))  # runs made by hand and the tiny world are kept with the tests
    import report_run

    shutil.rmtree(work / "made", ignore_errors=True)
    statuses = ("failed", "not certified", "passed", "reported")
    findings = [report_run.finding("swap", f"{_WORDS} {place}", statuses[place % 4]) for place in range(60)]
    answer = {"text": _WORDS * 5, "finish_reason": "length", "right": False, "verdict": _WORDS}
    sample = {"asked": _WORDS, "gold": _WORDS, "answers": dict.fromkeys(("teacher", "student", "ce"), answer)}
    full: dict[str, Any] = {"words": _WORDS, "findings": findings, "gates": [report_run.FAILED, report_run.PASSED]}
    folders = []
    for name, task, last in (
        ("classifier", "text-classification", "judge"),
        ("writer", "text-generation", "finish"),
        ("begun", "text-classification", "raw"),
    ):
        made = report_run.Made(work / "made" / name, task=task, samples=[sample] * 3, **full)
        folders.append(made.through(last).folder)
    return folders[::2] if quick else [*folders, *_tiny(work / "tiny")]


def _tiny(folder: Path) -> list[Path]:
    """The tiny world, once bottled and once refused."""
    import tiny_world

    (folder / "world").mkdir(parents=True, exist_ok=True)
    world, before = tiny_world.make(folder / "world"), Path.cwd()
    os.chdir(folder)  # paths of the recipe start here
    try:
        for name, margin in (("bottled", 0.3), ("refused", 0.001)):
            try:
                run(world.recipe(name=name, **{"finish.evaluate.margin": margin}), base=folder)
            except StillhouseError as error:
                print(f"tiny world, {name}: {error.problems[0].what}")
    finally:
        os.chdir(before)
    return [folder / "runs" / "bottled", folder / "runs" / "refused"]


def _browser(work: Path) -> tuple[str, str]:
    """The browser, or what is missing to use one."""
    browser = next((path for name in _BROWSERS if (path := shutil.which(name))), None)
    if browser is None:
        return "", "no Chromium on this machine"
    npm = shutil.which("npm")
    if npm is None or shutil.which("node") is None:
        return browser, "no Node and npm on this machine"
    if not all((work / "node_modules" / name.partition("@")[0]).is_dir() for name in PACKAGES):
        (work / "package.json").write_text("{}", encoding="utf-8")
        asked = [npm, "install", "--no-audit", "--no-fund", "--ignore-scripts", *PACKAGES]
        done = subprocess.run(asked, cwd=work, capture_output=True, text=True, check=False)
        if done.returncode:
            return browser, f"npm could not bring {' and '.join(PACKAGES)}"
    return browser, ""


def _look(browser: str, work: Path, pages: Sequence[Path]) -> list[Mapping[str, Any]]:
    """What is seen of every page."""
    profile = work / "profile"
    for old in work.glob("profile-*"):  # every look starts with a browser that knows nothing
        shutil.rmtree(old)
    node = shutil.which("node") or "node"
    driver, modules = Path(__file__).with_suffix(".js"), (work / "node_modules").resolve()
    asked = [str(driver), str(modules), browser, str(profile.resolve()), ",".join(map(str, WIDTHS))]
    done = subprocess.run(
        [node, *asked, *(str(page.resolve()) for page in pages)],
        capture_output=True,
        text=True,
        check=False,
        timeout=600,
    )
    if done.returncode:
        raise RuntimeError(f"the browser gave up: {done.stderr.strip()[:2000]}")
    views: list[Mapping[str, Any]] = json.loads(done.stdout)
    return views

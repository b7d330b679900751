"""Rights: the table against its cases, the gate against a counting server, duties with a real community license, and
license texts under every name but their own.

The texts of licenses are fetched as data from a package of the ScanCode project; nothing of it is installed or run.
"""

from __future__ import annotations

import json
import random
import shutil
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import yaml

from bench.report import Figure
from stillhouse.addresses import resolve
from stillhouse.finish.bottle import seal_bottle, verify_bottle
from stillhouse.rights import Claim, Subject, Table, Use, Verdict, gather, judge, lift, worst

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT / "tests"))  # the cases and the tiny world are kept with the tests

TEXTS = "pypi:scancode-toolkit-mini==32.5.0#licensedcode/data/licenses/*.LICENSE"
LLAMA = "LicenseRef-scancode-llama-3.1-license-2024"
FORBIDDEN = "hf:LGAI-EXAONE/EXAONE-3.5-2.4B-Instruct@main"
ALLOWED = "hf:HuggingFaceTB/SmolLM2-135M-Instruct@main"


def figures(*, quick: bool, work: Path) -> list[Figure]:
    """Every figure of the rights; ``quick`` leaves out what needs the fetched texts."""
    import tiny_world

    (work / "world").mkdir(parents=True, exist_ok=True)
    world = tiny_world.make(work / "world")
    found = [*_case_figures(), *_law_figures(200 if quick else 5000), *_gate_figures(world, work)]
    if not quick:
        texts = _texts()
        found += [*_text_figures(texts), *_renamed_figures(texts, work), *_duty_figures(world, texts, work)]
    return found


def _case_figures() -> list[Figure]:
    from rights_cases import read_cases

    cases = read_cases()
    right = sum(case.answer() == case.expected for case in cases)
    return [
        Figure("cases with verdict, duties and clause written by hand", len(cases), "", (">=", 60)),
        Figure("  of which the table answers otherwise", len(cases) - right, "", ("<=", 0)),
    ]


def _law_figures(trials: int) -> list[Figure]:
    """Random runs over all documents: worst wins, order does not matter, one more never improves, limits of lifting."""
    table, chance, broken = Table.load(), random.Random(0), 0
    ids = [name for entry in table.terms for name in entry.ids] + ["nobody knows"]

    class Statement:
        who, covers = "the bench", ("data",)

    for _ in range(trials):
        use = Use(
            chance.choice(["classifier", "embedder", "extractor", "generative"]),  # type: ignore[arg-type]
            chance.choice(["internal", "served", "distributed"]),  # type: ignore[arg-type]
            chance.random() < 0.5,
        )
        subjects = [
            Subject("data", f"s{place}", "a", ("data",), (Claim(chance.choice(ids), "recipe"),))
            for place in range(chance.randint(1, 6))
        ]
        judged = [judge(subject, use, table=table) for subject in subjects]
        mixed = chance.sample(judged, len(judged))
        lifted = lift(judged, Statement())
        holds = (
            worst(judged) == worst(mixed) == max(one.verdict for one in judged)
            and worst(judged) >= worst(judged[:-1])
            and all(
                (new.verdict is old.verdict) == (old.verdict not in (Verdict.NEEDS_PERMISSION, Verdict.UNKNOWN))
                for old, new in zip(judged, lifted, strict=True)
            )
        )
        broken += not holds
    return [Figure(f"lattice laws broken in {trials} random runs", broken, "", ("<=", 0))]


@contextmanager
def _counting_hub() -> Iterator[tuple[str, list[str]]]:
    seen: list[str] = []

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            seen.append(self.path)
            self.send_error(404)

        def do_HEAD(self) -> None:
            self.do_GET()

        def log_message(self, *_: object) -> None:
            pass

    server = HTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_port}", seen
    finally:
        server.shutdown()


def _gate_figures(world: Any, work: Path) -> list[Figure]:
    found = []
    with _counting_hub() as (url, seen):
        for name, address in (("forbidden", FORBIDDEN), ("allowed", ALLOWED)):
            mapping = world.mapping()
            mapping["ferment"]["teacher"] = {"kind": "local", "model": address}
            recipe = _save(mapping, work / f"gate-{name}")
            before, codes = len(seen), []
            for command in ("check", "run"):
                codes.append(_stillhouse([command, str(recipe)], endpoint=url).returncode)
            asked = len(seen) - before
            if name == "forbidden":
                found.append(Figure("forbidden teacher: exit code of check", codes[0], "", ("==", 1)))
                found.append(Figure("forbidden teacher: exit code of run", codes[1], "", ("==", 1)))
                found.append(Figure("forbidden teacher: requests that the server saw", asked, "", ("<=", 0)))
            else:
                found.append(Figure("allowed teacher: requests that the server saw", asked, "", (">=", 1)))
    return found


def _texts() -> dict[str, str]:
    """License texts by ScanCode key, without their front matter."""
    files = resolve(TEXTS, cache=ROOT / "cache", base=ROOT).files
    return {path.stem: path.read_text("utf-8").split("\n---", 1)[1].lstrip("-\n") for path in files}


def _text_figures(texts: dict[str, str]) -> list[Figure]:
    table = Table.load()
    known = {text.sha256 for entry in table.terms for found in entry.texts.values() for text in found}
    same = {key: found for key, text in texts.items() if (found := table.by_text(text)).match == "same"}
    wanted = {found.sha256 for found in same.values()}
    # two of Apache-2.0's hashes are of its text without the appendix, which the package does not hold
    return [
        Figure("license texts in the table", len(known)),
        Figure("  of which found, word for word, among the fetched ones", len(wanted), "", (">=", len(known) - 2)),
        Figure("fetched texts in all", len(texts)),
        Figure("  of which recognised as one of the table's", len(same), "", ("<=", len(known))),
    ]


def _renamed_figures(texts: dict[str, str], work: Path) -> list[Figure]:
    """Every known model license as LICENSE in a folder named after another family: judged by text or by name?"""
    table, wrong, tried = Table.load(), 0, 0
    keys = [key for key, text in texts.items() if table.by_text(text).match == "same"]
    names = ["SmolLM2-135M", "Llama-3.1-8B", "EXAONE-3.5-2.4B", "gemma-3-1b", "Qwen-14B", "phi-4", "Hunyuan-7B"]
    for key in keys:
        expected = table.by_text(texts[key]).terms
        for name in names:
            folder = work / "renamed" / key / name
            folder.mkdir(parents=True)
            (folder / "LICENSE").write_text(texts[key], "utf-8")
            files = resolve(str(folder), cache=work / "cache", base=work)
            subject = gather("teacher", "teacher", str(folder), table=table, files=files, touches=("outputs",))
            tried += 1
            wrong += judge(subject, Use(), table=table).license != expected
    return [
        Figure("model folders renamed to another family", tried),
        Figure("  of which judged by their name", wrong, "", ("<=", 0)),
    ]


def _duty_figures(world: Any, texts: dict[str, str], work: Path) -> list[Figure]:
    """A student of a teacher under Llama 3.1's license, hidden under another name, made for distribution."""
    folder = work / "duties"
    teacher = folder / "models" / "SmolLM2-renamed"
    shutil.copytree(world.teacher, teacher)
    (teacher / "LICENSE").write_text(texts["llama-3.1-license-2024"], "utf-8")
    mapping = world.mapping()
    mapping["rights"] = {"use": "distributed", "commercial": False}
    mapping["ferment"]["teacher"] = {"kind": "local", "model": str(teacher), "batch_tokens": 64}
    mapping["raw"]["sources"][0] |= {"license": "CC-BY-4.0", "attribution": "The Word Collectors"}
    mapping["distill"]["student"]["license"] = "Apache-2.0"
    recipe = _save(mapping, folder)
    refused = _stillhouse(["run", str(recipe)])
    named = _stillhouse(["run", str(recipe), "--set", "finish.name=Llama-mood"])
    bottle = folder / "runs" / "tiny" / "4-finish" / "bottle"
    card, notice = (bottle / "README.md").read_text("utf-8"), (bottle / "NOTICE").read_text("utf-8")
    copy = bottle / "licenses" / f"{LLAMA}-teacher-teacher.txt"
    held = {
        "badge": "Built with Llama" in card,
        "notice": "Llama 3.1 is licensed under the Llama 3.1 Community License" in notice,
        "license copy": Table.load().by_text(copy.read_text("utf-8")).terms == LLAMA,
        "use policy": "llama3_1/use-policy" in card,
    }
    damage = {
        "README.md": ("**Built with Llama**", ""),
        "NOTICE": ("Llama 3.1 is licensed", "It is licensed"),
        f"licenses/{copy.name}": (None, "x"),
        "label.json": ('"Llama-mood"', '"mood"'),
    }
    caught = 0
    for name, (old, new) in damage.items():
        copied = folder / "damaged"
        shutil.rmtree(copied, ignore_errors=True)
        shutil.copytree(bottle, copied)
        text = (copied / name).read_text("utf-8")
        (copied / name).write_text(text.replace(old, new) if old else new, "utf-8")
        seal_bottle(copied)  # the sums are made anew: the duty itself has to be missed
        caught += any(problem.startswith("duty not") for problem in verify_bottle(copied))
    label = json.loads((bottle / "label.json").read_text("utf-8"))
    struck = {**label, "rights": {**label["rights"], "duties": []}}
    shutil.rmtree(copied)
    shutil.copytree(bottle, copied)
    (copied / "label.json").write_text(json.dumps(struck), "utf-8")
    seal_bottle(copied)
    missed = sum(problem.startswith("duty not listed") for problem in verify_bottle(copied))
    rows = label["rights"]["subjects"]
    blank = sum(not row["documents"] or row["license"] == "not stated" for row in rows)
    return [
        Figure("Llama 3.1 student without the prefix: exit code", refused.returncode, "", ("==", 1)),
        Figure("  and with it: exit code", named.returncode, "", ("==", 0)),
        *(Figure(f"  its bottle holds the {name}", float(there), "", (">=", 1)) for name, there in held.items()),
        Figure("  bottle as sealed: problems found", len(verify_bottle(bottle)), "", ("<=", 0)),
        Figure(f"  verify fails after removing one of {len(damage)}", caught, "", (">=", len(damage))),
        Figure(
            "  duties struck from the label: those that verify names",
            missed,
            "",
            (">=", len(label["rights"]["duties"])),
        ),
        Figure("subjects on its label", len(rows), "", (">=", 3)),
        Figure("  of which without a document", blank, "", ("<=", 0)),
    ]


def _save(mapping: dict[str, Any], folder: Path) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    mapping["paths"] = {name: str(folder / name) for name in ("runs", "answers", "cache")}
    path = folder / "recipe.yaml"
    path.write_text(yaml.safe_dump(mapping), "utf-8")
    return path


def _stillhouse(arguments: list[str], endpoint: str = "http://127.0.0.1:9") -> subprocess.CompletedProcess[str]:
    import os

    environment = {**os.environ, "HF_ENDPOINT": endpoint}
    return subprocess.run(
        [sys.executable, "-m", "stillhouse.cli", *arguments],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )

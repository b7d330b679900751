"""Secrets and personal data: what is found of the published formats, at what cost, and what is found in real text.

The real text is the source and the documentation of the packages installed beside the running interpreter, cut into
two halves by the hash of the folder's name without its version. The rules were tuned while looking at the half ``tune``
only; the figures are of the half ``report``. What is found there is no false alarm yet: the addresses of authors are
personal data. So every finding is kept, masked, in ``false_alarms.jsonl`` for someone to look at.
"""

from __future__ import annotations

import hashlib
import json
import random
import re
import sys
import sysconfig
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from bench.report import Figure
from stillhouse.raw.credentials import find_credentials
from stillhouse.raw.personal import find_personal
from stillhouse.raw.spans import Span

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT / "tests"))  # the formats are kept with the tests

_TEXT = frozenset({
    ".c", ".cc", ".cfg", ".cpp", ".css", ".cu", ".cuh", ".h", ".hpp", ".htm", ".html", ".ini", ".ipynb", ".js",
    ".json", ".md", ".proto", ".py", ".pyi", ".pyx", ".rst", ".sh", ".sql", ".tex", ".toml", ".ts", ".txt",
    ".xml", ".yaml", ".yml",
})  # fmt: skip
_LARGEST = 500_000  # bytes of a file: larger ones are data
_SETS = {"secrets": find_credentials, "personal data": find_personal}


def figures(*, quick: bool, work: Path) -> list[Figure]:
    """Recall by kind beside its bar, the cost of clean text, and what is found in text that the rules never saw."""
    lines = 60_000 if quick else 2_000_000
    return [*_recall(seeds=3 if quick else 20), *_cost(quick=quick), *_alarms(lines, work / "false_alarms.jsonl")]


def _recall(*, seeds: int) -> list[Figure]:
    from personal_formats import personal_negatives, personal_positives
    from secret_formats import secret_negatives, secret_positives

    found = []
    for name, positives, negatives in (
        ("secrets", secret_positives, secret_negatives),
        ("personal data", personal_positives, personal_negatives),
    ):
        hits: Counter[str] = Counter()
        total: Counter[str] = Counter()
        flagged, shown = 0, 0
        for seed in range(seeds):
            for case in positives(seed=seed):
                total[case.kind] += 1
                spans = _SETS[name](case.text)
                hits[case.kind] += any((span.start, span.end) == (case.start, case.end) for span in spans)
            shown += len(negatives(seed=seed))
            flagged += sum(bool(_SETS[name](text)) for text in negatives(seed=seed))
        found += [
            Figure(f"{name}: positives of published formats, each drawing", total.total() // seeds, "", (">=", 150)),
            Figure(
                f"{name}: recall over {seeds} drawings, exact spans", hits.total() / total.total(), "", (">=", 0.95)
            ),
            *(
                Figure(f"  {kind} ({total[kind] // seeds} frames)", hits[kind] / total[kind], "", (">=", 0.95))
                for kind in total
            ),
            Figure(f"{name}: flagged of {shown // seeds} look-alikes a drawing", flagged / seeds, "", ("<=", 0)),
        ]
    return found


def _folder(path: Path, root: Path) -> str:
    return re.split(r"[-.]", path.relative_to(root).parts[0].lower().replace("-", "_"))[0]


def texts(half: str, *, lines: int) -> Iterator[tuple[str, str]]:
    """Files of one half, ``tune`` or ``report``, in an order drawn once, until there are ``lines``: name and text."""
    root = Path(sysconfig.get_paths()["purelib"])
    paths = sorted(path for path in root.rglob("*") if path.suffix in _TEXT or path.name == "METADATA")
    random.Random(0).shuffle(paths)
    for path in paths:
        folder = _folder(path, root)
        tuning = hashlib.sha256(folder.encode()).digest()[0] % 2 == 0
        if tuning != (half == "tune") or folder == "stillhouse" or path.stat().st_size > _LARGEST:
            continue
        try:
            text = path.read_text("utf-8")
        except UnicodeDecodeError:
            continue
        yield str(path.relative_to(root)), text
        lines -= text.count("\n") + 1
        if lines <= 0:
            return


def _cost(*, quick: bool) -> list[Figure]:
    """Paragraphs of real documentation of 200 to 400 characters in which nothing is found, both families together."""
    documents: list[str] = []
    for name, text in texts("report", lines=10**9):
        if name.endswith((".md", ".rst", ".txt", "METADATA")):
            documents += (p for p in text.split("\n\n") if 200 <= len(p) <= 400)
        if len(documents) >= 4000:
            break
    clean = [text for text in documents if not find_credentials(text) and not find_personal(text)]
    found = []
    for name, find in {**_SETS, "both": lambda text: (find_credentials(text), find_personal(text))}.items():
        best = min(_seconds(clean, find) for _ in range(3 if quick else 9)) / len(clean) * 1e6
        found.append(Figure(f"cost of {name}, a clean document", best, "µs", ("<=", 40.0) if name == "both" else None))
    from secret_formats import secret_positives

    planted = [case.text for case in secret_positives(seed=0)]
    both = min(_seconds(planted, find) for _ in range(3)) / len(planted) * 1e6
    found.append(Figure("cost of both, a document with a secret", both, "µs"))
    mean = sum(map(len, clean)) / len(clean)
    return [*found, Figure(f"  characters of the {len(clean)} documents, mean", mean)]


def _seconds(documents: Sequence[str], find: Callable[[str], object]) -> float:
    """Processor time, so that a neighbor on the machine does not count."""
    began = time.process_time()
    for text in documents:
        find(text)
    return time.process_time() - began


def _masked(text: str, spans: Sequence[Span], place: int) -> str:
    """One finding in its line, up to the neighboring findings; of itself only its ends and its length."""
    span = spans[place]
    first = spans[place - 1].end if place else 0
    last = spans[place + 1].start if place + 1 < len(spans) else len(text)
    found = text[span.start : span.end]
    shown = f"{found[:2]}[{len(found) - 3} more]{found[-1:]}" if len(found) > 3 else "[…]"
    before = text[max(first, span.start - 40) : span.start].rpartition("\n")[2]
    return before + shown + text[span.end : min(last, span.end + 20)].partition("\n")[0]


def _alarms(lines: int, kept: Path) -> list[Figure]:
    read, files = 0, 0
    folders: set[str] = set()
    kinds: Counter[str] = Counter()
    with kept.open("w", encoding="utf-8") as out:
        for name, text in texts("report", lines=lines):
            read, files = read + text.count("\n") + 1, files + 1
            folders.add(name.partition("/")[0])
            for find in _SETS.values():
                spans = find(text)
                for place, span in enumerate(spans):
                    kinds[span.kind] += 1
                    line = text.count("\n", 0, span.start) + 1
                    row = {"kind": span.kind, "file": name, "line": line, "excerpt": _masked(text, spans, place)}
                    out.write(json.dumps(row, ensure_ascii=False) + "\n")
    return [
        Figure(
            f"unseen real text: lines of {files} files in {len(folders)} folders",
            read,
            "lines",
            (">=", min(lines, 300_000)),
        ),
        *(Figure(f"  {kind}: found ({n})", n / read * 1e6, "/ M lines") for kind, n in kinds.most_common()),
    ]

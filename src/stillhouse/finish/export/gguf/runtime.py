"""llama.cpp as users run it, from the package xllamacpp, in a process of its own that no port leads to.

with Runtime.open(Path("model-q8_0.gguf"), context=1024, threads=2) as runtime:
    runtime.tokens("a text")
    runtime.answer([1, 5, 7], 50).ids
    ids, log_probs = runtime.next_log_probs([1, 5, 7], top=49152)

A library written in C++ ends its process where it meets what it does not expect, so it has one of its own: the run
goes on and says what happened. The socket is a file in a folder that only this user can open.
"""

from __future__ import annotations

import http.client
import json
import os
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import cached_property
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from stillhouse.errors import StillhouseError
from stillhouse.finish.export.agreement import Written

_CHILD = Path(__file__).with_name("serve.py")
_SECONDS = 600.0  # for one call; a large prompt on a busy machine takes minutes
_LINES = 6  # of what the process said before it died
PACKAGE = "xllamacpp"


class Runtime:
    """One loaded file. Calls are answered one at a time."""

    def __init__(self, process: subprocess.Popen[bytes], socket_file: Path, said: Path) -> None:
        self._process, self._socket, self._said = process, socket_file, said

    @classmethod
    @contextmanager
    def open(cls, file: Path, *, context: int, threads: int | None = None, exact: bool = False) -> Iterator[Runtime]:
        """Load ``file``. context: tokens of prompt and answer together. exact: keys and values in float32; without it
        all is as users have it who change no setting. threads: ``None`` for half of the cores, since they wait for each
        other by spinning, which on a busy machine is many times slower.

        Raises :class:`StillhouseError` where the package is missing, or where the file cannot be loaded.
        """
        if find_spec(PACKAGE) is None:
            raise StillhouseError(
                f"the package {PACKAGE} is missing, so a GGUF file cannot be compared with the student",
                where="the GGUF export",
                fix='install it with `pip install "stillhouse[finish]"`',
            )
        with tempfile.TemporaryDirectory(prefix="still-") as folder:  # short: a socket's path has about 100 characters
            place, said = Path(folder) / "s.sock", Path(folder) / "said.txt"
            told = {
                "model": str(file.resolve()),
                "socket": str(place),
                "context": context,
                "threads": threads or max(1, (os.cpu_count() or 1) // 2),
                "exact": exact,
            }
            command = [sys.executable, "-P", str(_CHILD), json.dumps(told)]
            with said.open("wb") as errors:
                process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=errors)
            try:
                assert process.stdout is not None  # noqa: S101 - asked for above
                if b"ready\n" not in iter(process.stdout.readline, b""):
                    raise _died(process, said, f"{file.name} cannot be loaded by llama.cpp", file)
                yield cls(process, place, said)
            finally:
                process.kill()
                process.wait()
                for stream in (process.stdin, process.stdout):
                    if stream is not None:
                        stream.close()

    def tokens(self, text: str) -> list[int]:
        """Ids of a text, with the beginning and end that the file asks for."""
        found = self._call("/tokenize", {"content": text, "add_special": True, "parse_special": True})
        return [int(one) for one in found["tokens"]]

    @cached_property
    def _plain(self) -> int:
        """A token of one ordinary character."""
        return int(self._call("/tokenize", {"content": "a", "add_special": False})["tokens"][-1])

    def text(self, ids: Sequence[int]) -> str:
        """The text of ids."""
        return str(self._call("/detokenize", {"tokens": list(ids)})["content"])

    def template(self, messages: Sequence[Mapping[str, str]]) -> str:
        """What the file's chat template makes of messages, up to where the answer begins."""
        return str(self._call("/apply-template", {"messages": [dict(one) for one in messages]})["prompt"])

    def answer(self, prompt: Sequence[int], most: int) -> Written:
        """Greedy tokens after a prompt of ids, ``most`` at most; their speed is the runtime's own figure."""
        body = {"prompt": list(prompt), "n_predict": most, "return_tokens": True, "cache_prompt": False}
        found = self._call("/completion", body | _greedy())
        ids = tuple(int(one) for one in found["tokens"])  # an end is the last of them
        ended = found["stop_type"] == "eos"
        speed = float(found["timings"]["predicted_per_second"])
        return Written(ids[:-1], ids[-1], speed) if ended else Written(ids, None, speed)

    def answers(self, prompts: Sequence[Sequence[int]], most: int) -> list[Written]:
        """The same for several prompts, one after the other."""
        return [self.answer(prompt, most) for prompt in prompts]

    def chat(self, messages: Sequence[Mapping[str, str]], most: int) -> tuple[str, Literal["stop", "length"]]:
        """The answer to a conversation by the way that clients take: text, and why it ended."""
        body = {"messages": [dict(one) for one in messages], "max_tokens": most}
        (choice,) = self._call("/v1/chat/completions", body | _greedy())["choices"]
        return str(choice["message"]["content"]), choice["finish_reason"]

    def next_log_probs(self, ids: Sequence[int], *, top: int) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.float64]]:
        """The ``top`` likeliest next tokens and their log-probabilities, rising by id; all of them where it is enough.

        What was read for the last call is not read again where ``ids`` goes on from it.
        """
        # the token that is drawn must not matter: an end, or part of a character, comes without its probabilities
        body = {"prompt": list(ids), "n_predict": 1, "n_probs": top, "cache_prompt": True}
        body["logit_bias"] = [[self._plain, 1000.0]]
        (place,) = self._call("/completion", body | _greedy())["completion_probabilities"]
        rows = [(int(one["id"]), float(one["logprob"])) for one in place["top_logprobs"] if one["logprob"] is not None]
        rows.sort()
        return np.array([one for one, _ in rows], np.int64), np.array([value for _, value in rows], np.float64)

    def _call(self, path: str, body: Mapping[str, object]) -> Any:
        connection = http.client.HTTPConnection("localhost", timeout=_SECONDS)
        try:
            connection.sock = socket.socket(socket.AF_UNIX)
            connection.sock.settimeout(_SECONDS)
            connection.sock.connect(str(self._socket))
            connection.request("POST", path, json.dumps(body), {"Content-Type": "application/json"})
            answer = connection.getresponse()
            content = answer.read()
        except (OSError, http.client.HTTPException) as error:
            raise _died(self._process, self._said, f"llama.cpp gave no answer ({error})", self._said) from error
        finally:
            connection.close()
        found = json.loads(content)
        if answer.status != 200:
            what = found.get("error", {}).get("message", answer.status) if isinstance(found, dict) else answer.status
            raise StillhouseError(
                f"llama.cpp refused: {what}", where=f"its {path}", fix="shorten the text, or leave GGUF out"
            )
        return found


def _greedy() -> dict[str, object]:
    return {"temperature": 0.0, "samplers": ["temperature"], "repeat_penalty": 1.0}


def _died(process: subprocess.Popen[bytes], said: Path, what: str, where: Path) -> StillhouseError:
    try:
        code = process.wait(5)
    except subprocess.TimeoutExpired:
        code = None
    lines = [line.strip() for line in said.read_text("utf-8", "replace").splitlines() if line.strip()][-_LINES:]
    ended = "" if code is None else f"; its process ended with {code}"
    return StillhouseError(
        f"{what}{ended}: {' | '.join(lines) or 'it said nothing'}",
        where=str(where),
        fix="leave GGUF out, or try another version of xllamacpp",
    )

"""A judge of pairs on loopback: a real server whose verdicts follow a rule of the test.

with JudgeServer(longer) as server:
    endpoint = Endpoint(server.url, "judge")
    server.asked, server.keys          # questions, in order; authorization headers seen

A rule gets the two answers as the frame shows them, read by a parser of its own, and says what the judge says.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Self

Rule = Callable[[str, str], str]


def shown(question: str) -> dict[str, str]:
    """What stands in each part of the frame, by its name: only lines with the code that the question names count."""
    code = question.split("begin with == ", 1)[1].split(" ", 1)[0]
    parts: dict[str, list[str]] = {}
    name = ""
    for line in question.split("\n"):
        if line.startswith(f"== {code} "):
            name = line.removeprefix(f"== {code} ")
            assert name not in parts, f"two parts are called {name}"
            parts[name] = []
        elif name:
            parts[name].append(line)
    return {name: "\n".join(lines) for name, lines in parts.items()}


def longer(first: str, second: str) -> str:
    """The longer answer, whatever it says."""
    return "A" if len(first) > len(second) else "B" if len(second) > len(first) else "tie"


class JudgeServer:
    """Serves in a thread of its own. fails: questions that hold this text are answered with status 500."""

    def __init__(self, rule: Rule, *, fails: str | None = None) -> None:
        self.rule, self.fails = rule, fails
        self.asked: list[str] = []
        self.keys: set[str | None] = set()
        self.bodies: list[dict[str, Any]] = []
        self.url = ""

    def __enter__(self) -> Self:
        judge = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self) -> None:
                judge.keys.add(self.headers.get("authorization"))
                body = json.loads(self.rfile.read(int(self.headers["content-length"])))
                status, value = judge.answer(body, str(self.headers.get("authorization")))
                data = json.dumps(value).encode()
                self.send_response(status)
                self.send_header("content-type", "application/json")
                self.send_header("content-length", str(len(data)))
                self.end_headers()
                self.wfile.write(data)

            def log_message(self, *_: object) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()
        self.url = f"http://127.0.0.1:{self._server.server_port}/v1"
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()

    def answer(self, body: dict[str, Any], said: str) -> tuple[int, dict[str, Any]]:
        """Status and body of the response; an error repeats the key, as careless servers do."""
        question = body["messages"][-1]["content"]
        self.bodies.append(body)
        if self.fails is not None and self.fails in question:
            return 500, {"error": {"message": f"broken for {said}"}}
        self.asked.append(question)
        parts = shown(question)
        words = self.rule(parts["answer A"], parts["answer B"])
        text = json.dumps({"label": words}) if "response_format" in body and words in ("A", "B", "tie") else words
        choice = {"index": 0, "finish_reason": "stop", "message": {"role": "assistant", "content": text}}
        return 200, {"choices": [choice], "usage": {"prompt_tokens": 300, "completion_tokens": 2}, "model": "judge"}

"""A process that has everything imported and forks a child for each run, so that a killed run costs no start-up.

Reads one JSON object a line: ``{"cwd": …, "recipe": …, "kill_at": [point, nth] | null, "kill_after": seconds | null}``;
answers with the child's wait status and how often it reached each commit point.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import time
import traceback
from collections import Counter
from pathlib import Path

import accelerate  # noqa: F401 - imported here so that no child has to
import onnxruntime  # noqa: F401
import sklearn.linear_model  # noqa: F401
import transformers.models.bert.modeling_bert
import transformers.models.llama.modeling_llama  # noqa: F401

from stillhouse import execute, store
from stillhouse.distill import controls_classification  # noqa: F401
from stillhouse.finish import judge_classification, stage  # noqa: F401
from stillhouse.recipe import parse_recipe


def child(order: dict[str, object], reached: Path) -> None:
    """Run the recipe; kill the whole process at the commit point that the order names."""
    os.chdir(str(order["cwd"]))
    seen: Counter[str] = Counter()
    part = reached.with_suffix(".part")

    def observe(point: str) -> None:
        seen[point] += 1
        part.write_text(json.dumps(seen), "utf-8")
        part.replace(reached)  # a kill in the middle leaves what was there
        if order["kill_at"] == [point, seen[point]]:
            os.kill(os.getpid(), signal.SIGKILL)

    store.observe_commit_points(observe)
    execute.run(parse_recipe(order["recipe"]), base=Path())


def main() -> None:
    """Serve orders until the input ends."""
    for line in sys.stdin:
        order = json.loads(line)
        reached = Path(order["cwd"]) / "reached.json"
        reached.write_text("{}")
        process = os.fork()
        if process == 0:
            status = 1
            try:
                child(order, reached)
                status = 0
            except BaseException:
                traceback.print_exc()
            finally:
                sys.stderr.flush()
                os._exit(status)
        if order["kill_after"] is not None:
            deadline = time.monotonic() + order["kill_after"]
            while (
                time.monotonic() < deadline
                and os.waitid(os.P_PID, process, os.WEXITED | os.WNOHANG | os.WNOWAIT) is None
            ):
                time.sleep(0.01)
            os.kill(process, signal.SIGKILL)
        _, status = os.waitpid(process, 0)
        sys.stdout.write(json.dumps({"status": status, "reached": json.loads(reached.read_text())}) + "\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main()

"""A process that has everything imported and forks a child for each run, so that a killed run costs no start-up.

Reads one JSON object a line: ``{"cwd": …, "recipe": …, "kill_at": [point, nth] | null}``, where a point is a commit
point or :data:`TOUCHED`; answers with the child's wait status and, where it came to its end, how often it reached each.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import traceback
from collections import Counter
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from stillhouse import execute, store
from stillhouse.recipe import parse_recipe

TOUCHED = "file-touched"  # Python is about to open, make, move, list or remove something of the run


def child(order: dict[str, Any], reached: Path) -> None:
    """Run the recipe; kill the whole process at the point that the order names."""
    os.chdir(order["cwd"])
    seen: Counter[str] = Counter()

    def observe(point: str) -> None:
        seen[point] += 1
        if order["kill_at"] == [point, seen[point]]:
            os.kill(os.getpid(), signal.SIGKILL)

    def audit(event: str, arguments: tuple[Any, ...]) -> None:
        if (event == "open" or event.startswith("os.")) and arguments and isinstance(arguments[0], str | os.PathLike):
            place = Path.cwd() / arguments[0]
            if place.is_relative_to(order["cwd"]) and place != reached:
                observe(TOUCHED)

    sys.addaudithook(audit)
    store.observe_commit_points(observe)
    execute.run(parse_recipe(order["recipe"]), base=Path())
    reached.write_text(json.dumps(seen.copy()), "utf-8")


def warm_up() -> None:
    """Import everything and export a model: what torch sets up at its first export it keeps, and every child has it."""
    import accelerate  # noqa: F401
    import onnxruntime  # noqa: F401
    import sklearn.linear_model  # noqa: F401
    import transformers.models.llama.modeling_llama  # noqa: F401

    import tiny_models
    from stillhouse import student
    from stillhouse.distill import controls_classification  # noqa: F401
    from stillhouse.distill.students import keep_layers
    from stillhouse.finish import judge_classification, stage  # noqa: F401
    from stillhouse.finish.export.onnx import export_classifier

    with TemporaryDirectory() as name:
        base, folder = tiny_models.encoder(Path(name) / "base"), Path(name) / "student"
        model, tokenizer = keep_layers(base, labels=["bad", "good"], keep=1, seed=0)
        student.save_student(model, tokenizer, folder)
        export_classifier(folder, Path(name) / "model.onnx", max_length=16)


def main() -> None:
    """Serve orders until the input ends."""
    warm_up()
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
        _, status = os.waitpid(process, 0)
        sys.stdout.write(json.dumps({"status": status, "reached": json.loads(reached.read_text())}) + "\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main()

"""Training a language model in several processes, one for each device: started, listened to, and read back.

Each process makes the same student out of the same sealed folders, and they share the parts of every step; the first
one alone writes. ``torch.distributed.run`` starts them, and transformers' trainer joins them through accelerate.

    trained = train_together(recipe, places, made, control=False, output=scratch, progress=progress, what="…")
    python -m stillhouse.distill.together JOB     # what runs in each process
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections import deque
from dataclasses import asdict
from pathlib import Path
from typing import IO, Any

from stillhouse.distill.language import LanguageTrained
from stillhouse.errors import Problem, StillhouseError
from stillhouse.recipe import parse_recipe
from stillhouse.recipe.generation import Generation
from stillhouse.store import write_json
from stillhouse.workplace import Places, Progress

_JOB, _TRAINED, _PROBLEMS, _WEIGHTS = "job.json", "trained.json", "problems-*.json", "trained.safetensors"
_TOLD = "stillhouse-step "  # how a line about progress begins, among whatever libraries print
_LAST_WORDS = 30  # lines of a process that broke


def train_together(
    recipe: Generation,
    places: Places,
    model: Any,
    start: dict[str, Any],
    *,
    control: bool,
    output: Path,
    progress: Progress,
    what: str,
) -> LanguageTrained:
    """Train ``model`` in as many processes as the recipe says; start: how it was made. Its weights end up in it.

    Raises :class:`StillhouseError` with what one of the processes found wrong with the recipe or its data.
    """
    from safetensors.torch import load_model

    output.mkdir(parents=True, exist_ok=True)
    for path in (output / _TRAINED, *output.glob(_PROBLEMS)):
        path.unlink(missing_ok=True)
    job = {
        "recipe": recipe.model_dump(mode="json"),
        "places": {name: str(path.resolve()) for name, path in asdict(places).items()},
        "start": start,
        "control": control,
        "output": str(output.resolve()),
    }
    write_json(output / _JOB, job)
    count = recipe.distill.train.processes
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", f"--nproc-per-node={count}"]
    with subprocess.Popen(
        [*command, "-m", __spec__.name, str(output / _JOB)],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    ) as process:
        try:
            assert process.stdout is not None  # noqa: S101 - it is a pipe
            last_words = _listen(process.stdout, progress, what)
        except BaseException:
            process.terminate()  # the starter ends the others
            raise
    status = process.returncode
    for path in sorted(output.glob(_PROBLEMS)):  # what is wrong with the data, each of them may have found
        raise StillhouseError.several([Problem(**one) for one in json.loads(path.read_text("utf-8"))])
    if status or not (output / _TRAINED).exists():
        raise RuntimeError(f"a training process ended with exit code {status}:\n" + "\n".join(last_words))
    load_model(model, output / _WEIGHTS)
    return LanguageTrained(**json.loads((output / _TRAINED).read_text("utf-8")))


def _listen(stream: IO[str], progress: Progress, what: str) -> deque[str]:
    """Pass progress on; returns the last of what else was said."""
    last_words: deque[str] = deque(maxlen=_LAST_WORDS)
    for line in stream:
        if line.startswith(_TOLD):
            done, total = map(int, line.removeprefix(_TOLD).split())
            progress(what, done, total)
        else:
            last_words.append(line.rstrip())
    return last_words


def main() -> int:
    """One of the processes."""
    import torch
    from accelerate import PartialState
    from safetensors.torch import save_model

    from stillhouse.distill.beginning import begin
    from stillhouse.distill.stage_generation import train_here
    from stillhouse.workplace import silent

    job = json.loads(Path(sys.argv[1]).read_text("utf-8"))
    recipe = parse_recipe(job["recipe"])
    assert isinstance(recipe, Generation)  # noqa: S101 - it was one when the job was written
    places = Places(**{name: Path(path) for name, path in job["places"].items()})
    output = Path(job["output"])
    torch.set_num_threads(max(1, (os.cpu_count() or 1) // recipe.distill.train.processes))
    state = PartialState(cpu=recipe.distill.train.device == "cpu" or not torch.cuda.is_available())

    def tell(what: str, done: int, total: int) -> None:
        print(f"{_TOLD}{done} {total}", flush=True)  # noqa: T201 - the starter reads it

    try:
        made = begin(recipe, places, silent, start=job["start"])
        trained, model = train_here(
            recipe, places, made, control=job["control"], output=output, progress=tell, what="training"
        )
    except StillhouseError as error:
        name = _PROBLEMS.replace("*", str(state.process_index))
        write_json(output / name, [asdict(problem) for problem in error.problems])
        return 1
    if state.is_main_process:
        save_model(model, str(output / _WEIGHTS))
        write_json(output / _TRAINED, asdict(trained))
    state.wait_for_everyone()
    state.destroy_process_group()
    return 0


if __name__ == "__main__":
    sys.exit(main())

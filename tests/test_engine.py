"""Row work on processes and on Ray: the same results in the same order, a dead worker's work done again."""

from __future__ import annotations

import functools
import os
import signal
import subprocess
import sys
import textwrap
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from ray_here import if_ray_starts
from stillhouse import engine as engines
from stillhouse.engine import Engine, open_engine
from stillhouse.errors import StillhouseError

ENGINES = ({"workers": 1}, {"workers": 2}, {"workers": 2, "ray": True})


@pytest.fixture(scope="module", params=ENGINES, ids=["here-1", "here-2", "ray-2"])
def engine(request: pytest.FixtureRequest) -> Iterator[Engine]:
    with pytest.MonkeyPatch.context() as patch:
        # work has to be importable where it is done: Ray's workers look here
        patch.setenv("PYTHONPATH", str(Path(__file__).parent))
        with if_ray_starts(), open_engine(**request.param) as opened:
            yield opened


def square(number: int) -> int:
    time.sleep(0.01 * (number % 3))
    return number * number


def note_and_square(number: int, *, folder: Path) -> int:
    """Leaves a mark for each time that it is called."""
    (folder / f"{number}-{os.getpid()}-{time.monotonic_ns()}").touch()
    return number * number


def die_once(number: int, *, folder: Path) -> int:
    """Kills its own process the first time that it gets to seven."""
    mark = folder / "died"
    if number == 7 and not mark.exists():
        mark.touch()
        os.kill(os.getpid(), signal.SIGKILL)
    return number * number


def always_die(number: int) -> int:
    os.kill(os.getpid(), signal.SIGKILL)
    return number


def refuse(number: int) -> int:
    if number == 3:
        raise StillhouseError("three is not welcome", where="the door", fix="bring another number")
    return number


def test_results_come_in_the_order_of_the_items(engine: Engine) -> None:
    assert list(engine.each(square, range(20))) == [number * number for number in range(20)]
    assert list(engine.each(square, [])) == []
    assert list(engine.each(square, [5])) == [25]


def test_each_item_is_worked_on_once(engine: Engine, tmp_path: Path) -> None:
    work = functools.partial(note_and_square, folder=tmp_path)
    assert list(engine.each(work, range(12))) == [number * number for number in range(12)]
    assert sorted(int(path.name.split("-")[0]) for path in tmp_path.iterdir()) == list(range(12))


def test_a_users_fault_comes_back_as_it_is(engine: Engine) -> None:
    with pytest.raises(StillhouseError, match="three is not welcome") as caught:
        list(engine.each(refuse, range(6)))
    assert caught.value.problems[0].where == "the door"
    assert list(engine.each(square, range(4))) == [0, 1, 4, 9]  # and the workers are still there


def test_a_dead_workers_item_is_done_again(engine: Engine, tmp_path: Path) -> None:
    if engine.workers == 1:
        pytest.skip("one worker works in this very process")
    work = functools.partial(die_once, folder=tmp_path)
    assert list(engine.each(work, range(20))) == [number * number for number in range(20)]
    assert (tmp_path / "died").exists()


def test_work_that_kills_its_workers_is_given_up_with_a_reason() -> None:
    with open_engine(workers=2) as opened, pytest.raises(StillhouseError, match=f"died {engines.DEATHS} times"):
        list(opened.each(always_die, range(4)))


def test_a_script_without_a_guard_works(tmp_path: Path) -> None:
    script = tmp_path / "script.py"
    script.write_text(
        textwrap.dedent(
            """
            from operator import neg
            from stillhouse.engine import open_engine
            with open_engine(workers=2) as engine:
                print(list(engine.each(neg, [1, 2, 3])))
            """
        ),
        "utf-8",
    )
    done = subprocess.run([sys.executable, script], capture_output=True, text=True, check=True)
    assert done.stdout == "[-1, -2, -3]\n"


def test_a_cluster_that_is_not_there_is_told() -> None:
    with (
        pytest.raises(StillhouseError, match="the Ray cluster cannot be reached") as caught,
        open_engine(ray=True, address="127.0.0.1:1"),
    ):
        pass
    assert caught.value.problems[0].where == "raw.engine.address"


def test_a_start_that_came_to_nothing_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    import ray

    def times_out(**_: Any) -> None:
        raise Exception("The current node timed out during startup.")  # in Ray's own words, and of Ray's own class

    monkeypatch.setattr(ray, "init", times_out)
    with pytest.raises(StillhouseError, match="Ray did not start on this machine: The current node timed out") as told:
        open_engine(ray=True).__enter__()
    assert told.value.problems[0].where == "raw.engine.kind"

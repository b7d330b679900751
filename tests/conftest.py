"""Shared real parts: a tiny teacher that knows its task, a tiny encoder, a file of texts, and the recipe over them.

A landing draws the same examples each time. `pytest --hypothesis-profile=search` draws many new ones.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from hypothesis import HealthCheck, settings

from stillhouse import store

if TYPE_CHECKING:
    from tiny_world import World

# how long an example takes says how busy the machine is
_UNTIMED = settings(deadline=None, print_blob=True, suppress_health_check=[HealthCheck.too_slow])
settings.register_profile("landing", _UNTIMED, derandomize=True)
settings.register_profile("search", _UNTIMED, max_examples=1000)
settings.load_profile("landing")


def pytest_configure() -> None:
    """One thread in every library and process: these models are too small for a second, and sums keep their order."""
    os.environ["OMP_NUM_THREADS"] = "1"  # before the first test module loads torch or numpy


@pytest.fixture(scope="session")
def world(tmp_path_factory: pytest.TempPathFactory) -> World:
    """Models and data, made once."""
    import tiny_world

    return tiny_world.make(tmp_path_factory.mktemp("world"))


@pytest.fixture
def workdir(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty working directory, so that `runs`, `answers` and `cache` of one test are its own."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture(autouse=True)
def _as_if_alone() -> Iterator[None]:
    """A test draws what it would draw alone, whichever ran before, and leaves no observer behind."""
    if torch := sys.modules.get("torch"):
        torch.manual_seed(0)
    yield
    store.observe_commit_points(None)

"""Shared real parts: a tiny teacher that knows its task, a tiny encoder, a file of texts, and the recipe over them."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

import tiny_world
from stillhouse import store


@pytest.fixture(scope="session")
def world(tmp_path_factory: pytest.TempPathFactory) -> tiny_world.World:
    """Models and data, made once."""
    return tiny_world.make(tmp_path_factory.mktemp("world"))


@pytest.fixture
def workdir(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty working directory, so that `runs`, `answers` and `cache` of one test are its own."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture(scope="module")
def one_thread() -> Iterator[None]:
    """For models so small that a second thread only waits."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture(autouse=True)
def _no_observer() -> Iterator[None]:
    yield
    store.observe_commit_points(None)

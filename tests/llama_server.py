"""A real llama.cpp server on loopback, from the package xllamacpp; it runs in threads of this process.

with served(Path("tiny.gguf")) as url:
    endpoint = Endpoint(url, "tiny")
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any

INSTALLED = find_spec("xllamacpp") is not None
MISSING = "the package xllamacpp is not installed"


@contextmanager
def served(gguf: Path, *, exact: bool = True, threads: int = 1, context: int = 1024) -> Iterator[str]:
    """The URL of a server of one model. ``exact``: keys and values in float32 and plain attention, as in our own."""
    library: Any = import_module("xllamacpp")
    settings = library.CommonParams()
    settings.model.path = str(gguf)
    settings.hostnames = ["127.0.0.1"]
    settings.n_ctx = context
    settings.n_gpu_layers = 0
    settings.cpuparams.n_threads = threads
    settings.verbosity = -1
    if exact:
        settings.cache_type_k = settings.cache_type_v = 0  # float32
        settings.flash_attn_type = 0
    server = library.Server(settings)
    try:
        yield f"{server.listening_address}/v1"
    finally:
        del server  # its destructor ends the threads

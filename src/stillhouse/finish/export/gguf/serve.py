"""The child process of :mod:`runtime`: llama.cpp's own server on a socket that is a file, until its parent goes away.

Run by its path, with one argument in JSON, so that it loads nothing but the runtime.
"""

from __future__ import annotations

import json
import sys
from importlib import import_module
from typing import Any


def main() -> None:
    """Load the model, say so with one line, and wait for the end of standard input."""
    told: dict[str, Any] = json.loads(sys.argv[1])
    library: Any = import_module("xllamacpp")
    settings = library.CommonParams()
    settings.model.path = told["model"]
    settings.hostnames = [told["socket"]]
    settings.n_ctx = told["context"]
    settings.n_gpu_layers = 0
    settings.fit_params = False  # it would shorten the context where memory is short
    settings.ui = False
    settings.warmup = False
    settings.cache_ram_mib = 0
    settings.cpuparams.n_threads = settings.cpuparams_batch.n_threads = told["threads"]
    settings.verbosity = -1
    if told["exact"]:
        settings.cache_type_k = settings.cache_type_v = library.ggml_type.GGML_TYPE_F32
        settings.flash_attn_type = library.llama_flash_attn_type.LLAMA_FLASH_ATTN_TYPE_DISABLED
    server = library.Server(settings)
    sys.stdout.write("ready\n")
    sys.stdout.flush()
    sys.stdin.read()
    del server


if __name__ == "__main__":
    main()

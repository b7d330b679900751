"""The student's folder where it is judged: small files copied, weights by another name of the same bytes.

lay_out(Path("3-distill/student"), Path("4-judge/artifacts"))
tell_tokenizer(Path("4-judge/artifacts"), model_max_length=128)
"""

from __future__ import annotations

import json
import shutil
from pathlib import Path

from stillhouse.store import place


def lay_out(student: Path, folder: Path, *, weights: bool = True) -> None:
    """Fill ``folder`` anew with the files of ``student``. weights: leave them out where others will be written.

    Only weights are linked: transformers writes them under a name that is free, and all other files over what is there.
    """

    def put(source: str, target: str) -> None:
        if source.endswith(".safetensors"):
            place(Path(source), Path(target))
        else:
            shutil.copyfile(source, target)

    shutil.rmtree(folder, ignore_errors=True)
    ignored = None if weights else shutil.ignore_patterns("*.safetensors*")  # an index of several files, too
    shutil.copytree(student, folder, copy_function=put, ignore=ignored)


def tell_tokenizer(folder: Path, **settings: str | int) -> None:
    """Put ``settings`` into ``tokenizer_config.json``, for readers that look there and nowhere else."""
    file = folder / "tokenizer_config.json"
    told = json.loads(file.read_text("utf-8")) | settings
    file.write_text(json.dumps(told, indent=2, ensure_ascii=False) + "\n", "utf-8")

"""The Python snippets of a bottle's card, run as a stranger would: in a folder of their own, where stillhouse is not.

printed = run_snippets(Path("4-finish/bottle"), tmp_path)
(said,) = run_snippets(Path("4-finish/bottle"), tmp_path, using="xllamacpp", question="say fine")
"""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

_SUFFIXES = {"fp32": "", "int8": "_int8", "q8": "_quantized", "fp16": "_fp16"}  # of transformers.js, by its dtype
# stillhouse is installed here: a finder that comes first says that it is not
_WITHOUT = """
import sys
class Absent:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] == "stillhouse":
            raise ModuleNotFoundError(name)
sys.meta_path.insert(0, Absent())
"""


def snippets(bottle: Path) -> list[str]:
    """Every Python block of the card."""
    return re.findall(r"```python\n(.*?)```", (bottle / "README.md").read_text("utf-8"), re.S)


def opened_in_browser(bottle: Path) -> Path:
    """The file that transformers.js opens by the JavaScript block of the card, going by its rules of names."""
    (block,) = re.findall(r"```javascript\n(.*?)```", (bottle / "README.md").read_text("utf-8"), re.S)
    told = dict(re.findall(r'(\w+): "([^"]+)"', re.search(r'"bottle", \{(.*?)\}', block)[1]))  # type: ignore[index]
    return bottle / "onnx" / f"{told.get('model_file_name', 'model')}{_SUFFIXES[told['dtype']]}.onnx"


def run_snippets(bottle: Path, folder: Path, *, using: str = "", question: str | None = None) -> list[str]:
    """Run each in a process of its own beside a link to the bottle; returns what each printed.

    using: only those that import it. question: put in the place of the card's own, as a reader would.
    """
    (folder / "bottle").symlink_to(bottle.resolve())
    found = []
    for snippet in snippets(bottle):
        if using not in snippet:
            continue
        if question is not None:
            placeholder = next(one for one in ("your question", "your text") if one in snippet)
            snippet = snippet.replace(placeholder, question)
        done = subprocess.run(
            [sys.executable, "-c", _WITHOUT + snippet], cwd=folder, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stderr
        found.append(done.stdout)
    return found

"""``python -m bench NAME [--quick]``: exit code 0 only if every bar is reached; ``python -m bench docs``: the pages."""

from __future__ import annotations

import argparse
import sys
import tempfile
from importlib import import_module
from pathlib import Path

from bench import cuts, distill, finish
from bench.docs import write_all
from bench.report import conclude

NAMES = ("quickstart", "controls", "rights", "raw", "ferment", "distill", "cuts", "finish")


def main() -> int:
    """Run one bench, or write the page."""
    parser = argparse.ArgumentParser(prog="bench", description=__doc__)
    parser.add_argument("name", choices=[*NAMES, "docs"])
    parser.add_argument("--quick", action="store_true", help="a smaller run, in under a minute where the cache is warm")
    parser.add_argument("--work", type=Path, help="keep the runs in this folder, and go on with those in it")
    parser.add_argument("--part", help="of distill, cuts and finish: measure this part alone")
    arguments = parser.parse_args()
    parts = {"distill": distill.PARTS, "cuts": cuts.PARTS, "finish": finish.PARTS}.get(arguments.name, {})
    if arguments.part and arguments.part not in parts:
        parser.error(f"{arguments.name} has no part {arguments.part!r}, but: {', '.join(parts) or 'none'}")
    if arguments.name == "docs":
        write_all(Path(__file__).parents[1])
        return 0
    with tempfile.TemporaryDirectory(prefix="stillhouse-bench-") as temporary:
        work = (arguments.work or Path(temporary)).resolve()
        work.mkdir(parents=True, exist_ok=True)
        more = {"only": arguments.part} if arguments.part else {}
        figures = import_module(f"bench.{arguments.name}").figures(quick=arguments.quick, work=work, **more)
    return 0 if conclude(arguments.name, figures, quick=arguments.quick) else 1


if __name__ == "__main__":
    sys.exit(main())

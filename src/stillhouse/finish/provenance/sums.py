"""SHA256SUMS: one line a file, as `sha256sum --check` reads it, and read back without trust.

data = as_text(digests)
recorded, problems = parse(data)
"""

from __future__ import annotations

import re
from collections.abc import Mapping

from stillhouse.finish.provenance.contents import in_order, shown

CHECKSUMS = "SHA256SUMS"
_LINE = re.compile(r"([0-9a-f]{64})  (.+)")
_MOST_BYTES = 64 * 2**20


def as_text(digests: Mapping[str, str]) -> bytes:
    """The lines, in order; names hold no line break, since :func:`~.contents.survey` refuses them."""
    return "".join(f"{digests[name]}  {name}\n" for name in in_order(digests)).encode("utf-8")


def parse(data: bytes) -> tuple[dict[str, str], list[str]]:
    """What the file records, and what is wrong with it; only line feeds end a line."""
    if len(data) > _MOST_BYTES:
        return {}, [f"{CHECKSUMS} is too large to be one"]
    try:
        text = data.decode("utf-8")
    except UnicodeDecodeError:
        return {}, [f"{CHECKSUMS} is not UTF-8"]
    recorded: dict[str, str] = {}
    problems = []
    if not text.endswith("\n"):
        problems.append(f"{CHECKSUMS} is cut off")
    for number, line in enumerate(text.removesuffix("\n").split("\n"), start=1):
        match = _LINE.fullmatch(line)
        if match is None:
            problems.append(f"{CHECKSUMS}, line {number} is no checksum")
        elif match[2] in recorded:
            problems.append(f"{CHECKSUMS} names a file twice: {shown(match[2])}")
        else:
            recorded[match[2]] = match[1]
    return recorded, problems

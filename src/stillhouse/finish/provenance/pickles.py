"""Files that run code when they are loaded, or may: told by their name, and by what they hold under any name.

    reason = hidden_code("model.safetensors", path)     # None, or why it may not be in a bottle

By name: a loader chooses the unpickler by the suffix (`pytorch_model.bin`, `.pt`), so such a name is refused whatever
the file holds; what is harmless can have another name. By content: a pickle of any protocol, told by its first bytes
or, where it has no mark, by reading its operations without running them until one would call something; archives and
compressed files, whose content cannot be vouched for; and what calls itself safetensors or GGUF and is not.
"""

from __future__ import annotations

import io
import json
import pickletools
import re
import zlib
from pathlib import Path
from typing import BinaryIO

_SUFFIXES = frozenset(
    {".pkl", ".pickle", ".dill", ".joblib", ".bin", ".pt", ".pth", ".ckpt", ".npy", ".npz", ".h5", ".hdf5", ".keras"}
    | {".nemo", ".mar", ".t7", ".pyc", ".pyo"}
)
_HEAD = 256 * 1024  # bytes at the beginning of a file that are looked at for marks
_MAGIC = (
    (b"PK\x03\x04", "a zip archive"),
    (b"PK\x05\x06", "a zip archive"),
    (b"PK\x07\x08", "a zip archive"),
    (b"\x1f\x8b", "compressed (gzip)"),
    (b"BZh", "compressed (bzip2)"),
    (b"\xfd7zXZ\x00", "compressed (xz)"),
    (b"\x5d\x00\x00", "compressed (lzma)"),
    (b"\x28\xb5\x2f\xfd", "compressed (zstd)"),
    (b"\x04\x22\x4d\x18", "compressed (lz4)"),
    (b"7z\xbc\xaf\x27\x1c", "a 7z archive"),
    (b"Rar!\x1a\x07", "a rar archive"),
    (b"\x89HDF\r\n\x1a\n", "an HDF5 file, which may hold code"),
    (b"\x93NUMPY", "a numpy file, which may hold pickled objects"),
)
_OPERATIONS = {one.code.encode("latin-1"): one for one in pickletools.opcodes}
_MOST_OPERATIONS = 2_000_000
_LENGTHS = {  # bytes of the number that says how long an argument is
    pickletools.TAKEN_FROM_ARGUMENT1: 1,
    pickletools.TAKEN_FROM_ARGUMENT4: 4,
    pickletools.TAKEN_FROM_ARGUMENT4U: 4,
    pickletools.TAKEN_FROM_ARGUMENT8U: 8,
}
_LINES = {  # what an argument must look like that is a line of text
    "INT": re.compile(rb"\s*[+-]?\d+\s*"),
    "LONG": re.compile(rb"\s*[+-]?\d+L?\s*"),
    "FLOAT": re.compile(rb"\s*[+-]?(\d|\.\d|nan|inf).*", re.I),
    "STRING": re.compile(rb"[\"'].*"),
    "GET": re.compile(rb"\s*\d+\s*"),
    "PUT": re.compile(rb"\s*\d+\s*"),
}
_MODULE = re.compile(rb"[A-Za-z_][\w.]*")
_LONGEST_HEADER = 100_000_000  # bytes; what the safetensors format itself allows


def hidden_code(name: str, path: Path) -> str | None:
    """Why the file may run code when it is loaded, in words that follow its name; ``None`` where nothing says so."""
    suffix = Path(name).suffix.lower()
    if suffix in _SUFFIXES:
        return f"is loaded by running what it holds, by its suffix {suffix}"
    with path.open("rb") as stream:
        head = stream.read(_HEAD)
        size = stream.seek(0, io.SEEK_END)
    if suffix == ".safetensors" and _not_safetensors(path, head, size) is None:
        return None  # its first bytes are a length, and may look like anything
    reason = _by_content(head)
    if reason is None:
        with path.open("rb") as stream:
            reason = "holds a pickle that would call something" if _calls_something(stream) else None
    if reason is None and suffix == ".safetensors":
        return _not_safetensors(path, head, size)
    if reason is None and suffix == ".gguf" and not head.startswith(b"GGUF"):
        return "is called GGUF and is not"
    return reason


def _by_content(head: bytes) -> str | None:
    for magic, what in _MAGIC:
        if head.startswith(magic):
            return f"is {what}"
    if head[257:262] == b"ustar":
        return "is a tar archive"
    if head[:1] == b"\x80" and head[1:2] in (b"\x02", b"\x03", b"\x04", b"\x05"):
        return f"holds a pickle (protocol {head[1]})"
    if head[:1] == b"x" and _is_zlib(head):
        return "is compressed (zlib)"
    return None


def _is_zlib(head: bytes) -> bool:
    try:
        return len(zlib.decompressobj().decompress(head[:4096], 64)) > 0
    except zlib.error:
        return False


def _calls_something(stream: BinaryIO) -> bool:
    """Whether an unpickler that reads ``stream`` would come to call something before it finds an error.

    Protocols 0 and 1 begin with no mark. Text that is no pickle fails at once, at an operation that there is not, or at
    an argument that it cannot have; large arguments are passed over, so that none can hide what comes after it.
    """
    named = marked = False
    for _ in range(_MOST_OPERATIONS):
        operation = _OPERATIONS.get(stream.read(1))
        argument = _argument(stream, operation) if operation else None
        if operation is None or argument is None or operation.name == "STOP":
            return False
        match operation.name:
            case "MARK":
                marked = True
            case "GLOBAL" | "STACK_GLOBAL" | "EXT1" | "EXT2" | "EXT4":
                named = True
            case "INST" if marked:
                return True
            case "REDUCE" | "OBJ" | "NEWOBJ" | "NEWOBJ_EX" | "BUILD" if named:
                return True
    return True  # nothing else makes sense for so long


def _argument(stream: BinaryIO, operation: pickletools.OpcodeInfo) -> bytes | None:
    """What follows an operation: a line, or empty for what has been passed over; ``None`` where it cannot be that."""
    kind = operation.arg
    if kind is None:
        return b""
    if kind.n >= 0:
        return b"" if len(stream.read(kind.n)) == kind.n else None
    if kind.n == pickletools.UP_TO_NEWLINE:
        line = _line(stream)
        if operation.name in ("GLOBAL", "INST"):
            name = _line(stream)
            return line if name and line and _MODULE.fullmatch(line) else None
        form = _LINES.get(operation.name)
        return None if line is None or (form is not None and not form.fullmatch(line)) else line
    length = stream.read(_LENGTHS[kind.n])
    end = stream.tell() + int.from_bytes(length, "little")
    return b"" if len(length) == _LENGTHS[kind.n] and end < 2**63 and stream.seek(end) == end else None


def _line(stream: BinaryIO) -> bytes | None:
    """A line without its end, or its beginning where it is long; ``None`` where the file ends before it does."""
    first = part = stream.readline(_HEAD)
    while part and not part.endswith(b"\n"):
        part = stream.readline(_HEAD)
    return first.removesuffix(b"\n") if part else None


def _not_safetensors(path: Path, head: bytes, size: int) -> str | None:
    """Why this is no safetensors file: its header must be JSON, and its tensors must fill the rest exactly."""
    bad = "is called safetensors and is not: "
    length = int.from_bytes(head[:8], "little")
    if size < 8 or length > min(size - 8, _LONGEST_HEADER):
        return bad + "its header is longer than the file"
    if length + 8 > len(head):
        with path.open("rb") as stream:
            head = stream.read(length + 8)
    try:
        header = json.loads(head[8 : 8 + length])
        spans = sorted(tuple(one["data_offsets"]) for name, one in header.items() if name != "__metadata__")
        ends = [0, *(end for _, end in spans)]
        whole = all(start == ends[place] <= end for place, (start, end) in enumerate(spans))
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return bad + "its header cannot be read"
    return None if whole and ends[-1] == size - 8 - length else bad + "its tensors do not fill it"

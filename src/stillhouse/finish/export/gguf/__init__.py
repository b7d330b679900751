"""GGUF: students for llama.cpp and whatever is built on it, checked before training and compared after writing.

plan = check_gguf(config, tokenizer, ("f16", "q8_0"), ends=[2])
files = export_gguf(Path("student"), Path("bottle/gguf"), ("f16", "q8_0"))
compared = compare_gguf(Path("student"), files["q8_0"], prompts=chats, texts=texts, floors=FLOORS["q8_0"])
"""

from stillhouse.finish.export.gguf.compare import FLOORS, compare_gguf
from stillhouse.finish.export.gguf.plan import KINDS, GgufPlan, Kind, check_gguf
from stillhouse.finish.export.gguf.write import export_gguf

__all__ = [
    "FLOORS",
    "KINDS",
    "GgufPlan",
    "Kind",
    "check_gguf",
    "compare_gguf",
    "export_gguf",
]

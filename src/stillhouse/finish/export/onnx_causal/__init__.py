"""ONNX: students that write, one graph with its cache, for plain onnxruntime and what is built on it.

problems = check_onnx(config)                                            # before training
files = export_onnx(Path("student"), Path("student/onnx"), ("fp32", "int8"))
compared = compare_onnx(Path("student"), files["int8"], prompts=chats, texts=texts, floors=FLOORS["int8"])
"""

from stillhouse.finish.export.onnx_causal.bottled import FLOORS, bottle_onnx, compare_onnx
from stillhouse.finish.export.onnx_causal.plan import KINDS, Kind, check_onnx
from stillhouse.finish.export.onnx_causal.runtime import OnnxWriter
from stillhouse.finish.export.onnx_causal.write import FILES, export_onnx

__all__ = [
    "FILES",
    "FLOORS",
    "KINDS",
    "Kind",
    "OnnxWriter",
    "bottle_onnx",
    "check_onnx",
    "compare_onnx",
    "export_onnx",
]

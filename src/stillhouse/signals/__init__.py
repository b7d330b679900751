"""Signals: what the teacher said about a document, joined by id and the hash of what was asked, never by position.

`ClassProbs` holds label probabilities, `Text` answers with their reasoning, `TokenDist` sparse next-token
distributions, `Vectors` embeddings. `docs/signals.md` specifies the files.

    signal = TokenDist.open(folder, expect={"teacher": revision, "tokenizer": digest})
    rows = signal.read(document, ids)                  # ids (L, S), probs (L, S), tail (L,)
"""

from stillhouse.signals.class_probs import ClassProbs, apply_bias
from stillhouse.signals.header import Header
from stillhouse.signals.rows import Distribution, SparseRows
from stillhouse.signals.text import Text, TextAnswer
from stillhouse.signals.token_dist import TokenDist, TokenDistWriter
from stillhouse.signals.vectors import Vectors

__all__ = [
    "ClassProbs",
    "Distribution",
    "Header",
    "SparseRows",
    "Text",
    "TextAnswer",
    "TokenDist",
    "TokenDistWriter",
    "Vectors",
    "apply_bias",
]

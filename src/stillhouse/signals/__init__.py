"""Signals: what the teacher said about a document, joined by id and the hash of what was asked, never by position.

`ClassProbs` holds label probabilities, `Text` answers with their reasoning, sample by sample.

    signal = ClassProbs.read(folder)
    probabilities = signal.probabilities_for(ids)      # (N, K), or an error that names the missing ids
"""

from stillhouse.signals.class_probs import ClassProbs
from stillhouse.signals.text import Text, TextAnswer

__all__ = ["ClassProbs", "Text", "TextAnswer"]

"""Scores of documents, the evidence that cuts are made from: pure functions, one number for each row.

Higher means: leaves sooner. What each measures, what it costs and where it comes from stands with it; which of them run
is the recipe's choice, where they are cut is :mod:`stillhouse.distill.points`.

label_doubt(taught, predicted)           # the label is probably wrong, by a student that did not see it
ease(taught, predicted)                  # the student knows it already
teacher_noise(answers)                   # the teachers are unsure and do not agree
refused(texts), injected(texts)          # 1 where a text speaks as a machine, or gives a model orders
Those of answers are in :mod:`stillhouse.distill.scores.writing`.
"""

from stillhouse.distill.scores.labels import Floats, ease, label_doubt, stable_ease, teacher_noise
from stillhouse.distill.scores.texts import injected, redacted, refused

__all__ = ["Floats", "ease", "injected", "label_doubt", "redacted", "refused", "stable_ease", "teacher_noise"]

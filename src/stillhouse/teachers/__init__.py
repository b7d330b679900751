"""Teachers, behind one protocol.

teacher = LocalTeacher.load(files, placement, cache=cache)
questions = teacher.questions([teacher.render(prompt, text) for text in texts], teacher.answers(prompt, labels))
log_probs = teacher.score(questions, rows)
"""

from stillhouse.teachers.classifier import ClassifierTeacher, is_classifier
from stillhouse.teachers.local import LocalTeacher, check_files
from stillhouse.teachers.protocol import Questions, Teacher, score_texts

__all__ = ["ClassifierTeacher", "LocalTeacher", "Questions", "Teacher", "check_files", "is_classifier", "score_texts"]

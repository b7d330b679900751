"""Teachers, behind one protocol.

teacher = LocalTeacher.load(files, placement, cache=cache)
questions = teacher.questions([prompt.render(text) for text in texts], answers)
log_probs = teacher.score(questions, rows)
"""

from stillhouse.teachers.local import LocalTeacher, check_files
from stillhouse.teachers.protocol import Questions, Teacher

__all__ = ["LocalTeacher", "Questions", "Teacher", "check_files"]

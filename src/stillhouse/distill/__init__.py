"""Stage 3, distillation: what of the teacher's answers is worth teaching, and the student that learns it."""

"""The second stage: a student is cut from an encoder and trained on what the teacher answered."""

"""How a student that writes text is judged: beside its teacher and its controls, on held-out text and prompts."""

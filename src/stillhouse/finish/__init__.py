"""Stage 4, post-distillation: what did we get, and dare we ship it?"""

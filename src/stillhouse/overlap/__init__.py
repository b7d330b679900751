"""Overlap: items of one set of texts, such as test questions, found again in another by their n-grams."""

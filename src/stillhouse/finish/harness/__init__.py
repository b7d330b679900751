"""Tasks of lm-evaluation-harness (extra ``eval``): teacher, student and controls on the same items, asked alike."""

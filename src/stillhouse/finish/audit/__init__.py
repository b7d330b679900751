"""The audit: whom the student treats differently from its teacher, and what it should not say or know."""

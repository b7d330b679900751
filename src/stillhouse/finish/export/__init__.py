"""Exports: the student in the formats that users run, each reloaded and compared."""

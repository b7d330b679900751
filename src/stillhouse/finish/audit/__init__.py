"""Audits: whom the student treats differently from its teacher, each finding with an interval and a status."""

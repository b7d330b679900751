"""Every claim, measured: ``python -m bench quickstart`` prints each figure beside its bar and keeps the result."""

"""Hostile bytes against the decoder: `python -m tests.fuzz`."""

"""Hostile bytes for the wire code: what makes them, and the corpus of those that matter."""

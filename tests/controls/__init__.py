"""Negative controls: the truth is known beforehand, and the instrument must find it."""

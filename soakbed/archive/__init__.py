"""The run folders under `results/`; the only writer there."""

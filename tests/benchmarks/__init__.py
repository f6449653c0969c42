"""The engine against redis-benchmark, side by side in one run: `make engine-bench`."""

"""Pure functions over numbers: percentiles, intervals, drift."""

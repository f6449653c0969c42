"""A target's evidence as tables: spools, counters, host samples and events in columns."""

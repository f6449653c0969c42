"""Frozen data, no input or output: the records that cross the arrows of the flow."""

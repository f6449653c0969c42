"""Clients for what is not measured: set-up, and checks before and after a load."""

"""The load generator: from a plan file to windows. Ships alone to the load hosts."""

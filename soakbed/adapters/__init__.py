"""Foreign tools, one library or program per module, behind what we need of it."""

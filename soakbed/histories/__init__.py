"""What clients saw, operation by operation, and whether a store that keeps its word could do so."""

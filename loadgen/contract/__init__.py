"""The file formats at the seam between `soakbed` and `loadgen`; standard library only."""

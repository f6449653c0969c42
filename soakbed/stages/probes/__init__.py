"""Scripts that `stages.collect` runs on hosts; they need Python alone, nothing of ours."""

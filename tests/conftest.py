"""For all tests: no test fails because other work made the machine slow."""

from hypothesis import settings

# Hypothesis fails an example that takes over 200 ms; a busy machine makes any example do that.
settings.register_profile("soakbed", deadline=None)
settings.load_profile("soakbed")

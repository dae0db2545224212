"""What holds for all tests."""

from hypothesis import settings

# How long an example takes is the machine's business: nothing here asserts a wall time.
settings.register_profile("servetwin", deadline=None)
settings.load_profile("servetwin")

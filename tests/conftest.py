"""What holds for all tests."""

from hypothesis import HealthCheck, settings

# How long an example takes, or its drawing, is the machine's business: nothing here asserts a wall time.
settings.register_profile("servetwin", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("servetwin")

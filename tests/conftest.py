"""What every test runs under.

Hypothesis counts no time: tests share their cores with processes that race on purpose.
"""

from hypothesis import HealthCheck, settings

settings.register_profile("racing", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("racing")

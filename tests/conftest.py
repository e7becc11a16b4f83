"""One setting for every property test: what an example takes says more about the machine than about the property."""

from __future__ import annotations

from hypothesis import HealthCheck, settings

settings.register_profile("dtm", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("dtm")

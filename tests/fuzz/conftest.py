"""What ``make fuzz`` asks for: more examples, and a corpus that is kept."""

from __future__ import annotations

from hypothesis import HealthCheck, settings
from hypothesis.database import DirectoryBasedExampleDatabase

from tests.processes import ROOT

settings.register_profile(
    "fuzz",
    max_examples=1000,
    deadline=None,
    suppress_health_check=list(HealthCheck),
    database=DirectoryBasedExampleDatabase(ROOT / ".cache" / "fuzz"),
)

"""How the tests that draw their cases draw them."""

from __future__ import annotations

import os

import hypothesis

# A hundred examples, the same each time; CI draws more.
hypothesis.settings.register_profile(
    "signet",
    max_examples=int(os.environ.get("SIGNET_EXAMPLES", "100")),
    derandomize=True,
    database=None,
    deadline=None,
    report_multiple_bugs=False,
    suppress_health_check=[hypothesis.HealthCheck.too_slow],
)
hypothesis.settings.load_profile("signet")

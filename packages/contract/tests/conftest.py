"""What the tests of the contract share."""

from __future__ import annotations

import logging
import os
import sys
from pathlib import Path

import hypothesis

sys.path.insert(0, str(Path(__file__).parent))  # oracle.py and the like, which several test modules share

# A few hundred examples, the same each time; CI draws more.
hypothesis.settings.register_profile(
    "signet",
    max_examples=int(os.environ.get("SIGNET_EXAMPLES", "300")),
    derandomize=True,
    database=None,
    deadline=None,
    report_multiple_bugs=False,
    suppress_health_check=[hypothesis.HealthCheck.too_slow],
)
hypothesis.settings.load_profile("signet")

logging.getLogger("mlflow.models.utils").setLevel(logging.ERROR)  # the oracle asks it about extra columns all the time

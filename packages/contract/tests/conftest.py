"""What the tests of the contract share."""

from __future__ import annotations

import logging
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))  # requests_drawn.py and the like, which several test modules share

import testing.hypothesis_profile  # noqa: F401 -- which draws the cases

logging.getLogger("mlflow.models.utils").setLevel(logging.ERROR)  # the oracle asks it about extra columns all the time

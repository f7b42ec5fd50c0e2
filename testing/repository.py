"""Where this repository lies, and its example."""

from __future__ import annotations

from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
SAMPLES = ROOT / "services" / "client" / "samples"
MODEL = "iris_classification"
ALIAS = "champion"

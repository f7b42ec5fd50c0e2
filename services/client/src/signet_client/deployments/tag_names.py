"""Tags of a model version by which people ask the controller beside TorchServe for something, and it answers."""

from __future__ import annotations

PREFIX = "serving."

ALLOW_BREAKING = "serving.allow_breaking"
CONTRACT = "serving.contract"
MEMORY = "serving.memory_mib"
REASON = "serving.reason"
SERVED_AT = "serving.served_at"
STATUS = "serving.status"
OF_ONE_VERSION = {ALLOW_BREAKING, CONTRACT, MEMORY, REASON, SERVED_AT, STATUS}
"""What a copy of the version does not have."""

REPLICA = "serving.replica."
"""Begins the names of the tags of a registered model by which each replica tells of its own."""

PENDING, READY, REFUSED, FAILED = "pending", "ready", "refused", "failed"
"""What the status of a version that has the alias may be."""

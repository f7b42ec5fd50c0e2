"""Names of the tags by which people tell TorchServe's controller how to serve a version, and by which it answers."""

from __future__ import annotations

PREFIX = "serving."

ALLOW_BREAKING = "serving.allow_breaking"
CONTRACT = "serving.contract"
MEMORY = "serving.memory_mib"
REASON = "serving.reason"
SERVED_AT = "serving.served_at"
STATUS = "serving.status"
OF_ONE_VERSION = {ALLOW_BREAKING, CONTRACT, MEMORY, REASON, SERVED_AT, STATUS}
"""Tags that a copy of the version does not get."""

REPLICA = "serving.replica."
"""How the name of a registered model's tag begins by which a replica tells its own status."""

PENDING, READY, REFUSED, FAILED = "pending", "ready", "refused", "failed"
"""What the status of a version that has the alias may be."""

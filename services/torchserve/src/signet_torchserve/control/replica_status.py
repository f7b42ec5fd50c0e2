"""What the replicas say of the versions of one model, each for itself, and what that comes to for all of them."""

from __future__ import annotations

import datetime as dt
import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass

MAX_REASON_LENGTH = 3000
_WRITTEN = re.compile(r"version (\S+) is (\w+) since (\S+): (.*)", re.DOTALL)


@dataclass(frozen=True, slots=True)
class ReplicaStatus:
    """What one replica says of one version, as the tag `serving.replica.<name>` of its registered model has it."""

    version: str
    status: str
    """`pending`, `ready`, `refused` or `failed`."""
    since: str
    reason: str

    @classmethod
    def now(cls, version: str, status: str, reason: str) -> ReplicaStatus:
        """An entry that has just become true."""
        now = dt.datetime.now(dt.UTC).isoformat(timespec="seconds")
        storable = reason.encode("utf-8", "replace").decode().replace("\0", "")
        return cls(version, status, now, storable[:MAX_REASON_LENGTH])

    @classmethod
    def read(cls, text: str) -> ReplicaStatus | None:
        """An entry that was written; None where the text is none."""
        found = _WRITTEN.fullmatch(text)
        return found and cls(*found.groups())

    def __str__(self) -> str:
        return f"version {self.version} is {self.status} since {self.since}: {self.reason}"


def summary(version: str, entries: Mapping[str, ReplicaStatus], present: Collection[str]) -> tuple[str, str]:
    """Status and reason of a version for all replicas together.

    It is `ready` when every replica that is there serves it, and `pending` until each has said what became of it.

    Args:
        version: the one that carries the alias.
        entries: what each replica says, by its name. Those of other versions count for nothing.
        present: the replicas that are there, at least one of which has an entry of `version`.
    """
    said = {name: entries[name] for name in sorted(present) if name in entries and entries[name].version == version}
    statuses = {entry.status for entry in said.values()}
    worst = next(status for status in ("failed", "refused", "pending", "ready") if status in statuses)
    name, entry = max(
        ((name, entry) for name, entry in said.items() if entry.status == worst), key=lambda item: item[1].since
    )
    others = [
        f"{other} is {said[other].status if other in said else 'yet to tell'}"
        for other in sorted(present)
        if other not in said or said[other].status != worst
    ]
    is_over = len(said) == len(present) and "pending" not in statuses
    reason = f"{entry.since} {name}: {entry.reason}" + (f" ({', '.join(others)})" if others else "")
    return worst if is_over else "pending", reason

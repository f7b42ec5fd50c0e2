"""A model version that ought to be served, and the tags on it by which people ask and the controller answers.

| people ask by             | for                                                                           |
| ------------------------- | ----------------------------------------------------------------------------- |
| `serving.allow`, …        | another way to be served (see `version_options`)                              |
| `serving.allow_breaking`  | `true`: it may go live though it breaks the contract of the version before it |
| `serving.digest`          | the files that were logged and no others (see `digest`)                       |

| the controller answers by | with                                                                          |
| ------------------------- | ----------------------------------------------------------------------------- |
| `serving.status`          | `pending`, then `ready`, `refused` or `failed`, of all replicas together; on  |
|                           | a version that serves no more `retired` (see `status_reporter`)               |
| `serving.reason`          | why, when, and on which replica                                               |
| `serving.replica.<name>`  | on the registered model: what that replica says of which version              |
| `serving.contract`        | what changes for clients (see `archive.served_contract`)                      |
| `serving.served_at`       | when it last came into service                                                |
| `serving.memory_mib`      | what its workers took when it did                                             |
| `serving.digest`          | the digest of what it served first, where none was recorded                   |
"""

from __future__ import annotations

import datetime as dt
import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field

PREFIX = "serving."

ALLOW = "serving.allow"
BATCH_SIZE = "serving.batch_size"
MAX_BATCH_DELAY = "serving.max_batch_delay"
WORKERS = "serving.workers"
TIMEOUT = "serving.timeout_s"
ROWS = "serving.rows"
OPTIONS = (ALLOW, BATCH_SIZE, MAX_BATCH_DELAY, WORKERS, TIMEOUT, ROWS)

ALLOW_BREAKING = "serving.allow_breaking"
DIGEST = "serving.digest"

STATUS = "serving.status"
REASON = "serving.reason"
CONTRACT = "serving.contract"
SERVED_AT = "serving.served_at"
MEMORY = "serving.memory_mib"
ANSWERS = (STATUS, REASON, CONTRACT, SERVED_AT, MEMORY)
REPLICA = "serving.replica."
"""Begins the names of the tags of a registered model by which each replica tells of its own."""


def served_at(name: str, version: str) -> str:
    """What `SERVED_AT` says of a version that comes into service now."""
    return f"{dt.datetime.now(dt.UTC).isoformat(timespec='milliseconds')} as {name}/{version}"


def is_served_at(tag: str, name: str, version: str) -> bool:
    """Whether the tag `SERVED_AT` is this version's own: a copy of a version has its tags, and has served nobody."""
    return tag.endswith(f" as {name}/{version}")


@dataclass(frozen=True, slots=True)
class Revision:
    """A model version that ought to be served, with its tags that begin with `serving.` and its model's (`REPLICA`)."""

    version: str
    tags: Mapping[str, str] = field(default_factory=dict)
    created: int = 0
    """When its registered model was created, in ms since 1970: one that was made anew has versions from 1 on again."""

    @property
    def id(self) -> str:
        """Its name in TorchServe. With other options it is another one: two revisions of one version can both serve."""
        options = {tag: value for tag, value in self.tags.items() if tag in OPTIONS}
        if not options:
            return self.version
        return f"{self.version}-{hashlib.sha256(json.dumps(options, sort_keys=True).encode()).hexdigest()[:8]}"

    @property
    def identity(self) -> tuple[int, str]:
        """Tells it from all revisions of its deployment, those of a deleted model of the same name included."""
        return self.created, self.id

    @property
    def asked_for(self) -> tuple[str, ...]:
        """The version, and all tags by which people ask: if one of them changes, a refused version is tried again."""
        return (
            str(self.created),
            self.version,
            *(f"{tag}={self.tags[tag]}" for tag in sorted(self.tags) if not tag.startswith((*ANSWERS, REPLICA))),
        )

    @property
    def allows_breaking(self) -> bool:
        """Whether it may go live though it breaks the contract of the version before it."""
        return self.tags.get(ALLOW_BREAKING, "").strip().lower() == "true"

    @property
    def has_served(self) -> bool:
        """Whether it has been in service before, on any replica: to go back to it is nobody's surprise."""
        return SERVED_AT in self.tags

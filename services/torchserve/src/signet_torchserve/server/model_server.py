"""What the controller needs of a model server: to see what it serves, and to change that.

Beyond the methods of `ModelServer`, a server must

- run on the controller's machine. `ServedVersion.pids` are process ids there: by them the controller sees whether a
  worker has ended, what memory it takes (`memory.taken`), and whether it is at work. For that each worker has a
  `busy_flag.BusyFlag`; a worker without one counts as idle;
- hold a new model's place by the version `PLACEHOLDER`. `defaults` names it, `versions` does not, and requests to it
  are answered 503. It goes when another version is made the default, or the last one is removed;
- call a version by the `revision_id` that `ensure` gets: the store finds the version's files by that name;
- start a worker anew that has ended. A worker that cannot load a version writes a `LoadFailure` into the version's
  folder; without it the registry is told no more than that a worker ended;
- answer each request that it has accepted for a version, and count it in `pending_requests` until a worker begins;
- answer `/predictions/<name>` with the statuses that the gateway knows: 404, 503 and 502 (a first worker died with the
  request) where another replica may do better; 429, 500 and 504 where none would;
- have its management where `Store.management` says.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import psutil

from signet_torchserve import busy_flag
from signet_torchserve.version_options import Options

PLACEHOLDER = "not-yet"
"""The version that holds a new deployment's place until its first one is proven: without workers, answered 503."""

WORKER_START_TIMEOUT_S = 120
_POLL_S = 0.05


class ModelServerError(Exception):
    """The model server refused what it was asked to do, or has not said that it did it; the message is its own."""


class RequestRejected(ModelServerError):
    """A version answers a request with a 400, and always will; the message is the version's own."""


@dataclass(frozen=True, slots=True)
class ServedVersion:
    """One registered version of a model, as the model server describes it."""

    revision_id: str
    workers: int
    """How many there should be."""
    ready_workers: int
    pending_requests: int
    """Requests that no worker has begun with."""
    pids: tuple[int, ...]
    """Process ids of the workers; one that is only being started has none."""

    @property
    def is_idle(self) -> bool:
        """Whether no request waits for it and no worker is at work."""
        return not (self.pending_requests or any(busy_flag.is_busy(pid) for pid in self.pids))


class ModelServer(Protocol):
    """Serves versions of models. One version of each model, the default, answers the requests that name none.

    A version may be there more than once, with other tags: so each goes by its `Revision.id`, here `revision_id`.

    Each method raises `ModelServerError` where the server does not answer or refuses. The server may have done all the
    same what it was asked to: whoever needs to know looks. Each may be called again.
    """

    def is_up(self) -> bool:
        """Whether it answers."""

    def defaults(self) -> dict[str, str]:
        """The `revision_id` of every model's default, by the model's name; costs few calls, however many models."""

    def versions(self, name: str) -> Mapping[str, ServedVersion]:
        """All versions of one model, by `revision_id`; none if it is unknown."""

    def version(self, name: str, revision_id: str = "") -> ServedVersion | None:
        """One version of a model, or its default; None if it is unknown."""

    def ensure(self, name: str, revision_id: str, folder: Path, options: Options) -> None:
        """Have a version with its options and its number of workers; return while these come up.

        Args:
            name: of the model.
            revision_id: its version.
            folder: of the version's files, in the model store.
            options: how the version is served.
        """

    def set_default(self, name: str, revision_id: str) -> None:
        """Let a version answer the requests that name none."""

    def remove(self, name: str, revision_id: str, *, at_any_cost: bool = False) -> bool:
        """End a version's workers and forget it; an unknown one is left unknown.

        Args:
            name: of the model.
            revision_id: its version.
            at_any_cost: forget requests that came at the last moment, too.

        Returns:
            Whether it is unknown now; if not, it has a worker again for such requests.
        """

    def predict(self, name: str, revision_id: str, request: Any) -> Any:
        """JSON answer of one version to a JSON request; raises `RequestRejected` where that is a 400."""


def wait_until_ready(
    server: ModelServer, name: str, revision_id: str, workers: int, meanwhile: Callable[[], object] = lambda: None
) -> None:
    """Return when as many workers have loaded a version.

    Args:
        server: serves it.
        name: of the model.
        revision_id: its version.
        workers: how many there have to be.
        meanwhile: called again and again; what it raises ends the wait.

    Raises:
        ModelServerError: a worker ended before, or they took more than `WORKER_START_TIMEOUT_S`.
    """
    deadline = time.monotonic() + WORKER_START_TIMEOUT_S
    seen: set[int] = set()
    while True:
        served = server.version(name, revision_id)
        if served is not None:
            if served.ready_workers >= workers:
                return
            seen |= set(served.pids)
        # The server need not say that a worker has ended: it starts the next one, again and again.
        has_one_ended = not all(psutil.pid_exists(pid) for pid in seen)
        meanwhile()
        if has_one_ended:
            raise ModelServerError("A worker ended while it loaded the model; TorchServe's log says why.")
        if time.monotonic() > deadline:
            raise ModelServerError(f"The workers have not loaded the model within {WORKER_START_TIMEOUT_S} s.")
        time.sleep(_POLL_S)

"""Which deployments of this replica can answer. `/ready` waits `WAIT_S` at most: else it tells what was seen last.

TorchServe's account of its workers says whether a deployment can answer. Each deployment's golden request shows whether
the deployment answers rightly: after another answer than the golden one, or a 400, it counts as unable. That request
waits in the queue of the clients' requests, which they may have filled: so a deployment whose golden request gets no
answer in time, or a 5xx, still counts as able, and `/ready` only names it under `degraded`.
"""

from __future__ import annotations

import functools
import threading
import time
from collections.abc import Callable, Mapping

from signet_torchserve.archive.golden import Golden
from signet_torchserve.archive.store import Store
from signet_torchserve.server.model_server import ModelServer, ModelServerError, RequestRejected

# What was seen is used again for so long, however often `/ready` is asked.
WORKERS_EVERY_S = 1.0
GOLDEN_EVERY_S = 5.0
WAIT_S = 1.0  # for TorchServe's account; the gateway waits 2 s for an answer (timeout check)

NameAndRevision = tuple[str, str]


class Readiness:
    """What was last seen of each deployment.

    Args:
        server: serves them.
        store: where the golden answers are.
    """

    def __init__(self, server: ModelServer, store: Store) -> None:
        self._server = server
        self._store = store
        self._down: dict[NameAndRevision, str] = {}
        self._workers = _Background(self._look_at_workers, WORKERS_EVERY_S)
        self._golden: dict[NameAndRevision, _Golden] = {}

    def of(self, deployments: Mapping[str, str]) -> tuple[dict[str, str], dict[str, str]]:
        """Why some deployments are unable to answer, and why others are slow to, by name.

        A deployment that was not looked at yet counts as able: the controller has just had its golden answers.

        Args:
            deployments: revision by name.
        """
        them = tuple(deployments.items())
        self._golden = golden = {it: self._golden.get(it) or _Golden(self._server, self._store, it) for it in them}
        for check in golden.values():
            check.background.begin()
        self._workers.begin(them)
        self._workers.wait(WAIT_S)
        unable = {it: self._down.get(it) or golden[it].mismatch for it in them}
        return _by_name(unable), _by_name({it: golden[it].error for it in them if not unable[it]})

    def _look_at_workers(self, deployments: tuple[NameAndRevision, ...]) -> None:
        self._down = {deployment: why for deployment in deployments if (why := self._why_down(*deployment))}

    def _why_down(self, name: str, revision_id: str) -> str | None:
        try:
            served = self._server.version(name, revision_id)
        except ModelServerError as error:
            return str(error)
        if served is None:
            return "TorchServe does not know the version."
        return None if served.ready_workers else "None of the version's workers is up."


class _Golden:
    """What came of a deployment's golden request.

    Attributes:
        mismatch: what was wrong with its last answer, a 400 included.
        error: why there is none.
    """

    def __init__(self, server: ModelServer, store: Store, deployment: NameAndRevision) -> None:
        self._server = server
        self._store = store
        self._deployment = deployment
        self.background = _Background(self._ask, GOLDEN_EVERY_S)
        self.mismatch: str | None = None
        self.error: str | None = None

    def _ask(self) -> None:
        golden = Golden.of(self._store.unpacked(*self._deployment))
        if golden is None:
            return
        try:
            self.mismatch = golden.mismatch(self._server.predict(*self._deployment, golden.request))
            self.error = None
        except RequestRejected as rejected:
            self.mismatch, self.error = f"The golden request is rejected: {rejected}", None
        except ModelServerError as error:
            self.error = str(error)


class _Background:
    """Work that is done in a thread of its own, unless it is being done or was begun a moment ago."""

    def __init__(self, work: Callable[..., None], every_s: float) -> None:
        self._work = work
        self._every_s = every_s
        self._lock = threading.Lock()
        self._began = -every_s
        self._thread = threading.Thread()

    def begin(self, *args: object) -> None:
        with self._lock:
            if not self._thread.is_alive() and time.monotonic() - self._began >= self._every_s:
                self._began = time.monotonic()
                self._thread = threading.Thread(target=functools.partial(self._work, *args), daemon=True)
                self._thread.start()

    def wait(self, timeout_s: float) -> None:
        """Until it is done, or so many seconds have passed."""
        if self._thread.is_alive():
            self._thread.join(timeout_s)


def _by_name(found: Mapping[NameAndRevision, str | None]) -> dict[str, str]:
    return {name: f"version {revision_id}: {why}" for (name, revision_id), why in found.items() if why}

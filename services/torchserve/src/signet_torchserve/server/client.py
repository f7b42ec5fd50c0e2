"""TorchServe's management and inference API, as much of it as a deployment needs.

Source: https://docs.pytorch.org/serve/management_api.html
"""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import requests

from signet_torchserve import machine
from signet_torchserve.server.socket_adapter import SocketAdapter

TIMEOUT_S = 10
WORKER_START_TIMEOUT_S = 120
STOP_TIMEOUT_S = 10
POLL_S = 0.05
_NOT_YET = "not-yet"
_MANAGEMENT = "http://management"


class TorchServeError(Exception):
    """TorchServe did not do what it was asked to; the message is its own."""


@dataclass(frozen=True, slots=True)
class Served:
    """One registered version of a model, as TorchServe describes it."""

    version: str
    ready_workers: int
    pending_requests: int
    """Those that no worker has begun with."""
    workers: tuple[int, ...]
    """Process ids; of one that is only being started there is none."""


class TorchServe:
    """A TorchServe on this machine.

    Args:
        management: Unix socket of the management API, or its port on 127.0.0.1.
        inference: base URL of the inference API.
    """

    def __init__(self, management: Path | int, inference: str) -> None:
        self._inference = inference.rstrip("/")
        self._session = requests.Session()
        self._session.mount(_MANAGEMENT, SocketAdapter(management))
        self._session.trust_env = False  # a proxy has no business between a process and its own machine
        self._place = threading.Lock()

    def is_up(self) -> bool:
        """Whether both APIs answer."""
        try:
            self._call("GET", f"{_MANAGEMENT}/models")
            self._session.get(f"{self._inference}/ping", timeout=TIMEOUT_S)
        except (TorchServeError, requests.RequestException):
            return False
        return True

    def version(self, name: str, revision_id: str = "") -> Served | None:
        """One version of a model, or the one that answers requests which name none; None if it is unknown."""
        response = self._request("GET", f"{_MANAGEMENT}/models/{name}/{revision_id}".rstrip("/"))
        if response.status_code == requests.codes.not_found:
            return None
        (model,) = self._checked(response)
        return Served(
            version=model["modelVersion"],
            ready_workers=sum(worker["status"] == "READY" for worker in model["workers"]),
            pending_requests=int(model.get("jobQueueStatus", {}).get("pendingRequests", 0)),
            workers=tuple(worker["pid"] for worker in model["workers"] if worker["pid"] > 0),
        )

    def start(  # noqa: PLR0913 -- all that TorchServe is told of a version
        self, name: str, folder: Path, *, batch_size: int, max_batch_delay_ms: int, workers: int, timeout_s: int
    ) -> None:
        """Register an unpacked archive of the model store, and return while its workers come up.

        TorchServe can also be asked to answer when they are up: it then answers nothing else meanwhile, and starts a
        worker that ended again and again.

        It also lets a model's first version answer at once. Until that one has proven itself, a version without workers
        holds its place, and requests are answered 503.

        Args:
            name: of the model.
            folder: in the model store, of the version's files.
            batch_size: most requests in a batch.
            max_batch_delay_ms: how long a batch waits for more of them.
            workers: their number.
            timeout_s: how long a worker may take for a batch; TorchServe ends one that takes longer.

        Raises:
            TorchServeError: it is registered already.
        """
        options = {"batch_size": batch_size, "max_batch_delay": max_batch_delay_ms, "response_timeout": timeout_s}
        with self._place:
            if self.version(name) is None:
                self._register(_place_of(name, folder), initial_workers=0)
            self._register(folder, initial_workers=workers, **options)

    def wait_until_ready(
        self, name: str, revision_id: str, workers: int, meanwhile: Callable[[], object] = lambda: None
    ) -> None:
        """Return when as many workers have loaded the version.

        Args:
            name: of the model.
            revision_id: its version.
            workers: how many there have to be.
            meanwhile: called again and again; what it raises ends the wait.

        Raises:
            TorchServeError: one ended before, or they took more than `WORKER_START_TIMEOUT_S`.
        """
        deadline = time.monotonic() + WORKER_START_TIMEOUT_S
        seen: set[int] = set()
        while True:
            served = self.version(name, revision_id)
            if served is not None:
                if served.ready_workers >= workers:
                    return
                seen |= set(served.workers)
            # TorchServe says nothing of one that ends, and starts the next one, again and again.
            has_one_ended = not all(machine.exists(pid) for pid in seen)
            meanwhile()
            if has_one_ended:
                raise TorchServeError("A worker ended while it loaded the model; TorchServe's log has its last words.")
            if time.monotonic() > deadline:
                raise TorchServeError(f"Its workers have not loaded the model within {WORKER_START_TIMEOUT_S} s.")
            time.sleep(POLL_S)

    def set_default(self, name: str, version: str) -> None:
        """Let `version` answer the requests that name none."""
        self._call("PUT", f"{_MANAGEMENT}/models/{name}/{version}/set-default")
        self._give_place_up(name)

    def stop(self, name: str, revision_id: str, *, at_any_cost: bool = False) -> bool:
        """End a version's workers and forget it; an unknown one is left unknown.

        The workers first, for two reasons. To end those of a version that it forgets, TorchServe runs a program `kill`,
        and in an image without one it answers 500 and forgets nothing. And a request may have come by the version's
        number at the last moment: it is queued again when its worker ends, and would be forgotten with the version.

        Args:
            name: of the model.
            revision_id: its version.
            at_any_cost: forget such requests.

        Returns:
            Whether it is unknown now; if not, it has a worker again for requests that came at the last moment.
        """
        served = self.version(name, revision_id)
        if served is None:
            return True
        self._scale(name, revision_id, 0)
        deadline = time.monotonic() + STOP_TIMEOUT_S
        while served is not None and served.workers and time.monotonic() < deadline:
            time.sleep(POLL_S)
            served = self.version(name, revision_id)
        if served is not None and served.pending_requests and not at_any_cost:
            self._scale(name, revision_id, 1)
            return False
        self._call("DELETE", f"{_MANAGEMENT}/models/{name}/{revision_id}")
        self._give_place_up(name)
        return True

    def predict(self, name: str, version: str, request: Any) -> Any:
        """JSON answer of one version to a JSON request.

        Raises:
            TorchServeError: the answer is not a 200 with JSON.
        """
        return self._checked(self._request("POST", f"{self._inference}/predictions/{name}/{version}", json=request))

    def _register(self, folder: Path, **options: int) -> None:
        self._call("POST", f"{_MANAGEMENT}/models", params={"url": folder.name, "synchronous": "false", **options})

    def _scale(self, name: str, revision_id: str, workers: int) -> None:
        self._call(
            "PUT",
            f"{_MANAGEMENT}/models/{name}/{revision_id}",
            params={"min_worker": workers, "max_worker": workers, "synchronous": "false"},
        )

    def _give_place_up(self, name: str) -> None:
        with self._place:
            if self.version(name, _NOT_YET) is not None:
                # 403 while another version comes up beside it, and needs it.
                self._request("DELETE", f"{_MANAGEMENT}/models/{name}/{_NOT_YET}")

    def _call(self, method: str, url: str, **options: Any) -> Any:
        return self._checked(self._request(method, url, **options))

    def _request(self, method: str, url: str, **options: Any) -> requests.Response:
        try:
            return self._session.request(method, url, timeout=options.pop("timeout", TIMEOUT_S), **options)
        except requests.RequestException as error:
            raise TorchServeError(f"TorchServe does not answer {method} {url}: {error}") from error

    def _checked(self, response: requests.Response) -> Any:
        try:
            document = response.json()
        except requests.JSONDecodeError:
            document = {"message": response.text}
        if not response.ok:
            message = document.get("message", document) if isinstance(document, dict) else document
            raise TorchServeError(
                f"{response.request.method} {response.url} answered {response.status_code}: {message}"
            )
        return document


def _place_of(name: str, folder: Path) -> Path:
    """Folder, beside those of a model's versions, of the one that holds their place: nothing but a manifest."""
    place = folder.with_name(f"{folder.name.rpartition('@')[0]}@{_NOT_YET}")
    # TorchServe takes a folder's only folder for the model itself: MAR-INF must not be that.
    manifest = place / "model" / "MAR-INF" / "MANIFEST.json"
    manifest.parent.mkdir(parents=True, exist_ok=True)
    model = {"modelName": name, "modelVersion": _NOT_YET, "handler": _NOT_YET}
    document = {"runtime": "python", "model": model, "archiverVersion": "", "createdOn": ""}
    manifest.write_text(json.dumps(document), "utf-8")
    return place

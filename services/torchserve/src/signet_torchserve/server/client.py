"""TorchServe's management and inference API, as much of it as a deployment needs.

Source: https://docs.pytorch.org/serve/management_api.html
"""

from __future__ import annotations

import json
import threading
import time
from pathlib import Path
from typing import Any

import requests

from signet_torchserve.server.model_server import PLACEHOLDER, ModelServerError, RequestRejected, ServedVersion
from signet_torchserve.server.socket_adapter import SocketAdapter
from signet_torchserve.version_options import Options

CALL_TIMEOUT_S = 10
WORKERS_STOP_TIMEOUT_S = 10
POLL_S = 0.05
_PAGE = 100  # TorchServe lists no more at once
_MANAGEMENT = "http://management"


class TorchServe:
    """A TorchServe on this machine: a `ModelServer`.

    Args:
        management: Unix socket of the management API, or its port on 127.0.0.1.
        inference: base URL of the inference API.
    """

    def __init__(self, management: Path | int, inference: str) -> None:
        self._inference = inference.rstrip("/")
        self._session = requests.Session()
        self._session.mount(_MANAGEMENT, SocketAdapter(management))
        self._session.trust_env = False  # a proxy has no business between a process and its own machine
        self._placeholder_lock = threading.Lock()

    def is_up(self) -> bool:
        """Whether both APIs answer."""
        try:
            self._call("GET", f"{_MANAGEMENT}/models")
            self._session.get(f"{self._inference}/ping", timeout=CALL_TIMEOUT_S)
        except (ModelServerError, requests.RequestException):
            return False
        return True

    def defaults(self) -> dict[str, str]:
        """Every model's default version: TorchServe lists its folder, `<stem>@<revision id>`, which has the id."""
        found: dict[str, str] = {}
        token: str | None = "0"  # noqa: S105 -- of the next page
        while token is not None:
            page = self._call("GET", f"{_MANAGEMENT}/models", params={"limit": _PAGE, "next_page_token": token})
            for model in page["models"]:
                found[model["modelName"]] = model["modelUrl"].removesuffix(".mar").rpartition("@")[2]
            token = page.get("nextPageToken")
        return found

    def versions(self, name: str) -> dict[str, ServedVersion]:
        """All versions of one model but the placeholder; none if the model is unknown."""
        served = (_served(model) for model in self._describe(name, "all"))
        return {it.revision_id: it for it in served if it.revision_id != PLACEHOLDER}

    def version(self, name: str, revision_id: str = "") -> ServedVersion | None:
        found = self._describe(name, revision_id)
        return _served(found[0]) if found else None

    def ensure(self, name: str, revision_id: str, folder: Path, options: Options) -> None:
        """Have a version with its options and its number of workers; return while these come up.

        Not with `synchronous=true`: TorchServe would answer no other management call until the workers are up, and
        none at all where a worker cannot load, for it starts that worker again and again.

        TorchServe makes a model's first version the default at once. So a placeholder version without workers comes
        first: until another one is made the default, requests are answered 503.
        """
        with self._placeholder_lock:
            found = {it.revision_id: it for it in map(_served, self._describe(name, "all"))}
            served = found.get(revision_id)
            if served is None:
                if not found:
                    self._register(_placeholder_folder(name, folder), initial_workers=0)
                self._register(
                    folder,
                    initial_workers=options.workers,
                    batch_size=options.batch_size,
                    max_batch_delay=options.max_batch_delay_ms,
                    response_timeout=options.timeout_s,
                )
            elif served.workers != options.workers:
                self._scale(name, revision_id, options.workers)

    def set_default(self, name: str, revision_id: str) -> None:
        self._call("PUT", f"{_MANAGEMENT}/models/{name}/{revision_id}/set-default")
        self._remove_placeholder(name)

    def remove(self, name: str, revision_id: str, *, at_any_cost: bool = False) -> bool:
        """End a version's workers and forget it; whether it is unknown now.

        The workers end first, for two reasons. To end the workers of a version that it deletes, TorchServe runs the
        program `kill`: in an image without that program it answers 500 and deletes nothing. And a request may have come
        by the version's number at the last moment: it is queued again when its worker ends, and must not be deleted.
        """
        served = self.version(name, revision_id)
        if served is None:
            self._remove_placeholder(name)
            return True
        self._scale(name, revision_id, 0)
        deadline = time.monotonic() + WORKERS_STOP_TIMEOUT_S
        while served is not None and served.pids and time.monotonic() < deadline:
            time.sleep(POLL_S)
            served = self.version(name, revision_id)
        if served is not None and served.pending_requests and not at_any_cost:
            self._scale(name, revision_id, 1)
            return False
        self._call("DELETE", f"{_MANAGEMENT}/models/{name}/{revision_id}")
        self._remove_placeholder(name)
        return True

    def predict(self, name: str, revision_id: str, request: Any) -> Any:
        response = self._request("POST", f"{self._inference}/predictions/{name}/{revision_id}", json=request)
        if response.status_code == requests.codes.bad_request:
            raise RequestRejected(_message(response))
        return self._checked(response)

    def _describe(self, name: str, revision_id: str) -> list[dict[str, Any]]:
        response = self._request("GET", f"{_MANAGEMENT}/models/{name}/{revision_id}".rstrip("/"))
        return [] if response.status_code == requests.codes.not_found else self._checked(response)

    def _register(self, folder: Path, **options: int) -> None:
        self._call("POST", f"{_MANAGEMENT}/models", params={"url": folder.name, "synchronous": "false", **options})

    def _scale(self, name: str, revision_id: str, workers: int) -> None:
        self._call(
            "PUT",
            f"{_MANAGEMENT}/models/{name}/{revision_id}",
            params={"min_worker": workers, "max_worker": workers, "synchronous": "false"},
        )

    def _remove_placeholder(self, name: str) -> None:
        with self._placeholder_lock:
            if self.version(name, PLACEHOLDER) is not None:  # else TorchServe's log would warn of it
                # 403 while another version comes up beside it, and needs it.
                self._request("DELETE", f"{_MANAGEMENT}/models/{name}/{PLACEHOLDER}")

    def _call(self, method: str, url: str, **options: Any) -> Any:
        return self._checked(self._request(method, url, **options))

    def _request(self, method: str, url: str, **options: Any) -> requests.Response:
        try:
            return self._session.request(method, url, timeout=CALL_TIMEOUT_S, **options)
        except requests.RequestException as error:
            raise ModelServerError(f"TorchServe does not answer {method} {url}: {error}") from error

    def _checked(self, response: requests.Response) -> Any:
        if not response.ok:
            raise ModelServerError(
                f"{response.request.method} {response.url} answered {response.status_code}: {_message(response)}"
            )
        return _document(response)


def _document(response: requests.Response) -> Any:
    try:
        return response.json()
    except requests.JSONDecodeError:
        return {"message": response.text}


def _message(response: requests.Response) -> str:
    document = _document(response)
    return str(document.get("message", document) if isinstance(document, dict) else document)


def _served(model: dict[str, Any]) -> ServedVersion:
    return ServedVersion(
        revision_id=model["modelVersion"],
        workers=int(model["minWorkers"]),
        ready_workers=sum(worker["status"] == "READY" for worker in model["workers"]),
        pending_requests=int(model.get("jobQueueStatus", {}).get("pendingRequests", 0)),
        pids=tuple(worker["pid"] for worker in model["workers"] if worker["pid"] > 0),
    )


def _placeholder_folder(name: str, folder: Path) -> Path:
    """Folder of a model's placeholder version: nothing but TorchServe's `MANIFEST.json`."""
    place = folder.with_name(f"{folder.name.rpartition('@')[0]}@{PLACEHOLDER}")
    # TorchServe takes a folder's only folder for the model itself: MAR-INF must not be that.
    description = place / "model" / "MAR-INF" / "MANIFEST.json"
    description.parent.mkdir(parents=True, exist_ok=True)
    model = {"modelName": name, "modelVersion": PLACEHOLDER, "handler": PLACEHOLDER}
    document = {"runtime": "python", "model": model, "archiverVersion": "", "createdOn": ""}
    description.write_text(json.dumps(document), "utf-8")
    return place

"""TorchServe's management and inference API, as much of it as a deployment needs.

Source: https://docs.pytorch.org/serve/management_api.html
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import requests

TIMEOUT_S = 10
WORKER_START_TIMEOUT_S = 120


class TorchServeError(Exception):
    """TorchServe did not do what it was asked to; the message is its own."""


@dataclass(frozen=True, slots=True)
class Served:
    """One registered version of a model, as TorchServe describes it."""

    version: str
    ready_workers: int
    pending_requests: int


class TorchServe:
    """A TorchServe on this machine.

    Args:
        management: base URL of the management API; reachable from this machine only.
        inference: base URL of the inference API.
    """

    def __init__(self, management: str, inference: str) -> None:
        self._management = management.rstrip("/")
        self._inference = inference.rstrip("/")
        self._session = requests.Session()
        self._session.trust_env = False  # a proxy has no business between a process and its own machine

    def is_up(self) -> bool:
        """Whether both APIs answer."""
        try:
            self._call("GET", f"{self._management}/models")
            self._session.get(f"{self._inference}/ping", timeout=TIMEOUT_S)
        except (TorchServeError, requests.RequestException):
            return False
        return True

    def models(self) -> list[str]:
        """Names of all registered models."""
        names: list[str] = []
        token: str | None = "0"  # noqa: S105 -- of a page
        while token is not None:
            page = self._call("GET", f"{self._management}/models", params={"limit": 100, "next_page_token": token})
            names += [model["modelName"] for model in page["models"]]
            token = page.get("nextPageToken")
        return list(dict.fromkeys(names))

    def versions(self, name: str) -> list[Served]:
        """Registered versions of a model; none if it is unknown."""
        response = self._request("GET", f"{self._management}/models/{name}/all")
        if response.status_code == requests.codes.not_found:
            return []
        return [
            Served(
                version=model["modelVersion"],
                ready_workers=sum(worker["status"] == "READY" for worker in model["workers"]),
                pending_requests=int(model.get("jobQueueStatus", {}).get("pendingRequests", 0)),
            )
            for model in self._checked(response)
        ]

    def default_version(self, name: str) -> str | None:
        """The version that answers requests which name none; None if the model is unknown."""
        response = self._request("GET", f"{self._management}/models/{name}")
        if response.status_code == requests.codes.not_found:
            return None
        return str(self._checked(response)[0]["modelVersion"])

    def register(self, mar: Path, *, batch_size: int, max_batch_delay_ms: int, workers: int) -> None:
        """Register an archive of the model store and wait until its workers have loaded it.

        Raises:
            TorchServeError: it is registered already, or a worker did not come up.
        """
        self._call(
            "POST",
            f"{self._management}/models",
            params={
                "url": mar.name,
                "batch_size": batch_size,
                "max_batch_delay": max_batch_delay_ms,
                "initial_workers": workers,
                "synchronous": "true",
            },
            timeout=WORKER_START_TIMEOUT_S,
        )

    def set_default(self, name: str, version: str) -> None:
        """Let `version` answer the requests that name none."""
        self._call("PUT", f"{self._management}/models/{name}/{version}/set-default")

    def unregister(self, name: str, version: str) -> None:
        """Stop a version's workers and forget it."""
        self._call("DELETE", f"{self._management}/models/{name}/{version}", timeout=WORKER_START_TIMEOUT_S)

    def predict(self, name: str, version: str, request: Any) -> Any:
        """JSON answer of one version to a JSON request.

        Raises:
            TorchServeError: the answer is not a 200 with JSON.
        """
        return self._checked(self._request("POST", f"{self._inference}/predictions/{name}/{version}", json=request))

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

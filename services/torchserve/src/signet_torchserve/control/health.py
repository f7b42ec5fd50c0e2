"""Whether this replica lives, and whether it serves what it should: `GET /live` and `GET /ready`, 200 or 503 with JSON.

`python -m signet_torchserve.control.health` asks `/ready`: the container's health check. One line on standard error
says what is so; exit code 0 or 1.
"""

from __future__ import annotations

import json
import os
import sys
import threading
from http import HTTPStatus
from http.client import HTTPConnection, HTTPException
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from signet_torchserve.settings import InvalidSetting, Settings

if TYPE_CHECKING:
    from signet_torchserve.archive.store import Store
    from signet_torchserve.control.controller_status import Status
    from signet_torchserve.server.model_server import ModelServer

CHECK_TIMEOUT_S = 10


class Health:
    """The two questions, answered.

    Args:
        status: the controller's account of itself.
        server: the one that it looks after.
        store: where the golden answers are.
    """

    def __init__(self, status: Status, server: ModelServer, store: Store) -> None:
        self._status = status
        from signet_torchserve.control.deployment_readiness import Readiness  # noqa: PLC0415 -- the container's check has no use for it

        self._server = server
        self._readiness = Readiness(server, store)

    def live(self) -> tuple[bool, dict[str, object]]:
        """Whether TorchServe answers, and the answer's JSON."""
        is_up = self._server.is_up()
        return is_up, {"live": is_up, "message": "TorchServe answers." if is_up else "TorchServe does not answer."}

    def ready(self) -> tuple[bool, dict[str, object]]:
        """Whether every champion had its turn and a deployment can answer; and the answer's JSON.

        What one deployment does, or cannot do, does not make the replica unready for the others: it is `degraded`. The
        replica stays ready while a version is rolled out beside the live one, and while the registry is away.
        """
        is_ready, line, degraded = self._is_ready()
        status = self._status
        return is_ready, {
            "ready": is_ready,
            "message": line,
            "deployments": status.deployments,
            "degraded": degraded,
            "pending": status.pending,
            "failed": status.failed,
            "refused": status.refused,
            "stranded": status.stranded,
            "troubles": status.troubles,
            "errors": status.errors,
            "registry": status.registry,
            "untold": status.untold,
        }

    def _is_ready(self) -> tuple[bool, str, dict[str, str]]:
        status = self._status
        if status.is_ending:
            return False, "This replica ends: it answers the requests that it has, and takes no new ones.", {}
        registry = "" if status.registry == "reachable" else f" The registry is not reachable: {status.registry}"
        if not status.has_caught_up and status.pending:
            return False, f"Not served yet: {', '.join(status.pending)}.{registry}", {}
        if not status.deployments:
            return False, f"No registered model is served.{_others(status)}{registry}", {}
        unable, slow = self._readiness.of(status.deployments)
        degraded = unable | slow
        troubles = "".join(f" {name} {why}" for name, why in degraded.items())
        if len(unable) == len(status.deployments):
            return False, f"No deployment can answer.{troubles}{registry}", degraded
        served = ", ".join(f"{name} version {revision_id}" for name, revision_id in status.deployments.items())
        return True, f"Serving {served}.{troubles}{_others(status)}{registry}", degraded


def _others(status: Status) -> str:
    lists = {"Pending": status.pending, "Failed": status.failed, "Refused": status.refused}
    said = [f" {what}: {', '.join(names)}." for what, names in lists.items() if names]
    said += [f" {name} goes on with what it serves. {why}" for name, why in status.stranded.items()]
    said += [f" {what} has failed, and is tried again: {why}." for what, why in status.troubles.items()]
    said += [f" What became of the versions can't be told: {status.untold}"] if status.untold else []
    return "".join(said)


def serve(address: str, health: Health) -> None:
    """Answer at the URL `address` in threads of their own, until the process ends.

    Raises:
        OSError: the address cannot be listened at.
    """

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            questions = {"/live": health.live, "/ready": health.ready}
            question = questions.get(self.path)
            if question is None:
                self.send_error(HTTPStatus.NOT_FOUND, "Ask for /live or /ready.")
                return
            is_so, document = question()
            body = json.dumps(document).encode()
            self.send_response(HTTPStatus.OK if is_so else HTTPStatus.SERVICE_UNAVAILABLE)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            """Say nothing: somebody asks every second."""

    class Server(ThreadingHTTPServer):
        def handle_error(self, request: Any, client_address: Any) -> None:
            """Say nothing of clients that are gone before they have their answer."""
            if not isinstance(sys.exception(), ConnectionError):
                super().handle_error(request, client_address)

    url = urlsplit(address)
    server = Server((str(url.hostname), int(url.port or 0)), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()


def main() -> int:
    """Exit code of the health check."""
    try:
        port = urlsplit(Settings.from_environment(os.environ).health_address).port
        connection = HTTPConnection("127.0.0.1", port, timeout=CHECK_TIMEOUT_S)
        connection.request("GET", "/ready")
        document = json.load(connection.getresponse())
    except (HTTPException, InvalidSetting, OSError, ValueError) as error:
        document = {"ready": False, "message": str(error)}
    sys.stderr.write(f"{document['message']}\n")
    return 0 if document["ready"] else 1


if __name__ == "__main__":
    sys.exit(main())

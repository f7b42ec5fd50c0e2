"""`signet-torchserve`: TorchServe, what forks its workers, its enforcement service and the controller.

It runs in the foreground until TorchServe ends, or until it is asked to stop.
"""

from __future__ import annotations

import functools
import logging
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping

from signet_torchserve import deadlines, os_compat
from signet_torchserve.archive.store import Store
from signet_torchserve.control import health
from signet_torchserve.control.controller_status import Status
from signet_torchserve.control.retry_loop import keep_going
from signet_torchserve.memory_budget import MemoryBudget
from signet_torchserve.server import launch
from signet_torchserve.server.model_server import ModelServer, ModelServerError
from signet_torchserve.settings import InvalidSetting, Settings

SERVER_START_TIMEOUT_S = 120
SERVER_STOP_TIMEOUT_S = 20
NOTICE_S = 2  # the gateway asks `/ready` once a second, and soon again before it looks elsewhere
IDLE_LOOK_S = 0.1
LEAVE_TIMEOUT_S = 2  # the registry is told that this replica is gone, if it answers
AGAIN_S = 1.0  # after which what has ended is started again

logger = logging.getLogger(__name__)


def main() -> int:
    """Exit code: 0 after a signal, 1 if TorchServe ended by itself, 2 for a wrong setting."""
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s controller: %(message)s")
    for name in [name for name, value in os.environ.items() if not value]:
        del os.environ[name]  # an empty variable means "not set", for the libraries too
    # While MLflow is away the controller must notice within seconds, not after MLflow's own minutes of retries.
    os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    os.environ.setdefault("MLFLOW_HTTP_REQUEST_TIMEOUT", "10")
    os.environ.setdefault("MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR", "false")
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    try:
        settings = Settings.from_environment(os.environ)
        os.environ.update({**settings.credentials, "MLFLOW_TRACKING_URI": settings.tracking_uri})
        store = Store(settings.home)
        status = Status()
        health.serve(settings.health_address, health.Health(status, launch.client(settings, store, os.environ), store))
        served = store.unpack_last_good(MemoryBudget(settings.pieces).reserve_at_start)
        server = launch.start(settings, store, os.environ, served=served)
    except (InvalidSetting, OSError) as error:
        print(f"signet-torchserve: {error}", file=sys.stderr)
        return 2
    for piece, what, start in launch.SIDE_PROCESSES:
        if piece in settings.pieces:
            kept = (what, functools.partial(keep, what, start, store, stop), status, stop)
            threading.Thread(target=keep_going, args=kept, daemon=True).start()
    has_ended = threading.Event()
    controller = threading.Thread(
        target=keep_going,
        args=("The controller's start", lambda: follow(settings, store, status, server, stop), status, stop),
        daemon=True,
    )
    controller.start()
    threading.Thread(target=_watch, args=(server, has_ended, stop), daemon=True).start()
    stop.wait()
    if not has_ended.is_set():
        notice_s = NOTICE_S if settings.has_gateway else 0
        drain(launch.client(settings, store, os.environ), status, notice_s, deadlines.DEFAULT_TIMEOUT_S)
    launch.stop(server, SERVER_STOP_TIMEOUT_S)
    controller.join(LEAVE_TIMEOUT_S)
    if has_ended.is_set():
        logger.error("TorchServe ended.")
    return int(has_ended.is_set())


def follow(
    settings: Settings, store: Store, status: Status, server: subprocess.Popen[bytes], stop: threading.Event
) -> float:
    """Wait for TorchServe to come up, then follow the registry until `stop` is set. A TorchServe that hangs is ended.

    Returns:
        Seconds to wait before it is done again.
    """
    # These imports (MLflow) take as long as TorchServe's own start: both at once.
    from signet_torchserve.control.controller import Controller  # noqa: PLC0415 -- as said above
    from signet_torchserve.registry.changes import name_this_process  # noqa: PLC0415 -- as said above
    from signet_torchserve.registry.client import Registry  # noqa: PLC0415 -- as said above

    os_compat.lower_priority()  # predictions go first: their p99 is a third lower so, beside forty rollouts
    client = launch.client(settings, store, os.environ)
    name_this_process()
    registry = Registry(settings.tracking_uri, settings.alias)
    controller = Controller(registry, client, store, status, settings.poll_interval_s, MemoryBudget(settings.pieces))
    deadline = time.monotonic() + SERVER_START_TIMEOUT_S
    while not client.is_up():
        if time.monotonic() > deadline:
            logger.error("TorchServe (process %s) did not answer within %s s.", server.pid, SERVER_START_TIMEOUT_S)
            server.kill()
            return AGAIN_S
        if stop.wait(0.2):
            return AGAIN_S
    controller.run(stop)
    return AGAIN_S


def keep(
    what: str, start: Callable[[Store, Mapping[str, str]], subprocess.Popen[bytes]], store: Store, stop: threading.Event
) -> float:
    """Start one of the processes beside TorchServe, and wait until it ends.

    Until the next one is there, workers start without a fork, and requests wait for the enforcement service.

    Returns:
        Seconds to wait before the next one.
    """
    process = start(store, os.environ)
    process.wait()
    if not stop.is_set():
        logger.warning("%s ended with exit code %s; the next one starts.", what, process.returncode)
    return AGAIN_S


def drain(server: ModelServer, status: Status, notice_s: float, timeout_s: float) -> None:
    """Say at `/ready` that this replica ends, and return when it has answered what it was asked until then.

    Args:
        server: its model server.
        status: what `/ready` tells.
        notice_s: seconds until nobody asks it any more.
        timeout_s: seconds that the answers may take from then on.
    """
    status.is_ending = True
    time.sleep(notice_s)
    deadline = time.monotonic() + timeout_s
    idle_looks = 0  # two, for a request that goes from the queue to a worker may be in neither
    while idle_looks < 2 and time.monotonic() < deadline:  # noqa: PLR2004 -- see above
        try:
            is_idle = all(it.is_idle for name in server.defaults() for it in server.versions(name).values())
        except ModelServerError:  # it has ended, or hangs
            return
        idle_looks = idle_looks + 1 if is_idle else 0
        time.sleep(IDLE_LOOK_S)


def _watch(server: subprocess.Popen[bytes], has_ended: threading.Event, stop: threading.Event) -> None:
    """End the container once TorchServe has ended."""
    server.wait()
    if not stop.is_set():
        has_ended.set()
        stop.set()


if __name__ == "__main__":
    sys.exit(main())

"""`signet-torchserve`: TorchServe, its judge and the agent, in the foreground until TorchServe or the agent ends."""

from __future__ import annotations

import logging
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping

from signet_torchserve import health, torchserve
from signet_torchserve.champion import Champion
from signet_torchserve.settings import InvalidSetting, Settings
from signet_torchserve.status import Status
from signet_torchserve.store import Store

START_TIMEOUT_S = 120
STOP_TIMEOUT_S = 20
JUDGE_PAUSE_S = 1


logger = logging.getLogger(__name__)


def main() -> int:
    """Exit code: 0 after a signal, 1 if TorchServe or the agent ended by itself, 2 for a wrong setting."""
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s agent: %(message)s")
    # While MLflow is away the agent must notice within seconds, not after MLflow's own minutes of retries.
    os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    os.environ.setdefault("MLFLOW_HTTP_REQUEST_TIMEOUT", "10")
    os.environ.setdefault("MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR", "false")
    stop = threading.Event()
    for name in (signal.SIGTERM, signal.SIGINT):
        signal.signal(name, lambda *_: stop.set())
    try:
        settings = Settings.from_environment(os.environ)
        os.environ.update({**settings.credentials, "MLFLOW_TRACKING_URI": settings.tracking_uri})
        store = Store(settings.home)
        status = Status()
        health.serve(
            settings.health_address, health.Health(status, torchserve.client(settings, store, os.environ), store)
        )
    except (InvalidSetting, OSError) as error:
        print(f"signet-torchserve: {error}", file=sys.stderr)
        return 2
    served = store.unpack_last_served()
    server = torchserve.start(settings, store, os.environ, served=served)
    ended: list[str] = []
    for what, work in (
        ("TorchServe", server.wait),
        ("The agent", lambda: follow(settings, store, status, served, server, stop)),
        ("The judge", lambda: keep_judging(store, stop)),
    ):
        threading.Thread(target=_until_it_ends, args=(what, work, ended, stop), daemon=True).start()
    stop.wait()
    torchserve.stop(server, STOP_TIMEOUT_S)
    if ended:
        logger.error("%s ended.", ended[0])
    return 1 if ended else 0


def follow(  # noqa: PLR0913, PLR0917 -- all that takes part in it
    settings: Settings,
    store: Store,
    status: Status,
    served: Mapping[str, Champion],
    server: subprocess.Popen[bytes],
    stop: threading.Event,
) -> None:
    """Wait for TorchServe to come up, then follow the registry until `stop` is set.

    Raises:
        TimeoutError: it did not come up.
    """
    # These imports (MLflow) take as long as TorchServe's own start: both at once.
    from signet_torchserve.agent import Agent  # noqa: PLC0415
    from signet_torchserve.registry import Registry  # noqa: PLC0415

    client = torchserve.client(settings, store, os.environ)
    registry = Registry(settings.tracking_uri, settings.alias)
    agent = Agent(registry, client, store, status, settings.poll_interval_s, served)
    deadline = time.monotonic() + START_TIMEOUT_S
    while not client.is_up():
        if time.monotonic() > deadline:
            raise TimeoutError(f"TorchServe (process {server.pid}) did not answer within {START_TIMEOUT_S} s.")
        if stop.wait(0.2):
            return
    agent.run(stop)


def keep_judging(store: Store, stop: threading.Event) -> None:
    """Have a judge until `stop` is set; while there is none, the workers decide by themselves."""
    while not stop.is_set():
        judge = torchserve.start_judge(store, os.environ)
        judge.wait()
        logger.warning("The judge ended with exit code %s; the next one starts.", judge.returncode)
        stop.wait(JUDGE_PAUSE_S)


def _until_it_ends(what: str, work: Callable[[], object], ended: list[str], stop: threading.Event) -> None:
    """The process's edge: none of them may end, however it does, without the others."""
    try:
        work()
    except Exception:
        logger.exception("%s failed.", what)
    if not stop.is_set():
        ended.append(what)
        stop.set()


if __name__ == "__main__":
    sys.exit(main())

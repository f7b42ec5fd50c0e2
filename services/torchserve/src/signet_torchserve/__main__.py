"""`signet-torchserve`: TorchServe and the agent that looks after it, in the foreground until one of them ends."""

from __future__ import annotations

import logging
import os
import signal
import subprocess
import sys
import threading
import time

START_TIMEOUT_S = 120
STOP_TIMEOUT_S = 20


def main() -> int:
    """Exit code: TorchServe's if it ends, 0 after a signal, 2 for a wrong setting."""
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s agent: %(message)s")
    # While MLflow is away the agent must notice within seconds, not after MLflow's own minutes of retries.
    os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "1")
    os.environ.setdefault("MLFLOW_HTTP_REQUEST_TIMEOUT", "10")
    os.environ.setdefault("MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR", "false")
    from signet_torchserve import torchserve  # noqa: PLC0415
    from signet_torchserve.settings import InvalidSetting, Settings  # noqa: PLC0415
    from signet_torchserve.store import Store, StoreInUse  # noqa: PLC0415

    try:
        settings = Settings.from_environment(os.environ)
        store = Store(settings.home)
    except (InvalidSetting, StoreInUse, OSError) as error:
        print(f"signet-torchserve: {error}", file=sys.stderr)
        return 2
    server = torchserve.start(settings, store, os.environ)
    stop = threading.Event()
    for name in (signal.SIGTERM, signal.SIGINT):
        signal.signal(name, lambda *_: stop.set())
    # The agent's imports (MLflow) take as long as TorchServe's own start: both at once.
    from signet_torchserve.agent import Agent  # noqa: PLC0415
    from signet_torchserve.management import TorchServe  # noqa: PLC0415
    from signet_torchserve.registry import Registry  # noqa: PLC0415

    client = TorchServe(*torchserve.addresses(settings, os.environ))
    agent = Agent(Registry(settings.tracking_uri, settings.alias), client, store, settings.poll_interval_s)
    threading.Thread(target=_watch, args=(server, stop), daemon=True).start()
    deadline = time.monotonic() + START_TIMEOUT_S
    while not stop.is_set() and not client.is_up():
        if time.monotonic() > deadline:
            logging.getLogger(__name__).error("TorchServe did not answer within %s s.", START_TIMEOUT_S)
            torchserve.stop(server, STOP_TIMEOUT_S)
            return 1
        stop.wait(0.2)
    agent.run(stop)
    died = server.poll()
    if died is not None:
        logging.getLogger(__name__).error("TorchServe ended with exit code %s.", died)
        return died or 1
    torchserve.stop(server, STOP_TIMEOUT_S)
    return 0


def _watch(server: subprocess.Popen[bytes], stop: threading.Event) -> None:
    server.wait()
    stop.set()


if __name__ == "__main__":
    sys.exit(main())

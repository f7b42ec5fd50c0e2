import sys
from pathlib import Path

import pytest

from embedded import http, ports
from embedded.datadir import DataDir
from embedded.errors import JobFailed, ServiceDied, ServiceNotReady
from embedded.processes import orphans
from embedded.processes.service import Service
from embedded.stack import Stack
from embedded.step_times import StepTimes


class Tiny:
    """A stack of web servers that serve their own folder."""

    def __init__(self, path: Path) -> None:
        self.folder = DataDir(path)
        self.folder.make()
        self.ports = ports.free(["mlflow", "inference", "metrics", "health"])

    def server(self, name: str, port: str, needs: tuple[str, ...] = ()) -> Service:
        command = (sys.executable, "-m", "http.server", "--bind", "127.0.0.1", str(self.ports[port]))
        url = f"http://127.0.0.1:{self.ports[port]}/"
        home = self.folder.sub(name)
        return Service(name, command, self.folder.log(name), home, ready=lambda: http.answers(url), needs=needs)

    def shell(self, name: str, script: str, *, ready: bool, ready_timeout_s: float = 30) -> Service:
        command = ("sh", "-c", script)
        log = self.folder.log(name)
        cwd = self.folder.path
        return Service(name, command, log, cwd, ready=lambda: ready, ready_timeout_s=ready_timeout_s)

    def stack(self, *services: Service) -> Stack:
        return Stack(self.folder, self.ports, list(services), StepTimes(), self.folder.sub("short"))


@pytest.fixture
def tiny(tmp_path: Path) -> Tiny:
    return Tiny(tmp_path)


def test_starts_in_the_order_of_needs(tiny: Tiny) -> None:
    """What needs another starts when that one answers; afterwards nothing is left."""
    stack = tiny.stack(tiny.server("mlflow-server", "mlflow", ("postgres",)), tiny.server("postgres", "inference"))
    try:
        stack.wait_ready()
        assert [step.name for step in stack.step_times.steps] == ["postgres", "mlflow-server"]
        first, second = stack.step_times.steps
        assert first.ended is not None
        assert first.ended <= second.began
    finally:
        stack.close()
    assert orphans.find(tiny.folder.path) == []


def test_kill_stop_and_start(tiny: Tiny) -> None:
    """A service that was killed or stopped on purpose is no death; started again it answers at the same address."""
    stack = tiny.stack(tiny.server("mlflow-server", "mlflow"))
    try:
        stack.wait_ready()
        for end in (stack.kill, stack.stop):
            end("mlflow-server")
            stack.check()
            assert not http.answers(stack.urls.mlflow)
            stack.start("mlflow-server")
            assert http.answers(f"{stack.urls.mlflow}/")
    finally:
        stack.close()


def test_service_that_dies(tiny: Tiny) -> None:
    """One message says who died, how, where its log is, and how that ends."""
    stack = tiny.stack(tiny.shell("postgres", "echo no space left; exit 3", ready=False))
    with pytest.raises(ServiceDied) as caught:
        stack.wait_ready()
    stack.close()
    log = tiny.folder.log("postgres")
    assert str(caught.value) == f"postgres died (exit code 3). The log {log} ends so:\n    no space left"


def test_service_that_never_answers(tiny: Tiny) -> None:
    """A service that runs but does not answer is given up when its time is over."""
    stack = tiny.stack(tiny.shell("postgres", "echo waiting; sleep 60", ready=False, ready_timeout_s=2))
    with pytest.raises(ServiceNotReady, match=r"postgres did not answer within 2 s\. The log .* ends so:\n    waiting"):
        stack.wait_ready()
    stack.close()
    assert orphans.find(tiny.folder.path) == []


def test_job_that_fails(tiny: Tiny) -> None:
    """A step's command that fails is told with its log's end; a job's exit code is handed on."""
    stack = tiny.stack()
    with pytest.raises(JobFailed, match=r"training failed \(exit code 4\)\. The log .* ends so:\n    bad data"):
        stack.step("training", "sh", "-c", "echo bad data; exit 4")
    assert stack.job("other", "sh", "-c", "exit 5") == 5


def test_death_during_a_job(tiny: Tiny) -> None:
    """A service that dies while a job runs ends the job too."""
    stack = tiny.stack(tiny.shell("postgres", "sleep 0.3; exit 1", ready=True))
    with pytest.raises(ServiceDied):
        stack.step("training", "sleep", "60")
    stack.close()
    assert orphans.find(tiny.folder.path) == []


def test_environment_for_children(tiny: Tiny) -> None:
    """Commands run by hand find the servers without being told."""
    stack = tiny.stack()
    done = stack.run("sh", "-c", "echo $MLFLOW_TRACKING_URI $SIGNET_URL")
    assert done.stdout.split() == [stack.urls.mlflow, stack.urls.torchserve]

import os
import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest

from embedded.datadir import DataDir
from embedded.processes.service import Service
from embedded.restarter import Restarter
from embedded.stack import Stack
from embedded.step_times import StepTimes
from testing.polling import until


class Kept:
    """A stack of two shells, `postgres` and `torchserve`, that is up and kept."""

    def __init__(self, path: Path) -> None:
        self.folder = DataDir(path)
        self.folder.make()
        self.hangs = False
        ports = dict.fromkeys(("mlflow", "inference", "metrics", "health"), 0)
        services = [self._shell("postgres"), self._shell("torchserve")]
        self.stack = Stack(self.folder, ports, services, StepTimes(), self.folder.sub("short"))
        self.stack.wait_ready()
        self.restarter = Restarter(self.stack)

    def _shell(self, name: str) -> Service:
        script = "[ -e fails ] && { echo no space left; exit 3; }; exec sleep 600"
        return Service(
            name, ("sh", "-c", script), self.folder.log(name), self.folder.sub(name), lambda: self._answers(name),
            ready_timeout_s=0.5,
        )  # fmt: skip

    def _answers(self, name: str) -> bool:
        try:
            return not self.hangs and [child.name() for child in self._children(name)] == ["sleep"]
        except psutil.NoSuchProcess:  # it has ended since it was listed
            return False

    def _children(self, name: str) -> list[psutil.Process]:
        return psutil.Process(self.stack.pid(name)).children()

    def kill(self, name: str) -> None:
        (child,) = self._children(name)
        os.kill(child.pid, signal.SIGKILL)

    def until(self, condition: Callable[[], bool]) -> None:
        """Lets the restarter look until the condition holds."""

        def holds() -> bool:
            self.restarter.look()
            return condition()

        until("the condition holds", holds, timeout_s=20, interval_s=0.02)

    def is_down(self) -> bool:
        return not self.stack.is_ready("postgres")

    def is_up(self) -> bool:
        return self.stack.is_ready("postgres") and self.stack.is_ready("torchserve")


@pytest.fixture
def kept(tmp_path: Path) -> Iterator[Kept]:
    kept = Kept(tmp_path)
    yield kept
    kept.stack.close()


def test_a_service_that_ends_is_started_again(kept: Kept) -> None:
    """What ended comes back in a process of its own; the others' processes go on meanwhile; it is told how it ended."""
    before = {name: kept.stack.pid(name) for name in kept.stack.names}
    for count in (1, 2):
        kept.kill("postgres")
        kept.until(kept.is_down)
        kept.until(kept.is_up)
        assert kept.restarter.ends["postgres"].startswith(f"ended {count} time")
    assert kept.restarter.ends["postgres"].endswith("(killed by signal 9)")
    assert kept.stack.pid("postgres") != before["postgres"]
    assert kept.stack.pid("torchserve") == before["torchserve"]
    assert list(kept.restarter.ends) == ["postgres"]


def test_all_that_end_at_once_come_back(kept: Kept) -> None:
    """Each service is kept by itself."""
    for name in kept.stack.names:
        kept.kill(name)
    kept.until(lambda: set(kept.restarter.ends) == set(kept.stack.names))
    kept.until(kept.is_up)


def test_a_service_that_does_not_last_is_tried_later_and_later(kept: Kept, capsys: pytest.CaptureFixture[str]) -> None:
    """While it can't start it is tried after pauses that grow, its log's end is told each time, and then it serves."""
    fails = kept.folder.sub("postgres") / "fails"
    fails.touch()
    kept.kill("postgres")
    ends: list[float] = []

    def ended_three_times() -> bool:
        if len(ends) < int(kept.restarter.ends.get("postgres", "ended 0").split()[1]):
            ends.append(time.monotonic())
        return len(ends) == 3

    kept.until(ended_three_times)
    assert ends[1] - ends[0] >= 0.5
    assert ends[2] - ends[1] >= 1.0
    assert "postgres died (exit code 3)" in capsys.readouterr().out
    fails.unlink()
    kept.until(kept.is_up)


def test_a_service_that_does_not_answer_is_ended_and_tried_again(kept: Kept) -> None:
    """One that was started again and hangs has its time limit, too."""
    kept.hangs = True
    kept.kill("postgres")
    kept.until(lambda: "no answer within" in kept.restarter.ends.get("postgres", ""))
    kept.hangs = False
    kept.until(kept.is_up)

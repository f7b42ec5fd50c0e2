import os
from pathlib import Path

import psutil

from embedded import supervisor
from embedded.settings import Settings
from embedded.supervisor import State


def test_state_survives_the_file(tmp_path: Path) -> None:
    """What the supervisor writes is what the others read."""
    place = supervisor.folder(Settings(home=tmp_path))
    place.make()
    assert State.read(place) is None
    State(phase="up", pid=1, services={"postgres": 2}).write(place)
    assert State.read(place) == State(phase="up", pid=1, services={"postgres": 2})


def test_a_reused_pid_is_not_the_supervisor() -> None:
    """A pid counts only with its start time."""
    me = psutil.Process()
    assert State(pid=me.pid, created=me.create_time()).supervisor() == me
    assert State(pid=me.pid, created=me.create_time() - 100).supervisor() is None
    assert State(pid=2**22 + 1, created=0).supervisor() is None


def test_what_was_started_last_is_what_status_and_down_are_about(tmp_path: Path) -> None:
    """`make up` and `make serve` have folders of their own."""
    settings = Settings(home=tmp_path)
    assert supervisor.folder(settings).path.name == "up"
    for way in ("up", "serve", "up"):
        place = supervisor.folder(settings, way)
        place.make()
        State(phase="stopped").write(place)
        os.utime(State.file(place), (0, 1 + 2 * len(way)) if way == "serve" else None)
    assert supervisor.folder(settings).path.name == "up"
    os.utime(State.file(supervisor.folder(settings, "up")), (0, 1))
    assert supervisor.folder(settings).path.name == "serve"

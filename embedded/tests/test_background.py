import os
from dataclasses import replace
from pathlib import Path

import pytest

from embedded import background, supervisor
from embedded.errors import EmbeddedError, InvalidSetting
from embedded.settings import Settings
from embedded.supervisor import State


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    supervisor.folder(Settings(home=tmp_path)).make()
    return Settings(home=tmp_path)


@pytest.mark.parametrize(
    ("state", "said"),
    [
        (None, "not up"),
        (State(phase="stopped"), "not up"),
        (State(phase="failed", message="postgres died"), "not up: postgres died"),
        (State(phase="up"), "not up: its supervisor was killed"),
    ],
)
def test_status_of_what_does_not_run(
    settings: Settings, state: State | None, said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """The status says how it ended, and is 1."""
    if state:
        state.write(supervisor.folder(settings))
    assert background.status(settings) == 1
    assert capsys.readouterr().out.strip() == said


def test_status_of_what_runs(settings: Settings, capsys: pytest.CaptureFixture[str]) -> None:
    """The status shows the addresses, and is 0."""
    place = supervisor.folder(settings)
    State(phase="up", mlflow="http://127.0.0.1:5000", predictions="http://127.0.0.1:8080/p").write(place)
    with place.locked():
        assert background.status(settings) == 0
    assert "curl http://127.0.0.1:8080/p -T sample.json" in capsys.readouterr().out


def test_status_of_a_service_that_ended(settings: Settings, capsys: pytest.CaptureFixture[str]) -> None:
    """The status names what is down, and how often and why it ended; it is 1 until all of it runs again."""
    place = supervisor.folder(settings)
    services = {"postgres": 11, "torchserve": 12}
    ends = {"postgres": "ended 1 time, last at 12:00 (killed by signal 9)"}
    with place.locked():
        State(phase="up", services=services, down=["postgres"], ends=ends).write(place)
        assert background.status(settings) == 1
        said = capsys.readouterr().out
        assert "postgres       is started again, ended 1 time, last at 12:00 (killed by signal 9), log" in said
        assert "torchserve     process group 12, log" in said
        State(phase="up", services=services, ends=ends).write(place)
        assert background.status(settings) == 0
        assert "postgres       process group 11, ended 1 time" in capsys.readouterr().out


def test_down_leaves_others_alone(settings: Settings, capsys: pytest.CaptureFixture[str]) -> None:
    """`down` sends no signal to a process that merely has the pid of a supervisor that is gone."""
    State(phase="up", pid=os.getppid(), created=0).write(supervisor.folder(settings))
    assert background.down(settings) == 0
    assert capsys.readouterr().out.strip() == "not up"


def test_logs(settings: Settings, capsys: pytest.CaptureFixture[str]) -> None:
    """A log's end is shown; an unknown name gets the known ones."""
    supervisor.folder(settings).log("postgres").write_text("ready\n", encoding="utf-8")
    assert background.logs(settings, "postgres", follow=False) == 0
    assert "    ready" in capsys.readouterr().out
    with pytest.raises(EmbeddedError, match=r"no log of 'x': there are postgres"):
        background.logs(settings, "x", follow=False)


def test_up_and_serve_are_not_run_both(settings: Settings) -> None:
    """Who starts one is told that the other runs, and how it is stopped."""
    serving = replace(settings, registry={"MLFLOW_TRACKING_URI": "http://ml.example.org"})
    with supervisor.folder(settings, "up").locked(), pytest.raises(EmbeddedError, match="`make up` is running: `make"):
        background.serve(serving)


@pytest.mark.parametrize("uri", ["", "ml.example.org:5000"])
def test_serve_needs_an_mlflow_server(settings: Settings, uri: str) -> None:
    """Without an address, or a scheme, the message says what is expected."""
    with pytest.raises(
        InvalidSetting, match=r"Setting MLFLOW_TRACKING_URI has value '.*'. Expected the address of an ML"
    ):
        background.serve(replace(settings, registry={"MLFLOW_TRACKING_URI": uri}))

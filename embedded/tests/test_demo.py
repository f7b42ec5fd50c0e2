import subprocess
from pathlib import Path

from embedded import demo, socket_folder


def test_a_demo_that_was_killed_is_forgotten(tmp_path: Path) -> None:
    """With what it had elsewhere; one that runs is left alone."""
    with subprocess.Popen(["sleep", "60"]) as running, subprocess.Popen(["true"]) as killed:
        killed.wait()
        folders = [tmp_path / f"demo-{process.pid}-abc" for process in (running, killed)]
        for folder in folders:
            folder.mkdir()
        elsewhere = [socket_folder.begin(folder) for folder in folders]
        demo._forget_dead_demos(tmp_path)
        assert [folder.exists() for folder in folders] == [True, False]
        assert [folder.exists() for folder in elsewhere] == [True, False]
        running.kill()
    demo._forget_dead_demos(tmp_path)
    assert list(tmp_path.iterdir()) == []
    assert not elsewhere[0].exists()

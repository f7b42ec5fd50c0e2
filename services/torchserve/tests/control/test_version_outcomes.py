"""What is said of a version that did not come into service, and when it is tried again."""

from __future__ import annotations

import errno
import os

import pytest
from memory_replica import Replica, started
from signet_torchserve.registry.errors import RegistryRefused
from signet_torchserve.revision import Revision

replica = pytest.fixture(started)


@pytest.mark.parametrize(
    "error",
    [
        OSError(errno.ENOSPC, os.strerror(errno.ENOSPC)),
        RegistryRefused("The files of version 2 cannot be downloaded: 403 Client Error: Forbidden"),
        RegistryRefused("http://mlflow-server:5000: Version 2 was deleted."),
    ],
)
def test_what_cannot_be_fetched_says_why(error: Exception, replica: Replica) -> None:
    """A full disk, a file that is denied, a version that was deleted: the version is failed, and tried later."""
    replica.serve("iris", "1")
    replica.registry.download_error = error
    replica.registry.said["iris"] = Revision("2", created=1)
    replica.until(lambda: replica.registry.marked.get(("iris", "2"), ("", ""))[0] == "failed")
    assert replica.registry.marked["iris", "2"][1] == str(error)
    for _ in range(5):
        replica.controller.reconcile()
    assert replica.registry.downloads == 1
    assert replica.status.registry == "reachable"
    assert replica.status.deployments == {"iris": "1"}


def test_what_has_no_room_is_refused_with_the_figures_and_served_when_there_is(replica: Replica) -> None:
    """What serves goes on, and nothing is registered or unpacked for the other; it is tried again by itself."""
    first = replica.serve("iris", "1")
    replica.measured_mib = 140.0
    second = replica.registry.said["digits"] = replica.cache("digits", "1")
    replica.until(lambda: ("digits", "1") in replica.registry.marked and not replica.controller.is_busy)
    status, reason = replica.registry.marked["digits", "1"]
    assert status == "refused"
    assert reason == (
        "The replica has no memory for the version: it needs 16 MiB, and 12 MiB are free. "
        "The version is tried again when there is room."
    )
    assert replica.status.refused == ["digits"]
    ensured = replica.server.calls["ensure"]
    for _ in range(3):
        replica.controller.reconcile()
    assert replica.server.calls["ensure"] == ensured
    assert not replica.store.unpacked("digits", "1").exists()
    assert replica.serves("iris", first)
    replica.measured_mib = 150.0
    replica.until(lambda: replica.serves("digits", second))
    replica.until(lambda: replica.registry.marked["digits", "1"][0] == "ready")


def test_more_workers_than_there_is_room_for_are_refused(replica: Replica) -> None:
    """The first is measured before the others start; what served goes on."""
    replica.serve("iris", "1")
    replica.server.pids = (os.getpid(),)  # which takes some
    replica.measured_mib = 250.0
    replica.registry.said["iris"] = replica.cache("iris", "2", workers="64")
    replica.until(lambda: ("iris", "2") in replica.registry.marked and not replica.controller.is_busy)
    status, reason = replica.registry.marked["iris", "2"]
    assert (status, replica.status.deployments) == ("refused", {"iris": "1"})
    assert "MiB are free" in reason

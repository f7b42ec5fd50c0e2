from __future__ import annotations

import pytest
from signet_torchserve.control.replica_status import ReplicaStatus, summary

ENTRIES = {
    "ready": ReplicaStatus("3", "ready", "2026-01-01T00:00:01+00:00", "answers"),
    "pending": ReplicaStatus("3", "pending", "2026-01-01T00:00:02+00:00", "it is being deployed"),
    "refused": ReplicaStatus(
        "3", "refused", "2026-01-01T00:00:03+00:00", "The model has no signature: log it with one."
    ),
    "failed": ReplicaStatus("3", "failed", "2026-01-01T00:00:04+00:00", "[Errno 28] No space\nleft on device"),
    "old": ReplicaStatus("2", "ready", "2026-01-01T00:00:05+00:00", "answers"),
}


@pytest.mark.parametrize(
    ("said", "status", "reason"),
    [
        (["ready"], "ready", "01+00:00 a: answers"),
        (["ready", "ready"], "ready", "01+00:00 a: answers"),
        (["ready", None], "pending", "01+00:00 a: answers (b is yet to tell)"),
        (["ready", "old"], "pending", "01+00:00 a: answers (b is yet to tell)"),
        (["ready", "pending"], "pending", "02+00:00 b: it is being deployed (a is ready)"),
        (["failed", "pending"], "pending", "04+00:00 a: [Errno 28] No space\nleft on device (b is pending)"),
        (["ready", "failed"], "failed", "04+00:00 b: [Errno 28] No space\nleft on device (a is ready)"),
        (["ready", "refused"], "refused", "03+00:00 b: The model has no signature: log it with one. (a is ready)"),
        (["refused", "refused"], "refused", "03+00:00 a: The model has no signature: log it with one."),
        (["failed", "refused", "ready"], "failed", "left on device (b is refused, c is ready)"),
    ],
)
def test_what_the_replicas_say_comes_to_one_status(said: list[str | None], status: str, reason: str) -> None:
    """`ready` means every replica that is there, `pending` that one is yet to tell; a reason names the replicas."""
    replicas = dict(zip("abc", said, strict=False))
    entries = {name: ENTRIES[what] for name, what in replicas.items() if what}
    found = summary("3", entries, replicas.keys())
    assert found[0] == status
    assert found[1].endswith(reason)


def test_who_is_gone_counts_for_nothing() -> None:
    """A replica that is not there any more keeps no version from being ready."""
    entries = {"a": ENTRIES["ready"], "b": ENTRIES["failed"]}
    assert summary("3", entries, {"a"}) == ("ready", "2026-01-01T00:00:01+00:00 a: answers")


@pytest.mark.parametrize("entry", ENTRIES.values())
def test_an_entry_is_read_as_it_was_written(entry: ReplicaStatus) -> None:
    """A tag's text becomes the same entry again. Any other text is no entry."""
    assert ReplicaStatus.read(str(entry)) == entry
    assert ReplicaStatus.read(f"x{entry}") is None


@pytest.mark.parametrize("reason", ["x" * 10_000, "\0", "\udc80", "日本 \r\n\t", ""])
def test_any_reason_fits_into_a_tag(reason: str) -> None:
    """However long a reason is, and whatever is in it, a tag holds its entry whole."""
    entry = ReplicaStatus.now("3", "failed", reason)
    str(entry).encode()
    assert "\0" not in str(entry)
    assert len(str(entry)) < 4000
    assert ReplicaStatus.read(str(entry)) == entry

import os
import socket
from collections.abc import Iterator

import pytest

from embedded import ports
from embedded.errors import PortTaken


@pytest.fixture
def taken() -> Iterator[int]:
    """A port that this very process listens on."""
    listener = socket.create_server(("127.0.0.1", 0))
    try:
        yield listener.getsockname()[1]
    finally:
        listener.close()


def test_free_ports_differ_and_are_free() -> None:
    """Every name gets a port of its own on which a server can listen."""
    chosen = ports.free(["a", "b", "c"])
    assert len(set(chosen.values())) == 3
    assert all(ports.is_free(port) for port in chosen.values())


def test_free_prefers_the_port_of_before(taken: int) -> None:
    """A name keeps its port unless somebody took it."""
    before = {**ports.free(["a"]), "b": taken}
    chosen = ports.free(["a", "b"], before)
    assert chosen["a"] == before["a"]
    assert chosen["b"] != taken


def test_wished_port_that_is_taken(taken: int) -> None:
    """The message names the port, who has it, and the variable that moves it."""
    with pytest.raises(PortTaken) as caught:
        ports.wished("MLFLOW_PORT", taken)
    assert f"port {taken} is taken" in str(caught.value)
    assert f"(pid {os.getpid()})" in str(caught.value)
    assert "set MLFLOW_PORT to another port (0 takes any free one)" in str(caught.value)


def test_wish_for_any_port() -> None:
    """0 is any free port."""
    assert ports.is_free(ports.wished("MLFLOW_PORT", 0))

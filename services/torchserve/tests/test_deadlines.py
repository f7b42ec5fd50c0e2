"""The waits for an answer, where each is set."""

from __future__ import annotations

import re

import pytest
from signet_torchserve import __main__ as main
from signet_torchserve import deadlines
from signet_torchserve.revision import TIMEOUT
from signet_torchserve.version_options import Options

from testing.repository import ROOT


def _number(path: str, pattern: str) -> float:
    (found,) = re.findall(pattern, (ROOT / path).read_text("utf-8"), re.MULTILINE)
    return float(found)


@pytest.mark.parametrize("tags", [{}, {TIMEOUT: "1"}, {TIMEOUT: "600"}])
def test_who_waits_for_another_waits_longer(tags: dict[str, str]) -> None:
    """Enforcement gives up before TorchServe, and TorchServe before the gateway, which may wait for a replica first."""
    timeout_s = Options.from_tags(tags).timeout_s
    replica_s = _number("gateway/waiting.lua", r"^local WAIT_S = (\d+)")
    for side in ("client", "server"):
        gateway_s = _number("gateway/haproxy.cfg", rf"^ +timeout {side} (\d+)s$")
        assert deadlines.decision_s(timeout_s) < timeout_s < timeout_s + replica_s < gateway_s


def test_the_client_waits_longer_than_a_version_may_take() -> None:
    """With no tag and no setting, the client hears what TorchServe says of a time-out."""
    replica_s = _number("gateway/waiting.lua", r"^local WAIT_S = (\d+)")
    client_s = _number("services/client/src/signet_client/settings.py", r"timeout_s: float = ([\d.]+)")
    assert Options().timeout_s + replica_s < client_s


@pytest.mark.parametrize("service", ["torchserve", "gateway"])
def test_what_ends_is_given_the_time_to_answer(service: str) -> None:
    """A replica has left the gateway, answered and ended before it is killed; the gateway has as long."""
    ends_s = main.NOTICE_S + deadlines.DEFAULT_TIMEOUT_S + main.SERVER_STOP_TIMEOUT_S + main.LEAVE_TIMEOUT_S
    killed_s = _number("docker-compose.yml", rf"^  {service}:\n(?:    .*\n)*?    stop_grace_period: (\d+)s$")
    assert ends_s < killed_s


def test_a_replica_that_ends_waits_until_the_gateway_knows() -> None:
    """Two of the gateway's questions at `/ready`, of which each may wait for its answer, fit into the notice."""
    first_s = _number("gateway/haproxy.cfg", r"default-server .* inter (\d+)s ")
    second_s = _number("gateway/haproxy.cfg", r"default-server .* fastinter (\d+)ms ") / 1000
    asked = _number("gateway/haproxy.cfg", r"default-server .* fall (\d+) ")
    assert first_s + (asked - 1) * second_s < main.NOTICE_S

"""The waits for an answer, where each is set."""

from __future__ import annotations

import re
from pathlib import Path

from signet_torchserve import deadlines
from ts.model_server import load_properties

ROOT = Path(__file__).parents[3]


def _number(path: str, pattern: str) -> float:
    found = re.findall(pattern, (ROOT / path).read_text("utf-8"), re.MULTILINE)
    assert found, f"{path} has no {pattern}."
    return float(found[0])


def test_who_waits_for_another_waits_longer() -> None:
    """Enforcement gives up before TorchServe, TorchServe before the gateway, and the gateway before the client."""
    properties = load_properties(str(ROOT / "config.properties"))
    torchserve = deadlines.response_s(properties)
    replica_s = _number("gateway/waiting.lua", r"^local WAIT_S = (\d+)")
    gateway = _number("gateway/haproxy.cfg", r"^ +timeout server (\d+)s$")
    client = _number("services/client/src/signet_client/settings.py", r"timeout_s: float = ([\d.]+)")
    assert torchserve == deadlines.RESPONSE_S
    assert deadlines.decision_s(torchserve) < torchserve < torchserve + replica_s < gateway < client


def test_a_version_with_another_time_out_has_another_deadline() -> None:
    """Enforcement's share follows the time-out that it is part of."""
    assert deadlines.decision_s(6) == 5
    assert deadlines.response_s({"default_response_timeout": "7"}) == 7

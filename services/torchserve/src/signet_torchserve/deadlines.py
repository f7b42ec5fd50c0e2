"""How long a request may take: one time-out, from which every wait for an answer is derived.

| wait                   | seconds | where                                                                       |
| ---------------------- | ------- | --------------------------------------------------------------------------- |
| enforcement's decision | 50      | `decision_s` of TorchServe's: the model and the answer have the rest        |
| TorchServe's answer    | 60      | `default_response_timeout` in config.properties                             |
| a version's drain      | 60      | `draining`: what the version has begun with, it may end                     |
| the gateway's          | 90      | `timeout server` in haproxy.cfg; 20 of them may be spent without a replica  |
| the client's           | 100     | `SIGNET_TIMEOUT_S`: longer than the gateway's, for that says what was wrong |
"""

from __future__ import annotations

from collections.abc import Mapping

RESPONSE_S = 60
"""Seconds in which TorchServe must have an answer, as this repository's config.properties has it."""


def response_s(properties: Mapping[str, str]) -> int:
    """Seconds in which TorchServe must have an answer, by the properties of a config.properties."""
    return int(properties.get("default_response_timeout", RESPONSE_S))


def decision_s(response_s: float) -> float:
    """Seconds in which enforcement must have decided on a request that is to be answered in `response_s`."""
    return response_s * 5 / 6

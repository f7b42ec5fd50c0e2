"""How long a request may take: its version's time-out, and what else waits for an answer.

The time-out is the tag `serving.timeout_s`: 60 s where there is none, and 600 at most. Enforcement, TorchServe and the
version's drain go by it. The other waits are the same for all versions; a test compares them with it.

| wait                   | seconds    | where |
| ---------------------- | ---------- | --------------------------------------------------------------- |
| enforcement's decision | 5/6 of it  | `decision_s`; the model and the answer have the rest |
| TorchServe's answer    | it         | its `responseTimeout` |
| a version's drain      | it         | `_ends` of control/plan.py: as long as its last request may take |
| a replica's drain      | 60         | `drain` of __main__.py |
| a replica's end        | 84         | notice 2, drain 60, TorchServe's stop 20, leave 2; `stop_grace_period`: 90 |
| the gateway's          | 630        | `timeout server` in haproxy.cfg; 20 of them may be spent without a replica |
| the client's           | 100        | `SIGNET_TIMEOUT_S`: enough for a time-out of 60 s |
"""

from __future__ import annotations

DEFAULT_TIMEOUT_S = 60
MAX_TIMEOUT_S = 600


def decision_s(timeout_s: float) -> float:
    """Seconds in which enforcement must have decided on a request that may take `timeout_s`."""
    return timeout_s * 5 / 6

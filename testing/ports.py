"""Ports that nobody has."""

from __future__ import annotations

from embedded import ports


def free_port() -> int:
    """A port of 127.0.0.1 that was free a moment ago."""
    return ports.free(["any"])["any"]


def free_addresses() -> dict[str, str]:
    """Environment of a TorchServe whose ports nobody has."""
    free = ports.free(["INFERENCE", "METRICS"])
    return {f"TS_{name}_ADDRESS": f"http://127.0.0.1:{port}" for name, port in free.items()}

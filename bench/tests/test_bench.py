"""`make bench` runs from end to end; whether its bars are met is for a quiet machine to tell."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import warnings
from pathlib import Path
from typing import Any

import pytest

from testing.repository import ROOT

with warnings.catch_warnings(action="ignore"):  # TorchServe leaves its version.txt open
    from signet_torchserve.switchable_pieces import Piece

    from bench import micro, model

pytestmark = pytest.mark.timeout(900)  # whichever test comes first waits for all that is measured
Bench = tuple[subprocess.CompletedProcess[str], dict[str, Any]]
needs_wrk = pytest.mark.skipif(shutil.which("wrk") is None, reason="needs wrk")


def _bench(folder: Path, *options: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "bench", *options],
        cwd=folder,
        env=os.environ | {"PYTHONPATH": str(ROOT)} | environment,
        capture_output=True,
        text=True,
        check=False,
        timeout=800,
    )


@pytest.fixture(scope="module")
def bench(tmp_path_factory: pytest.TempPathFactory) -> Bench:
    """One run of several parts, which all serve one model: how it ended, and its figures."""
    folder = tmp_path_factory.mktemp("bench")
    parts = "noop,ours,pieces,middleware,hop,neighbours"
    done = _bench(folder, "--only", parts, "--seconds", "1", "--rounds", "1", "--connections", "8")
    assert done.returncode == 0, done.stderr
    return done, json.loads((folder / ".signet/bench/bench.json").read_text())


@needs_wrk
def test_load(bench: Bench) -> None:
    """The no-op and ours answer under load as they must, and the figures arrive as tables and as JSON."""
    done, document = bench
    points = [(rate["contender"], rate["connections"], rate["valid"]) for rate in document["rates"]]
    assert points == [("noop", 8, True), ("ours", 8, True), ("ours", 8, False)]
    assert all(0 < rate["p50_ms"] <= rate["p99_ms"] for rate in document["rates"])
    assert document["drift"]["8"] > 0
    assert document["memory"]["ours"]["rss_mib"] > 100
    assert len(document["bars"]) > 3
    assert all(f"| {bar['what']} |" in done.stdout for bar in document["bars"])


@needs_wrk
def test_pieces(bench: Bench) -> None:
    """Signet answers under load without each clever piece, and without any, and what each gains is told."""
    done, document = bench
    ways = document["pieces"]
    assert [way["all pieces / …"] for way in ways] == [*(f"without {piece}" for piece in Piece), "without any"]
    assert all(float(factor) > 0 for way in ways for what, factor in way.items() if what != "all pieces / …")
    assert all(f"| {way['all pieces / …']} |" in done.stdout for way in ways)


@needs_wrk
def test_middleware(bench: Bench) -> None:
    """Three servers answer under load with the contract's middleware and without it."""
    done, document = bench
    measured = document["middleware"]
    assert 0 < measured["cost_us"] < 1000
    assert list(measured["rates"]) == ["mlflow", "fastapi", "litserve"]
    assert all(rate["requests_per_s"] > 0 for rates in measured["rates"].values() for rate in rates["8"])
    assert done.stdout.count(" behind the contract | ") == done.stdout.count(" alone | ") == 3


@needs_wrk
def test_hop(bench: Bench) -> None:
    """Predictions come through the gateway's HAProxy and a bare one, where there is a HAProxy."""
    done, document = bench
    if "haproxy was not found" in done.stderr:
        pytest.skip(done.stderr)
    assert len(document["hop"]) == 3
    assert "through the gateway's HAProxy / direct, 8 connections" in [bar["what"] for bar in document["bars"]]


@needs_wrk
def test_neighbours(bench: Bench) -> None:
    """Right requests are answered beside a slow one, which is wrong."""
    _, document = bench
    measured = document["neighbours"]
    assert 0 < measured["alone_ms"] < measured["slow_ms"]
    assert measured["slow_ms"] >= 150, "it is slow"
    (bar,) = [bar for bar in document["bars"] if "beside one of" in bar["what"]]
    assert bar["value"] == pytest.approx(measured["beside_ms"] / measured["alone_ms"])


def test_every_format_is_the_same_rows() -> None:
    """What is timed in bulk reaches the model, in every format alike."""
    rows = [model.ROW, [6.6, 3.0, 5.6, 2.0]]
    for format_ in micro.FORMATS.values():
        inputs = micro._model_input(format_.body(rows), format_.signature, format_.content_type).inputs
        assert not isinstance(inputs, dict)
        assert inputs.tolist() == [pytest.approx(row) for row in rows]


def test_wrk_is_missing(tmp_path: Path) -> None:
    """One line says what to install."""
    done = _bench(tmp_path, "--only", "ours", PATH="")
    assert done.returncode == 2
    assert done.stderr.splitlines() == [
        "wrk was not found: expected the load generator on the path (Debian, Ubuntu: apt install wrk)."
    ]

"""`make bench` runs from end to end; whether its bars are met is for a quiet machine to tell."""

import json
import os
import shutil
import subprocess
import sys
import warnings
from pathlib import Path

import pytest

from testing.repository import ROOT

with warnings.catch_warnings(action="ignore"):  # TorchServe leaves its version.txt open
    from signet_torchserve.switchable_pieces import Piece

    from bench import micro, model


def _bench(folder: Path, *options: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "bench", *options],
        cwd=folder,
        env=os.environ | {"PYTHONPATH": str(ROOT)} | environment,
        capture_output=True,
        text=True,
        check=False,
        timeout=240,
    )


@pytest.mark.skipif(shutil.which("wrk") is None, reason="needs wrk")
def test_load(tmp_path: Path) -> None:
    """The no-op and ours answer under load as they must, and the figures arrive as tables and as JSON."""
    done = _bench(tmp_path, "--only", "noop,ours", "--seconds", "1", "--rounds", "1", "--connections", "8")
    assert done.returncode == 0, done.stderr
    document = json.loads((tmp_path / ".signet/bench/bench.json").read_text())
    points = [(rate["contender"], rate["connections"], rate["valid"]) for rate in document["rates"]]
    assert points == [("noop", 8, True), ("ours", 8, True), ("ours", 8, False)]
    assert all(0 < rate["p50_ms"] <= rate["p99_ms"] for rate in document["rates"])
    assert document["drift"]["8"] > 0
    assert document["memory"]["ours"]["rss_mib"] > 100
    assert len(document["bars"]) > 3
    assert all(f"| {bar['what']} |" in done.stdout for bar in document["bars"])


@pytest.mark.skipif(shutil.which("wrk") is None, reason="needs wrk")
def test_pieces(tmp_path: Path) -> None:
    """Signet answers under load without each clever piece, and without any, and what each gains is told."""
    done = _bench(tmp_path, "--only", "pieces", "--seconds", "1", "--rounds", "1", "--connections", "8")
    assert done.returncode == 0, done.stderr
    ways = json.loads((tmp_path / ".signet/bench/bench.json").read_text())["pieces"]
    assert [way["all pieces / …"] for way in ways] == [*(f"without {piece}" for piece in Piece), "without any"]
    assert all(float(factor) > 0 for way in ways for what, factor in way.items() if what != "all pieces / …")
    assert all(f"| {way['all pieces / …']} |" in done.stdout for way in ways)


@pytest.mark.skipif(shutil.which("wrk") is None, reason="needs wrk")
def test_middleware(tmp_path: Path) -> None:
    """Three servers answer under load with the contract's middleware and without it."""
    done = _bench(tmp_path, "--only", "middleware", "--seconds", "1", "--rounds", "1", "--connections", "8")
    assert done.returncode == 0, done.stderr
    measured = json.loads((tmp_path / ".signet/bench/bench.json").read_text())["behind"]
    assert 0 < measured["cost_us"] < 1000
    assert list(measured["rates"]) == ["mlflow", "fastapi", "litserve"]
    assert all(rate["requests_per_s"] > 0 for rates in measured["rates"].values() for rate in rates["8"])
    assert done.stdout.count(" behind the contract | ") == done.stdout.count(" alone | ") == 3


@pytest.mark.skipif(shutil.which("wrk") is None, reason="needs wrk")
def test_hop(tmp_path: Path) -> None:
    """Predictions come through the gateway's HAProxy and a bare one, where there is a HAProxy."""
    done = _bench(tmp_path, "--only", "hop", "--seconds", "1", "--rounds", "1", "--connections", "8")
    assert done.returncode == 0, done.stderr
    if "haproxy was not found" in done.stderr:
        pytest.skip(done.stderr)
    document = json.loads((tmp_path / ".signet/bench/bench.json").read_text())
    assert len(document["hop"]) == 3
    assert [bar["what"] for bar in document["bars"]] == ["through the gateway's HAProxy / direct, 8 connections"]


def test_neighbours(tmp_path: Path) -> None:
    """Right requests are answered beside a slow one, which is wrong."""
    done = _bench(tmp_path, "--only", "neighbours")
    assert done.returncode == 0, done.stderr
    document = json.loads((tmp_path / ".signet/bench/bench.json").read_text())
    measured = document["neighbours"]
    assert 0 < measured["alone_ms"] < measured["slow_ms"]
    assert measured["slow_ms"] >= 150, "it is slow"
    (bar,) = document["bars"]
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

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from signet_client.errors import ServerUnreachable, UnknownDeployment
from signet_client.scenarios.expectation import Expectation, Labels, NotServed, Predictions, Rejection
from signet_client.scenarios.runner import SCENARIOS, ScenarioOptions, run_scenarios
from signet_client.server import PredictionServer

if TYPE_CHECKING:
    from collections.abc import Callable

    from conftest import Asked, LocalServer, Reply

SAMPLES = Path(__file__).parents[2] / "samples"
EXCHANGES = {exchange.body: exchange for scenario in SCENARIOS[:-1] for exchange in scenario.exchanges}


def _right_answers(reply: type[Reply]) -> Callable[[Asked], Reply]:
    """A server that answers each scenario's body as that scenario expects."""

    def answer(asked: Asked) -> Reply:
        expected: Expectation = EXCHANGES[asked.body].expected
        if asked.path.endswith("no_such_deployment"):
            expected = NotServed()
        headers = {"Content-Type": "application/json", "X-Model-Version": "3"}
        match expected:
            case Labels(labels):
                body = labels[0] if len(labels) == 1 else json.dumps(labels)
                return reply(200, body.encode(), headers)
            case Predictions(labels):
                return reply(200, json.dumps({"predictions": labels}).encode(), headers)
            case Rejection(begins):
                return reply(400, json.dumps({"code": 400, "message": begins or "no"}).encode(), headers)
        return reply(404, b'{"code": 404, "type": "ModelNotFoundException", "message": "no"}', headers)

    return answer


def _run(server: LocalServer) -> int:
    return run_scenarios(ScenarioOptions(), PredictionServer(server.url, 5))


def test_all_hold(local_server: LocalServer, reply: type[Reply], capsys: pytest.CaptureFixture[str]) -> None:
    """Right answers make exit code 0 and a table with one result per scenario, no wider than a log's line."""
    local_server.reply = _right_answers(reply)
    assert _run(local_server) == 0
    out = capsys.readouterr().out
    assert f"All {len(SCENARIOS)} scenarios hold." in out
    assert out.count("holds") == len(SCENARIOS)
    assert all(heading in out for heading in ("Scenario", "Request", "Expected", "Got", "Result", "ms"))
    assert "\x1b" not in out
    assert max(map(len, out.splitlines())) <= 132


@pytest.mark.parametrize(
    ("status", "body", "version", "problem"),
    [
        (503, b'{"code": 503, "message": "Prediction failed"}', "3", "status 503, not 400"),
        (200, b"SETOSA", "3", "status 200, not 400"),
        (400, b'{"code": 400, "message": "no"}', "", "X-Model-Version is ''"),
        (400, b"no", "3", "no JSON object with a message: 'no'"),
        (400, b'{"code": 500, "message": "no"}', "3", "code 500 in the body, not 400"),
    ],
)
def test_one_fails(  # noqa: PLR0913, PLR0917 -- one fact per column
    local_server: LocalServer,
    reply: type[Reply],
    capsys: pytest.CaptureFixture[str],
    status: int,
    body: bytes,
    version: str,
    problem: str,
) -> None:
    """One wrong answer makes exit code 1, and the table says which and what was wrong with it."""
    right = _right_answers(reply)
    headers = {"Content-Type": "application/json", "X-Model-Version": version}
    local_server.reply = lambda asked: right(asked) if asked.body else reply(status, body, headers)
    assert _run(local_server) == 1
    out = capsys.readouterr().out
    assert f"1 of {len(SCENARIOS)} scenarios fail:\nempty body: {problem}" in out
    assert out.count("FAILS") == 1


def test_neighbours_count(local_server: LocalServer, reply: type[Reply], capsys: pytest.CaptureFixture[str]) -> None:
    """One wrong answer among those sent at once fails their scenario."""
    right = _right_answers(reply)
    mixed = SCENARIOS[-2].exchanges
    seen = 0

    def answer(asked: Asked) -> Reply:
        nonlocal seen
        seen += 1
        return reply(503) if seen == len(SCENARIOS) - 2 + len(mixed) // 2 else right(asked)

    local_server.reply = answer
    assert _run(local_server) == 1
    assert "good and bad requests at once" in capsys.readouterr().out.rsplit("fail:\n", maxsplit=1)[-1]


def test_unreachable(unused_url: str, capsys: pytest.CaptureFixture[str]) -> None:
    """Without a server there's an error and no table."""
    with pytest.raises(ServerUnreachable):
        run_scenarios(ScenarioOptions(), PredictionServer(unused_url, 5))
    assert not capsys.readouterr().out


def test_not_deployed(local_server: LocalServer, reply: type[Reply]) -> None:
    """A server without the deployment is an error, not a table full of 404s."""
    local_server.reply = reply(404, b'{"code": 404, "type": "ModelNotFoundException", "message": "no"}')
    with pytest.raises(UnknownDeployment, match="Deployment 'iris_classification' is not served"):
        _run(local_server)
    assert len(local_server.asked) == 1


@pytest.mark.parametrize("name", ["sample.json", "sig_invalid_column_name.json", "sig_invalid_data_type.json"])
def test_samples_are_the_seeds(name: str) -> None:
    """The list holds the three sample files, as documents, so that the image and the list can't drift apart."""
    pairs = [json.loads(body, object_pairs_hook=list) for body in EXCHANGES if body.startswith(b'{"data": ["{')]
    sample = json.loads((SAMPLES / name).read_bytes(), object_pairs_hook=list)
    unpacked = [json.loads(document[0][1][0], object_pairs_hook=list) for document in pairs if _is_json(document)]
    assert json.loads(sample[0][1][0], object_pairs_hook=list) in unpacked


def _is_json(document: list[tuple[str, list[str]]]) -> bool:
    try:
        json.loads(document[0][1][0])
    except ValueError:
        return False
    return True

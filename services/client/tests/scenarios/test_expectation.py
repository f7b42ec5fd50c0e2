from __future__ import annotations

import pytest
from signet_client.scenarios.expectation import Expectation, Labels, NotServed, Predictions, Rejection
from signet_client.server import Answer

HEADERS = {"Content-Type": "application/json", "X-Model-Version": "1"}
ONE, TWO = Labels(("A",)), Labels(("A", "B"))


@pytest.mark.parametrize(
    ("expected", "status", "body", "problem"),
    [
        (ONE, 200, b"A", None),
        (ONE, 200, b"B", "B, not A"),
        (ONE, 200, b'["A"]', '["A"], not A'),
        (ONE, 400, b"A", "status 400, not 200"),
        (TWO, 200, b'["A", "B"]', None),
        (TWO, 200, b'["B", "A"]', "['B', 'A'], not ['A', 'B']"),
        (TWO, 200, b"A", "None, not ['A', 'B']"),
        (Predictions(("A",)), 200, b'{"predictions": ["A"]}', None),
        (Predictions(("A",)), 200, b'{"predictions": ["A"], "x": 1}', "{'predictions': ['A']}"),
        (Rejection("no"), 400, b'{"code": 400, "message": "no way"}', None),
        (Rejection("no"), 400, b'{"code": 400, "message": "yes"}', "message 'yes'"),
        (Rejection(), 400, b'{"code": 400, "message": ""}', "no JSON object with a message"),
        (Rejection(), 503, b'{"code": 503, "message": "no"}', "status 503, not 400"),
        (NotServed(), 404, b'{"code": 404, "message": "no"}', None),
        (NotServed(), 404, b"no", "no JSON object with a message"),
    ],
)
def test_problem(expected: Expectation, status: int, body: bytes, problem: str | None) -> None:
    """Each expectation takes its own answer only, and names the first thing that's wrong."""
    got = expected.problem(Answer(status, HEADERS, body, 1.0))
    assert got == problem or (problem is not None and got is not None and problem in got)


@pytest.mark.parametrize("expected", [ONE, Predictions(("A",)), Rejection()])
def test_version_is_required(expected: Expectation) -> None:
    """Every answer of a model names the model's version."""
    bodies = {ONE: b"A", Predictions(("A",)): b'{"predictions": ["A"]}', Rejection(): b'{"code": 400, "message": "no"}'}
    headers = {"Content-Type": "application/json"}
    status = 400 if isinstance(expected, Rejection) else 200
    problem = expected.problem(Answer(status, headers, bodies[expected], 1.0))
    assert problem == "X-Model-Version is None, not a version"

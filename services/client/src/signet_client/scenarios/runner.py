"""`signet scenarios`: every kind of right and wrong request, and the answer that each must get.

`run_scenarios` sends the list `SCENARIOS` and prints a table. A scenario with several exchanges sends them at once, so
that the server's batches hold good and bad requests side by side.
"""

from __future__ import annotations

import json
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import TYPE_CHECKING
from urllib.parse import quote_plus

from signet_client.errors import UnknownDeployment
from signet_client.predict import is_unknown_deployment
from signet_client.scenarios.expectation import Expectation, Labels, NotServed, Predictions, Rejection
from signet_client.scenarios.report import Row, print_report

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from signet_client.server import Answer, PredictionServer

COLUMNS = ("sepal length (cm)", "sepal width (cm)", "petal length (cm)", "petal width (cm)")
# One typical flower of each species. Fed in a wrong column order, SETOSA's petals would look like VIRGINICA's.
ROWS = ((5.1, 3.5, 1.4, 0.2), (5.9, 2.8, 4.3, 1.3), (6.6, 3.1, 5.6, 2.1))
LABELS = ("SETOSA", "VERSICOLOR", "VIRGINICA")
_BOUNDARY = "signet-boundary"
_CONCURRENT = 16


@dataclass(frozen=True)
class ScenarioOptions:
    """Send every kind of right and wrong request and check the answers.

    Prints a table; exits with 0 if every scenario holds, 1 if one doesn't, 2 if the server can't be reached.

    Args:
        deployment_name: The Iris deployment to ask.
    """

    deployment_name: str = "iris_classification"


@dataclass(frozen=True)
class Exchange:
    """One request and the answer that it must get; `asks` is the request's name in the table."""

    asks: str
    body: bytes
    expected: Expectation
    headers: Mapping[str, str] = field(default_factory=lambda: {"Content-Type": "application/json"})
    method: str = "POST"
    deployment: str | None = None


@dataclass(frozen=True)
class Scenario:
    """A fact about the server, shown by one exchange, or by several that are sent at once."""

    name: str
    exchanges: tuple[Exchange, ...]


# Bodies in the seed's formats and in MLflow's ------------------------------------------------------------------------


def _json(document: object) -> bytes:
    return json.dumps(document).encode()


def _table(rows: Sequence[Sequence[object]], columns: Sequence[str] = COLUMNS) -> str:
    """The seed's inner JSON: {column: {row number: value}}."""
    return json.dumps({name: {str(n): row[i] for n, row in enumerate(rows)} for i, name in enumerate(columns)})


def _seed(rows: Sequence[Sequence[object]], columns: Sequence[str] = COLUMNS) -> bytes:
    return _json({"data": [_table(rows, columns)]})


def _split(rows: Sequence[Sequence[object]], columns: Sequence[str] = COLUMNS) -> bytes:
    return _json({"dataframe_split": {"columns": list(columns), "data": [list(row) for row in rows]}})


def _records(rows: Sequence[Sequence[object]], columns: Sequence[str] = COLUMNS) -> list[dict[str, object]]:
    return [dict(zip(columns, row, strict=True)) for row in rows]


def _reordered(rows: Sequence[Sequence[object]]) -> list[list[object]]:
    return [list(row[::-1]) for row in rows]


def _multipart(text: str) -> bytes:
    part = f'--{_BOUNDARY}\r\nContent-Disposition: form-data; name="data"\r\n\r\n{text}\r\n--{_BOUNDARY}--\r\n'
    return part.encode()


def _with(value: str) -> bytes:
    """A seed request whose first value is the given JSON token, valid JSON or not."""
    table = _table([("@", *ROWS[0][1:])]).replace('"@"', value)
    return _json({"data": [table]})


_URLENCODED = {"Content-Type": "application/x-www-form-urlencoded"}
_FORM_DATA = {"Content-Type": f"multipart/form-data; boundary={_BOUNDARY}"}
_NO_CONTENT_TYPE: dict[str, str] = {}
_SAMPLE = _seed([(4.4, 3.2, 1.3, 0.2)])
_WRONG_COLUMNS = b"""{"data": ["{\\"length (cm)\\":{\\"0\\":4.4},\\"width (cm)\\":{\\"0\\":3.2},"""
_WRONG_COLUMNS += b"""\\"length (cm)\\":{\\"0\\":1.3},\\"width (cm)\\":{\\"0\\":0.2}}"]}"""
_WRONG_TYPES = _seed([(4, 3, 1, 0)])

_MISSING = (
    "Model is missing inputs ['sepal length (cm)', 'sepal width (cm)', 'petal length (cm)', 'petal width (cm)']."
    " Note that there were extra inputs: ['length (cm)', 'width (cm)']"
)
_NO_INTEGERS = "Incompatible input types for column sepal length (cm). Can not safely convert int64 to float64."
_WRONG_TYPE = "Incompatible input types for column sepal length (cm)."
_ONE = Labels(LABELS[:1])


def _one(name: str, exchange: Exchange) -> Scenario:
    return Scenario(name, (exchange,))


def _mixed() -> tuple[Exchange, ...]:
    """Good and bad requests in turn, each with its own right answer."""
    kinds = (
        *(Exchange("", _seed([row]), Labels((label,))) for row, label in zip(ROWS, LABELS, strict=True)),
        Exchange("", _WRONG_COLUMNS, Rejection(_MISSING)),
        Exchange("", _split(ROWS), Predictions(LABELS)),
        Exchange("", _WRONG_TYPES, Rejection(_NO_INTEGERS)),
        Exchange("", b'{"data": [', Rejection()),
        Exchange("", _with("NaN"), Rejection()),
    )
    return kinds * 8


SCENARIOS: tuple[Scenario, ...] = (
    # Predictions
    _one("the seed's sample, put as a file", Exchange("PUT sample.json", _SAMPLE, _ONE, _NO_CONTENT_TYPE, "PUT")),
    _one("the seed's sample, posted", Exchange("POST sample.json", _SAMPLE, _ONE)),
    _one(
        "form field `data`",
        Exchange("urlencoded form", b"data=" + quote_plus(_table(ROWS[:1])).encode(), _ONE, _URLENCODED),
    ),
    _one("form field `data`, multipart", Exchange("multipart form", _multipart(_table(ROWS[:1])), _ONE, _FORM_DATA)),
    _one("several rows", Exchange("seed format, 3 rows", _seed(ROWS), Labels(LABELS))),
    _one(
        "columns in another order",
        Exchange("seed format, reversed", _seed(_reordered(ROWS), COLUMNS[::-1]), Labels(LABELS)),
    ),
    _one("MLflow's dataframe_split", Exchange("dataframe_split, 3 rows", _split(ROWS), Predictions(LABELS))),
    _one(
        "dataframe_split in another order",
        Exchange("dataframe_split, reversed", _split(_reordered(ROWS), COLUMNS[::-1]), Predictions(LABELS)),
    ),
    _one(
        "MLflow's dataframe_records",
        Exchange("dataframe_records, 3 rows", _json({"dataframe_records": _records(ROWS)}), Predictions(LABELS)),
    ),
    _one(
        "MLflow's instances", Exchange("instances, 3 rows", _json({"instances": _records(ROWS)}), Predictions(LABELS))
    ),
    _one(
        "MLflow's inputs",
        Exchange(
            "inputs, 3 rows",
            _json({"inputs": {name: [row[i] for row in ROWS] for i, name in enumerate(COLUMNS)}}),
            Predictions(LABELS),
        ),
    ),
    # Rejections by the signature
    _one("wrong column names", Exchange("sig_invalid_column_name.json", _WRONG_COLUMNS, Rejection(_MISSING))),
    _one("wrong data type", Exchange("sig_invalid_data_type.json", _WRONG_TYPES, Rejection(_NO_INTEGERS))),
    _one(
        "missing column",
        Exchange(
            "3 of 4 columns",
            _split([ROWS[0][:3]], COLUMNS[:3]),
            Rejection("Model is missing inputs ['petal width (cm)']."),
        ),
    ),
    _one("extra column", Exchange("5 columns", _split([(*ROWS[0], 1.0)], (*COLUMNS, "colour")), Rejection())),
    _one("string for a number", Exchange('"5.1"', _with('"5.1"'), Rejection(_WRONG_TYPE))),
    _one("boolean for a number", Exchange("true", _with("true"), Rejection(_WRONG_TYPE))),
    _one("null for a number", Exchange("null", _with("null"), Rejection())),
    _one(
        "one bad row among good ones", Exchange("3 rows, 1 null", _seed([*ROWS[:2], (None, *ROWS[2][1:])]), Rejection())
    ),
    _one("NaN", Exchange("NaN", _with("NaN"), Rejection())),
    _one("Infinity", Exchange("Infinity", _with("Infinity"), Rejection())),
    _one("-Infinity", Exchange("-Infinity", _with("-Infinity"), Rejection())),
    _one("a number beyond double", Exchange("1e400", _with("1e400"), Rejection())),
    # Rejections of what is no request
    _one("malformed JSON", Exchange('{"data": [', b'{"data": [', Rejection())),
    _one("JSON that is no table", Exchange('"SETOSA"', b'"SETOSA"', Rejection())),
    _one("empty body", Exchange("0 bytes", b"", Rejection())),
    # Neighbours and strangers
    Scenario("good and bad requests at once", _mixed()),
    _one("unknown deployment", Exchange("POST sample.json", _SAMPLE, NotServed(), deployment="no_such_deployment")),
)


# Running them --------------------------------------------------------------------------------------------------------


def run_scenarios(options: ScenarioOptions, server: PredictionServer) -> int:
    """Send every scenario, print the table and return the exit code. Raises ServerError and UnknownDeployment."""
    rows = [_run(scenario, options.deployment_name, server) for scenario in SCENARIOS]
    return print_report(rows, server.address(options.deployment_name))


def _run(scenario: Scenario, deployment: str, server: PredictionServer) -> Row:
    def ask(exchange: Exchange) -> Answer:
        name = deployment if exchange.deployment is None else exchange.deployment
        return server.ask(name, exchange.body, exchange.headers, exchange.method)

    exchanges = scenario.exchanges
    if len(exchanges) == 1:
        answers = [ask(exchanges[0])]
    else:
        with ThreadPoolExecutor(_CONCURRENT) as pool:
            answers = list(pool.map(ask, exchanges))
    for exchange, answer in zip(exchanges, answers, strict=True):
        if exchange.deployment is None and is_unknown_deployment(answer):
            raise UnknownDeployment(deployment, server.url)

    problems = [
        problem
        for exchange, answer in zip(exchanges, answers, strict=True)
        if (problem := exchange.expected.problem(answer)) is not None
    ]
    slowest = max(answer.elapsed_ms for answer in answers)
    if len(exchanges) == 1:
        asks, expected, got = (
            exchanges[0].asks,
            str(exchanges[0].expected),
            problems[0] if problems else _got(answers[0]),
        )
    else:
        asks, expected = f"{len(exchanges)} requests, {_CONCURRENT} at once", "to each its own answer"
        got = f"{len(problems)} wrong: {problems[0]}" if problems else f"{len(answers)} right answers"
    return Row(scenario.name, asks, expected, got, not problems, slowest)


def _got(answer: Answer) -> str:
    """The answer as the table shows it: a rejection's message, else the body."""
    return f"{answer.status} {answer.message}" if answer.message is not None else answer.text.strip()

"""One contract behind four servers: the same requests get the same answers, whoever serves."""

from __future__ import annotations

import ast
import math
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
import requests
from conftest import SERVERS, Running
from table import BOTH, OTHERS, SPLIT, Case, split

from testing.repository import ROOT

README = ROOT / "packages" / "contract" / "README.md"
EXAMPLES = ROOT / "examples"


def ask(url: str, case: Case, **headers: str) -> requests.Response:
    return requests.post(url, case.body, headers={"Content-Type": case.content_type} | headers, timeout=60)


def prices(answer: requests.Response) -> list[float]:
    """The numbers of an answer: MLflow's server wraps each as pandas does."""
    document: Any = answer.json()
    predictions = document["predictions"] if isinstance(document, dict) else document
    rows = predictions if isinstance(predictions, list) else [predictions]
    return [next(iter(row.values())) if isinstance(row, dict) else row for row in rows]


@pytest.mark.parametrize("case", [*SPLIT, *OTHERS], ids=lambda case: case.name)
def test_every_server_gives_the_same_answer(running: Running, case: Case) -> None:
    """Status, message and violations are those of the contract, and what is right has the same price."""
    documents = []
    for server in SERVERS:
        answer = ask(running.checked[server], case)
        if case.broken is None:
            assert answer.status_code == 200, (server, answer.text)
            assert prices(answer) == pytest.approx(case.prices), server
            continue
        assert answer.status_code == 400, (server, answer.text)
        document = answer.json()
        found = [(error["rule"], error["row"], error["column"]) for error in document["errors"]]
        assert found == case.broken, (server, document)
        documents.append({key: value for key, value in document.items() if key not in {"model", "version"}})
    assert all(document == documents[0] for document in documents), documents


def test_what_is_not_read_is_refused_alike(running: Running) -> None:
    """A compressed body and one that is too large get the same status, type and message."""
    large = Case("large", b" " * 6_553_501)
    for answers in (
        [ask(running.checked[server], large) for server in SERVERS],
        [ask(running.checked[server], SPLIT[0], **{"Content-Encoding": "gzip"}) for server in SERVERS],
    ):
        assert {answer.status_code for answer in answers} in ({413}, {415})
        assert len({(answer.json()["code"], answer.json()["type"]) for answer in answers}) == 1
        # TorchServe's says besides which setting it is.
        assert len({answer.json()["message"].partition(" (max_request_size")[0].rstrip(".") for answer in answers}) == 1
        assert len({answer.headers.get("Accept-Encoding") for answer in answers}) == 1


def test_the_readme_says_what_servers_do_alone(running: Running) -> None:
    """Its table is what comes of the same requests without the contract."""
    alone = [server for server in SERVERS if server in running.alone]
    heads = ["request", "behind the contract", *(f"`{name}`" if " " in name else name for name in alone)]
    lines = [heads, ["---", *["---:"] * (len(heads) - 1)]]
    for case in SPLIT:
        right = "400" if case.prices is None else _written(case.prices)
        lines.append([case.name, right, *(_outcome(ask(running.alone[server], case), case) for server in alone)])
    beside = [_beside_a_wrong_one(url) for url in (running.checked["LitServe"], *map(running.alone.get, alone))]
    lines.append(["a right request beside one with a column too few", *map(str, beside)])
    table = "\n".join(f"| {' | '.join(line)} |" for line in lines)
    assert table in README.read_text("utf-8"), f"README of packages/contract has another table than:\n{table}"


def _beside_a_wrong_one(url: Any) -> str:
    """What a right request gets where another is wrong at the same time; on a slow machine they may miss each other."""
    right, wrong = SPLIT[0], Case("wrong", split(BOTH[:1], [10.0]))
    outcome = ""
    for _ in range(5):
        with ThreadPoolExecutor(2) as pool:
            asked = [pool.submit(ask, url, case) for case in (right, wrong)]
            outcome = _outcome(asked[0].result(), right)
        if outcome != _written(right.prices or []):
            break
    return outcome


def _outcome(answer: requests.Response, case: Case) -> str:
    if answer.status_code != requests.codes.ok:
        return str(answer.status_code)
    found = prices(answer)
    is_right = case.prices is not None and found == pytest.approx(case.prices)
    return _written(found) if is_right else f"**{_written(found)}**"


def _written(numbers: list[float]) -> str:
    return (
        ", ".join("null" if number is None or math.isnan(number) else f"{number:g}" for number in numbers) or "nothing"
    )


@pytest.mark.parametrize("example", sorted(EXAMPLES.glob("*_server.py")), ids=lambda path: path.stem)
def test_the_examples_are_short_and_their_readme_starts_them(example: Path) -> None:
    """Fewer than twenty lines that run."""
    tree = ast.parse(example.read_text("utf-8"))
    for node in ast.walk(tree):
        if isinstance(node, (ast.Module, ast.ClassDef, ast.FunctionDef)) and ast.get_docstring(node):
            node.body.pop(0)
    assert len([line for line in ast.unparse(tree).splitlines() if line]) < 20
    commands = (EXAMPLES / "README.md").read_text("utf-8")
    assert f"uvicorn {example.stem}:app " in commands or f"python {example.name} " in commands

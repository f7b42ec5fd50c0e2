"""A real server tells whether its registry has changed."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
import requests

if TYPE_CHECKING:
    from conftest import RunningServer

MODEL = {"name": "changing"}
VERSION = {**MODEL, "version": "1"}
# What is asked, and whether the registry is another one then.
STEPS: list[tuple[str, str, dict[str, Any], bool]] = [
    ("POST", "registered-models/create", MODEL, True),
    ("POST", "model-versions/create", {**MODEL, "source": "s3://elsewhere/x"}, True),
    ("POST", "registered-models/alias", {**MODEL, "alias": "champion", "version": "1"}, True),
    ("POST", "registered-models/set-tag", {**MODEL, "key": "k", "value": "v"}, True),
    ("POST", "model-versions/set-tag", {**VERSION, "key": "k", "value": "v"}, True),
    ("GET", "registered-models/get", MODEL, False),
    ("GET", "model-versions/get", VERSION, False),
    ("POST", "experiments/set-experiment-tag", {"experiment_id": "0", "key": "k", "value": "v"}, False),
    ("POST", "runs/create", {"experiment_id": "0"}, False),
    ("DELETE", "registered-models/alias", {**MODEL, "alias": "champion"}, True),
    ("DELETE", "registered-models/delete", MODEL, True),
]


def _search(url: str, etag: str = "") -> requests.Response:
    search = f"{url}/api/2.0/mlflow/registered-models/search"
    return requests.get(search, params={"max_results": 1}, headers={"If-None-Match": etag}, timeout=30)


def test_a_search_is_conditional(server: RunningServer) -> None:
    """It is answered 304 until something in the registry has changed, by whatever address, and not by anything else."""
    for method, path, document, is_change in STEPS:
        before = _search(server.url)
        assert before.status_code == 200
        unchanged = _search(server.url, before.headers["ETag"])
        assert (unchanged.status_code, unchanged.content) == (304, b"")
        api = "ajax-api" if path.endswith("set-tag") else "api"
        sent: dict[str, Any] = {"params": document} if method == "GET" else {"json": document}
        assert requests.request(method, f"{server.url}/{api}/2.0/mlflow/{path}", **sent, timeout=30).ok, path
        assert _search(server.url, before.headers["ETag"]).status_code == (200 if is_change else 304), path


@pytest.mark.parametrize("etag", ["", '"0"', "*", '"-1"'])
def test_who_has_no_etag_gets_the_whole(server: RunningServer, etag: str) -> None:
    """A guess is none."""
    assert _search(server.url, etag).status_code == 200

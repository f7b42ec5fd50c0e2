"""Services never import each other: what several of them know stands once in each, and is one thing."""

from __future__ import annotations

import inspect
import json
import re
from types import ModuleType

import signet_client.deployments.config as client_config
import signet_client.deployments.tag_names as of_client
import signet_client.mlflow_credentials
import signet_torchserve.mlflow_credentials
import signet_torchserve.revision as of_controller
import signet_trainer as of_trainer
import signet_trainer.mlflow_credentials
from signet_contract import contract, middleware
from signet_torchserve import deadlines

from testing.repository import ROOT

CONFIG = (ROOT / "config.properties").read_text("utf-8")
HAPROXY = (ROOT / "gateway" / "haproxy.cfg").read_text("utf-8")


def test_tags() -> None:
    """The client and the trainer call each tag as the controller does."""
    names = ("PREFIX", "ALLOW_BREAKING", "CONTRACT", "REASON", "SERVED_AT", "STATUS", "REPLICA")
    assert {name: getattr(of_client, name) for name in names} == {name: getattr(of_controller, name) for name in names}
    assert of_trainer.DIGEST_TAG == of_controller.DIGEST
    assert {*of_controller.ANSWERS, of_controller.ALLOW_BREAKING} == of_client.OF_ONE_VERSION
    assert {of_client.PREFIX + name for name in client_config._LEAST} < set(of_controller.OPTIONS)


def test_addresses() -> None:
    """Who reaches MLflow reads its address and its passwords alike; the client's tests hold how."""

    def read_by(address: ModuleType) -> tuple[str, str]:
        return inspect.getsource(address.without_credentials), inspect.getsource(address.credentials_in_files)

    expected = read_by(signet_client.mlflow_credentials)
    assert read_by(signet_torchserve.mlflow_credentials) == read_by(signet_trainer.mlflow_credentials) == expected


def test_body_limit() -> None:
    """TorchServe, the gateway and the contract's middleware take bodies of the same size."""
    (limit,) = map(int, re.findall(r"^max_request_size=(\d+)$", CONFIG, re.MULTILINE))
    assert limit == middleware.MAX_BYTES
    assert re.findall(r"content-length\) -m int gt (\d+)", HAPROXY) == [str(limit)]
    head, _, body = (ROOT / "gateway" / "413.http").read_text("utf-8").partition("{")
    assert head.startswith("HTTP/1.")
    assert f"more than {limit} bytes" in json.loads("{" + body)["message"]


def test_time_outs() -> None:
    """Enforcement has as long where nobody says otherwise; the gateway says how long it waits."""
    assert deadlines.decision_s(deadlines.DEFAULT_TIMEOUT_S) == contract.TIMEOUT_S
    (server_s,) = re.findall(r"timeout server (\d+)s", HAPROXY)
    assert f"did not answer within {server_s} s." in HAPROXY

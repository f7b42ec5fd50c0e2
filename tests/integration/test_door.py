"""The door: it is shut without a token, and what a token opens, for whom, how often and until when."""

from __future__ import annotations

import json
import re
import subprocess
import time
from typing import TYPE_CHECKING

import pytest
import requests
from signet_client.door import certificate

from testing.polling import until

if TYPE_CHECKING:
    from door import Door

pytestmark = pytest.mark.compose


def test_it_refuses_to_start_without_a_token(door: Door) -> None:
    """Neither the stack comes up nor the gateway by itself, and both say what is missing."""
    assert len(door.refusals) == 2
    for code, said in door.refusals:
        assert code != 0, said
        assert "there is no valid token" in said


def test_a_token_is_in_force_and_revoked_within_seconds(door: Door) -> None:
    """On a connection that stays open; the token is shown once, and kept nowhere."""
    with door.session() as session:
        url = f"{door.url}/predictions/ok"
        assert session.post(url, data=b"{}").status_code == 401
        token = door.token("temporary")
        session.headers["Authorization"] = f"Bearer {token}"
        until("it is in force", lambda: session.post(url, data=b"{}").status_code == 200, timeout_s=5)
        assert "temporary" in door.signet("token", "list").stdout
        kept = door.compose("exec", "-T", "gateway", "bash", "-c", "cat /run/door/tokens.map").stdout
        assert "temporary" in kept
        assert token not in kept + door.logs()
        assert door.signet("token", "revoke", "temporary").returncode == 0
        until("it is revoked", lambda: session.post(url, data=b"{}").status_code == 401, timeout_s=5)


def test_a_token_opens_its_deployment_alone(door: Door) -> None:
    """Another one's address gets a 403, in JSON, and the replica hears nothing of it."""
    token = door.token("billing", "--deployment", "fare")
    until("it is in force", lambda: door.ask("fare", token).status_code == 200, timeout_s=5)
    for other in ("ok", "fare2", "far", "Fare", "fare.", "ok/1"):
        before = door.seen(other.partition("/")[0])
        answer = door.ask(other, token)
        assert (answer.status_code, answer.json()["type"]) == (403, "DeploymentNotOpen"), other
        assert door.seen(other.partition("/")[0]) == before


def test_requests_are_limited(door: Door) -> None:
    """About as many as the token says are let in; the others get a 429 with Retry-After."""
    token = door.token("slow", "--rate", "5/s")
    until("it is in force", lambda: door.ask("ok", token).status_code == 200, timeout_s=5)
    time.sleep(2)
    with door.session(token) as session:
        answers = [session.post(f"{door.url}/predictions/ok", data=b"{}") for _ in range(12)]
    statuses = [answer.status_code for answer in answers]
    assert statuses[:5] == [200] * 5
    assert statuses.count(429) >= 5
    refused = answers[statuses.index(429)]
    assert (refused.json()["type"], refused.headers["Retry-After"]) == ("TooManyRequests", "1")
    time.sleep(1.5)
    assert door.ask("ok", token).status_code == 200


def test_rows_are_limited(door: Door) -> None:
    """A body of many rows is answered, and the next request waits for as long as those rows are worth."""
    token = door.token("rows", "--rows", "100/s")
    until("it is in force", lambda: door.ask("ok", token).status_code == 200, timeout_s=5)
    assert door.ask("ok", token, headers={"Small-Rows": "50"}).status_code == 200
    assert door.ask("ok", token, headers={"Small-Rows": "500"}).status_code == 200
    refused = door.ask("ok", token)
    assert (refused.status_code, refused.json()["type"]) == (429, "TooManyRows")
    assert 3 <= int(refused.headers["Retry-After"]) <= 5
    time.sleep(int(refused.headers["Retry-After"]))
    answer = door.ask("ok", token)
    assert (answer.status_code, answer.headers.get("X-Signet-Rows")) == (200, None)


def test_another_limit_begins_anew(door: Door) -> None:
    """Who gets another limit of rows waits for nothing that the former one had counted."""
    token = door.token("moved", "--rows", "100/s")
    until("it is in force", lambda: door.ask("ok", token).status_code == 200, timeout_s=5)
    assert door.signet("token", "revoke", "moved").returncode == 0
    # Rows that the clock of a limit has ticked, modulo 2^32: the other's would long have to catch up with the former's.
    now_s = int(time.time())
    other = next(limit for limit in range(101, 1000) if 2**30 < now_s * (100 - limit) % 2**32 < 2**31 - 2**24)
    token = door.token("moved", "--rows", f"{other}/s")
    until("it is known", lambda: door.ask("ok", token).status_code != 401, timeout_s=5)
    assert door.ask("ok", token).status_code == 200


def test_names_reach_log_and_metrics_and_no_worker(door: Door) -> None:
    """Log and metrics call a request by its token's name; the replica gets neither token nor name."""
    token = door.token("reporting")
    until("it is in force", lambda: door.ask("headers", token).status_code == 200, timeout_s=5)
    got = door.ask("headers", token)
    assert "reporting" not in got.text
    assert token not in got.text
    assert "authorization" not in {name.lower() for name, _ in json.loads(got.text)}
    until("it is logged", lambda: "token=reporting" in door.logs(), timeout_s=5)
    metrics = door.metrics()
    counted = re.search(r'^signet_door_requests_total\{token="reporting"\} (\d+)$', metrics, re.MULTILINE)
    assert counted
    assert int(counted[1]) >= 2
    assert re.search(r'^signet_door_refusals_total\{token="-",status="401"\} \d+$', metrics, re.MULTILINE)


@pytest.mark.parametrize("version", ["1.1", "2"])
def test_both_http_versions(door: Door, version: str) -> None:
    """ALPN chooses HTTP/2 where the client can, else HTTP/1.1."""
    flag = {"1.1": "--http1.1", "2": "--http2"}[version]
    command = [
        "curl",
        "-s",
        flag,
        "--cacert",
        str(door.authority),
        "-w",
        "%{http_version} %{http_code}",
        "-o",
        "/dev/null",
    ]
    command += ["-H", f"Authorization: Bearer {door.master}", "-d", "{}", f"{door.url}/predictions/ok"]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=30)
    assert done.stdout == f"{version} 200", done.stderr


def test_a_certificate_is_renewed_without_a_restart(door: Door) -> None:
    """The next connection sees the new one; a connection that is open goes on, and what is unusable is refused."""
    container = door.compose("ps", "--quiet", "gateway").stdout
    with door.session(door.master) as session:
        url = f"{door.url}/predictions/ok"
        assert session.post(url, data=b"{}").status_code == 200
        before = door.shown()
        pem = certificate.made_for(["127.0.0.1"]).pem
        half = door.signet("certificate", "install", stdin=before)
        assert (half.returncode, "private key" in half.stderr) == (2, True)
        done = door.signet("certificate", "install", stdin=pem)
        assert done.returncode == 0, done.stderr
        until("it is shown", lambda: door.shown() not in {"", before}, timeout_s=10)
        assert session.post(url, data=b"{}").status_code == 200
    door.trust()
    assert door.ask("ok", door.master).status_code == 200
    assert door.compose("ps", "--quiet", "gateway").stdout == container


def test_this_machines_own_port_asks_for_no_token(door: Door) -> None:
    """What the default opens stays as it is, on loopback."""
    assert requests.post(f"{door.own_url}/predictions/ok", data=b"{}", timeout=10).status_code == 200

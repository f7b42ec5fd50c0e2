"""TorchServe's frontend with the classes that were changed, in a real TorchServe."""

from __future__ import annotations

import contextlib
import gzip
import json
import os
import re
import select
import socket
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from http.client import HTTPConnection, HTTPResponse
from urllib.parse import parse_qsl, urlsplit

import pytest
import requests
from signet_torchserve.server import frontend
from signet_torchserve.version_options import Options
from ts.model_server import load_properties

from testing.repository import ROOT
from testing.small_server import SmallServer, small_server

SLOW_S = 5
BATCH_SIZE, QUEUE_SIZE = 16, 32
HANDLER = """
import os
import signal
import time

class Counter:
    def initialize(self, context):
        self.is_decided, self.rounds = False, 0
        pass

    def handle(self, batch, context):
        if any(not request or request["body"] == b"later" for request in batch):
            return self.undecided(batch, context)
        time.sleep(3 if batch[0]["body"] == b"long" else 0.5)
        for index, request in enumerate(batch):
            if request["body"] == b"kill":
                os.kill(os.getpid(), signal.SIGKILL)
            if request["body"] == b"hang":
                time.sleep(60)
            if request["body"].isdigit():
                context.set_response_status(int(request["body"]), "Status", index)
        return [str(len(batch))] * len(batch)

    def undecided(self, batch, context):
        self.rounds += 1
        self.is_decided |= self.rounds > 500 or any(request and request["body"] == b"decide" for request in batch)
        for index, request in enumerate(batch):
            if not self.is_decided and (not request or request["body"] == b"later"):
                time.sleep(0.001)
                context.set_response_status(102, "", index)
                context.set_response_header(index, "ts_stream_next", "yes")  # TorchServe makes "false" of "true"
        return [str(len(request)) for request in batch]
"""

ECHO = """
import json

class Echo:
    def initialize(self, context):
        pass

    def handle(self, batch, context):
        return [json.dumps([[name, bytes(value).decode()] for name, value in request.items()]) for request in batch]
"""


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SmallServer]:
    """A TorchServe with models of one worker that answer, after half a second, how many requests their batch has."""
    handlers = {
        "counter": HANDLER,
        "mortal": HANDLER,
        "two": HANDLER,
        "slow": HANDLER.replace("pass", f"time.sleep({SLOW_S})"),
        "echo": ECHO,
    }
    with small_server(tmp_path_factory.mktemp("frontend"), handlers, f"job_queue_size={QUEUE_SIZE}") as server:
        for name, timeout_s in (("counter", 60), ("mortal", 2), ("echo", 60)):
            server.deploy(name, batch_size=BATCH_SIZE, timeout_s=timeout_s)
        server.deploy("two", workers=2)
        yield server


@pytest.fixture
def url(server: SmallServer) -> str:
    """Where the first of them answers."""
    return server.url("counter")


def test_a_batch_is_all_that_is_queued(url: str) -> None:
    """With no delay a request that is alone goes alone, and those that come meanwhile go together, not in pairs."""

    def batch_of(request: int) -> int:
        time.sleep(0.5 if request else 0)
        return int(requests.post(url, data=b"x" if request else b"long", timeout=30).text)

    with ThreadPoolExecutor(12) as pool:
        assert list(pool.map(batch_of, range(12))) == [1, *[11] * 11]


def test_an_undecided_request_keeps_nobody_waiting(url: str) -> None:
    """What a worker does not answer with its batch is named again, without its body, while others are answered."""
    with ThreadPoolExecutor(2) as pool:
        undecided = pool.submit(requests.post, url, data=b"later", timeout=30)
        time.sleep(0.1)
        assert [requests.post(url, data=b"x", timeout=30).status_code for _ in range(10)] == [200] * 10
        assert not undecided.done()
        requests.post(url, data=b"decide", timeout=30)
        answer = undecided.result()
    assert (answer.status_code, answer.text) == (200, "0")
    assert "ts_stream_next" not in answer.headers


def test_an_undecided_request_does_not_wait_for_an_idle_worker(server: SmallServer) -> None:
    """A worker names it again though another worker of its model, which has nothing to do, waits for a request."""
    for _ in range(2):  # whichever worker takes it
        answer = requests.post(server.url("two"), data=b"later", timeout=20)
        assert (answer.status_code, answer.text) == (200, "0")


@pytest.mark.parametrize(("status", "is_kept"), [(200, True), (400, True), (404, False), (413, False), (503, False)])
def test_a_rejection_does_not_cost_the_connection(url: str, status: int, *, is_kept: bool) -> None:
    """A connection outlives a 400 as it outlives a 200; after other errors TorchServe closes it."""
    answer = requests.post(url, data=str(status), timeout=30)
    assert answer.status_code == status
    assert (answer.headers["connection"] == "keep-alive") is is_kept


def test_a_full_queue_is_said_to_be_full(url: str) -> None:
    """What finds the queue full gets a 429 that says so; the next request after is answered at once."""
    clients = 2 * (BATCH_SIZE + QUEUE_SIZE)
    with ThreadPoolExecutor(clients) as pool:
        answers = list(pool.map(lambda _: requests.post(url, data=b"x", timeout=30), range(clients)))
    assert {answer.status_code for answer in answers} == {200, 429}
    for answer in answers:
        if answer.status_code == 429:
            message = "The deployment is overloaded: its queue is full. Ask again later."
            assert answer.json() == {"code": 429, "type": "Overloaded", "message": message}
            assert (answer.headers["Retry-After"], answer.headers["Content-Type"]) == ("1", "application/json")
    after = requests.post(url, data=b"x", timeout=30)
    assert (after.status_code, after.text) == (200, "1")
    assert after.elapsed.total_seconds() < 1


@pytest.mark.parametrize("status", [404, 503])
def test_a_connection_is_closed_after_its_answer(url: str, status: int) -> None:
    """After an error that costs the connection the client reads the answer to its end: nothing is reset."""
    parts = urlsplit(url)
    body = str(status).encode()
    head = f"POST {parts.path} HTTP/1.1\r\nHost: {parts.netloc}\r\nContent-Length: {len(body)}\r\n\r\n".encode()
    with socket.create_connection((parts.hostname or "", parts.port or 0), timeout=30) as connection:
        connection.sendall(head + body)
        answer = b"".join(iter(lambda: connection.recv(65536), b""))
    assert answer.startswith(f"HTTP/1.1 {status} ".encode())


@pytest.mark.parametrize(
    ("body", "document"),
    [
        (b"kill", {"code": 500, "type": "InternalServerException", "message": "Worker died."}),
        (
            b"hang",
            {
                "code": 504,
                "type": "TimedOut",
                "message": "The model did not answer within the deployment's serving.timeout_s.",
            },
        ),
    ],
)
def test_what_ends_its_worker_is_told_apart(server: SmallServer, body: bytes, document: dict[str, object]) -> None:
    """A request that kills its worker gets a 500, one that takes longer than its time-out a 504."""
    url = server.url("mortal")
    answer = requests.post(url, data=body, timeout=30)
    assert (answer.status_code, answer.json()) == (document["code"], document)
    assert answer.elapsed.total_seconds() < 4
    assert requests.post(url, data=b"x", timeout=30).text == "1"


@pytest.mark.parametrize(
    ("numbers", "statuses"), [(["a", "a", "a"], [502, 500, 500]), (["b", "c"], [502, 502]), ([None, None], [500, 500])]
)
def test_the_first_death_is_told_apart(server: SmallServer, numbers: list[str | None], statuses: list[int]) -> None:
    """The gateway hears of a request that ends its first worker, by the number that it gave it; the client does not."""
    for number, status in zip(numbers, statuses, strict=True):
        headers = {} if number is None else {"X-Signet-Request": number}
        answer = requests.post(server.url("mortal"), data=b"kill", headers=headers, timeout=30)
        assert answer.status_code == status
        assert answer.json() == {"code": 500, "type": "InternalServerException", "message": "Worker died."}


def test_a_version_without_workers_is_not_served_yet(server: SmallServer) -> None:
    """Who asks a version that has no worker hears that, and when to come again; its queue is not the reason."""
    server.api.ensure("slow", "1", server.store.archives / "slow.mar", Options(workers=0))
    answer = requests.post(server.url("slow"), data=b"x", timeout=30)
    message = "The deployment is not served yet: no worker has its model."
    assert (answer.status_code, answer.json()) == (503, {"code": 503, "type": "NotServedYet", "message": message})
    assert answer.headers["Retry-After"] == "1"
    for version in ("1", "not-yet"):
        server.api.remove("slow", version)


FORM, MULTIPART = "application/x-www-form-urlencoded", "multipart/form-data"


@pytest.mark.parametrize(
    ("path", "media", "body", "message"),
    [
        ("", FORM, b"data=%ZZ", "Invalid hex byte at index '0' in string: '%ZZ'"),
        ("", FORM, b"=", "The form cannot be read: empty name."),
        ("", FORM, b"&&data=%7B%7D", "The form cannot be read: empty name."),
        ("", f"{MULTIPART}; boundary=x", b"--x\r\n\r\n1\r\n--x--\r\n", "a part has no name"),
        ("", f"{MULTIPART}; boundary=x; charset=none", b"--x--\r\n", "there is no charset 'none'"),
        ("", f"{MULTIPART}; boundary=", b"--x--\r\n", "its boundary or the header of a part is malformed"),
        ("", MULTIPART, b"--x--\r\n", "multipart/form-data with a boundary is expected"),
        ("", "multipart/mixed; boundary=x", b"--x--\r\n", "its Content-Type is 'multipart/mixed; boundary=x'"),
        ("", f"multipart/{'x' * 7000}", b"--x--\r\n", "…'"),
        ("/%ZZ", "text/plain", b"x", "invalid hex byte 'ZZ'"),
    ],
)
def test_what_cannot_be_decoded_is_a_400(url: str, path: str, media: str, body: bytes, message: str) -> None:
    """A client's mistake that no handler ever sees is answered as one, and says what is wrong, not in which class."""
    served = urlsplit(url)
    # http.client, for requests would mend the escapes of a path.
    with contextlib.closing(HTTPConnection(served.netloc, timeout=30)) as connection:
        connection.request("POST", f"{served.path}{path}", body, {"Content-Type": media})
        answer = connection.getresponse()
        document = json.load(answer)
        assert (answer.status, document["code"]) == (400, 400)
        assert message in document["message"]
        assert "java." not in document["message"]
        assert len(document["message"]) < 1000
        assert answer.headers["connection"] == "keep-alive"


@pytest.mark.parametrize("media", [FORM, f"{FORM}; charset=utf-8", FORM.upper()])
@pytest.mark.parametrize("body", [b'{"a": "b&c=d%20e+f"}', b"[[1.5]]", b' \r\n\t{"a": 1}'])
def test_json_that_is_called_a_form_is_json(server: SmallServer, media: str, body: bytes) -> None:
    """JSON that `curl -d` sends without a header reaches the handler as it came: no form begins as JSON does."""
    answer = requests.post(server.url("echo"), data=body, headers={"Content-Type": media}, timeout=30)
    assert answer.json() == [["body", body.decode()]]


@pytest.mark.parametrize("body", [b"data=%5B%5D", b"x={", b"%7B=1"])
def test_a_form_stays_a_form(server: SmallServer, body: bytes) -> None:
    """What doesn't begin as JSON does has the fields of a form."""
    answer = requests.post(server.url("echo"), data=body, headers={"Content-Type": FORM}, timeout=30)
    assert answer.json() == [list(pair) for pair in parse_qsl(body.decode(), keep_blank_values=True)]


@pytest.mark.parametrize("method", ["DELETE", "PATCH", "GET", "HEAD", "TRACE", "FETCH"])
@pytest.mark.parametrize("path", ["", "/1"])
def test_a_method_that_is_not_served_is_a_405(url: str, method: str, path: str) -> None:
    """A prediction is asked for with POST or PUT; what comes in another method is told these two."""
    answer = requests.request(method, f"{url}{path}", data=b"x", timeout=30)
    assert (answer.status_code, answer.headers["Allow"]) == (405, "POST, PUT")
    if method != "HEAD":
        document = answer.json()
        assert (document["code"], document["type"]) == (405, "MethodNotAllowed")
        assert f"'{method}'" in document["message"]


@pytest.mark.parametrize("encoding", ["gzip", "deflate", "br", "zstd", "gzip, identity", "nonsense", "x" * 7000])
@pytest.mark.parametrize("media", ["application/json", FORM])
def test_a_compressed_body_is_a_415(url: str, encoding: str, media: str) -> None:
    """A body that is encoded in any way is refused, and the answer says which way it is."""
    headers = {"Content-Type": media, "Content-Encoding": encoding}
    answer = requests.post(url, data=gzip.compress(b"{}"), headers=headers, timeout=30)
    assert (answer.status_code, answer.headers["Accept-Encoding"]) == (415, "identity")
    document = answer.json()
    assert (document["code"], document["type"]) == (415, "UnsupportedContentEncoding")
    assert encoding[:100] in document["message"]
    assert len(document["message"]) < 1000


@pytest.mark.parametrize("encoding", ["identity", "Identity", ""])
def test_a_body_that_is_encoded_in_no_way_is_served(url: str, encoding: str) -> None:
    """The Content-Encoding `identity` means no encoding."""
    assert requests.post(url, data=b"x", headers={"Content-Encoding": encoding}, timeout=30).status_code == 200


@pytest.mark.parametrize("way", ["a length", "chunks", "a question"])
def test_a_body_that_is_too_large_is_told_the_limit(url: str, way: str) -> None:
    """Each way to send a body beyond the limit gets the same answer, whole, and the connection serves the next."""
    parts = urlsplit(url)
    limit = int(load_properties(str(ROOT / "config.properties"))["max_request_size"])
    head = f"POST {parts.path} HTTP/1.1\r\nHost: {parts.netloc}\r\n"
    text = b"x" * (limit + 1)
    sent = {
        "a length": f"{head}Content-Length: {len(text)}\r\n\r\n".encode() + text,
        "chunks": f"{head}Transfer-Encoding: chunked\r\n\r\n{len(text):x}\r\n".encode() + text + b"\r\n0\r\n\r\n",
        "a question": f"{head}Content-Length: {len(text)}\r\nExpect: 100-continue\r\n\r\n".encode(),
    }
    with contextlib.closing(socket.create_connection((parts.hostname or "", parts.port or 0), 30)) as connection:
        connection.sendall(sent[way])
        answer = HTTPResponse(connection)
        answer.begin()
        document = json.load(answer)
        assert (answer.status, answer.headers["Content-Type"]) == (413, "application/json")
        assert (document["code"], document["type"]) == (413, "RequestTooLarge")
        assert f"more than {limit} bytes" in document["message"]
        connection.sendall(f"{head}Content-Length: 1\r\n\r\nx".encode())
        after = HTTPResponse(connection)
        after.begin()
        assert (after.status, after.read()) == (200, b"1")


@pytest.mark.parametrize(
    ("bytes_a_second", "status"), [pytest.param(1_000, 408, id="slow"), pytest.param(20_000, 200, id="steady")]
)
def test_a_body_may_not_trickle(url: str, bytes_a_second: int, status: int) -> None:
    """One that comes too slowly is told so, and loses its connection; one that takes as long, but comes, does not."""
    parts = urlsplit(url)
    with contextlib.closing(socket.create_connection((parts.hostname or "", parts.port or 0), 30)) as connection:
        head = f"POST {parts.path} HTTP/1.1\r\nHost: {parts.netloc}\r\nContent-Length: 240000\r\n\r\n"
        connection.sendall(head.encode())
        for _ in range(12):
            if select.select([connection], [], [], 1)[0]:
                break
            connection.sendall(b"x" * bytes_a_second)
        answer = HTTPResponse(connection)
        answer.begin()
        text = answer.read().decode()
        assert (answer.status, answer.will_close) == (status, status != 200), text
    assert text == "1" or json.loads(text) == {
        "code": 408,
        "type": "RequestTooSlow",
        "message": "The body comes too slowly: 9000 bytes within 10 s, and at least 65536 are expected.",
    }


def test_to_deploy_keeps_nobody_waiting(server: SmallServer) -> None:
    """While a worker starts, every connection is answered, whichever thread it has."""
    connections = 2 * (os.cpu_count() or 1) + 1  # Netty has two threads a core, which take turns

    def deploy() -> None:
        wanted = {"url": "slow.mar", "initial_workers": 1, "synchronous": "true"}
        server.api._session.post("http://management/models", params=wanted, timeout=60).raise_for_status()

    with ThreadPoolExecutor(connections + 1) as pool:
        deployed = pool.submit(deploy)
        time.sleep(1)
        answers = pool.map(
            lambda _: requests.post(server.url("counter"), data=b"x", timeout=30).status_code, range(connections)
        )
        assert list(answers) == [200] * connections
        assert not deployed.done()
        deployed.result()


def test_each_port_has_its_own_api(server: SmallServer) -> None:
    """The threads were exchanged, not the addresses: metrics are where they were, and management is not there."""
    metrics = requests.get(server.metrics_url, timeout=30)
    assert metrics.status_code == 200
    assert "ts_inference_requests_total" in metrics.text
    assert requests.get(server.metrics_url.replace("metrics", "models"), timeout=30).status_code == 404
    assert server.api.version("counter") is not None


def test_what_is_compiled_is_what_the_source_says() -> None:
    """Each text of the source stands in the class that is made of it."""
    sources = sorted((frontend.OURS / "signet").glob("*.java"))
    texts = [re.findall(r'"((?:[^"\\\n]|\\.)+)"', source.read_text("utf-8")) for source in sources]
    assert sum(map(len, texts)) > 20
    for source, said in zip(sources, texts, strict=True):
        compiled = source.with_suffix(".class").read_bytes()
        assert [text for text in said if "\\" not in text and text.encode() not in compiled] == []

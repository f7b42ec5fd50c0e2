"""The controller with a real TorchServe and a real registry, which is a database of MLflow's without its server."""

from __future__ import annotations

import errno
import os
import shutil
import sqlite3
import threading
import time
import zipfile
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import models
import pytest
import requests
import torch
from mlflow import MlflowClient
from mlflow.models import ModelSignature
from models import NAME, Formula, rewrite, rows
from signet_torchserve import busy_flag
from signet_torchserve.archive import digest
from signet_torchserve.archive.store import Store
from signet_torchserve.control import controller, desired, plan, presence, retry_loop
from signet_torchserve.control.controller import Controller
from signet_torchserve.control.controller_status import Status
from signet_torchserve.control.health import Health
from signet_torchserve.memory_budget import MemoryBudget
from signet_torchserve.registry.client import Registry
from signet_torchserve.revision import Revision
from signet_torchserve.server import launch
from signet_torchserve.settings import Settings

from testing.mlflow_store import empty_store
from testing.oracle import columns_schema
from testing.polling import until
from testing.ports import free_addresses
from testing.repository import ROOT

# MLflow 3.17's store on SQLAlchemy 2.1: https://docs.sqlalchemy.org/en/21/orm/queryguide/relationships.html#sqlalchemy.orm.noload
pytestmark = pytest.mark.filterwarnings("ignore:The ``noload`` loader strategy is deprecated")

STRICT = {"inputs": {"a": [1.5]}}
LAX = {"inputs": {"a": [4], "extra": ["x"]}}
ONE_COLUMN = ModelSignature(columns_schema(("double", "a")))
TWO_COLUMNS = ModelSignature(columns_schema(("double", "a"), ("double", "b")))


class Slow(torch.nn.Module):
    """Takes a while."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = torch.ones(1000, 1000)
        for _ in range(8):
            y = torch.tanh(y @ y)
        return x * 2 + y.sum() * 0


class Replica:
    """A TorchServe, its controller and the registry that it follows."""

    def __init__(self, folder: Path, uri: str) -> None:
        self.folder, self.uri = folder, uri
        self.client = MlflowClient(uri)
        self.start()

    def start(self, *, uri: str | None = None) -> None:
        """Bring it up, with another registry if one is given."""
        environment = os.environ | free_addresses()
        self.status = Status()
        self.store = Store(self.folder / "home")
        settings = Settings("", self.store.home, ROOT / "config.properties", "champion", 1.0, "http://127.0.0.1:8083")
        self.registry = Registry(uri or self.uri, "champion")
        served = self.store.unpack_last_good()
        self.process = launch.start(settings, self.store, environment, served=served)
        self.beside = [start(self.store, environment) for _, _, start in launch.SIDE_PROCESSES]
        self.server = launch.client(settings, self.store, environment)
        self.budget = MemoryBudget()
        self.controller = Controller(self.registry, self.server, self.store, self.status, 1.0, self.budget)
        self.health = Health(self.status, self.server, self.store)
        self.predictions = f"{environment['TS_INFERENCE_ADDRESS']}/predictions"
        until("TorchServe answers", self.server.is_up)
        self.controller.resume()

    def leave(self) -> None:
        """End as a container does that is stopped, and be told gone."""
        ended = threading.Event()
        ended.set()
        self.controller.run(ended)
        self.stop()

    def stop(self) -> None:
        for process in (self.process, *self.beside):
            launch.stop(process, 10)
        self.store.close()

    @property
    def name(self) -> str:
        """What it is called in the registry."""
        return self.store.replica

    def entries(self, name: str = NAME) -> dict[str, str]:
        """What each replica says of the deployment, without time and reason, by the replica's name."""
        tags = self.client.get_registered_model(name).tags
        return {
            tag.removeprefix("serving.replica."): value.partition(" since ")[0]
            for tag, value in tags.items()
            if tag.startswith("serving.replica.")
        }

    def settle(self) -> None:
        """Let the controller do all that there is to do."""
        self.controller.reconcile()
        while self.controller.is_busy or self.controller._held:
            self.controller.rest(0.25)
            self.controller.reconcile()

    def promote(self, version: str) -> None:
        self.client.set_registered_model_alias(NAME, "champion", version)
        self.settle()

    def tag(self, version: str, **tags: str | None) -> None:
        for name, value in tags.items():
            if value is None:
                self.client.delete_model_version_tag(NAME, version, f"serving.{name}")
            else:
                self.client.set_model_version_tag(NAME, version, f"serving.{name}", value)

    def tags(self, version: str) -> dict[str, str]:
        found = self.client.get_model_version(NAME, version).tags
        return {name.removeprefix("serving."): value for name, value in found.items() if name.startswith("serving.")}

    def status_of(self, version: str) -> tuple[str, str]:
        """Status and reason."""
        tags = self.tags(version)
        return tags["status"], tags["reason"].partition(": ")[2]

    def id(self, name: str = NAME) -> str | None:
        served = self.server.version(name)
        return served and served.revision_id

    def ask(self, document: object = STRICT, name: str = NAME) -> requests.Response:
        return requests.post(f"{self.predictions}/{name}", json=document, timeout=30)

    @contextmanager
    def asked_meanwhile(self, name: str = NAME) -> Iterator[list[requests.Response]]:
        """One client's answers, one after the other as long as the context lasts."""
        over, answers = threading.Event(), list[requests.Response]()

        def ask() -> None:
            while not over.is_set():
                answers.append(self.ask(name=name))

        thread = threading.Thread(target=ask)
        thread.start()
        try:
            yield answers
        finally:
            over.set()
            thread.join()


@dataclass
class Versions:
    """Registers versions of one model in a registry."""

    client: MlflowClient
    folder: Path
    last: int = 0

    def log(
        self,
        module: torch.nn.Module,
        signature: ModelSignature = ONE_COLUMN,
        *,
        name: str = NAME,
        example: Any = None,
        **extra_files: Any,
    ) -> str:
        self.last += 1
        folder = self.folder / f"logged-{self.last}" / "model"
        folder.parent.mkdir()
        example = rows(3, len(signature.inputs.inputs)) if example is None else example
        model = models.save(folder, module, example, signature, **extra_files)
        return str(self.client.create_model_version(name, str(model)).version)

    def files(self, version: str) -> Path:
        return Path(self.client.get_model_version(NAME, version).source)


@pytest.fixture(scope="module")
def registry(tmp_path_factory: pytest.TempPathFactory) -> tuple[str, Versions]:
    """A registry with one model, whose first version doubles."""
    folder = tmp_path_factory.mktemp("registry")
    uri = empty_store(folder)
    client = MlflowClient(uri)
    client.create_registered_model(NAME)
    versions = Versions(client, folder)
    versions.log(Formula(lambda x: x * 2))
    return uri, versions


@pytest.fixture(scope="module")
def uri(registry: tuple[str, Versions]) -> str:
    return registry[0]


@pytest.fixture(scope="module")
def versions(registry: tuple[str, Versions]) -> Versions:
    return registry[1]


@pytest.fixture(scope="module")
def replica(tmp_path_factory: pytest.TempPathFactory, registry: tuple[str, Versions]) -> Iterator[Replica]:
    """A replica that serves version 1."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MLFLOW_TRACKING_URI", registry[0])  # as the container has it: artifacts are looked up there
        patch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
        patch.setattr(plan, "HOLD_S", 0.5)
        replica = Replica(tmp_path_factory.mktemp("replica"), registry[0])
        try:
            replica.promote("1")
            yield replica
        finally:
            replica.stop()


@pytest.fixture
def other(replica: Replica) -> Iterator[str]:
    """Name of a second registered model, which has no version yet."""
    name = "other"
    replica.client.create_registered_model(name)
    yield name
    replica.client.delete_registered_model(name)


@pytest.fixture
def held_download(replica: Replica, monkeypatch: pytest.MonkeyPatch) -> Iterator[threading.Event]:
    """Downloads go on when it is set: as large ones do after minutes."""
    download, released = replica.registry.download, threading.Event()

    def held(name: str, version: str, folder: Path, go_on: Callable[[], object]) -> Path:
        assert released.wait(60)
        return download(name, version, folder, go_on)

    monkeypatch.setattr(replica.registry, "download", held)
    yield released
    released.set()


@pytest.fixture(autouse=True)
def _version_1_serves(replica: Replica) -> Iterator[None]:
    """Every test finds and leaves version 1 in service, without tags that ask for anything."""
    yield
    if replica.process.poll() is None:
        replica.promote("1")
        assert replica.id() == "1"


def test_changed_tags_are_rolled_out_without_a_lost_request(replica: Replica) -> None:
    """Tags on the live version hold at the next look, and every request meanwhile is answered."""
    assert replica.ask(LAX).status_code == 400
    with replica.asked_meanwhile() as answers:
        tags = {"workers": "2", "batch_size": "4", "max_batch_delay": "3", "timeout_s": "7"}
        replica.tag("1", allow="whole_numbers,extra_columns", **tags)
        replica.settle()
    assert {answer.status_code for answer in answers} == {200}
    answer = replica.ask(LAX)
    assert answer.status_code == 200, answer.text
    assert answer.json() == {"predictions": [{"0": 8.0}]}
    assert answer.headers["X-Model-Version"] == "1"
    revision_id = replica.id()
    assert revision_id is not None
    assert revision_id.startswith("1-")
    served = replica.server.version(NAME, revision_id)
    assert served is not None
    assert served.ready_workers == 2
    assert replica.server.version(NAME, "1") is None
    described = replica.server._call("GET", f"http://management/models/{NAME}")[0]
    assert (described["batchSize"], described["maxBatchDelay"], described["responseTimeout"]) == (4, 3, 7)
    assert replica.status_of("1")[0] == "ready"
    replica.tag("1", allow=None, **dict.fromkeys(tags))


def test_a_tag_with_a_wrong_value_is_refused(replica: Replica) -> None:
    """A tag that says nothing is refused by name, and what was served goes on; taken back, all is well again."""
    for tag, value in {"allow": "everything", "batch_size": "many"}.items():
        replica.tag("1", **{tag: value})
        replica.settle()
        status, reason = replica.status_of("1")
        assert status == "refused"
        assert reason.startswith(f"The tag serving.{tag} has ")
        assert replica.status.refused == [NAME]
        assert replica.id() == "1"
        assert replica.health.ready()[0]
        replica.tag("1", **{tag: None})
        replica.settle()
        assert (replica.status.refused, replica.status.pending) == ([], [])


def test_a_rollout_tells_its_steps_and_records_the_digest(replica: Replica, versions: Versions) -> None:
    """The reason has the seconds of each step; the digest of what was served first stands on the version."""
    version = versions.log(Formula(lambda x: x * 3))
    replica.promote(version)
    assert replica.ask().json() == {"predictions": [{"0": 4.5}]}
    status, reason = replica.status_of(version)
    assert status == "ready"
    for step in ("download", "archive", "workers", "golden", "default"):
        assert f"{step} " in reason
    assert replica.tags(version)["digest"].startswith("sha256:")
    assert replica.tags(version)["contract"] == "unchanged for clients of version 1"


def test_requests_at_work_are_answered_before_their_workers_end(replica: Replica, versions: Versions) -> None:
    """A request that the old version has begun with when the new one takes over is answered by the old one."""
    slow = versions.log(Slow())
    replica.promote(slow)
    with ThreadPoolExecutor(3) as pool:
        answers = [pool.submit(replica.ask) for _ in range(3)]
        replica.promote("1")
        assert {answer.result().status_code for answer in answers} == {200}
        assert {answer.result().headers["X-Model-Version"] for answer in answers} <= {slow, "1"}


def test_a_request_that_comes_at_the_last_moment_is_answered(replica: Replica, versions: Versions) -> None:
    """A version whose worker ended while requests waited for it gets another worker, which answers them.

    Of the one that the first worker had begun with, TorchServe may say that its worker died.
    """
    slow = versions.log(Slow())
    replica.promote(slow)
    with ThreadPoolExecutor(3) as pool:
        served = replica.server.version(NAME, slow)
        assert served is not None
        begun = pool.submit(replica.ask, name=f"{NAME}/{slow}")
        until("a worker is busy", lambda: any(busy_flag.is_busy(pid) for pid in served.pids), interval_s=0.01)
        waiting = [pool.submit(replica.ask, name=f"{NAME}/{slow}") for _ in range(2)]
        until(
            "both others wait",
            lambda: (served := replica.server.version(NAME, slow)) and served.pending_requests == len(waiting),
            interval_s=0.01,
        )
        assert not replica.server.remove(NAME, slow)
        assert [answer.result().status_code for answer in waiting] == [200, 200]
        assert begun.result().status_code in {200, 500}


def _call_what_torch_lacks(program: Any) -> None:
    program["graph_module"]["graph"]["nodes"][0]["target"] = "torch.ops.aten.unheard.default"


@pytest.mark.parametrize(
    ("spoil", "status", "reason"),
    [
        (lambda model: (model / "data/model.pt2").write_bytes(b"junk"), "refused", "model.pt2 is not a .pt2 file"),
        (
            lambda model: (model / "serving_input_example.json").unlink(),
            "failed",
            "The version's files are not complete: serving_input_e",
        ),
        (
            lambda model: (model / "data/model.pt2").unlink(),
            "failed",
            "The version's files are not complete: model.pt2 is missing.",
        ),
        (
            lambda model: (model / "MLmodel").unlink(),
            "failed",
            "The version's files are not complete: MLmodel is missing.",
        ),
        (shutil.rmtree, "failed", "The version's files are not complete: none of version "),
        (
            lambda model: (model / "data/model.pt2").rename(model / "data/model.pth"),
            "refused",
            "The model holds a pickle, or",
        ),
        (
            lambda model: (model / "serving_input_example.json").write_text('{"inputs": [["x"]]}'),
            "refused",
            "The model's own input example is refused by its signature: ",
        ),
        (
            lambda model: rewrite(model / "data/model.pt2", _call_what_torch_lacks),
            "refused",
            "The program calls torch.ops.aten.unheard.default, which torch ",
        ),
    ],
)
def test_what_must_not_be_served_is_refused(
    spoil: Callable[[Path], Any], status: str, reason: str, replica: Replica, versions: Versions
) -> None:
    """The refusal stands on the version, and what serves goes on."""
    version = versions.log(Formula(lambda x: x + 1))
    spoil(versions.files(version))
    replica.promote(version)
    found = replica.status_of(version)
    assert found[0] == status
    assert found[1].startswith(reason)
    assert replica.id() == "1"
    assert replica.health.ready()[0]


def test_a_version_whose_rows_are_not_proven_says_why(replica: Replica, versions: Versions) -> None:
    """The operator stands in the reason of a version that is ready, until its author vouches for it."""
    version = versions.log(Formula(lambda x: x - x.mean(0)))
    replica.promote(version)
    status, reason = replica.status_of(version)
    assert status == "ready"
    assert "one by one, because aten.mean.dim is not known to keep rows apart" in reason
    replica.tag(version, rows="independent")
    replica.promote(version)
    assert "one by one" not in replica.status_of(version)[1]


def test_files_that_are_not_those_that_were_logged_are_refused(replica: Replica, versions: Versions) -> None:
    """Where a digest was recorded, other files are not served."""
    version = versions.log(Formula(lambda x: x))
    replica.tag(version, digest="sha256:" + "0" * 64)
    replica.promote(version)
    status, reason = replica.status_of(version)
    assert status == "refused"
    assert reason.startswith("The version's files have the digest sha256:")
    assert reason.endswith(f"expected sha256:{'0' * 64}, which was recorded in serving.digest.")


def test_a_version_that_fails_its_golden_rows_never_answers(replica: Replica, versions: Versions) -> None:
    """It is rolled back by itself and marked, and TorchServe has forgotten it."""
    golden = {"request": STRICT, "response": {"predictions": [{"0": 9.0}]}}
    version = versions.log(Formula(lambda x: x * 4), golden=golden)
    replica.promote(version)
    assert replica.status_of(version) == (
        "failed",
        "The golden request is answered with {'predictions': [{'0': 6.0}]}: expected {'predictions': [{'0': 9.0}]}.",
    )
    assert replica.status.failed == [NAME]
    assert replica.ask().json() == {"predictions": [{"0": 3.0}]}
    assert replica.server.version(NAME, version) is None


def test_a_new_deployment_answers_once_it_has_proven_itself(replica: Replica, versions: Versions, other: str) -> None:
    """A model's first version does not answer either while its golden answers are wrong; the next one then does."""
    wrong = {"request": STRICT, "response": {"predictions": [{"0": 9.0}]}}
    spoilt = versions.log(Formula(lambda x: x * 4), name=other, golden=wrong)
    sound = versions.log(Formula(lambda x: x * 6), name=other)
    with replica.asked_meanwhile(other) as answers:
        replica.client.set_registered_model_alias(other, "champion", spoilt)
        replica.settle()
        assert replica.ask(name=other).status_code == 404
        replica.client.set_registered_model_alias(other, "champion", sound)
        replica.settle()
        assert replica.ask(name=other).json() == {"predictions": [{"0": 9.0}]}
    assert {answer.status_code for answer in answers} == {404, 503, 200}
    assert {answer.headers["X-Model-Version"] for answer in answers if answer.ok} == {sound}


def test_a_new_deployment_whose_alias_moves_on_is_not_interrupted(
    replica: Replica, versions: Versions, other: str
) -> None:
    """From its first answer on it goes on answering, though the alias moves before its first version was marked."""
    first, second = (versions.log(Formula(lambda x: x), name=other) for _ in range(2))

    def move_at_first_answer() -> None:
        while not any(answer.ok for answer in answers):
            time.sleep(0.001)
        replica.client.set_registered_model_alias(other, "champion", second)

    with replica.asked_meanwhile(other) as answers:
        replica.client.set_registered_model_alias(other, "champion", first)
        mover = threading.Thread(target=move_at_first_answer)
        mover.start()
        replica.settle()
        mover.join()
        replica.settle()
    versions_that_answer = [answer.headers.get("X-Model-Version") for answer in answers]
    begins = versions_that_answer.index(first)
    assert {answer.status_code for answer in answers[begins:]} == {200}
    assert answers[-1].headers["X-Model-Version"] == second


def test_the_contract_notes_what_float32_rounds(replica: Replica, versions: Versions, other: str) -> None:
    """A `long` is answered as MLflow answers it, and what that does to it stands on each version from the first on."""
    signature = ModelSignature(columns_schema(("long", "n")))
    note = "The model gets column 'n' as float32, and float32 rounds whole numbers beyond 16777216."
    for said in (note, f"unchanged for clients of version 1. {note}"):
        version = versions.log(Formula(lambda x: x - 16777216), signature, name=other, example=4 * rows(3, 1))
        replica.client.set_registered_model_alias(other, "champion", version)
        replica.settle()
        assert replica.ask({"inputs": {"n": [16777217]}}, name=other).json() == {"predictions": [{"0": 0.0}]}
        assert replica.client.get_model_version(other, version).tags["serving.contract"] == said


def test_a_model_that_is_made_anew_is_another_one(replica: Replica, versions: Versions, other: str) -> None:
    """A registered model that is deleted and made again, with the same version's number, is what answers."""
    replica.client.set_registered_model_alias(other, "champion", versions.log(Formula(lambda x: x * 2), name=other))
    replica.settle()
    assert replica.ask(name=other).json() == {"predictions": [{"0": 3.0}]}
    replica.client.delete_registered_model(other)
    replica.client.create_registered_model(other)
    version = versions.log(Formula(lambda x: x * 8), TWO_COLUMNS, name=other)
    replica.client.set_registered_model_alias(other, "champion", version)
    replica.settle()
    assert replica.id(other) == version == "1"
    answer = replica.ask({"inputs": {"a": [1.5], "b": [0.5]}}, name=other)
    assert answer.json() == {"predictions": [{"0": 12.0, "1": 4.0}]}


def test_a_large_model_keeps_no_rollback_waiting(
    replica: Replica, versions: Versions, other: str, held_download: threading.Event
) -> None:
    """While a new model is fetched, another one goes back to a version that is cached, and forth."""
    replica.tag("1", allow="whole_numbers")
    held_download.set()
    replica.settle()
    held_download.clear()
    replica.client.set_registered_model_alias(other, "champion", versions.log(Formula(lambda x: x), name=other))
    replica.controller.reconcile()
    replica.tag("1", allow=None)
    until("version 1 serves", lambda: replica.controller.reconcile() > 0 and replica.id() == "1")
    assert replica.ask(name=other).status_code == 404
    held_download.set()
    replica.settle()
    assert replica.ask(name=other).ok


def test_what_is_changed_by_hand_is_set_right(replica: Replica) -> None:
    """A worker that is scaled, a version that is unregistered and a tag that is set, within two looks at each."""

    def look_twice() -> None:
        for _ in range(2):
            time.sleep(1.0)  # the poll interval of this replica
            replica.controller.reconcile()

    management = f"http://management/models/{NAME}"
    replica.server._call("PUT", f"{management}/1", params={"min_worker": 2, "max_worker": 2, "synchronous": "false"})
    replica.tag("1", status="refused", reason="somebody says so")
    look_twice()
    until("it has one worker", lambda: (it := replica.server.version(NAME, "1")) is not None and it.workers == 1)
    assert replica.status_of("1")[0] == "ready"
    replica.settle()
    replica.server._call("DELETE", f"{management}/1")
    look_twice()
    replica.settle()
    assert replica.ask().json() == {"predictions": [{"0": 3.0}]}
    assert replica.status.deployments == {NAME: "1"}


def test_what_is_not_wanted_any_more_is_not_waited_for(
    replica: Replica, versions: Versions, held_download: threading.Event
) -> None:
    """While one version is fetched the alias moves on to one that is cached: it serves, and the other never does."""
    held_download.set()
    cached, large = versions.log(Formula(lambda x: x * 3)), versions.log(Formula(lambda x: x * 4))
    replica.promote(cached)
    replica.promote("1")
    held_download.clear()
    with replica.asked_meanwhile() as answers:
        replica.client.set_registered_model_alias(NAME, "champion", large)
        replica.controller.reconcile()
        replica.client.set_registered_model_alias(NAME, "champion", cached)
        until("what is cached serves", lambda: replica.controller.reconcile() > 0 and replica.id() == cached)
        assert replica.status_of(large) == ("failed", f"The alias has moved on to version {cached}.")
        held_download.set()
        replica.settle()
    assert {answer.headers["X-Model-Version"] for answer in answers} == {"1", cached}
    assert replica.server.version(NAME, large) is None


def test_workers_that_do_not_come_up_are_given_up(replica: Replica, versions: Versions) -> None:
    """A worker that ends while it loads is noticed at once, and no further one is tried."""
    version = versions.log(Formula(lambda x: x))
    revision = Revision(version, created=replica.client.get_registered_model(NAME).creation_timestamp)
    mar = replica.store.archives / f"{NAME}@{version}.mar"
    with zipfile.ZipFile(replica.store.archives / f"{NAME}@1.mar") as whole, zipfile.ZipFile(mar, "w") as without:
        for item in whole.infolist():
            if item.filename != "model.pt2":
                without.writestr(item, whole.read(item))
    replica.store.write_manifest(NAME, revision)
    began = time.monotonic()
    replica.promote(version)
    assert time.monotonic() - began < 30
    status, reason = replica.status_of(version)
    assert status == "failed"
    assert "answers" not in reason
    assert replica.id() == "1"


def test_an_alias_that_moves_on_is_not_overrun(
    replica: Replica, versions: Versions, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A version whose alias went elsewhere while its workers came up does not go live, not for a moment."""
    version = versions.log(Formula(lambda x: x * 5))
    ensure = replica.server.ensure

    def ensure_and_move(*args: Any, **options: Any) -> None:
        ensure(*args, **options)
        replica.client.set_registered_model_alias(NAME, "champion", "1")

    monkeypatch.setattr(replica.server, "ensure", ensure_and_move)
    replica.promote(version)
    assert replica.status_of(version) == ("failed", "The alias has moved on to version 1.")
    assert replica.id() == "1"


def test_a_breaking_contract_needs_consent(replica: Replica, versions: Versions) -> None:
    """A version that breaks the live one's clients is refused and says whom it breaks, until a tag allows it.

    The way back is nobody's surprise, and open.
    """
    version = versions.log(Formula(lambda x: x), TWO_COLUMNS)
    replica.promote(version)
    breaks = "column 'b' is new and is required: who leaves it out would be refused"
    status, reason = replica.status_of(version)
    assert status == "refused"
    assert reason.startswith(f"The version would break clients of version 1: {breaks}. If that is meant, set ")
    assert replica.tags(version)["contract"] == f"breaking for clients of version 1: {breaks}"
    assert replica.id() == "1"
    replica.tag(version, allow_breaking="true")
    replica.settle()
    assert replica.status_of(version)[0] == "ready"
    assert replica.id() == version
    replica.promote("1")
    assert replica.id() == "1"


def _of_thirds(x: torch.Tensor) -> torch.Tensor:
    return x * 3 if x.shape[0] % 3 == 0 else x


def test_a_program_that_takes_less_than_its_signature_says_so(replica: Replica, versions: Versions, other: str) -> None:
    """At its first deployment, and where it follows one that took more, whose clients it breaks."""
    takes = "program takes 3, 6, 9, … rows"
    note = f"The {takes}, where the signature admits more."
    first = versions.log(Formula(_of_thirds), name=other)
    replica.client.set_registered_model_alias(other, "champion", first)
    replica.settle()
    tags = replica.client.get_model_version(other, first).tags
    assert (tags["serving.status"], tags["serving.contract"]) == (
        "ready",
        note,
    )
    version = versions.log(Formula(_of_thirds))
    replica.promote(version)
    breaks = f"its {takes} instead of any number of rows: who sends other sizes would be refused"
    assert replica.status_of(version)[0] == "refused"
    assert replica.tags(version)["contract"] == f"breaking for clients of version 1: {breaks}. {note}"
    replica.promote("1")


def test_a_changed_archive_is_built_again(replica: Replica) -> None:
    """What was changed on the replica's disk is not served."""
    mar = replica.store.archives / f"{NAME}@1.mar"
    with mar.open("ab") as file:
        file.write(b"more")
    replica.client.delete_registered_model_alias(NAME, "champion")
    replica.settle()
    assert replica.server.version(NAME) is None
    assert not replica.health.ready()[0] or replica.status.deployments == {}
    replica.promote("1")
    assert not mar.read_bytes().endswith(b"more")
    assert replica.ask().json() == {"predictions": [{"0": 3.0}]}


def test_what_somebody_asks_for_again_is_said_to_serve(replica: Replica) -> None:
    """A client that sets the live version pending finds it ready, though nothing was to be done."""
    replica.tag("1", status="pending", reason="now deploy: its deployment is asked for")
    replica.settle()
    status, reason = replica.status_of("1")
    assert status == "ready"
    assert reason.startswith("answers on this replica")


def test_a_refusal_that_is_mended_is_forgotten(replica: Replica) -> None:
    """The status follows what is so: a version that serves is not said to be refused, whoever said it, and when."""
    replica.tag("1", workers="many")
    replica.settle()
    assert replica.status_of("1")[0] == "refused"
    assert replica.entries() == {replica.name: "version 1 is refused"}
    replica.tag("1", workers=None)
    replica.settle()
    assert replica.status_of("1")[0] == "ready"
    for status in ("refused", "failed", "pending", "retired", "nonsense", ""):
        replica.tag("1", status=status, reason="somebody says so")
        replica.settle()
        found, reason = replica.status_of("1")
        assert (found, reason.partition(" after ")[0]) == ("ready", "answers on this replica")
    for tag in ("status", "reason"):
        replica.tag("1", **{tag: None})
        replica.settle()
        assert replica.status_of("1")[0] == "ready"
    replica.client.delete_registered_model_tag(NAME, f"serving.replica.{replica.name}")
    replica.settle()
    assert replica.entries() == {replica.name: "version 1 is ready"}


def test_pending_comes_first(replica: Replica, versions: Versions) -> None:
    """A copy with its original's tags, and a version that goes back into service, are pending before they answer.

    A version that serves no more does not say that it is ready.
    """
    version = versions.log(Formula(lambda x: x * 3))
    replica.promote(version)
    assert replica.tags("1")["status"] == "retired"
    assert replica.status_of("1")[1] == f"version {version} has taken its place"
    copied = str(replica.client.copy_model_version(f"models:/{NAME}/{version}", NAME).version)
    assert replica.tags(copied)["status"] == "ready", "MLflow copies tags"
    for later in (copied, "1"):
        replica.client.set_registered_model_alias(NAME, "champion", later)
        replica.controller.reconcile()
        assert replica.tags(later)["status"] == "pending"
        assert replica.id() != later
        replica.settle()
        assert replica.tags(later)["status"] == "ready"
        assert replica.id() == later


def test_files_that_come_later_are_served(replica: Replica, versions: Versions, clock: list[float]) -> None:
    """A version that got its alias while its files were uploaded serves when they are there."""
    version = versions.log(Formula(lambda x: x * 3))
    program = versions.files(version) / "data/model.pt2"
    content = program.read_bytes()
    program.unlink()
    replica.promote(version)
    assert replica.status_of(version) == ("failed", "The version's files are not complete: model.pt2 is missing.")
    assert (replica.status.failed, replica.id()) == ([NAME], "1")
    program.write_bytes(content)
    clock[0] += 60
    replica.settle()
    assert replica.status_of(version)[0] == "ready"
    assert replica.id() == version


def test_other_files_than_those_that_were_logged_may_be_put_right(
    replica: Replica, versions: Versions, clock: list[float]
) -> None:
    """A digest that differs is refused, and looked at again."""
    version = versions.log(Formula(lambda x: x * 3))
    replica.tag(version, digest=digest.of_model(versions.files(version)))
    labels = versions.files(version) / "index_to_name.json"
    labels.write_text("{}")
    replica.promote(version)
    assert replica.status_of(version)[0] == "refused"
    labels.unlink()
    clock[0] += 60
    replica.settle()
    assert replica.status_of(version)[0] == "ready"


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """Seconds that have gone by unnoticed for what waits before it is tried again."""
    skipped, monotonic = [0.0], time.monotonic
    monkeypatch.setattr(controller, "time", SimpleNamespace(monotonic=lambda: monotonic() + skipped[0]))
    return skipped


def test_one_models_trouble_with_the_registry_is_that_models(
    replica: Replica, versions: Versions, other: str, registry: tuple[str, Versions]
) -> None:
    """A model whose alias is on a version that does not exist goes on with what it serves, and others roll out."""
    replica.client.set_registered_model_alias(other, "champion", versions.log(Formula(lambda x: x), name=other))
    replica.settle()
    with sqlite3.connect(registry[0].removeprefix("sqlite:///")) as database:
        database.execute("UPDATE registered_model_aliases SET version = 99 WHERE name = ?", (other,))
    version = versions.log(Formula(lambda x: x * 3))
    replica.promote(version)
    assert replica.id() == version
    assert replica.ask(name=other).ok
    is_ready, document = replica.health.ready()
    assert is_ready
    assert f"{other} goes on with what it serves. The alias 'champion' is on version 99" in str(document["message"])
    replica.client.delete_registered_model_alias(other, "champion")
    replica.settle()
    assert replica.status.stranded == {}
    assert replica.server.version(other) is None


def test_a_version_that_is_deleted_while_it_comes_up_takes_nothing_with_it(
    replica: Replica, versions: Versions, held_download: threading.Event
) -> None:
    """MLflow deletes the alias with the version; what served goes on, until the alias is set or the model deleted."""
    held_download.clear()
    version = versions.log(Formula(lambda x: x * 3))
    replica.client.set_registered_model_alias(NAME, "champion", version)
    replica.controller.reconcile()
    replica.client.delete_model_version(NAME, version)
    held_download.set()
    for _ in range(2):
        replica.settle()
        assert replica.ask().json() == {"predictions": [{"0": 3.0}]}
        assert replica.status.stranded == {NAME: f"Version {version}, which carried the alias, was deleted."}
        assert replica.status_of("1")[0] == "ready"
    replica.promote("1")
    assert replica.status.stranded == {}


@pytest.mark.parametrize("name", ["n" * 250, "a..b", "a b", "tab\there", "n" * 246, "trailing.", "a.mar"])
def test_names_are_checked_first(name: str, replica: Replica, versions: Versions) -> None:
    """A name is refused with the reason, or served with tags and without, and every other deployment goes on."""
    replica.client.create_registered_model(name)
    try:
        version = versions.log(Formula(lambda x: x * 7), name=name)
        replica.client.set_registered_model_alias(name, "champion", version)
        for workers in ("1", "2"):
            replica.client.set_model_version_tag(name, version, "serving.workers", workers)
            replica.settle()
            tags = replica.client.get_model_version(name, version).tags
            if len(name) > 246 or " " in name or "\t" in name or ".." in name:
                assert tags["serving.status"] == "refused"
                assert "TorchServe cannot serve a model " in tags["serving.reason"]
            else:
                assert tags["serving.status"] == "ready"
                assert replica.ask(name=name).json() == {"predictions": [{"0": 10.5}]}
            assert replica.ask().ok
    finally:
        replica.client.delete_registered_model(name)
        replica.settle()


def test_a_full_disk_is_the_failure_of_one_version_on_one_replica(
    replica: Replica,
    versions: Versions,
    uri: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Each replica says for itself what became of a version; all of them together come to its status."""
    second = Replica(tmp_path, uri)
    try:
        second.settle()
        replica.settle()
        monkeypatch.setattr(presence, "BEAT_S", 0)  # each sees the other at once
        version = versions.log(Formula(lambda x: x * 3))

        def on_a_full_disk(*_: object) -> None:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

        monkeypatch.setattr(second.registry, "download", on_a_full_disk)
        replica.promote(version)
        assert replica.tags(version)["status"] == "pending", "the other has said nothing yet"
        second.settle()
        replica.settle()
        assert replica.entries() == {
            replica.name: f"version {version} is ready", second.name: f"version {version} is failed"
        }  # fmt: skip
        assert replica.status_of(version) == ("failed", f"[Errno 28] No space left on device ({replica.name} is ready)")
        assert (replica.id(), second.id()) == (version, "1")
        second.leave()
        replica.settle()
        assert replica.entries() == {replica.name: f"version {version} is ready"}
        assert replica.status_of(version)[0] == "ready"
    finally:
        second.stop()


def test_no_exception_ends_the_controller(replica: Replica, monkeypatch: pytest.MonkeyPatch) -> None:
    """What nobody expected is logged, counted, shown at /ready and tried again; the predictions go on."""
    trouble = [RuntimeError("out of luck")] * 2
    revisions = replica.registry.desired

    def unlucky(changed: set[str] | None = None) -> dict[str, Revision]:
        if trouble:
            raise trouble.pop()
        stop.set()
        return revisions(changed)

    stop = threading.Event()
    monkeypatch.setattr(replica.registry, "desired", unlucky)
    monkeypatch.setattr(retry_loop, "FIRST_PAUSE_S", 0.01)
    monkeypatch.setattr(desired, "WAIT_S", 0)  # each step asks
    monkeypatch.setattr(desired, "PAUSE_S", 0)
    told = list[tuple[bool, dict[str, object]]]()
    monkeypatch.setattr(replica.controller, "rest", lambda *_: told.append(replica.health.ready()))
    replica.controller.run(stop)
    assert [str(document["message"]).partition(" The controller ")[2] for _, document in told] == [
        *["has failed, and is tried again: RuntimeError: out of luck."] * 2, ""
    ]  # fmt: skip
    assert all(is_ready for is_ready, _ in told)
    assert (replica.status.errors, replica.status.troubles) == (2, {})
    assert replica.ask().ok


def test_without_the_registry_a_restart_brings_back_what_served(replica: Replica, versions: Versions) -> None:
    """While the registry is away, what serves is served on, also after a restart, though its champion was refused."""
    version = versions.log(Formula(lambda x: x))
    (versions.files(version) / "data/model.pt2").write_bytes(b"junk")
    replica.promote(version)
    assert replica.status_of(version)[0] == "refused"
    replica.stop()
    replica.start(uri="http://127.0.0.1:9")
    assert replica.ask().status_code == 200, "it is known from the start"
    assert replica.health.ready()[0], "it is ready before the registry is asked"
    for _ in range(3):
        replica.controller.reconcile()
    assert replica.status.deployments == {NAME: "1"}
    assert "127.0.0.1:9" in replica.status.registry
    is_ready, document = Health(replica.status, replica.server, replica.store).ready()
    assert is_ready, document
    assert "The registry is not reachable" in str(document["message"])
    assert replica.ask().json() == {"predictions": [{"0": 3.0}]}
    replica.stop()
    replica.start()


def test_after_a_restart_a_version_is_served_as_its_tags_say(replica: Replica) -> None:
    """It has the batches and the workers that it had, from the start."""
    asked = {
        "the tags": ({"batch_size": "4", "max_batch_delay": "3", "workers": "2"}, (4, 3, 2)),
        "none": ({"batch_size": None, "max_batch_delay": None, "workers": None}, (32, 0, 1)),
    }
    for what, (tags, expected) in asked.items():
        replica.tag("1", **tags)
        replica.settle()
        for when in ("before", "after"):
            described = replica.server._call("GET", f"http://management/models/{NAME}")[0]
            found = (described["batchSize"], described["maxBatchDelay"], described["maxWorkers"])
            assert found == expected, f"{what}, {when}"
            if when == "before":
                replica.stop()
                replica.start()


def test_a_new_replica_begins_with_what_served_last(
    replica: Replica, versions: Versions, tmp_path: Path, registry: tuple[str, Versions]
) -> None:
    """It does not serve what the others have refused as breaking, but what they serve."""
    version = versions.log(Formula(lambda x: x), TWO_COLUMNS)
    replica.promote(version)
    other = Replica(tmp_path, registry[0])
    try:
        other.settle()
        assert other.id() == "1"
        assert other.status.refused == [NAME]
        assert other.health.ready()[0]
    finally:
        other.leave()


def test_a_model_without_the_alias_is_withdrawn(replica: Replica) -> None:
    """Taking the alias away takes the model out of service."""
    replica.client.delete_registered_model_alias(NAME, "champion")
    replica.settle()
    assert replica.server.version(NAME) is None
    assert replica.status.deployments == {}

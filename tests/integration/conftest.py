"""One suite, two ways to run the stack: `pytest tests/integration --stack embedded|compose`."""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import requests

sys.path.insert(0, str(Path(__file__).parent))  # these helpers

from stack import Stack

from testing.polling import until
from testing.repository import ALIAS, MODEL, SAMPLES

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Generator, Iterator
    from contextlib import AbstractContextManager

    from compose_stack import ComposeStack
    from door import Door
    from embedded_stack import EmbeddedStack
    from mlflow import MlflowClient
    from mlflow.entities.model_registry import ModelVersion

    from testing.numbered_model import NumberedModel

KINDS = ("embedded", "compose")
_diagnosed = 0


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--stack", choices=KINDS, default="embedded", help="how the stack under test runs")


def pytest_configure(config: pytest.Config) -> None:
    for kind in KINDS:
        config.addinivalue_line("markers", f"{kind}: is run with the {kind} stack")
    # The tests wait for real services on machines of every size; what hangs is ended with a traceback.
    for line in (
        "ignore::DeprecationWarning:mlflow.*",
        "ignore::FutureWarning:mlflow.*",
        "ignore::UserWarning:mlflow.*",
    ):
        config.addinivalue_line("filterwarnings", line)


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave out what is not run with this stack."""
    kind = config.getoption("--stack")
    here = [item for item in items if Path(__file__).parent in item.path.parents]
    left_out = [item for item in here if kind not in _kinds(item)]
    if left_out:
        config.hook.pytest_deselected(items=left_out)
        items[:] = [item for item in items if item not in left_out]
    for item in here:  # whichever test comes first also waits for the stack, and for images to be built
        item.add_marker(pytest.mark.timeout(1800))


def _kinds(item: pytest.Item) -> Collection[str]:
    """The stacks that a test is run with: those it is marked with, else both if it asks for a stack, else one."""
    marked = [kind for kind in KINDS if item.get_closest_marker(kind)]
    return marked or KINDS[: 1 + ("stack" in item.fixturenames)]  # type: ignore[attr-defined]  # a function's


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, None, None]:
    """Add the services' state and logs to the first failures."""
    global _diagnosed  # noqa: PLW0603 -- one count per session
    outcome = yield
    report = outcome.get_result()  # type: ignore[attr-defined]  # pluggy types it in part
    stack = getattr(item, "funcargs", {}).get("stack")
    if report.failed and stack is not None and _diagnosed < 2:
        _diagnosed += 1
        report.sections.append(("the stack", stack.diagnosis()))


@pytest.fixture(scope="session")
def stack(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """The running stack: up from nothing, one training, one deployment."""
    began = time.monotonic()
    folder = tmp_path_factory.mktemp("stack")
    folder.chmod(0o755)
    with _opened(request.config.getoption("--stack"), folder) as running:
        print(f"\nthe {running.kind} stack is up after {time.monotonic() - began:.0f} s")
        yield running


def _opened(kind: str, folder: Path) -> AbstractContextManager[Stack]:
    if kind == "embedded":
        from embedded_stack import embedded_stack

        return embedded_stack(folder)
    from compose_stack import compose_stack

    return compose_stack(folder)


@pytest.fixture(scope="session")
def door(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Door]:
    """The public gateway before a small replica; one for all tests."""
    from door import opened

    with opened(tmp_path_factory.mktemp("door")) as door:
        yield door


@pytest.fixture(scope="session")
def compose(stack: Stack) -> ComposeStack:
    """The stack, for tests about containers."""
    from compose_stack import ComposeStack

    assert isinstance(stack, ComposeStack)
    return stack


@pytest.fixture(scope="session")
def processes(stack: Stack) -> EmbeddedStack:
    """The stack, for tests about plain processes."""
    from embedded_stack import EmbeddedStack

    assert isinstance(stack, EmbeddedStack)
    return stack


@pytest.fixture
def registry(stack: Stack, monkeypatch: pytest.MonkeyPatch) -> MlflowClient:
    """MLflow's client, at this stack's server; artifacts come through the server, so it holds no S3 keys."""
    import mlflow

    for name in [name for name in os.environ if name.startswith(("AWS_", "MLFLOW_"))]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", stack.mlflow_url)
    mlflow.set_tracking_uri(stack.mlflow_url)
    return mlflow.MlflowClient(stack.mlflow_url)


@pytest.fixture
def champion(registry: MlflowClient) -> Callable[[], ModelVersion]:
    """Ask for the version that carries the alias now."""
    return lambda: registry.get_model_version_by_alias(MODEL, ALIAS)


@pytest.fixture
def made_here(registry: MlflowClient) -> Iterator[None]:
    """Whatever else a test has registered, and so deployed, is deleted after it."""
    yield
    for model in registry.search_registered_models():
        if model.name != MODEL:
            registry.delete_registered_model(model.name)


@pytest.fixture(scope="module")
def numbered(stack: Stack) -> Iterator[NumberedModel]:
    """A deployment of the module's own whose answers tell their version; versions 1 and 2, of which 1 is served."""
    from testing.numbered_model import NumberedModel

    model = NumberedModel(stack.mlflow_url, stack.predictions_url)
    first, _ = model.log(), model.log()
    model.serve(first)
    yield model
    model.client.delete_registered_model(model.name)


@pytest.fixture
def url(stack: Stack) -> str:
    """Where the deployment's predictions are asked for."""
    return f"{stack.predictions_url}/predictions/{MODEL}"


@pytest.fixture
def served_version(url: str) -> Callable[[], str]:
    """Ask for one prediction and tell which version made it."""

    def ask() -> str:
        answer = requests.put(url, data=(SAMPLES / "sample.json").read_bytes(), timeout=10)
        assert (answer.status_code, answer.text) == (200, "SETOSA"), f"{answer.status_code} {answer.text}"
        return answer.headers["X-Model-Version"]

    return ask


@pytest.fixture
def wait_for_version(served_version: Callable[[], str]) -> Callable[..., None]:
    """Wait until a version serves; 10 s is what the project promises."""

    def wait(version: object, timeout_s: float = 10) -> None:
        until(f"version {version} serves", lambda: served_version() == str(version), timeout_s=timeout_s)

    return wait

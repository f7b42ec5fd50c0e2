"""A Swarm of three engines on this machine: `pytest tests/swarm`, as root, where a Docker engine answers."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

sys.path.insert(0, str(Path(__file__).parent))  # these helpers

from swarm import Swarm

if TYPE_CHECKING:
    from collections.abc import Generator, Iterator


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Whichever test comes first also waits for images and the stack."""
    for item in items:
        if Path(__file__).parent in item.path.parents:
            item.add_marker(pytest.mark.timeout(1800))


@pytest.fixture(scope="session")
def swarm(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Swarm]:
    """The stack on three machines: trained once, deployed, and the client's scenarios have passed."""
    if os.geteuid() != 0:
        pytest.skip("needs root: machines are made of namespaces")
    swarm = Swarm(tmp_path_factory.mktemp("swarm"))
    try:
        swarm.up()
        yield swarm
    finally:
        swarm.lab.close()


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, None, None]:
    """Add what the Swarm says of itself to each failure."""
    outcome = yield
    report = outcome.get_result()  # type: ignore[attr-defined]  # pluggy types it in part
    swarm = getattr(item, "funcargs", {}).get("swarm")
    if report.failed and swarm is not None:
        report.sections.append(("the Swarm", swarm.diagnosis()))

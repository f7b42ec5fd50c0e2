"""deploy/kubernetes, as Kustomize renders it."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Callable
from functools import cache
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))  # these helpers

from manifests import FOLDER, Object, kustomization, rendered


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--pods", action="store_true", help="the pods themselves, as containers of a Docker engine")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """With --pods nothing but test_pods.py, which needs an engine; without it all else."""
    here = Path(__file__).parent
    ours = [item for item in items if here in item.path.parents]
    left_out = [item for item in ours if (item.path.name == "test_pods.py") != config.getoption("--pods")]
    if left_out:
        config.hook.pytest_deselected(items=left_out)
        items[:] = [item for item in items if item not in left_out]


@pytest.fixture(scope="session")
def render(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., list[Object]]:
    """Return a function that renders an overlay with some of the components."""
    copy = tmp_path_factory.mktemp("kubernetes") / "deploy"
    shutil.copytree(FOLDER, copy)

    @cache
    def render(overlay: str, *components: str) -> list[Object]:
        return rendered(kustomization(copy, overlay, components) if components else FOLDER / "overlays" / overlay)

    return render

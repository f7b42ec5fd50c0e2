"""Bringing the stack up, again, and down and up."""

from __future__ import annotations

from typing import TYPE_CHECKING

from signet_client.scenarios.runner import SCENARIOS

from testing.repository import ALIAS, MODEL

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from stack import BringUp, Stack


def _assert_all_hold(came_up: BringUp) -> None:
    assert came_up.exit_code == 0, came_up.output
    assert f"All {len(SCENARIOS)} scenarios hold." in came_up.output
    assert came_up.output.count("holds") == len(SCENARIOS)
    assert "\x1b" not in came_up.output, "a log holds no colours"


def _registered(registry: MlflowClient) -> dict[str, object]:
    model = registry.get_registered_model(MODEL)
    experiment = registry.get_experiment_by_name(MODEL)
    assert experiment is not None
    runs = registry.search_runs([experiment.experiment_id])
    versions = registry.search_model_versions(f"name = '{MODEL}'")
    return {
        "aliases": dict(model.aliases),
        "runs": sorted(run.info.run_id for run in runs),
        "versions": sorted(int(version.version) for version in versions),
    }


def test_first_up_ends_with_the_table(stack: Stack) -> None:
    """The first `up` makes a champion, serves it, and the client's scenarios all hold."""
    _assert_all_hold(stack.first_up)


def test_second_up_changes_nothing(stack: Stack, registry: MlflowClient) -> None:
    """A second `up` neither trains again nor loses anything, and its scenarios hold as well."""
    before = _registered(registry)
    assert before["aliases"][ALIAS], "there is a champion"  # type: ignore[index]  # JSON
    _assert_all_hold(stack.up_again())
    assert _registered(registry) == before


def test_data_survives_down_and_up(stack: Stack, registry: MlflowClient) -> None:
    """After `down` and `up` the same runs, versions and champion are there, and it serves."""
    from mlflow import MlflowClient as Client

    before = _registered(registry)
    _assert_all_hold(stack.down_and_up())
    assert _registered(Client(stack.mlflow_url)) == before

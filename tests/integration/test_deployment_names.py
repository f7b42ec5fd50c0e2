"""Services never import each other: the rule for a deployment's name stands twice, and is one rule."""

from __future__ import annotations

import pytest
import signet_client.deployments.name_validation as of_client
import signet_torchserve.name_validation as of_controller
from hypothesis import example, given
from hypothesis import strategies as st
from signet_client.deployments.mlflow_errors import DeploymentError
from signet_torchserve.errors import NotServable


@given(st.text(alphabet="aZ0_.-/ \t\nü@%日", max_size=6) | st.integers(240, 260).map("n".__mul__))
@example("n" * 246)
@example("n" * 247)
@example("a..b")
def test_one_rule(name: str) -> None:
    """Whatever name the client lets pass the controller lets pass, and no other."""
    try:
        of_controller.check(name)
    except NotServable:
        with pytest.raises(DeploymentError) as caught:
            of_client.check(name)
        assert caught.value.error_code == "INVALID_PARAMETER_VALUE"
    else:
        of_client.check(name)

from __future__ import annotations

import pytest
from signet_client.deployments.config import Config, configured
from signet_client.deployments.mlflow_errors import DeploymentError


@pytest.mark.parametrize(
    ("config", "expected"),
    [
        (None, Config({})),
        ({"wait": "false"}, Config({}, wait=False)),
        ({"wait": False}, Config({}, wait=False)),
        (
            {"batch_size": "8", "max_batch_delay": 0},
            Config({"serving.batch_size": "8", "serving.max_batch_delay": "0"}),
        ),
        (
            {"allow_breaking": True, "wait": "false"},
            Config({"serving.allow_breaking": "true"}, wait=False),
        ),
        ({"workers": "02"}, Config({"serving.workers": "2"})),
        ({"timeout_s": 5}, Config({"serving.timeout_s": "5"})),
    ],
)
def test_parse(config: dict[str, object] | None, expected: Config) -> None:
    """Texts and values alike become the tags that the controller reads."""
    assert Config.parse(config) == expected


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ({"batch_size": "0"}, "Config 'batch_size' has value '0'. Expected a whole number from 1 up."),
        ({"max_batch_delay": "-1"}, "Config 'max_batch_delay' has value '-1'. Expected a whole number from 0 up."),
        ({"workers": 1.5}, "Config 'workers' has value '1.5'. Expected a whole number from 1 up."),
        ({"timeout_s": "0"}, "Config 'timeout_s' has value '0'. Expected a whole number from 1 up."),
        ({"wait": "no"}, "Config 'wait' has value 'no'. Expected true or false."),
        (
            {"HANDLER": "x"},
            (
                "Config 'HANDLER' is unknown. Expected"
                " batch_size, max_batch_delay, workers, timeout_s, allow_breaking, wait."
            ),
        ),
    ],
)
def test_refused(config: dict[str, object], message: str) -> None:
    """What can't be is named with its value and what was expected."""
    with pytest.raises(DeploymentError) as caught:
        Config.parse(config)
    assert (str(caught.value), caught.value.error_code) == (message, "INVALID_PARAMETER_VALUE")


def test_configured() -> None:
    """The config is read back from a version's tags, among others."""
    tags = {**Config.parse({"workers": 2}).tags, "serving.status": "ready", "test_acc": "0.97"}
    assert configured(tags) == {"workers": "2"}

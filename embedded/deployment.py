"""Waits until the trained champion is deployed: until the predictions' address answers the sample request."""

from embedded import http
from embedded.errors import DeploymentMissing
from embedded.services import torchserve
from embedded.settings import ROOT
from embedded.stack import Stack

NAME = "iris_classification"
_SAMPLE = ROOT / "services" / "client" / "samples" / "sample.json"
_TIMEOUT_S = 90.0


def url(stack: Stack) -> str:
    return f"{stack.urls.torchserve}/predictions/{NAME}"


def wait(stack: Stack) -> None:
    """Returns when the champion is served. Raises DeploymentMissing, with the last answer, if that takes too long."""
    sample = _SAMPLE.read_bytes()
    answer: http.Answer | None = None

    def serves() -> bool:
        nonlocal answer
        answer = http.ask(url(stack), "POST", sample, timeout_s=10)
        return answer is not None and answer.status == 200  # noqa: PLR2004 -- HTTP's OK

    stack.step_times.begin("deployment")
    if not stack.wait(serves, _TIMEOUT_S):
        raise DeploymentMissing(url(stack), _TIMEOUT_S, str(answer or "none"), stack.folder.log_end(torchserve.NAME))
    stack.step_times.end("deployment", answer.body.strip() if answer else "")

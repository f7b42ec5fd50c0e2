"""What can stop a training, each with the exit code that the shell sees.

TrainerError
├─ BadOptions            2  a command-line option has an unusable value
│  └─ InvalidSetting     2  an environment variable has one
├─ ExperimentDeleted     2  the experiment that runs are logged to is deleted
├─ MlflowUnreachable     2  no MLflow server answers before the training starts
├─ MlflowLost            1  MLflow failed a request after the training started
└─ TrainingStopped   128+n  signal n (Ctrl-C, docker stop) ended the training
"""

import signal

from requests import RequestException
from requests.exceptions import ProxyError


class TrainerError(Exception):
    """One line for stderr and an exit code; never a traceback."""

    exit_code = 1


class BadOptions(TrainerError):
    """An option or environment variable whose value cannot be used."""

    exit_code = 2


class InvalidSetting(BadOptions):
    """An environment variable whose value cannot be used."""

    def __init__(self, name: str, value: str, expected: str) -> None:
        super().__init__(f"Setting {name} has value {value!r}. Expected {expected}.")


class ExperimentDeleted(TrainerError):
    """MLflow keeps a deleted experiment's name, and logs nothing to it."""

    exit_code = 2

    def __init__(self, name: str, experiment_id: str) -> None:
        super().__init__(
            f"Experiment '{name}' is deleted. Restore it (mlflow experiments restore --experiment-id {experiment_id}), "
            "or name another one with MLFLOW_EXPERIMENT_NAME."
        )


class MlflowUnreachable(TrainerError):
    """The tracking server does not answer, or refuses every request."""

    exit_code = 2

    def __init__(self, uri: str, cause: BaseException) -> None:
        super().__init__(f"MLflow at {uri} cannot be used: {root_cause(cause)}. MLFLOW_TRACKING_URI says where it is.")


class MlflowLost(TrainerError):
    """MLflow failed a request that the training could not do without."""

    def __init__(self, uri: str, cause: BaseException) -> None:
        super().__init__(f"MLflow at {uri} failed after the training had begun: {root_cause(cause)}.")


class TrainingStopped(TrainerError):
    """A signal asked the trainer to end."""

    def __init__(self, signum: int) -> None:
        self.exit_code = 128 + signum
        super().__init__(f"stopped by {signal.Signals(signum).name}; a run that had begun is marked KILLED.")


def root_cause(error: BaseException) -> str:
    """One line: the error's first.

    Where the operating system caused it, its own words: urllib3, requests and MLflow wrap them three deep.
    """
    chain: list[BaseException] = []
    link: object = error
    while isinstance(link, BaseException) and link not in chain:
        chain.append(link)
        link = getattr(link, "reason", None) or link.__cause__ or link.__context__
    system = [link for link in chain if isinstance(link, OSError) and not isinstance(link, RequestException)]
    cause = system[-1] if system else error
    text = str(cause).strip() or type(cause).__name__
    line = text.splitlines()[0].rstrip(".!")
    if any(isinstance(link, ProxyError) for link in chain):
        return f"the proxy of HTTP_PROXY or HTTPS_PROXY cannot be used ({line}); NO_PROXY lists what needs none"
    return line

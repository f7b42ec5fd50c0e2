"""What can stop a training, each with the exit code that the shell sees.

TrainerError
├─ BadOptions            2  a command-line option or a variable has an unusable value
├─ MlflowUnreachable     2  no MLflow server answers before the training starts
├─ MlflowLost            1  MLflow failed a request after the training started
└─ TrainingStopped   128+n  signal n (Ctrl-C, docker stop) ended the training
"""

import signal


class TrainerError(Exception):
    """One line for stderr and an exit code; never a traceback."""

    exit_code = 1


class BadOptions(TrainerError):
    """An option or environment variable whose value cannot be used."""

    exit_code = 2


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
        super().__init__(
            f"stopped by {signal.Signals(signum).name}; the run is marked KILLED and nothing is registered."
        )


def root_cause(error: BaseException) -> str:
    """The first line of the innermost error: urllib3 and MLflow wrap theirs three deep."""
    seen = {id(error)}
    while (inner := error.__cause__ or error.__context__ or getattr(error, "reason", None)) and id(inner) not in seen:
        if not isinstance(inner, BaseException):
            break
        seen.add(id(inner))
        error = inner
    text = str(error).strip() or type(error).__name__
    return text.splitlines()[0].rstrip(".")

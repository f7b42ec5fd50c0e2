"""What keeps the client from an answer; each is one line that names the thing, its value and what was expected.

ClientError
├── InvalidSetting
├── InputError
│   ├── InputNotFound
│   ├── InputIsNoFile
│   ├── InputEmpty
│   └── InputUnreadable
├── ServerError
│   ├── ServerUnreachable
│   ├── ServerTooSlow
│   └── ServerFailed
├── MlflowUnreachable
├── UnknownDeployment
├── OtherRegistry
├── UnexpectedAnswer
└── DoorError
    ├── DoorUnreachable
    ├── InvalidOption
    ├── TokenExists
    ├── TooManyTokens
    ├── UnknownToken
    ├── NoToken
    ├── UnusableCertificate
    └── UnusableKeys
"""

from __future__ import annotations


class ClientError(Exception):
    """The client has no prediction and no rejection to show: exit code 2."""


class InvalidSetting(ClientError):
    """An environment variable that can't be used."""

    def __init__(self, name: str, value: str, expected: str) -> None:
        super().__init__(f"Setting {name} has value {value!r}. Expected {expected}.")


class InputError(ClientError):
    """The input can't be read, so nothing was sent."""


class InputNotFound(InputError):
    """No such input file."""

    def __init__(self, path: str) -> None:
        super().__init__(f"Input file {path!r} does not exist. Expected a JSON or CSV file, or - for standard input.")


class InputIsNoFile(InputError):
    """The input's name is that of a folder."""

    def __init__(self, path: str) -> None:
        super().__init__(f"Input file {path!r} is a directory. Expected a JSON or CSV file, or - for standard input.")


class InputEmpty(InputError):
    """The input has no content."""

    def __init__(self, path: str) -> None:
        what = "Standard input" if path == "-" else f"Input file {path!r}"
        super().__init__(f"{what} is empty. Expected rows as JSON or CSV.")


class InputUnreadable(InputError):
    """The operating system doesn't let the client read the input."""

    def __init__(self, path: str, reason: str) -> None:
        super().__init__(f"Input file {path!r} can't be read: {reason}. Expected a file that this user may read.")


class ServerError(ClientError):
    """The server gave no answer that could be used."""


class ServerUnreachable(ServerError):
    """Nothing answers at the address, or it hung up before it had answered."""

    def __init__(self, url: str, reason: str) -> None:
        super().__init__(f"No answer from {url}: {reason}. Expected the prediction server there (SIGNET_URL).")


class ServerTooSlow(ServerError):
    """The answer wasn't complete in time."""

    def __init__(self, url: str, timeout_s: float) -> None:
        super().__init__(f"No answer from {url} within {timeout_s:g} s (SIGNET_TIMEOUT_S). Expected one sooner.")


class ServerFailed(ServerError):
    """The server says that it failed (5xx)."""

    def __init__(self, url: str, status: int, message: str) -> None:
        super().__init__(f"{url} failed with status {status}: {message}. Expected 200 or a rejection with 400.")


class MlflowUnreachable(ClientError):
    """Nothing answers where the model registry should be."""

    def __init__(self, uri: str, reason: str) -> None:
        super().__init__(f"No answer from {uri}: {reason}. Expected the MLflow server there (MLFLOW_TRACKING_URI).")


class OtherRegistry(ClientError):
    """Models would be logged to one MLflow server, and registered on another."""

    def __init__(self, registry_uri: str, tracking_uri: str) -> None:
        super().__init__(
            f"The model registry is set to {registry_uri} (MLFLOW_REGISTRY_URI). Expected it unset: what is deployed "
            f"is read from the MLflow server at {tracking_uri} (MLFLOW_TRACKING_URI)."
        )


class UnknownDeployment(ClientError):
    """The server runs but doesn't serve this deployment."""

    def __init__(self, name: str, url: str) -> None:
        super().__init__(
            f"Deployment {name!r} is not served at {url}. Expected a registered model whose alias champion is set.",
        )


class UnexpectedAnswer(ClientError):
    """An answer that the prediction server would not give: something else may listen there."""

    def __init__(self, url: str, got: str) -> None:
        super().__init__(f"{url} answered with {got}. Expected a prediction (200) or a rejection (400) in JSON.")


class DoorError(ClientError):
    """The door's files stay as they are."""


class DoorUnreachable(DoorError):
    """The folder that the gateway reads can't be used."""

    def __init__(self, folder: str, reason: str) -> None:
        super().__init__(
            f"The door's folder {folder!r} can't be used: {reason}. "
            "Expected the one that the gateway reads (SIGNET_DOOR)."
        )


class InvalidOption(DoorError):
    """An option that can't be used."""

    def __init__(self, name: str, value: str, expected: str) -> None:
        super().__init__(f"Option {name} has value {value!r}. Expected {expected}.")


class TokenExists(DoorError):
    """Another token has this name."""

    def __init__(self, name: str) -> None:
        super().__init__(f"Token {name!r} exists already. Expected a new name, or `signet token revoke {name}` first.")


class TooManyTokens(DoorError):
    """There are as many tokens as the gateway's metrics can tell apart."""

    def __init__(self, most: int) -> None:
        super().__init__(f"There are {most} tokens, the most that there may be. Expected one to be revoked first.")


class UnknownToken(DoorError):
    """No token has this name."""

    def __init__(self, name: str) -> None:
        super().__init__(f"Token {name!r} does not exist. Expected a name that `signet token list` has.")


class NoToken(DoorError):
    """Nobody could come in."""

    def __init__(self) -> None:
        super().__init__(
            "The door stays shut: there is no valid token. Expected one; `signet token create NAME` makes it."
        )


class UnusableCertificate(DoorError):
    """What was given is no certificate that the gateway could use."""

    def __init__(self, problem: str) -> None:
        super().__init__(
            f"The certificate can't be used: {problem}. Expected a chain and its unencrypted key in the PEM format."
        )


class UnusableKeys(DoorError):
    """What was given are no public keys that the gateway could verify a signature with."""

    def __init__(self, problem: str) -> None:
        super().__init__(
            f"The issuer's keys can't be used: {problem}. "
            "Expected public RSA or EC keys as a JSON Web Key Set or in the PEM format."
        )

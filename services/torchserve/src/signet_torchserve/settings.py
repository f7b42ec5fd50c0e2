"""Everything that the TorchServe service can be told, read once from the environment."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit

from signet_torchserve import switchable_pieces
from signet_torchserve.mlflow_credentials import credentials_in_files, without_credentials
from signet_torchserve.switchable_pieces import Piece


class InvalidSetting(ValueError):
    """A setting whose value cannot be used."""

    def __init__(self, name: str, value: str, expected: str) -> None:
        super().__init__(f"Setting {name} has value {value!r}. Expected {expected}.")


@dataclass(frozen=True, slots=True)
class Settings:
    """Settings of the controller and of the TorchServe that it looks after."""

    tracking_uri: str
    """MLFLOW_TRACKING_URI: the MLflow server whose registry is followed, without user and password."""
    home: Path
    """SIGNET_HOME: folder below which each replica has one of its own for archives and state."""
    config_file: Path
    """TS_CONFIG_FILE: TorchServe's config.properties."""
    alias: str
    """SIGNET_ALIAS: a registered model is deployed while a version of it carries this alias."""
    poll_interval_s: float
    """SIGNET_POLL_INTERVAL_S: seconds between two looks at the registry."""
    health_address: str
    """SIGNET_HEALTH_ADDRESS: where `/live` and `/ready` are answered, as TorchServe's own addresses are written."""
    pieces: frozenset[Piece] = frozenset(Piece)
    """The clever pieces that take part: all but those whose variable says `false`, and none with SIGNET_PLAIN."""
    credentials: Mapping[str, str] = field(default_factory=dict, repr=False)
    """What signs in at MLflow, from MLFLOW_TRACKING_URI or from files, as MLflow's own variables."""

    @property
    def has_gateway(self) -> bool:
        """Whether `/ready` can be asked from other machines, as a gateway does."""
        return urlsplit(self.health_address).hostname not in {"127.0.0.1", "::1", "localhost"}

    @classmethod
    def from_environment(cls, environment: Mapping[str, str]) -> Settings:
        """Settings from the variables named above; an empty value is the default.

        Raises:
            InvalidSetting: one is missing or cannot be used.
        """
        config_file = Path(environment.get("TS_CONFIG_FILE") or "config.properties").absolute()
        if not config_file.is_file():
            raise InvalidSetting("TS_CONFIG_FILE", str(config_file), "a readable file")
        interval = environment.get("SIGNET_POLL_INTERVAL_S") or "2"
        try:
            poll_interval_s = float(interval)
        except ValueError:
            raise InvalidSetting("SIGNET_POLL_INTERVAL_S", interval, "a number of seconds") from None
        if not 0.1 <= poll_interval_s <= 3600:  # noqa: PLR2004 -- an hour: more is a mistake
            raise InvalidSetting("SIGNET_POLL_INTERVAL_S", interval, "between 0.1 and 3600 seconds")
        health_address = environment.get("SIGNET_HEALTH_ADDRESS") or "http://127.0.0.1:8083"
        if not _is_address(health_address):
            raise InvalidSetting("SIGNET_HEALTH_ADDRESS", health_address, "an address such as 'http://127.0.0.1:8083'")
        tracking_uri, credentials = without_credentials(
            environment.get("MLFLOW_TRACKING_URI") or "http://127.0.0.1:5000"
        )
        if "://" not in tracking_uri:
            raise InvalidSetting("MLFLOW_TRACKING_URI", tracking_uri, f"a scheme, too, such as http://{tracking_uri}")
        registry_uri, _ = without_credentials(environment.get("MLFLOW_REGISTRY_URI") or tracking_uri)
        if registry_uri != tracking_uri:
            raise InvalidSetting(
                "MLFLOW_REGISTRY_URI", registry_uri, f"it unset: the registry is MLFLOW_TRACKING_URI's, {tracking_uri}"
            )
        try:
            in_files = credentials_in_files(environment)
        except OSError as error:
            expected = "a readable file"
            raise InvalidSetting(
                "MLFLOW_TRACKING_PASSWORD_FILE or …_TOKEN_FILE", str(error.filename), expected
            ) from error
        return cls(
            tracking_uri=tracking_uri,
            credentials={**in_files, **credentials},
            home=Path(environment.get("SIGNET_HOME") or "/var/lib/signet").absolute(),
            config_file=config_file,
            alias=environment.get("SIGNET_ALIAS") or "champion",
            poll_interval_s=poll_interval_s,
            health_address=health_address,
            pieces=_pieces(environment),
        )


def _pieces(environment: Mapping[str, str]) -> frozenset[Piece]:
    on = frozenset(piece for piece in Piece if _is_true(environment, piece, "true"))
    return frozenset() if _is_true(environment, switchable_pieces.PLAIN, "false") else on


def _is_true(environment: Mapping[str, str], name: str, default: str) -> bool:
    value = environment.get(name) or default
    if value not in {"true", "false"}:
        raise InvalidSetting(name, value, "true or false")
    return value == "true"


def _is_address(text: str) -> bool:
    try:
        url = urlsplit(text)
        return url.scheme == "http" and bool(url.hostname and url.port)
    except ValueError:  # a port that is none
        return False

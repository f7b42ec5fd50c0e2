"""The registered model: its versions, and the alias that says which of them serves."""

import hashlib
import math
import os
from pathlib import Path

import mlflow
import mlflow.artifacts
import mlflow.pytorch
import torch
from mlflow import MlflowClient
from mlflow.entities.model_registry import ModelVersion

from signet_trainer import ACCURACY_TAG, DIGEST_TAG, GATE_TAG, MODEL
from signet_trainer.data import Rows
from signet_trainer.errors import root_cause
from signet_trainer.promotion import Champion, Promotion, decide
from signet_trainer.terminal import say
from signet_trainer.tracking import champion_version
from signet_trainer.training import accuracy

# If another trainer has moved the alias meanwhile, the comparison begins anew, this often at most.
ROUNDS = 5
# A file that MLflow's client adds to what it downloads.
_NOT_LOGGED = "registered_model_meta"


def register(model_uri: str, test_accuracy: float, scratch: Path) -> str:
    """Register a new version, with the digest of its files as a tag. Returns its number."""
    logged = scratch / "logged"
    logged.mkdir(exist_ok=True)
    folder = mlflow.artifacts.download_artifacts(model_uri, dst_path=str(logged))
    tags = {ACCURACY_TAG: str(test_accuracy), DIGEST_TAG: digest(Path(folder))}
    version = mlflow.register_model(model_uri, MODEL, tags=tags)
    return str(version.version)


def digest(folder: Path) -> str:
    """The digest of the list that `sha256sum` prints of a model's files, in the order of their paths.

    TorchServe's controller computes the digest of the files that it downloads, and serves them only if it is equal.
    """
    files = sorted(
        (path.relative_to(folder).as_posix().encode(), hashlib.sha256(path.read_bytes()).hexdigest().encode())
        for path in folder.rglob("*")
        if path.is_file() and path.name != _NOT_LOGGED
    )
    listed = b"".join(b"%s  %s\n" % (sha256, name) for name, sha256 in files)
    return f"sha256:{hashlib.sha256(listed).hexdigest()}"


def promote(  # noqa: PLR0913, PLR0917 -- all that the decision rests on
    version: str, alias: str, test_accuracy: float, threshold: float, test: Rows, scratch: Path
) -> Promotion:
    """Move the alias to `version` if the gate lets it, and write the reason on the version.

    Two trainers may end together, and the registry has no compare-and-set. So the champion is looked up again right
    before the alias moves. Only a trainer that moves the alias during that one request can overwrite a better version.
    """
    client = MlflowClient()
    for _ in range(ROUNDS):
        current = champion_version(client, alias)
        champion = None
        if current is not None and test_accuracy >= threshold:
            champion = assess(client.get_model_version(MODEL, current), test, scratch)
        promotion = decide(test_accuracy, threshold, champion)
        if not promotion.promoted:
            break
        if champion_version(client, alias) == current:
            client.set_registered_model_alias(MODEL, alias, version)
            break
    else:
        promotion = Promotion(promoted=False, reason=f"others moved the alias {alias} during each of {ROUNDS} tries")
    client.set_model_version_tag(MODEL, version, GATE_TAG, promotion.reason)
    return promotion


def assess(version: ModelVersion, test: Rows, scratch: Path) -> Champion:
    """A version with its accuracy on the test rows; if it cannot be run, with the accuracy of its tag."""
    number = str(version.version)
    try:
        measured = measure(f"models:/{MODEL}/{number}", test, scratch)
    except Exception as error:  # noqa: BLE001 -- anybody's model: loading and running it can raise anything
        say(f"champion version {number} cannot be evaluated: {root_cause(error)}")
    else:
        return Champion(number, measured, "measured on the same test rows")
    tagged = _number(version.tags.get(ACCURACY_TAG, ""))
    if tagged is None:
        return Champion(number, None, f"can neither be run nor has a tag {ACCURACY_TAG}")
    return Champion(number, tagged, f"by its tag {ACCURACY_TAG}, as it cannot be run here")


def measure(model_uri: str, test: Rows, scratch: Path) -> float:
    """The accuracy of a logged pt2 program on the test rows. A pickle is refused: to load one is to run it."""
    os.environ["MLFLOW_ALLOW_PICKLE_DESERIALIZATION"] = "false"
    folder = scratch / "champion"
    folder.mkdir(exist_ok=True)
    program = mlflow.pytorch.load_model(model_uri, dst_path=str(folder))
    with torch.no_grad():
        classes = program(test.features)
    if classes.shape != test.labels.shape:
        raise ValueError(f"it answers {tuple(classes.shape)} to {len(test.labels)} rows, not one class for each")
    return accuracy(classes, test.labels)


def _number(text: str) -> float | None:
    try:
        value = float(text)
    except ValueError:
        return None
    return value if math.isfinite(value) else None

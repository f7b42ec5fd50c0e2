"""Whether a new version may become the champion."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Champion:
    """The version that serves now. Its `accuracy` is None if it is not known."""

    version: str
    accuracy: float | None
    source: str
    """How `accuracy` is known, in words."""


@dataclass(frozen=True)
class Promotion:
    """The decision and its reason, in words for the log and the registry."""

    promoted: bool
    reason: str


def decide(accuracy: float, threshold: float, champion: Champion | None) -> Promotion:
    """Promote a version whose accuracy reaches the threshold and is not below the champion's, if that is known."""
    if accuracy < threshold:
        return Promotion(promoted=False, reason=f"test accuracy {accuracy:.3f} is below the threshold {threshold:g}")
    reason = f"test accuracy {accuracy:.3f} reaches the threshold {threshold:g}"
    if champion is None:
        return Promotion(promoted=True, reason=f"{reason} and there is no champion yet")
    if champion.accuracy is None:
        return Promotion(promoted=True, reason=f"{reason}; champion version {champion.version} {champion.source}")
    theirs = f"champion version {champion.version} has {champion.accuracy:.3f} ({champion.source})"
    if accuracy < champion.accuracy:
        return Promotion(promoted=False, reason=f"test accuracy {accuracy:.3f} is worse than the champion's: {theirs}")
    return Promotion(promoted=True, reason=f"{reason}; {theirs}")

"""What the controller tells of itself."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field


@dataclass(slots=True)
class Status:
    """The controller's own account, as of its last look at the registry."""

    registry: str = "not asked yet"
    """`reachable`, or why the registry cannot be read."""
    deployments: Mapping[str, str] = field(default_factory=dict)
    """Revision that answers, by name of the deployment."""
    pending: Sequence[str] = ()
    """Deployments whose champion is on its way into service, or waits for its turn."""
    failed: Sequence[str] = ()
    """Deployments whose champion failed to come into service, and is tried again; what served before goes on."""
    refused: Sequence[str] = ()
    """Deployments whose champion is refused; what served before goes on."""
    troubles: Mapping[str, str] = field(default_factory=dict)
    """Unexpected exceptions of work that has not succeeded since, by the work's name."""
    untold: str = ""
    """Why the registry cannot be told what became of the versions, though it can be read."""
    stranded: Mapping[str, str] = field(default_factory=dict)
    """Why deployments go on with what they serve, though the registry names no version of them that can be read."""
    errors: int = 0
    """Unexpected exceptions since the start; the log has their tracebacks."""
    has_caught_up: bool = False
    """Whether, at one look since the controller started, a deployment answered and no champion was pending."""
    is_ending: bool = False
    """Whether this replica was told to end."""

    def tell(
        self, deployments: Mapping[str, str], pending: Sequence[str], failed: Sequence[str], refused: Sequence[str]
    ) -> None:
        """Take over what is so now."""
        self.deployments, self.pending, self.failed, self.refused = deployments, pending, failed, refused
        self.has_caught_up |= bool(deployments) and not pending

    def note_error(self, what: str, error: Exception) -> None:
        """Count an exception that nobody expected, and tell it until `forget_error` is called."""
        self.errors += 1
        self.troubles = {**self.troubles, what: f"{type(error).__name__}: {error}"}

    def forget_error(self, what: str) -> None:
        """Say no more of what went wrong there."""
        if what in self.troubles:
            self.troubles = {other: trouble for other, trouble in self.troubles.items() if other != what}

"""What can go wrong in running the stack, each with the one message that a person reads.

EmbeddedError
├── InvalidSetting       a variable has a value that cannot be used
├── FolderUnusable       the data folder cannot be made or written
├── DiskAlmostFull       too little space is left to start
├── StackBusy            another supervisor holds the folder
├── PortTaken            a wished-for port is in use
├── RootRefused          PostgreSQL will not run as root and there is no way to another user
├── ServiceDied          a service ended without having been asked to
├── ServiceNotReady      a service runs but does not answer in time
├── JobFailed            a command that should have ended well did not
├── DeploymentMissing    the champion is not served in time
└── SupervisorLost       the background supervisor ended without saying why
"""

from pathlib import Path


class EmbeddedError(Exception):
    """Root of all: its text is the whole message, meant for a person."""


class InvalidSetting(EmbeddedError):
    def __init__(self, name: str, value: str, expected: str) -> None:
        super().__init__(f"Setting {name} has value {value!r}. Expected {expected}.")


class FolderUnusable(EmbeddedError):
    def __init__(self, folder: Path, reason: OSError) -> None:
        super().__init__(f"cannot write to {folder}: {reason.strerror or reason}")


class DiskAlmostFull(EmbeddedError):
    def __init__(self, folder: Path, free_mb: int, needed_mb: int) -> None:
        super().__init__(f"the disk under {folder} is almost full: {free_mb} MB are free, {needed_mb} MB are needed")


class StackBusy(EmbeddedError):
    def __init__(self, folder: Path) -> None:
        super().__init__(f"a stack already runs in {folder}")


class PortTaken(EmbeddedError):
    def __init__(self, variable: str, port: int, holder: str | None) -> None:
        by = f" by {holder}" if holder else ""
        super().__init__(f"port {port} is taken{by}: free it, or set {variable} to another port (0 takes any free one)")


class RootRefused(EmbeddedError):
    def __init__(self, reason: str) -> None:
        super().__init__(f"PostgreSQL refuses to run as root, and {reason}: run this as another user")


class ServiceDied(EmbeddedError):
    def __init__(self, name: str, returncode: int, log_end: str) -> None:
        super().__init__(f"{name} died ({describe(returncode)}). {log_end}")
        self.name = name
        self.returncode = returncode
        self.why = describe(returncode)


class ServiceNotReady(EmbeddedError):
    def __init__(self, name: str, timeout_s: float, log_end: str) -> None:
        super().__init__(f"{name} did not answer within {timeout_s:.0f} s. {log_end}")
        self.name = name
        self.why = f"no answer within {timeout_s:.0f} s"


class JobFailed(EmbeddedError):
    def __init__(self, name: str, returncode: int, log_end: str) -> None:
        super().__init__(f"{name} failed ({describe(returncode)}). {log_end}")


class DeploymentMissing(EmbeddedError):
    def __init__(self, url: str, timeout_s: float, answer: str, log_end: str) -> None:
        super().__init__(f"{url} did not serve within {timeout_s:.0f} s, its last answer was: {answer}. {log_end}")


class SupervisorLost(EmbeddedError):
    def __init__(self, log_end: str) -> None:
        super().__init__(f"the supervisor ended unexpectedly. {log_end}")


def describe(returncode: int) -> str:
    """Exit status in words; the shim reports a signal n as 128 + n, as a shell does."""
    if returncode < 0:
        return f"its shim was killed by signal {-returncode}"
    if returncode > 128:  # noqa: PLR2004 -- the shell's convention
        return f"killed by signal {returncode - 128}"
    return f"exit code {returncode}"

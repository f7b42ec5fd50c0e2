"""Why a request is not answered, or a model version not served; `signet_contract.errors` says what requests have wrong.

Failure                 the request is not answered, for no fault of its own: an HTTP 5xx, for it alone
├── Fault               what nobody foresaw; the log has the traceback
├── AnswerTooLarge      TorchServe takes no answer of this size
└── OutOfMemory         the model's device has no memory for it
NotServable             the model version is wrong: it is refused at deployment
├── DigestDiffers       its files are not those that were logged: they may be yet to come
└── NoRoom              the replica has no memory for it: it is tried again when there is
FilesIncomplete         the model version's files are not all there: it may heal, and is tried again
"""

from __future__ import annotations

from signet_contract.errors import Failure


class Fault(Failure):
    """What nobody foresaw.

    Args:
        request: TorchServe's identifier of the request, which the log has beside the traceback.
    """

    def __init__(self, request: str) -> None:
        super().__init__(f"The server failed to answer this request. Its log says why: look for request {request}.")


class AnswerTooLarge(Failure):
    """TorchServe takes no answer of this size."""

    status = 507

    def __init__(self, size: int, most: int) -> None:
        super().__init__(
            f"The answer has {size} bytes, and at most {most} can be sent (max_response_size): "
            "ask for fewer rows at once."
        )


class OutOfMemory(Failure):
    """The model's device has no memory for the request."""

    status = 507

    def __init__(self, rows: int) -> None:
        super().__init__(f"The model has no memory for this request of {rows} rows: send fewer rows at once.")


class NotServable(Exception):
    """A model version that is refused; the message is what stands on it in the registry.

    Unless its class says otherwise, it is looked at again only when its tags change.
    """


class DigestDiffers(NotServable):
    """A model version whose files are not those that were logged: refused, and looked at again later."""

    def __init__(self, found: str, recorded: str) -> None:
        super().__init__(
            f"The version's files have the digest {found}: expected {recorded}, which was recorded in serving.digest."
        )


class NoRoom(NotServable):
    """A model version for which a replica has no memory: refused, and tried again when there is.

    Args:
        needed_mib: what it takes, as far as can be told.
        free_mib: what the replica can give it.
    """

    def __init__(self, needed_mib: float, free_mib: float) -> None:
        super().__init__(
            f"The replica has no memory for the version: it needs {needed_mib:,.0f} MiB, and {free_mib:,.0f} MiB are "
            "free. The version is tried again when there is room."
        )
        self.needed_mib = needed_mib


class FilesIncomplete(Exception):
    """A model version some of whose files are missing, as while they are uploaded."""

    def __init__(self, what: str) -> None:
        super().__init__(f"The version's files are not complete: {what}.")

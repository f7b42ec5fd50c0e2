"""Whether MLflow's registry has changed since it was last looked at: a question that costs the server next to nothing.

Our MLflow server gives its answers to a search an ETag; any other does not, and then every look is a whole one.
"""

from __future__ import annotations

from http import HTTPStatus

import requests
from mlflow.exceptions import MlflowException
from mlflow.utils.credentials import get_default_host_creds
from mlflow.utils.rest_utils import http_request

_SEARCH = "/api/2.0/mlflow/registered-models/search"
_TIMEOUT_S = 2


class RegistryChanges:
    """The changes of one MLflow server's registry.

    Args:
        tracking_uri: the server; of a database without a server nothing can be told.
    """

    def __init__(self, tracking_uri: str) -> None:
        self._tracking_uri = tracking_uri
        self._is_server = tracking_uri.startswith(("http://", "https://"))
        self._etag: str | None = None
        self.have_been_told = False
        """Whether the server has ever told."""

    def begin(self) -> None:
        """Keep the registry's ETag of now: changes count from here."""
        answer = self._ask({})
        self._etag = answer.headers.get("ETag") if answer is not None and answer.ok else None
        self.have_been_told |= self._etag is not None

    @property
    def can_be_told(self) -> bool:
        """Whether the server tells what changes from now on."""
        return self._etag is not None

    def are_there(self) -> bool:
        """Whether there may be any: False if the server says that there are none."""
        if self._etag is None:
            return True
        answer = self._ask({"If-None-Match": self._etag})
        return answer is None or answer.status_code != HTTPStatus.NOT_MODIFIED

    def _ask(self, headers: dict[str, str]) -> requests.Response | None:
        if not self._is_server:
            return None
        try:
            return http_request(  # type: ignore[no-any-return, no-untyped-call]  # MLflow types it in part
                get_default_host_creds(self._tracking_uri),  # type: ignore[no-untyped-call]  # as above
                _SEARCH,
                "GET",
                params={"max_results": 1},
                extra_headers=headers,
                timeout=_TIMEOUT_S,
                max_retries=0,
            )
        except (MlflowException, OSError):
            return None

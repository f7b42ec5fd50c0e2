"""Whether others have changed MLflow's registry since it was last looked at: a question that costs the server little.

Our MLflow server puts an ETag on its answers to a search. The ETag is another one after each change, unless the process
that asks has made that change itself. The server also names the models that have changed since an ETag. Any other
server gives no ETag, and then every look is a whole one.
"""

from __future__ import annotations

import json
import secrets
from collections.abc import Set as AbstractSet
from http import HTTPStatus

import requests
from mlflow.exceptions import MlflowException
from mlflow.tracking.request_header import registry
from mlflow.tracking.request_header.abstract_request_header_provider import RequestHeaderProvider
from mlflow.tracking.request_header.databricks_request_header_provider import DatabricksRequestHeaderProvider
from mlflow.utils.credentials import get_default_host_creds
from mlflow.utils.rest_utils import http_request

_SEARCH = "/api/2.0/mlflow/registered-models/search"
_ASK_TIMEOUT_S = 2


class _ThisProcess(RequestHeaderProvider):
    """Names this process in its requests."""

    def __init__(self) -> None:
        self._headers = {"X-Signet-Process": secrets.token_hex(8)}

    def in_context(self) -> bool:
        return True

    def request_headers(self) -> dict[str, str]:
        return self._headers


def name_this_process() -> None:
    """Name this process in each of its requests to MLflow, so that what it changes itself is no news to it.

    It also drops MLflow's test, before each request, whether it runs in Databricks: that test is half of a request's
    cost here.
    """
    mlflows = registry._request_header_provider_registry  # noqa: SLF001 -- the public way is to install a plugin
    ours = DatabricksRequestHeaderProvider, _ThisProcess
    mlflows._registry = [*(it for it in mlflows if not isinstance(it, ours)), _ThisProcess()]  # noqa: SLF001 -- as above


class RegistryChanges:
    """The changes of one MLflow server's registry by others.

    Attributes:
        mark: the ETag after which changes count; None where the server gives none.
        have_been_told: whether the server has ever given one.

    Args:
        tracking_uri: the server. A database has no server that could tell: then nothing is asked.
    """

    def __init__(self, tracking_uri: str) -> None:
        self._tracking_uri = tracking_uri
        self._is_server = tracking_uri.startswith(("http://", "https://"))
        # The last answer of a change that `begin` has not returned yet: its ETag, and the names, if the server tells.
        self._newest: tuple[str | None, AbstractSet[str] | None] | None = None
        self.mark: str | None = None
        self.have_been_told = False

    def begin(self) -> AbstractSet[str] | None:
        """Move the mark to the newest ETag. A listing that is read after this call has all changes up to it.

        The server is asked only if no thread has been told of a change since the last `begin`.

        Returns:
            Names of the models that have changed since the mark before; None if the server does not tell.
        """
        if self._newest is None and not self._ask(self.mark):
            return frozenset()
        newest, self._newest = self._newest, None  # at once: another thread may be asking
        self.mark, changed = newest or (None, None)
        self.have_been_told |= self.mark is not None
        return changed

    def are_there(self) -> bool:
        """Whether there may be any: False if the server says that there are none."""
        return self.are_there_since(self.mark)

    def are_there_since(self, mark: str | None, wait_s: int = 0) -> bool:
        """Whether there may be any since this was the mark, or come within `wait_s`; any thread may ask."""
        return mark is None or self._ask(mark, wait_s)

    def _ask(self, mark: str | None, wait_s: int = 0) -> bool:
        """Whether there are, or may be, changes since the mark; notes what the server says of them."""
        if not self._is_server:
            return True
        headers = {} if mark is None else {"If-None-Match": mark, "Prefer": f"wait={wait_s}"}
        try:
            answer: requests.Response = http_request(  # type: ignore[no-untyped-call]  # MLflow types it in part
                get_default_host_creds(self._tracking_uri),  # type: ignore[no-untyped-call]  # as above
                _SEARCH,
                "GET",
                params={"max_results": 1},
                extra_headers=headers,
                timeout=_ASK_TIMEOUT_S + wait_s,
                max_retries=0,
            )
        except (MlflowException, OSError):
            return True
        if answer.status_code == HTTPStatus.OK:
            names = answer.headers.get("X-Signet-Changed")
            self._newest = answer.headers.get("ETag"), None if names is None else frozenset(json.loads(names))
        return answer.status_code != HTTPStatus.NOT_MODIFIED

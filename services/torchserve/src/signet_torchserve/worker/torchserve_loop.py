"""Makes requests of what TorchServe's own loop gives a handler, and hands it the answers: the plain way.

The other way is `worker_loop`. TorchServe's loop gives only the last value of a field that came more than once. It
cannot leave a request undecided: the whole batch waits until all its requests are decided.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from http import HTTPStatus
from typing import TYPE_CHECKING, Any

from signet_torchserve.worker.worker_loop import EXPLAIN, ROWS, Answer, Handle, Request

if TYPE_CHECKING:
    from ts.context import Context

_BODY = "body"


def answered(
    batch: Sequence[Mapping[str, Any]], context: Context, handle: Handle, headers: Mapping[str, str]
) -> list[bytes]:
    """Bodies of the answers to a batch.

    Args:
        batch: the fields of each request.
        context: TorchServe's; has the requests' headers, and gets those of the answers and their status.
        handle: gives the answers.
        headers: of every answer.
    """
    bodies = []
    for index, answer in enumerate(handle([_request(index, fields, context) for index, fields in enumerate(batch)])):
        assert isinstance(answer, Answer)  # noqa: S101 -- none is left undecided where TorchServe keeps none
        context.set_response_status(answer.status, HTTPStatus(answer.status).phrase, index)
        context.set_response_content_type(index, answer.content_type)
        for name, value in headers.items():
            context.set_response_header(index, name, value)
        if answer.rows != 1:
            context.set_response_header(index, ROWS, str(answer.rows))
        bodies.append(answer.body)
    return bodies


def _request(index: int, fields: Mapping[str, Any], context: Context) -> Request:
    # TorchServe keeps each field's media type among the request's headers, by the field's name.
    told = context.get_all_request_header(index)
    body = told.get(_BODY)
    return Request(
        identifier=str(context.get_request_id(index)).encode(),
        fields={name: bytes(value) for name, value in fields.items()},
        content_type=body["content-type"] if isinstance(body, dict) else "",
        is_explanation=told.get(EXPLAIN.decode()) == "True",
    )

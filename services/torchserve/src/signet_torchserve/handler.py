"""TorchServe's side of serving: payload → signature → program → answer, for a whole batch, each request on its own.

Every archive is served by this one handler (`default_service_handler` in config.properties), so archives hold no
code.
"""

from __future__ import annotations

import gc
import json
import os
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import orjson
import torch

from signet_torchserve import answer, payload, wire
from signet_torchserve.archive_layout import LABELS, MLMODEL, OPTIONS, PROGRAM
from signet_torchserve.errors import MalformedPayload, Refusal, Rule
from signet_torchserve.feed import Feed
from signet_torchserve.inflight import InFlight
from signet_torchserve.metrics import Metrics
from signet_torchserve.program import Program
from signet_torchserve.signature import Signature

if TYPE_CHECKING:
    from ts.context import Context


class SignatureHandler:
    """Serves one version of one model behind its signature."""

    def initialize(self, context: Context) -> None:
        """Load the archive that TorchServe has unpacked into the context's model_dir."""
        wire.install()
        properties = context.system_properties
        folder = Path(properties["model_dir"])
        gpu = properties.get("gpu_id")
        self.model = context.model_name
        options = json.loads((folder / OPTIONS).read_text("utf-8"))
        self.version = options["version"]
        self.signature = Signature.load(folder / MLMODEL, frozenset(options["allow"]))
        self.program = Program(
            folder / PROGRAM, f"cuda:{gpu}" if gpu is not None and torch.cuda.is_available() else "cpu"
        )
        labels = folder / LABELS
        self.labels = None
        if labels.exists():
            self.labels = {int(index): str(name) for index, name in json.loads(labels.read_text("utf-8")).items()}
        self.metrics = Metrics(context, self.version)
        self.in_flight = InFlight(Path(tempfile.gettempdir()), os.getpid())
        gc.freeze()  # what is loaded now stays, so no collection need look at it again

    def handle(self, batch: list[dict[str, Any]], context: Context) -> list[bytes]:
        """Answers to a batch, in its order; a refusal is that request's alone and leaves its neighbours as they are."""
        with self.in_flight:
            return self._answers(batch, context)

    def _answers(self, batch: list[dict[str, Any]], context: Context) -> list[bytes]:
        began = time.perf_counter()
        rows: list[int] = []
        refused: list[Rule] = []
        answers: list[bytes] = [b""] * len(batch)
        waiting: list[tuple[int, payload.Payload, Feed]] = []
        for index, request in enumerate(batch):
            context.set_response_header(index, "X-Model-Version", self.version)
            try:
                if context.get_request_header(index, "explain") == "True":
                    raise self._no_explanations()
                decoded = _decode(request, context, index)
                waiting.append((index, decoded, self.signature.check(decoded)))
            except Refusal as refusal:
                answers[index] = self._refuse(refusal, context, index)
                refused.append(refusal.rule)
        if waiting:
            outputs = self.program.run([feed for _, _, feed in waiting])
            for (index, decoded, feed), output in zip(waiting, outputs, strict=True):
                if isinstance(output, Refusal):
                    answers[index] = self._refuse(output, context, index)
                    refused.append(output.rule)
                    continue
                answers[index], content_type = answer.write(output, decoded, feed, self.labels)
                context.set_response_content_type(index, content_type)
                rows.append(feed.rows)
        self.metrics.count(time.perf_counter() - began, rows, refused)
        return answers

    def _no_explanations(self) -> Refusal:
        return MalformedPayload(
            f"{self.model} has no explanations: ask for a prediction at /predictions/{self.model}.",
            expected="a request for a prediction",
            got="one for an explanation",
        )

    def _refuse(self, refusal: Refusal, context: Context, index: int) -> bytes:
        context.set_response_status(refusal.status, "Bad Request", index)
        context.set_response_content_type(index, answer.JSON)
        if refusal.written is None:
            refusal.written = orjson.dumps(refusal.body(self.model, self.version), default=str)
        return refusal.written


def _decode(request: dict[str, Any], context: Context, index: int) -> payload.Payload:
    """Payload of one of TorchServe's requests: its parameter `body`, or the fields of a form."""
    headers: dict[str, Any] = context.get_all_request_header(index)
    part = headers.get("body")  # or, where a client sends an HTTP header of that name, a text
    if "body" in request:
        return payload.decode(request["body"], part["content-type"] if isinstance(part, dict) else "")
    return payload.decode_form(request)

"""TorchServe's side of serving: payload → signature → program → answer, for a whole batch, each request on its own.

Every archive is served by this one handler (`default_service_handler` in config.properties), so archives hold no
code.
"""

from __future__ import annotations

import contextlib
import gc
import json
import socket
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

import orjson
import torch
import yaml

from signet_torchserve import answer, outputs, payload, trials, wire
from signet_torchserve.archive_layout import LABELS, MLMODEL, OPTIONS, PROGRAM
from signet_torchserve.errors import MalformedPayload, NotServable, Refusal, Rule
from signet_torchserve.feed import Feed
from signet_torchserve.golden import Golden
from signet_torchserve.guards import Guards
from signet_torchserve.inflight import InFlight
from signet_torchserve.last_words import LastWords
from signet_torchserve.metrics import Metrics
from signet_torchserve.program import Program
from signet_torchserve.signature import Signature

if TYPE_CHECKING:
    from ts.context import Context

_NOT_YET = wire.Answer(b"", answer.TEXT)


class SignatureHandler:
    """Serves one version of one model behind its signature."""

    def initialize(self, context: Context) -> None:
        """Load the archive that TorchServe has unpacked into the context's model_dir, and say why where that fails."""
        folder = Path(context.system_properties["model_dir"])
        try:
            self._load(context, folder)
        except Exception as error:
            LastWords(str(error) or type(error).__name__, is_final=isinstance(error, NotServable)).write(folder)
            raise
        LastWords.take_back(folder)
        wire.take_over(self._serve)
        gc.freeze()  # what is loaded now stays, so no collection need look at it again

    def _load(self, context: Context, folder: Path) -> None:
        gpu = context.system_properties.get("gpu_id")
        self.model = context.model_name
        options = json.loads((folder / OPTIONS).read_text("utf-8"))
        self.version = options["version"]
        self.signature = Signature.load(folder / MLMODEL, frozenset(options["allow"]))
        self.program = Program(
            folder / PROGRAM,
            f"cuda:{gpu}" if gpu is not None and torch.cuda.is_available() else "cpu",
            # An archive that was built before rows were proven says nothing of them.
            is_batch_invariant=options.get("alone_because") == "",
        )
        labels = folder / LABELS
        self.labels = None
        if labels.exists():
            self.labels = {int(index): str(name) for index, name in json.loads(labels.read_text("utf-8")).items()}
        self._lost = self._hold_outputs(folder)
        self.metrics = Metrics(context, self.version)

    def _hold_outputs(self, folder: Path) -> list[int] | None:
        """Hold what the program returns to its signature; see `outputs.lost`."""
        document = yaml.safe_load((folder / MLMODEL).read_text("utf-8"))["signature"]
        golden = Golden.of(folder)
        example = None
        if golden is not None:
            with contextlib.suppress(Refusal):
                example = self.signature.surely_valid(payload.decode(orjson.dumps(golden.request)))
        with torch.inference_mode():
            answers = trials.answers(
                self.program.run, json.loads(document["inputs"]), example, Guards.of(folder / PROGRAM)
            )
        promised = json.loads(document.get("outputs") or "[]") if self.labels is None else []
        return outputs.lost(promised, answers)

    def handle(self, batch: Sequence[wire.Request]) -> list[wire.Answer]:
        """Answers to a batch, in its order; a refusal is that request's alone and leaves its neighbours as they are."""
        began = time.perf_counter()
        rows: list[int] = []
        refused: list[Rule] = []
        answers = [_NOT_YET] * len(batch)
        waiting: list[tuple[int, payload.Payload, Feed]] = []
        for index, request in enumerate(batch):
            try:
                decoded = self._decode(request)
                waiting.append((index, decoded, self.signature.check(decoded)))
            except Refusal as refusal:
                answers[index] = self._refuse(refusal)
                refused.append(refusal.rule)
        if waiting:
            results = self.program.run([feed for _, _, feed in waiting])
            for (index, decoded, feed), output in zip(waiting, results, strict=True):
                if isinstance(output, Refusal):
                    answers[index] = self._refuse(output)
                    refused.append(output.rule)
                    continue
                whole = outputs.restored(output, self._lost) if self._lost and feed.rows == 1 else output
                answers[index] = wire.Answer(*answer.write(whole, decoded, feed, self.labels))
                rows.append(feed.rows)
        self.metrics.count(time.perf_counter() - began, rows, refused)
        return answers

    def _serve(self, connection: socket.socket) -> NoReturn:
        with torch.inference_mode():  # for good: to enter it for each batch costs a lone request 4 µs
            wire.serve(connection, self.handle, {"X-Model-Version": self.version}, InFlight())

    def _decode(self, request: wire.Request) -> payload.Payload:
        if request.is_explanation:
            raise MalformedPayload(
                f"{self.model} has no explanations: ask for a prediction at /predictions/{self.model}.",
                expected="a request for a prediction",
                got="one for an explanation",
            )
        if "body" in request.fields:
            return payload.decode(request.fields["body"], request.content_type)
        return payload.decode_form(request.fields)

    def _refuse(self, refusal: Refusal) -> wire.Answer:
        if refusal.written is None:
            refusal.written = orjson.dumps(refusal.body(self.model, self.version), default=str)
        return wire.Answer(refusal.written, answer.JSON, refusal.status)

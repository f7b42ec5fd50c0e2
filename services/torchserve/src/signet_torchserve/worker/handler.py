"""What TorchServe's worker calls: request → contract → program → answer, for a whole batch, each request on its own.

Every archive is served by this one handler (`default_service_handler` in config.properties), so archives hold no
code.
"""

from __future__ import annotations

import gc
import json
import os
import socket
import time
import traceback
from collections.abc import Mapping, Sequence
from http import HTTPStatus
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

import orjson
import torch
from signet_contract import Contract, DecodedRequest, MalformedPayload, ModelInput, Rejected, decode, decode_form
from signet_contract.enforcement import service_client
from signet_contract.errors import Failure, listed
from ts.model_server import load_properties

from signet_torchserve import deadlines, os_compat, switchable_pieces
from signet_torchserve.archive.file_names import LABELS, MLMODEL, OPTIONS, PROGRAM
from signet_torchserve.archive.golden import Golden
from signet_torchserve.archive.load_failure import LoadFailure
from signet_torchserve.busy_flag import BusyFlag
from signet_torchserve.errors import AnswerTooLarge, Fault, NotServable, OutOfMemory
from signet_torchserve.model import output_check
from signet_torchserve.model.program import Program
from signet_torchserve.switchable_pieces import Piece
from signet_torchserve.version_options import Options
from signet_torchserve.worker import response_encoding, torchserve_loop, warm_up, worker_loop
from signet_torchserve.worker.metrics import Metrics, Tally
from signet_torchserve.worker.undecided_requests import Admitted, Undecided

if TYPE_CHECKING:
    from ts.context import Context

MAX_ANSWER_BYTES = 6553500  # where config.properties names no max_response_size, as TorchServe has it
LOADING_SCORE, SERVING_SCORE = 1000, 500
"""OOM scores of a worker. If memory runs out, a worker that loads is killed first, then one that serves, Java last."""

Decision = Admitted | worker_loop.Answer | None
"""On a request: it is admitted, or it has its answer already, as a rejection; None while enforcement is deciding."""


class SignatureHandler:
    """Serves one version of one model behind its signature.

    This module must define no other class: TorchServe takes a module's only class as its handler.
    """

    def initialize(self, context: Context) -> None:
        """Load the unpacked archive, the context's model_dir. If that fails, the reason is written there."""
        folder = Path(context.system_properties["model_dir"])
        os_compat.set_oom_score(LOADING_SCORE)
        try:
            self._load(context, folder)
            golden, example = self._golden_request(folder)
            self._check_outputs(example)
        except Exception as error:
            LoadFailure(str(error) or type(error).__name__, is_final=isinstance(error, NotServable)).write(folder)
            raise
        if example is not None:
            self._warm_up(golden, context.system_properties["batch_size"])
        LoadFailure.clear(folder)
        os_compat.set_oom_score(SERVING_SCORE)
        if switchable_pieces.has(Piece.WORKER_LOOP, os.environ):
            worker_loop.take_over(self._serve)
        gc.freeze()  # what is loaded by now stays for good: no collection need look at it

    def _load(self, context: Context, folder: Path) -> None:
        gpu = context.system_properties.get("gpu_id")
        self.model = context.model_name
        options = json.loads((folder / OPTIONS).read_text("utf-8"))
        self.version = options["version"]
        frontend = load_properties(os.environ["TS_CONFIG_FILE"]) if "TS_CONFIG_FILE" in os.environ else {}
        self.max_answer_bytes = int(frontend.get("max_response_size", MAX_ANSWER_BYTES))
        # Archives from before `serving.timeout_s` name no time-out.
        decision_s = deadlines.decision_s(options.get("timeout_s", Options().timeout_s))
        self.contract = Contract.load(folder / MLMODEL, options["allow"], timeout_s=decision_s)
        self.undecided = Undecided()
        self.program = Program(
            folder / PROGRAM,
            f"cuda:{gpu}" if gpu is not None and torch.cuda.is_available() else "cpu",
            # Archives from before the proof of batch invariance have no such entry.
            is_batch_invariant=options.get("alone_because") == "",
            is_generated=switchable_pieces.has(Piece.CODE_GENERATION, os.environ),
        )
        labels = folder / LABELS
        self.labels = None
        if labels.exists():
            self.labels = {int(index): str(name) for index, name in json.loads(labels.read_text("utf-8")).items()}
        self.metrics = Metrics(context, self.version)
        self._headers = {"X-Model-Version": self.version}
        self._busy_flag = BusyFlag()

    def _golden_request(self, folder: Path) -> tuple[bytes, ModelInput | None]:
        """The golden request's body and its model input: None if the fast path does not admit it, or there is none.

        Enforcement is not asked: its service may not run yet.
        """
        golden = Golden.of(folder)
        if golden is None:
            return b"", None
        body = orjson.dumps(golden.request)
        try:
            return body, self.contract.fast_path(decode(body))
        except Rejected:
            return body, None

    def _check_outputs(self, example: ModelInput | None) -> None:
        """Compare what the program returns with what the signature promises, or with the labels if it has some."""
        with torch.inference_mode():
            answers = warm_up.answers(self.program, self.contract.inputs, example)
        promised = self.contract.outputs if self.labels is None else []
        self._ranks = output_check.checked(promised, answers)
        if self.labels is not None:
            for rows, answer in answers.items():
                response_encoding.refuse_unlabelled(self._whole(answer, rows), self.labels)

    def _whole(self, output: Any, rows: int) -> Any:
        """The output with the first dimension that the program drops for a single row."""
        return output_check.restored(output, self._ranks) if self._ranks and rows == 1 else output

    def _warm_up(self, golden: bytes, batch_size: int) -> None:
        """Answer the golden request in batches of several sizes, as clients' requests are answered.

        A size takes longer the first time: torch prepares something for each shape, and pages of memory become this
        process' own. No client shall wait for that.
        """

        def is_answered(size: int) -> bool:
            requests = [
                worker_loop.Request(b"%d" % each, {"body": golden}, response_encoding.JSON) for each in range(size)
            ]
            answers = self._answers_to(requests, Tally())
            return all(answer is not None and answer.status == HTTPStatus.OK for answer in answers)

        with torch.inference_mode():
            warm_up.answer_batches(is_answered, batch_size)

    def handle(self, batch: Sequence[Mapping[str, Any]], context: Context) -> list[bytes]:
        """Bodies of the answers to a batch, for TorchServe's own loop; the context gets their headers."""
        with self._busy_flag, torch.inference_mode():
            return torchserve_loop.answered(batch, context, self.answer, self._headers)

    def answer(self, batch: Sequence[worker_loop.Request]) -> list[worker_loop.Answer | None]:
        """Answers to a batch, in its order. What goes wrong with one request leaves the others of the batch alone.

        A request on which enforcement has not decided yet gets None; TorchServe names that request again in the next
        batch. There is no None for a TorchServe without our patches, which cannot do that.
        """
        began = time.perf_counter()
        tally = Tally()
        answers = self._answers_to(batch, tally)
        try:
            self.metrics.count(time.perf_counter() - began, tally)
        except Exception:  # noqa: BLE001 -- what is answered is answered
            traceback.print_exc()
        return answers

    def _answers_to(self, batch: Sequence[worker_loop.Request], tally: Tally) -> list[worker_loop.Answer | None]:
        """Decide on each request, call the program for all that are admitted, and write its outputs as answers."""
        if self.undecided:
            self.undecided.keep_only({request.identifier for request in batch})
        decisions = [self._decided_at_once(request, tally) for request in batch]
        waiting = [index for index, decision in enumerate(decisions) if decision is None]
        # Nothing else can be answered meanwhile, or this TorchServe takes no answers for a part of a batch.
        if waiting and (len(waiting) == len(batch) or not self.undecided.are_kept):
            self.undecided.wait()
        for index in waiting:
            decisions[index] = self._decided_meanwhile(batch[index], tally)
        outputs = iter(self._run([it.model_input for it in decisions if isinstance(it, Admitted)]))
        return [
            self._written(next(outputs), it, request, tally) if isinstance(it, Admitted) else it
            for it, request in zip(decisions, batch, strict=True)
        ]

    def _decided_at_once(self, request: worker_loop.Request, tally: Tally) -> Decision:
        """The decision on a request; None if enforcement has been asked about it, now or before."""
        if request.identifier in self.undecided:
            return None
        try:
            decoded = self._decode(request)
            model_input = self.contract.decide_fast(decoded)
            if model_input is None and service_client.can_ask(decoded):
                self.undecided.ask(request.identifier, decoded, self.contract.enforce)
                return None
            return Admitted(decoded, self.contract.enforce(decoded) if model_input is None else model_input)
        except Exception as error:  # noqa: BLE001 -- whatever it is, it is that request's own
            return self._error(error, request, tally)

    def _decided_meanwhile(self, request: worker_loop.Request, tally: Tally) -> Decision:
        """Enforcement's decision on a request that it was asked about."""
        question = self.undecided.take(request.identifier)
        if question is None:
            return None
        tally.waited.append(time.monotonic() - question.began)
        try:
            return Admitted(question.decoded, question.decision.result())
        except Exception as error:  # noqa: BLE001 -- as above
            return self._error(error, request, tally)

    def _run(self, model_inputs: list[ModelInput]) -> list[Any]:
        """Output of the program for each model input, or the exception that it raises.

        Raises:
            RuntimeError: the GPU is broken.
        """
        try:
            return self.program.run(model_inputs)
        except Exception as error:
            if len(model_inputs) > 1:  # find out which
                return [output for model_input in model_inputs for output in self._run([model_input])]
            if isinstance(error, MemoryError | torch.OutOfMemoryError):
                return [OutOfMemory(model_inputs[0].rows)]
            if "CUDA" in str(error):
                raise
            return [error]

    def _written(
        self, output: Any, admitted: Admitted, request: worker_loop.Request, tally: Tally
    ) -> worker_loop.Answer:
        """An output as the answer to its request."""
        try:
            answer = self._write(output, *admitted)
        except Exception as error:  # noqa: BLE001 -- as above
            return self._error(error, request, tally)
        tally.rows.append(answer.rows)
        return answer

    def _write(self, output: Any, decoded: DecodedRequest, model_input: ModelInput) -> worker_loop.Answer:
        if isinstance(output, Exception):
            raise output
        whole = self._whole(output, model_input.rows)
        body, content_type = response_encoding.write(whole, decoded, model_input, self.labels)
        if len(body) > self.max_answer_bytes:
            raise AnswerTooLarge(len(body), self.max_answer_bytes)
        return worker_loop.Answer(body, content_type, rows=model_input.rows)

    def _serve(self, connection: socket.socket) -> NoReturn:
        with torch.inference_mode():  # for good: to enter it for each batch costs time
            worker_loop.serve(connection, self.answer, self._headers, self._busy_flag)

    def _decode(self, request: worker_loop.Request) -> DecodedRequest:
        if request.is_explanation:
            raise MalformedPayload(
                f"{self.model} has no explanations: ask for a prediction at /predictions/{self.model}.",
                expected="a request for a prediction",
                got="one for an explanation",
            )
        if request.repeated is not None:
            name = listed([request.repeated])
            raise MalformedPayload(
                f"The request has a field more than once: {name}.", expected="each field once", got=f"{name} twice"
            )
        if "body" in request.fields:
            if "data" in request.fields:
                raise MalformedPayload(
                    "The request has both a field 'data' and a body: exactly one of them is expected.",
                    expected="a field 'data' or a body",
                    got="both",
                )
            return decode(request.fields["body"], request.content_type)
        return decode_form(request.fields)

    def _error(self, error: Exception, request: worker_loop.Request, tally: Tally) -> worker_loop.Answer:
        """The answer to a request that is rejected, or that the server fails to answer."""
        if isinstance(error, Rejected):
            tally.rejected.append(error.rule)
            if error.written is None:
                error.written = orjson.dumps(error.document(model=self.model, version=self.version), default=str)
            return worker_loop.Answer(error.written, response_encoding.JSON, error.status)
        tally.failed += 1
        identifier = request.identifier.decode()
        failure = error if isinstance(error, Failure) else Fault(identifier)
        error.add_note(f"Request {identifier} failed so.")
        traceback.print_exception(error)
        return worker_loop.Answer(
            orjson.dumps(failure.document(model=self.model, version=self.version)),
            response_encoding.JSON,
            failure.status,
        )

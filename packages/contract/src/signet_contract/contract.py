"""The contract: an MLflow model signature, compiled once, that every request is held to.

The fast path (`fastpath`) says whether a request is plainly right: all of it is there, and each value has a JSON type
that its column takes, such as an integer in a float column. That costs microseconds, and nearly all traffic is of that
kind. Any other request is undecided. It goes to enforcement (`enforcement`), where MLflow itself decides with pandas,
and each fault gets its name. The fast path never rejects, and enforcement never guesses. So both together accept what
MLflow accepts, except what `enforcement.decision` lists, and the model gets what MLflow would give it. A rejection that
repeats is remembered.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

import orjson

from signet_contract import compatibility, json_text, mlmodel, request
from signet_contract.decoded_request import UNREAD, DecodedRequest
from signet_contract.enforcement import service_client
from signet_contract.errors import EnforcementMissing, Rejected
from signet_contract.fastpath import rejection_cache
from signet_contract.fastpath.columns import Columns
from signet_contract.fastpath.params import Params
from signet_contract.fastpath.tensors import Tensors
from signet_contract.model_input import ModelInput
from signet_contract.policy import Policy

TIMEOUT_S = 50
"""Seconds that enforcement has for a request where nothing else is said."""


class Contract:
    """What a request must be: inputs and params of an MLflow model signature, and the policy that goes with them.

    Args:
        signature: the `signature` entry of an MLmodel file: `inputs`, `outputs` and `params`, each a JSON text or None.
        policy: what is let through although MLflow or the contract would reject it, words of `Policy`.
        labels: names of the classes that the model answers with, by their numbers; None if it has none.
        timeout_s: seconds that enforcement has for a request.

    Raises:
        ValueError: the policy has a word that is none of `Policy`.
    """

    def __init__(
        self,
        signature: Mapping[str, Any],
        policy: Collection[str] = (),
        labels: Mapping[str, str] | None = None,
        timeout_s: float = TIMEOUT_S,
    ) -> None:
        self.inputs: list[dict[str, Any]] = json_text.of_mlflow(signature["inputs"])
        self.outputs: list[dict[str, Any]] = json_text.of_mlflow(signature.get("outputs") or "[]")
        self.params: list[dict[str, Any]] = json_text.of_mlflow(signature.get("params") or "[]")
        self.policy = frozenset(map(Policy, policy))
        self.labels = labels
        self._signature = {part: signature.get(part) for part in ("inputs", "outputs", "params")}
        self._document = orjson.dumps({**self._signature, "policy": sorted(self.policy)})
        self._timeout_s = timeout_s
        self._params = Params(self.params) if Params.can_read(self.params) else None
        self._inputs: Columns | Tensors | None = None
        if Columns.can_read(self.inputs):
            self._inputs = Columns(self.inputs, whole_numbers=Policy.WHOLE_NUMBERS in self.policy)
        elif Tensors.can_read(self.inputs):
            self._inputs = Tensors(self.inputs)
        # A rejection is remembered under the types of the values, so it must not depend on the values themselves. It
        # may do so
        # - under a policy, which may let types be mixed ("3.5" is then a number, and "a" is none);
        # - in columns without names, whose values MLflow converts;
        # - in columns of texts.
        have_names = all(spec.get("name") for spec in self.inputs)
        have_texts = any(spec["type"] == "string" for spec in self.inputs)
        depends_on_values = bool(self.policy) or not have_names or have_texts
        is_cached = isinstance(self._inputs, Columns) and not depends_on_values
        self._rejections = rejection_cache.RejectionCache() if is_cached else None

    @classmethod
    def load(
        cls,
        model: str | Path,
        policy: Collection[str] = (),
        labels: Mapping[str, str] | None = None,
        timeout_s: float = TIMEOUT_S,
    ) -> Contract:
        """The contract of a model on disk.

        Args:
            model: an MLmodel file, or the folder that holds one.
            policy: as a `Contract`'s.
            labels: likewise.
            timeout_s: likewise.

        Raises:
            OSError: there is no such file.
            ValueError: it is no MLmodel file, or its model was logged without a signature.
        """
        path = Path(model)
        path = path / "MLmodel" if path.is_dir() else path
        try:
            document = mlmodel.read(path)
        except ValueError as error:
            raise ValueError(f"{path} is no MLmodel file: {error}") from error
        if "flavors" not in document:
            raise ValueError(f"{path} is no MLmodel file: it names no flavors.")
        signature = document.get("signature")
        if not isinstance(signature, dict) or not signature.get("inputs"):
            raise ValueError(f"The model of {path} has no signature with inputs: log it with one.")
        return cls(signature, policy, labels, timeout_s)

    def check(self, body: bytes, content_type: str = "") -> ModelInput:
        """What to call the model with for the body of a request.

        Args:
            body: JSON, or CSV where `content_type` says `text/csv`, in one of the formats of `codecs`.
            content_type: the header of that name.

        Raises:
            Rejected: the body cannot be read, or the signature does not admit it.
            DecidedTooLate: the enforcement service has not decided in time.
            EnforcementFailed: the enforcement service has failed, or ended, without a decision.
            EnforcementMissing: there is no such service, and what it needs is not installed here.
        """
        return self.admit(request.decode(body, content_type))

    def admit(self, decoded: DecodedRequest) -> ModelInput:
        """What to call the model with for a request whose body has been decoded; raises as `check`."""
        model_input = self.decide_fast(decoded)
        return self.enforce(decoded) if model_input is None else model_input

    def decide_fast(self, decoded: DecodedRequest) -> ModelInput | None:
        """Try the fast path, then the remembered rejections: microseconds.

        Returns:
            What to call the model with; None if enforcement has to decide.

        Raises:
            Rejected: a request that is wrong in the same way was rejected before.
        """
        model_input = self.fast_path(decoded)
        if model_input is None and self._rejections is not None:
            remembered = self._rejections.recall(rejection_cache.cache_key(decoded))
            if remembered:
                raise remembered.with_traceback(None)  # else it would grow each time
        return model_input

    def fast_path(self, decoded: DecodedRequest) -> ModelInput | None:
        """What to call the model with, if the request is plainly right; None if that is undecided."""
        if self._inputs is None or self._params is None:
            return None
        inputs, params = self._inputs.read(decoded), self._params.read(decoded.params)
        if inputs is None or params is None:
            return None
        return ModelInput(inputs, params, framed=isinstance(self._inputs, Columns))

    def enforce(self, decoded: DecodedRequest, began: float | None = None) -> ModelInput:
        """What enforcement says to call the model with.

        Args:
            decoded: what the fast path has left undecided.
            began: since when enforcement's time runs, of `time.monotonic`; None for now.

        Raises:
            Rejected: the signature does not admit the request.
            DecidedTooLate: the enforcement service has not decided in time.
            EnforcementFailed: the enforcement service has failed, or ended, without a decision.
            EnforcementMissing: there is no such service, and what it needs is not installed here.
        """
        # Before the service is asked: the request loses its content then.
        key = rejection_cache.cache_key(decoded) if self._rejections is not None else None
        try:
            if service_client.can_ask(decoded):
                return service_client.ask(self._document, decoded, self._timeout_s, began)
            return self.enforce_here(decoded, is_unread=decoded.content is UNREAD)
        except Rejected as rejection:
            if self._rejections is not None:
                self._rejections.remember(key, rejection)
            raise

    def enforce_here(self, decoded: DecodedRequest, *, is_unread: bool) -> ModelInput:
        """What enforcement in this process says to call the model with.

        Args:
            decoded: what the fast path has left undecided.
            is_unread: whether the request has not been read, so that the fast path may yet say yes.

        Raises:
            Rejected: the signature does not admit the request.
            EnforcementMissing: MLflow is not installed.
        """
        try:
            from signet_contract.enforcement import decision  # noqa: PLC0415 -- MLflow loads only where it is needed
        except ModuleNotFoundError as error:
            raise EnforcementMissing(error.name) from error

        # A worker leaves unread only what could not become arrays: these need not be tried again.
        whole = decision.read_whole(self._signature, decoded, self.policy, arrays_were_tried=is_unread)
        decoded.content, decoded.wrapped = whole.content, whole.wrapped  # the caller writes the answer by these
        model_input = self.fast_path(whole) if is_unread else None
        return decision.decide(self._signature, whole, self.policy) if model_input is None else model_input

    def compare(self, previous: Contract) -> list[compatibility.Change]:
        """What changes for clients of `previous` where this contract takes its place, the breaking changes first."""
        return compatibility.changes(previous, self)

"""The contract: an MLflow model signature, compiled once, that every request is held to.

A request takes one of two ways. `Signature.check` first looks whether it is *surely valid* (`columns`, `arrays`): all
there, each value of exactly the JSON type that the signature asks for. That costs microseconds, and nearly all traffic
is of that kind. Whatever is not surely valid goes to `verdict`, where MLflow itself decides with pandas, and where
what is wrong gets its name. The first way never refuses and the second never guesses, so both together accept and
feed exactly what MLflow would. Verdicts are given by another process (`judge`), and those that only repeat are
remembered (`refusals`).

Neither TorchServe nor torch, MLflow or pandas is imported here.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import yaml

from signet_torchserve import deadlines, judge, refusals
from signet_torchserve.arrays import Arrays
from signet_torchserve.columns import Columns
from signet_torchserve.errors import Refusal
from signet_torchserve.feed import Feed
from signet_torchserve.params import Params
from signet_torchserve.payload import Payload
from signet_torchserve.relaxations import Relaxation


class Signature:
    """Inputs and params of an MLflow model signature.

    Args:
        document: the `signature` entry of an MLmodel file: `inputs`, `outputs` and `params`, each a JSON text or
            None.
        allow: what is let through after all, words of `relaxations`.
        decision_s: seconds that enforcement has for a request.
    """

    def __init__(
        self,
        document: dict[str, Any],
        allow: frozenset[str] = frozenset(),
        decision_s: float = deadlines.decision_s(60),
    ) -> None:
        self._contract: dict[str, Any] = {part: document.get(part) for part in ("inputs", "outputs", "params")}
        self._contract["allow"] = sorted(allow)
        self._decision_s = decision_s
        inputs = json.loads(document["inputs"])
        params = json.loads(document.get("params") or "[]")
        self._params = Params(params) if Params.can_read(params) else None
        self._fast: Columns | Arrays | None = None
        if Columns.can_read(inputs):
            self._fast = Columns(inputs, whole_numbers=Relaxation.WHOLE_NUMBERS in allow)
        elif Arrays.can_read(inputs):
            self._fast = Arrays(inputs)
        # What is let through may depend on a value: "3.5" is a number where types may be mixed, "a" is none. And so may
        # what is said: MLflow tries to convert columns without names, and a model's input is made of texts.
        depends_on_values = allow or not all(spec.get("name") and spec["type"] != "string" for spec in inputs)
        self._refusals = refusals.Refusals() if isinstance(self._fast, Columns) and not depends_on_values else None

    @classmethod
    def load(cls, mlmodel: Path, *options: Any) -> Signature:
        """Signature of the MLmodel file at `mlmodel`; the options are those of a `Signature`.

        Raises:
            KeyError: the model was logged without one.
        """
        return cls(yaml.safe_load(mlmodel.read_text("utf-8"))["signature"], *options)

    def check(self, payload: Payload) -> Feed:
        """What to call the model with for `payload`.

        Raises:
            Refusal: the payload cannot be read in its format, or the signature does not admit it.
        """
        feed = self.recall(payload)
        return self.enforce(payload) if feed is None else feed

    def recall(self, payload: Payload) -> Feed | None:
        """What to call the model with, if that is known in microseconds; None if enforcement has to decide.

        Raises:
            Refusal: a payload of its kind was refused before.
        """
        feed = self.surely_valid(payload)
        if feed is None and self._refusals is not None:
            remembered = self._refusals.recall(refusals.kind(payload))
            if remembered:
                raise remembered.with_traceback(None)  # else it would grow each time
        return feed

    def enforce(self, payload: Payload, began: float | None = None) -> Feed:
        """What enforcement says to call the model with.

        Args:
            payload: what is not surely valid.
            began: since when enforcement's time runs, of `time.monotonic`; None for now.

        Raises:
            Refusal: the signature does not admit the payload.
            DecidedTooLate: enforcement has not decided in time.
        """
        # First: enforcement by another process leaves the payload without its content.
        kind = refusals.kind(payload) if self._refusals is not None else None
        try:
            return judge.decide(self._contract, payload, self._decision_s, began)
        except Refusal as refusal:
            if self._refusals is not None:
                self._refusals.remember(kind, refusal)
            raise

    def surely_valid(self, payload: Payload) -> Feed | None:
        """What to call the model with, found in microseconds; None if that takes a verdict."""
        if self._fast is None or self._params is None:
            return None
        inputs, params = self._fast.read(payload), self._params.read(payload.params)
        if inputs is None or params is None:
            return None
        return Feed(inputs, params, framed=isinstance(self._fast, Columns))

"""The fast path of tensor signatures: nested lists that are plainly right become arrays.

Lists are plainly right if they are regular and of the signature's shape, and if their numbers have the JSON type that
the dtype asks for and are far from where it ends. Any other request is undecided, and left to `enforcement`.
"""

from __future__ import annotations

from itertools import chain
from typing import Any

import numpy as np

from signet_contract.bulk.numbers import Numbers
from signet_contract.decoded_request import DecodedRequest, Format
from signet_contract.model_input import EXACT, Array, admits_shape

_FEW_VALUES = 50  # from so many on numpy is faster
_TYPES_BY_KIND: dict[str, set[type]] = {"f": {float, int}, "i": {int}, "u": {int}, "b": {bool}}


class Tensors:
    """Tensors of an MLflow schema: an unnamed one, or several by name.

    Args:
        specs: the tensors as the MLmodel file lists them.
    """

    def __init__(self, specs: list[dict[str, Any]]) -> None:
        tensors = [_Tensor(spec["tensor-spec"]) for spec in specs]
        self._unnamed = None if specs[0].get("name") else tensors[0]
        self._named = {str(spec.get("name")): tensor for spec, tensor in zip(specs, tensors, strict=True)}

    @staticmethod
    def can_read(specs: list[dict[str, Any]]) -> bool:
        """Whether the specs are tensors of numbers or booleans."""
        return bool(specs) and all(
            spec["type"] == "tensor" and np.dtype(spec["tensor-spec"]["dtype"]).kind in _TYPES_BY_KIND for spec in specs
        )

    def read(self, decoded: DecodedRequest) -> Array | dict[str, Array] | None:
        """The model's input, in the signature's dtypes; None if the request is undecided."""
        content = decoded.content
        if self._unnamed:
            is_list = decoded.format in (Format.INSTANCES, Format.INPUTS)
            return self._unnamed.read(content) if is_list else None
        if decoded.format is not Format.INPUTS or type(content) is not dict or content.keys() != self._named.keys():
            return None
        arrays: dict[str, Array] = {}
        for name, tensor in self._named.items():
            array = tensor.read(content[name])
            if array is None:
                return None
            arrays[name] = array
        return arrays


class _Tensor:
    def __init__(self, spec: dict[str, Any]) -> None:
        self._dtype = np.dtype(spec["dtype"])
        self._shape: list[int] = spec["shape"]
        self._types = _TYPES_BY_KIND[self._dtype.kind]
        self._read_as = np.dtype(np.float64) if self._dtype.kind == "f" else self._dtype
        self._limit = min(EXACT, _greatest(self._dtype))
        self._is_below_limit = self._limit.__gt__
        self._least = -1.0 if self._dtype.kind == "u" else -self._limit

    def read(self, values: Any) -> Array | None:
        if isinstance(values, Numbers):
            return self._of_numbers(values)
        shape = []
        for axis, size in enumerate(self._shape):
            if axis and len(values) == 1 and type(values[0]) is list:  # the usual one row is not copied
                (values,) = values
                shape.append(len(values))
            elif axis:
                lengths = set(map(len, values)) if set(map(type, values)) == {list} else set()
                if len(lengths) != 1:
                    return None
                shape.append(lengths.pop())
                values = list(chain.from_iterable(values))
            elif type(values) is list:
                shape.append(len(values))
            else:
                return None
            if size != -1 and size != shape[-1]:
                return None
        return self._array(values, shape) if shape and values and self._types.issuperset(map(type, values)) else None

    def _array(self, values: list[Any], shape: list[int]) -> Array | None:
        is_few = len(values) < _FEW_VALUES
        if is_few and not all(map(self._is_below_limit, map(abs, values))):
            return None
        try:
            array = np.fromiter(values, self._dtype if is_few else self._read_as, len(values))
        except OverflowError:
            return None
        return array.astype(self._dtype, copy=False).reshape(shape) if is_few or self._is_far(array) else None

    def _of_numbers(self, numbers: Numbers) -> Array | None:
        shape = (len(numbers), *numbers.shape)
        fits = admits_shape(self._shape, shape)
        is_sure = fits and numbers.labels is None and self._types.issuperset(chain.from_iterable(numbers.kinds))
        if not is_sure or not all(self._is_far(block) for block in numbers.blocks):
            return None
        array = np.empty((len(numbers), len(numbers.kinds)), self._dtype)
        np.concatenate(numbers.blocks, out=array, casting="unsafe")
        return array.reshape(shape)

    def _is_far(self, array: Array) -> bool:
        """Whether every value is far from where the dtype ends, and none is NaN."""
        return bool(array.max() < self._limit and array.min() > self._least)


def _greatest(dtype: np.dtype[Any]) -> float:
    if dtype.kind == "b":
        return 2.0
    return float(np.finfo(dtype).max if dtype.kind == "f" else np.iinfo(dtype).max)

"""Rules for operators that compute element by element, along a dimension, or change the shape: where the rows are then.

A rule says where the rows are in an operator's results, or raises `Mixed`. It need not look at the results' sizes:
`proof` compares what a rule says with the sizes that torch found.

Source: the operators' schemas, torch/aten/src/ATen/native/native_functions.yaml.
"""

from __future__ import annotations

from signet_torchserve.model.batch_invariance.rule_input import Outcome, Rows, Rule, Step, Tensor
from signet_torchserve.model.batch_invariance.symbolic_size import ONE, Size, product
from signet_torchserve.model.operator_calls import symbols
from signet_torchserve.model.operator_kinds import COPIES, ELEMENTWISE
from signet_torchserve.model.pt2_schema import NO_END

_CREATED = ("zeros", "ones", "full", "empty", "new_zeros", "new_ones", "new_full", "new_empty")
_RESHAPED = (
    "view", "_unsafe_view", "reshape", "flatten", "unflatten", "unsqueeze", "view_as", "reshape_as", "ravel",
)  # fmt: skip
_REDUCED = (
    "sum", "nansum", "mean", "nanmean", "amax", "amin", "max", "min", "argmax", "argmin", "aminmax", "any", "all",
    "prod", "logsumexp", "var", "std", "var_mean", "std_mean", "norm", "linalg_vector_norm", "count_nonzero",
    "nanmedian", "quantile", "nanquantile",
)  # fmt: skip
_REDUCED_LAST = ("median", "mode", "kthvalue")
_ALONG = ("softmax", "_softmax", "log_softmax", "_log_softmax", "cumsum", "cumprod", "cummax", "cummin", "logcumsumexp")
_ALONG_LAST = ("sort", "argsort", "msort", "topk", "glu", "diff")
_PARTS = ("split", "split_with_sizes", "chunk", "tensor_split", "narrow", "unsafe_split", "unsafe_chunk")
_GATHERED = ("gather", "scatter", "scatter_add", "scatter_reduce", "take_along_dim")
_SIDE_BY_SIDE = ("hstack", "column_stack")
_INDEXED = ("index_select", "index_fill", "index_add", "index_copy")


def broadcast(step: Step, tensors: list[Tensor] | None = None) -> Rows:
    """Rows of the result of tensors that are broadcast; all tensors must have their rows in the same place then."""
    tensors = step.tensors() if tensors is None else tensors
    places = {
        (tensor.ndim - tensor.rows.dim, tensor.rows.outer, tensor.rows.inner) for tensor in tensors if tensor.rows
    }
    step.demand(len(places) == 1)
    ((from_last, outer, inner),) = places
    for tensor in tensors:  # where the others have their rows, a tensor without rows must have the size 1
        step.demand(tensor.rows or tensor.ndim < from_last or tensor.sizes[tensor.ndim - from_last] == ONE)
    return Rows(max(tensor.ndim for tensor in tensors) - from_last, outer, inner)


def _elementwise(step: Step) -> Outcome:
    return broadcast(step)


def _binary(step: Step) -> Outcome:
    """`max` and `min` of two tensors; of one, they are reductions."""
    return broadcast(step) if "other" in step.call.arguments else reduced(step)


def _where(step: Step) -> Outcome:
    step.demand("other" in step.call.arguments)  # else it looks for places
    return broadcast(step)


def _copied(step: Step) -> Outcome:
    return step.tensors()[0].rows or _created(step)


def _created(step: Step) -> Outcome:
    """Rows of a tensor that has the same value in each place: any order of the rows is right."""
    for result in step.results:
        for dim, size in enumerate(result.sizes):
            if size.holds(step.symbol):
                inner = size.over(Size(1, (step.symbol,)))
                step.demand(inner is not None)
                return Rows(dim, ONE, inner or ONE)
    return None


def _expanded(step: Step) -> Outcome:
    """A tensor without rows can get them only in a dimension of size 1: then each row has the same values."""
    subject = step.tensors()[0]
    if subject.rows is None:
        return _created(step)
    return subject.rows.at(subject.rows.dim + step.results[0].ndim - subject.ndim)


def _repeated(step: Step) -> Outcome:
    subject = step.tensors()[0]
    if subject.rows is None:
        created = _created(step)
        step.demand(isinstance(created, Rows))
        dim = created.dim - step.results[0].ndim + subject.ndim if isinstance(created, Rows) else 0
        step.demand(dim < 0 or subject.sizes[dim] == ONE)
        return created
    dim = subject.rows.dim + step.results[0].ndim - subject.ndim
    outer = step.results[0].sizes[dim].over(Size(1, (step.symbol,)) * subject.rows.inner)
    step.demand(outer is not None)
    return Rows(dim, outer or ONE, subject.rows.inner)


def _interleaved(step: Step) -> Outcome:
    subject, rows = step.lone()
    (dim,) = step.dims("dim", subject.ndim)
    times = step.call.value("repeats")
    step.demand(isinstance(times, int))
    return Rows(dim, rows.outer, rows.inner * Size(times)) if dim == rows.dim else rows


def _reshaped(step: Step) -> Outcome:
    """The elements keep their order, so all rows follow one another as many times as before.

    Example: in [2, rows, 3] they do so twice. So they do in [2 * rows, 3], where they are `Rows(0, outer=2)`.
    """
    subject, (result, *_) = step.tensors()[0], step.results
    step.demand(subject.rows and "dtype" not in step.call.arguments)
    rows = subject.rows or Rows(0)
    times = product(subject.sizes[: rows.dim]) * rows.outer
    for dim, size in enumerate(result.sizes):
        if size.holds(step.symbol):  # here they are; each place of the dimensions before it has them `outer` times
            outer = times.over(product(result.sizes[:dim]))
            inner = size.over(Size(1, (step.symbol,)) * outer) if outer else None
            step.demand(inner is not None and 0 not in {size.factor for size in result.sizes})
            return Rows(dim, outer or ONE, inner or ONE)
    raise step.mixed


def _squeezed(step: Step) -> Outcome:
    """The operator must name the dimensions: else a single row would lose its dimension, too.

    A named dimension must have a fixed size: a free one is lost only where its size is 1, and that moves all others.
    """
    subject, rows = step.lone()
    dims = step.dims("dim", subject.ndim)
    step.demand(rows.dim not in dims and not any(subject.sizes[dim].symbols for dim in dims))
    return _reshaped(step)


def _permuted(step: Step) -> Outcome:
    subject, rows = step.lone()
    return rows.at(step.dims("dims", subject.ndim).index(rows.dim))


def _swapped(step: Step) -> Outcome:
    subject, rows = step.lone()
    if step.name in {"t", "mT", "mH", "adjoint", "numpy_T"}:
        step.demand(step.name != "numpy_T" or subject.ndim <= 2)  # noqa: PLR2004 -- a matrix
        one, other = subject.ndim - 2, subject.ndim - 1
    else:
        names = [name for name in step.call.arguments if name.startswith(("dim", "axis"))]
        one, other = (step.dims(name, subject.ndim)[0] for name in names)
    return rows.at({one: other, other: one}.get(rows.dim, rows.dim))


def _moved(step: Step) -> Outcome:
    subject, rows = step.lone()
    source, target = (step.dims(name, subject.ndim) for name in ("source", "destination"))
    order = [dim for dim in range(subject.ndim) if dim not in source]
    for place, dim in sorted(zip(target, source, strict=True)):
        order.insert(place, dim)
    return rows.at(order.index(rows.dim))


def reduced(step: Step, default: int | list[int] | None = None) -> Outcome:
    """Rows of a tensor that loses some dimensions, or keeps them with a size of 1."""
    subject, rows = step.lone()
    dims = step.dims("dim", subject.ndim, default)
    step.demand(rows.dim not in dims)
    keeps = step.call.value("keepdim", step.call.value("keep_dim", False))  # noqa: FBT003 -- torch's default
    return rows if keeps else rows.at(rows.dim - sum(dim < rows.dim for dim in dims))


def _reduced_last(step: Step) -> Outcome:
    step.demand(step.name == "kthvalue" or "dim" in step.call.arguments)
    return reduced(step, -1)


def along(step: Step, default: int | list[int] | None = None) -> Outcome:
    """Rows of a tensor that is worked on along some dimensions, and keeps them."""
    subject, rows = step.lone()
    step.demand(rows.dim not in step.dims("dim", subject.ndim, default))
    return rows


def _along_last(step: Step) -> Outcome:
    return along(step, 0 if step.name == "msort" else -1)


def _flipped(step: Step) -> Outcome:
    subject, rows = step.lone()
    step.demand(rows.dim not in step.dims("dims", subject.ndim))
    return rows


def _parts(step: Step) -> Outcome:
    return along(step, 0)


def _sliced(step: Step) -> Outcome:
    subject, rows = step.lone()
    if rows.dim in step.dims("dim", subject.ndim, 0):
        start, end, stride = (step.call.value(name, 0) for name in ("start", "end", "step"))
        is_whole = not symbols(list(step.call.arguments.values())) and not start and stride in {0, 1}
        step.demand(is_whole and (end is None or end > NO_END))
    return rows


def _selected(step: Step) -> Outcome:
    subject, rows = step.lone()
    (dim,) = step.dims("dim", subject.ndim, 0)
    step.demand(dim != rows.dim)
    return rows.at(rows.dim - (dim < rows.dim))


def _unfolded(step: Step) -> Outcome:
    subject, rows = step.lone()
    step.demand(rows.dim not in step.dims("dimension", subject.ndim))
    return rows


def same(step: Step, tensors: list[Tensor]) -> Rows:
    """Rows of tensors that all have them in the same dimension."""
    places = {tensor.rows for tensor in tensors}
    step.demand(len(places) == 1 and None not in places and len({tensor.ndim for tensor in tensors}) == 1)
    return next(iter(places)) or Rows(0)


def _joined(step: Step) -> Outcome:
    tensors = step.tensors("tensors")
    rows = same(step, tensors)
    step.demand(rows.dim not in step.dims("dim", tensors[0].ndim, 1 if step.name in _SIDE_BY_SIDE else 0))
    return rows


def _stacked(step: Step) -> Outcome:
    tensors = step.tensors("tensors")
    rows = same(step, tensors)
    (dim,) = step.dims("dim", tensors[0].ndim + 1, 0)
    return rows.at(rows.dim + (dim <= rows.dim))


def _gathered(step: Step) -> Outcome:
    rows = same(step, step.tensors())
    step.demand(rows.dim not in step.dims("dim", step.tensors()[0].ndim))
    return rows


def _padded(step: Step) -> Outcome:
    subject, rows = step.lone()
    pad = step.call.value("pad", step.call.value("padding"))
    step.demand(isinstance(pad, list) and len(pad) // 2 + rows.dim <= subject.ndim - 1)
    return rows


def _rolled(step: Step) -> Outcome:
    step.demand(step.call.value("dims"))
    return _flipped(step)


def _asserted(step: Step) -> Outcome:
    """Only types may be asserted: sizes and strides would be those of an example."""
    step.demand(step.call.value("size") is None and not symbols(list(step.call.arguments.values())))
    return []


SHAPE_RULES: dict[str, Rule] = {
    **dict.fromkeys(ELEMENTWISE, _elementwise),
    **dict.fromkeys(COPIES, _copied),
    **dict.fromkeys(_CREATED, _created),
    **dict.fromkeys(("expand", "expand_as", "broadcast_to"), _expanded),
    **dict.fromkeys(_RESHAPED, _reshaped),
    **dict.fromkeys(("transpose", "swapaxes", "swapdims", "t", "mT", "mH", "adjoint", "numpy_T"), _swapped),
    **dict.fromkeys(("movedim", "moveaxis"), _moved),
    **dict.fromkeys(_REDUCED, reduced),
    **dict.fromkeys(_REDUCED_LAST, _reduced_last),
    **dict.fromkeys(_ALONG, along),
    **dict.fromkeys(_ALONG_LAST, _along_last),
    **dict.fromkeys(_PARTS, _parts),
    **dict.fromkeys(("select", "unbind"), _selected),
    **dict.fromkeys(("cat", "concat", "concatenate", *_SIDE_BY_SIDE), _joined),
    **dict.fromkeys(_GATHERED, _gathered),
    **dict.fromkeys(_INDEXED, along),
    "max": _binary,
    "min": _binary,
    "where": _where,
    **dict.fromkeys(("repeat", "tile"), _repeated),
    "repeat_interleave": _interleaved,
    "squeeze": _squeezed,
    "permute": _permuted,
    "flip": _flipped,
    "roll": _rolled,
    "slice": _sliced,
    "unfold": _unfolded,
    "stack": _stacked,
    "pad": _padded,
    "constant_pad_nd": _padded,
    "_assert_tensor_metadata": _asserted,
}

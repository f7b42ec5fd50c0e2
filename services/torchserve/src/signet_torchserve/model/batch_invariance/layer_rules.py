"""Rules for products, convolutions, norms, attention and recurrent layers: where the rows are in their results.

As in `shape_rules`, a rule says where the rows are, or raises `Mixed`.
"""

from __future__ import annotations

import re
from functools import partial

from signet_torchserve.model.batch_invariance.rule_input import Outcome, Rows, Rule, Step, Tensor
from signet_torchserve.model.batch_invariance.shape_rules import along, broadcast, reduced, same
from signet_torchserve.model.batch_invariance.symbolic_size import ONE

_CONVOLUTIONS = (
    "conv1d", "conv2d", "conv3d", "conv_transpose1d", "conv_transpose2d", "conv_transpose3d", "convolution",
)  # fmt: skip
_POOLS = tuple(
    f"{kind}{n}d"
    for n in (1, 2, 3)
    for kind in ("max_pool", "avg_pool", "adaptive_avg_pool", "adaptive_max_pool", "reflection_pad", "replication_pad")
)
_UPSAMPLINGS = (
    *(f"{kind}{n}d" for n in (1, 2, 3) for kind in ("upsample_nearest", "_upsample_nearest_exact")),
    "upsample_linear1d", "upsample_bilinear2d", "upsample_bicubic2d", "upsample_trilinear3d",
    "_upsample_bilinear2d_aa", "_upsample_bicubic2d_aa",
)  # fmt: skip
_TRANSFORMS = tuple(
    f"fft_{kind}{n}" for kind in ("fft", "ifft", "rfft", "irfft", "hfft", "ihfft") for n in ("", 2, "n")
)
_LAST = {"tril": 2, "triu": 2, "pixel_shuffle": 3, "pixel_unshuffle": 3}
_MATRIX = 2


def _linear(step: Step) -> Outcome:
    subject, rows = step.lone()
    step.demand(rows.dim < subject.ndim - 1)
    return rows


def _product(step: Step) -> Outcome:
    """Rows are before the two dimensions of the matrices; or in one matrix, in the dimension that is not summed."""
    left, right = (
        step.tensors(*names)[0] for names in (("self", "mat1", "batch1"), ("other", "mat2", "batch2", "vec"))
    )
    return _multiplied(step, left, right)


def _multiplied(step: Step, left: Tensor, right: Tensor) -> Rows:
    step.demand(left.ndim and right.ndim)
    if left.rows and right.rows:  # each row has two matrices of its own
        step.demand(all(one.rows and one.ndim - one.rows.dim > _MATRIX for one in (left, right)))
        return broadcast(step, [left, right])
    one, other = (left, right) if left.rows else (right, left)
    rows = one.rows or Rows(0)
    # Dimensions are counted from the end here (1 is the last), as those before the matrices line up there.
    place = one.ndim - rows.dim
    # A product sums the left's last dimension with the right's last but one, or with a vector's only one.
    summed = 1 if one is left or one.ndim == 1 else 2
    step.demand(place != summed)
    if place > _MATRIX and other.ndim > _MATRIX:  # each row has a matrix of its own
        broadcast(step, [left, right])  # raises if they do not fit
    # Of a product with a vector the dimension that is summed is gone: [rows, 3] @ [3] is [rows].
    is_moved = other.ndim == 1 and place > summed
    return rows.at(step.results[0].ndim - (place - 1 if is_moved else place))


def _sum_with_product(step: Step) -> Outcome:
    """Of `addmm`, `baddbmm` and the like: a product, and what is added to each row of it."""
    left, right = (step.tensors(*names)[0] for names in (("mat1", "batch1", "mat"), ("mat2", "batch2", "vec")))
    added = step.tensors("self", "input")[0]
    if left.rows or right.rows:
        rows = _multiplied(step, left, right)
        if added.rows is None:
            from_last = step.results[0].ndim - rows.dim
            step.demand(added.ndim < from_last or added.sizes[added.ndim - from_last] == ONE)
            return rows
        step.demand(added.rows == rows and added.ndim == step.results[0].ndim)
        return rows
    raise step.mixed


def _contracted(step: Step) -> Outcome:
    """`tensordot`: first the dimensions of one tensor that are not summed, then those of the other."""
    left, right = step.tensors("self")[0], step.tensors("other")[0]
    step.demand(not (left.rows and right.rows))
    subject, argument, before = (left, "dims_self", 0) if left.rows else (right, "dims_other", left.ndim)
    rows, summed = subject.rows or Rows(0), step.dims(argument, subject.ndim)
    step.demand(subject.rows and rows.dim not in summed)
    return rows.at(rows.dim - sum(dim < rows.dim for dim in summed) + max(0, before - len(summed)))


def _distances(step: Step) -> Outcome:
    """`cdist`: distances from the vectors of one tensor to those of another."""
    left, right = step.tensors("x1")[0], step.tensors("x2")[0]
    if left.rows and right.rows:
        step.demand(all(one.rows and one.ndim - one.rows.dim > _MATRIX for one in (left, right)))
        return broadcast(step, [left, right])
    step.demand(left.rows and left.ndim - left.rows.dim > 1 and right.ndim == _MATRIX)
    return left.rows


def _einsum(step: Step) -> Outcome:
    equation = str(step.call.value("equation")).replace(" ", "")
    match = re.fullmatch(r"([a-zA-Z,]+)->([a-zA-Z]*)", equation)
    if match is None:
        raise step.mixed
    operands, tensors = match[1].split(","), step.tensors("tensors")
    step.demand(list(map(len, operands)) == [tensor.ndim for tensor in tensors])
    labels = {labels[tensor.rows.dim] for labels, tensor in zip(operands, tensors, strict=True) if tensor.rows}
    step.demand(len(labels) == 1 and len({(t.rows.outer, t.rows.inner) for t in tensors if t.rows}) == 1)
    (label,) = labels
    step.demand(match[2].count(label) == 1)
    for one, tensor in zip(operands, tensors, strict=True):
        step.demand(one.count(label) == (1 if tensor.rows else 0))
    rows = next(tensor.rows for tensor in tensors if tensor.rows)
    return rows.at(match[2].index(label))


def _bilinear(step: Step) -> Outcome:
    one, other = step.tensors("input1")[0], step.tensors("input2")[0]
    step.demand(not any(tensor.rows for tensor in step.tensors("weight", "bias")))
    step.demand(one.rows and one.rows == other.rows and one.ndim == other.ndim and one.rows.dim < one.ndim - 1)
    return one.rows


def _first(step: Step) -> Outcome:
    """Layers that treat samples one by one; the samples must be in the first dimension."""
    _, rows = step.lone()
    step.demand(rows.dim == 0)
    return rows


def _convolution(step: Step) -> Outcome:
    subject, _ = step.lone()
    step.demand(subject.ndim == step.tensors("weight")[0].ndim)
    return _first(step)


def _last(step: Step) -> Outcome:
    """Layers that work on some last dimensions."""
    subject, rows = step.lone()
    digits = re.search(r"(\d)d", step.name)
    touched = int(digits[1]) if digits else _LAST[step.name]
    step.demand(rows.dim < subject.ndim - touched)
    return rows


def _transformed(step: Step) -> Outcome:
    """A Fourier transform along one dimension, the last two, or named ones."""
    return along(step, {"2": [-2, -1], "n": None}.get(step.name[-1], -1))


def _short_transforms(step: Step) -> Outcome:
    """`stft` of each sample: the samples must be in the first of two dimensions."""
    subject, _ = step.lone()
    step.demand(subject.ndim == _MATRIX)
    return _first(step)


def _complex(step: Step) -> Outcome:
    """`view_as_real` adds a last dimension for both parts of a number; `view_as_complex` takes it away."""
    subject, rows = step.lone()
    step.demand(step.name == "view_as_real" or rows.dim < subject.ndim - 1)
    return rows


def _sampled(step: Step) -> Outcome:
    """`grid_sample`: each sample is read at the places of its own grid."""
    rows = same(step, step.tensors("input", "grid"))
    step.demand(rows.dim == 0)
    return rows


def _layer_norm(step: Step) -> Outcome:
    subject, rows = step.lone()
    step.demand(rows.dim < subject.ndim - len(step.call.value("normalized_shape") or subject.sizes))
    return rows


def _batch_norm(step: Step) -> Outcome:
    """A norm with kept statistics only scales channels. `pure_function` refuses one that takes the batch's."""
    _, rows = step.lone()
    step.demand(rows.dim != 1 and not step.call.value("training", False))  # noqa: FBT003 -- torch's default
    return rows


def _instance_norm(step: Step) -> Outcome:
    return _first(step)


def _prelu(step: Step) -> Outcome:
    _, rows = step.lone()
    step.demand(rows.dim != 1)
    return rows


def _attention(step: Step) -> Outcome:
    """Rows must come before the last two dimensions, those of places and of features."""
    tensors = step.tensors("query", "key", "value", "attn_mask")
    step.demand(all(tensor.rows is None or tensor.ndim - tensor.rows.dim > _MATRIX for tensor in tensors))
    return broadcast(step, tensors)


def _encoder_layer(step: Step) -> Outcome:
    """A fused transformer layer; the samples must be in the first of three dimensions."""
    subject, rows = step.lone()
    step.demand(rows.dim == 0 and not step.tensors("mask", "src_key_padding_mask") and subject.ndim == _MATRIX + 1)
    return rows


def _recurrent(step: Step) -> Outcome:
    subject, states = step.tensors("input")[0], step.tensors("hx")
    rows = subject.rows
    dim = 0 if step.call.value("batch_first") else 1
    step.demand(rows and rows.dim == dim and subject.ndim == _MATRIX + 1)
    step.demand(rows and all(state.rows == rows.at(1) for state in states))
    step.demand(not any(tensor.rows for tensor in step.tensors("params", "batch_sizes", "data")))
    return [rows, *(state.rows for state in states)]


def _cell(step: Step) -> Outcome:
    tensors = step.tensors("input", "hx")
    weights = step.tensors("w_ih", "w_hh", "b_ih", "b_hh")
    rows = tensors[0].rows
    step.demand(rows and rows.dim == 0 and tensors[0].ndim == _MATRIX)
    step.demand(all(tensor.rows == rows for tensor in tensors) and not any(tensor.rows for tensor in weights))
    return rows


def _similarity(step: Step) -> Outcome:
    """`cosine_similarity`: along one dimension of two tensors."""
    tensors = step.tensors()
    rows = broadcast(step, tensors)
    ndim = max(tensor.ndim for tensor in tensors)
    (dim,) = step.dims("dim", ndim, 1)
    step.demand(dim != rows.dim)
    return rows.at(rows.dim - (dim < rows.dim))


LAYER_RULES: dict[str, Rule] = {
    **dict.fromkeys(("matmul", "mm", "bmm", "mv"), _product),
    **dict.fromkeys(("addmm", "baddbmm", "addmv"), _sum_with_product),
    **dict.fromkeys(_CONVOLUTIONS, _convolution),
    **dict.fromkeys((*_POOLS, *_UPSAMPLINGS, *_LAST), _last),
    **dict.fromkeys([f"max_pool{n}d_with_indices" for n in (1, 2, 3)], _last),
    **dict.fromkeys(("layer_norm", "native_layer_norm", "rms_norm"), _layer_norm),
    **dict.fromkeys(("group_norm", "channel_shuffle", "im2col", "col2im", "affine_grid_generator"), _first),
    **dict.fromkeys(("lstm", "gru", "rnn_tanh", "rnn_relu"), _recurrent),
    **dict.fromkeys(("lstm_cell", "gru_cell", "rnn_tanh_cell", "rnn_relu_cell"), _cell),
    **dict.fromkeys(_TRANSFORMS, _transformed),
    **dict.fromkeys(("view_as_real", "view_as_complex"), _complex),
    **dict.fromkeys(("grid_sampler", "grid_sampler_2d", "grid_sampler_3d"), _sampled),
    "stft": _short_transforms,
    "linalg_norm": reduced,
    "linalg_matrix_norm": partial(reduced, default=[-2, -1]),
    "tensordot": _contracted,
    "linear": _linear,
    "einsum": _einsum,
    "bilinear": _bilinear,
    "cdist": _distances,
    "cosine_similarity": _similarity,
    "batch_norm": _batch_norm,
    "instance_norm": _instance_norm,
    "prelu": _prelu,
    "scaled_dot_product_attention": _attention,
    "_transformer_encoder_layer_fwd": _encoder_layer,
}

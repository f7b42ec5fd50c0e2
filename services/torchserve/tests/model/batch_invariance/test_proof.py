from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from programs import document, floats, integers, of
from signet_torchserve.model import operator_kinds
from signet_torchserve.model.batch_invariance import proof
from torch import nn
from torch.nn import functional


class Classifier(nn.Module):
    """Words, a recurrent layer, its last output, scores."""

    def __init__(self, kind: type[nn.RNNBase], **options: Any) -> None:
        super().__init__()
        self.words = nn.Embedding(20, 8)
        self.layer = kind(8, 6, **options)
        self.scores = nn.Linear(12 if options.get("bidirectional") else 6, 2)
        self.first = options.get("batch_first", False)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.words(x)
        outputs = self.layer(x)[0] if self.first else self.layer(x.transpose(0, 1))[0].transpose(0, 1)
        return self.scores(outputs[:, -1]).softmax(-1)


class Patches(nn.Module):
    """A vision transformer with a token of its own for the class."""

    def __init__(self) -> None:
        super().__init__()
        self.patches = nn.Conv2d(3, 16, 4, 4)
        self.token = nn.Parameter(torch.zeros(1, 1, 16))
        self.positions = nn.Parameter(torch.zeros(1, 5, 16))
        self.encoder = nn.TransformerEncoder(nn.TransformerEncoderLayer(16, 2, 32, batch_first=True), 2)
        self.scores = nn.Linear(16, 3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        patches = self.patches(x).flatten(2).transpose(1, 2)
        tokens = torch.cat([self.token.expand(x.shape[0], -1, -1), patches], 1)
        return self.scores(self.encoder(tokens + self.positions)[:, 0])


class Attention(nn.Module):
    """Attention by hand: heads, a causal mask, products of matrices."""

    def __init__(self) -> None:
        super().__init__()
        self.inputs = nn.Linear(8, 24)
        self.register_buffer("mask", torch.ones(6, 6).tril())

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        rows, places, features = x.shape
        parts = self.inputs(x).split(8, 2)
        query, key, value = (part.view(rows, places, 2, 4).transpose(1, 2) for part in parts)
        scores = (query @ key.transpose(-2, -1)).masked_fill(self.mask[:places, :places] == 0, float("-inf"))
        return (scores.softmax(-1) @ value).transpose(1, 2).reshape(rows, places, features)


def mean_of_words(words: nn.Embedding, x: torch.Tensor) -> torch.Tensor:
    mask = (x != 0).unsqueeze(-1).float()
    return (words(x) * mask).sum(1) / mask.sum(1).clamp(min=1)


def step_by_step(cell: nn.GRUCell, x: torch.Tensor) -> torch.Tensor:
    state = torch.zeros(x.shape[0], 5)
    for place in range(x.shape[1]):
        state = cell(x[:, place], state)
    return state


def attended(layer: nn.MultiheadAttention, x: torch.Tensor) -> torch.Tensor:
    return layer(x, x, x, key_padding_mask=x[:, :, 0] > 1)[0]


def of_places_first(layer: nn.Module, x: torch.Tensor) -> torch.Tensor:
    return layer(x.transpose(0, 1)).mean(0)


def filled(x: torch.Tensor) -> torch.Tensor:
    result = torch.zeros(x.shape[0], 6)
    result[:, :4] = x
    result[:, 4] = 1
    return result


def without_gradients(x: torch.Tensor) -> torch.Tensor:
    with torch.no_grad():
        return x.softmax(1)


def sampled(x: torch.Tensor) -> torch.Tensor:
    places = functional.affine_grid(x.mean((2, 3)).view(-1, 2, 3), (x.shape[0], 6, 3, 3), align_corners=False)
    return functional.grid_sample(x, places, align_corners=False)


def convolutions() -> nn.Module:
    return nn.Sequential(
        nn.Conv2d(3, 4, 3, padding=1), nn.BatchNorm2d(4), nn.ReLU(inplace=True), nn.MaxPool2d(2), nn.Dropout2d(),
        nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 2), nn.LogSoftmax(1),
    )  # fmt: skip


def pyramid() -> nn.Module:
    return nn.Sequential(
        nn.Conv2d(1, 2, 3, padding=1), nn.Upsample(scale_factor=2), nn.ConvTranspose2d(2, 2, 2, 2), nn.PReLU(2),
        nn.Upsample(size=(6, 6), mode="bilinear"), nn.ReflectionPad2d(1), nn.LocalResponseNorm(2), nn.PixelShuffle(1),
    )  # fmt: skip


def mlp() -> nn.Module:
    return nn.Sequential(
        nn.Linear(4, 8), nn.BatchNorm1d(8), nn.GELU(), nn.Dropout(), nn.LayerNorm(8), nn.Linear(8, 3), nn.Softmax(-1)
    )


KEPT_APART: dict[str, tuple[nn.Module, torch.Tensor]] = {
    "mlp": (mlp(), floats(5, 4)),
    "convolutions": (convolutions(), floats(5, 3, 8, 8)),
    "convolutions in one dimension": (
        nn.Sequential(nn.Conv1d(2, 4, 3, padding="same", padding_mode="circular"), nn.GroupNorm(2, 4), nn.AvgPool1d(2)),
        floats(5, 2, 9),
    ),
    "convolutions in three": (
        nn.Sequential(nn.Conv3d(1, 2, 3), nn.InstanceNorm3d(2), nn.AdaptiveMaxPool3d(1), nn.Flatten()),
        floats(5, 1, 5, 5, 5),
    ),
    "pyramid": (pyramid(), floats(5, 1, 4, 4)),
    "residual": (of(lambda layer, x: layer(x).relu_() + x, nn.Linear(4, 4)), floats(5, 4)),
    "patches": (Patches(), floats(5, 3, 8, 8)),
    "embedding": (nn.Sequential(nn.Embedding(20, 8), nn.Flatten(), nn.Linear(48, 2)), integers(5, 6)),
    "mean of words": (of(mean_of_words, nn.Embedding(20, 8, padding_idx=0)), integers(5, 6)),
    "lstm": (Classifier(nn.LSTM, batch_first=True), integers(5, 6)),
    "lstm, places first": (Classifier(nn.LSTM), integers(5, 6)),
    "lstm, both ways": (Classifier(nn.LSTM, batch_first=True, num_layers=2, bidirectional=True), integers(5, 6)),
    "gru": (Classifier(nn.GRU, batch_first=True), integers(5, 6)),
    "gru, places first": (Classifier(nn.GRU), integers(5, 6)),
    "rnn": (Classifier(nn.RNN, batch_first=True, nonlinearity="relu"), integers(5, 6)),
    "last state of an lstm": (
        of(lambda layer, x: layer(x)[1][0][-1], nn.LSTM(4, 5, batch_first=True)),
        floats(5, 6, 4),
    ),
    "cell": (of(step_by_step, nn.GRUCell(4, 5)), floats(5, 3, 4)),
    "attention by hand": (Attention(), floats(5, 6, 8)),
    "multihead attention": (of(attended, nn.MultiheadAttention(8, 2, batch_first=True)), floats(5, 6, 8)),
    "encoder": (nn.TransformerEncoderLayer(8, 2, 16, batch_first=True, norm_first=True), floats(5, 6, 8)),
    "encoder, places first": (of(of_places_first, nn.TransformerEncoderLayer(8, 2, 16)), floats(5, 6, 8)),
    "encoder and decoder": (
        of(lambda layer, x: layer(x, x), nn.Transformer(8, 2, 1, 1, 16, batch_first=True)),
        floats(5, 6, 8),
    ),
    "each place by itself": (
        of(lambda layer, x: layer(x.reshape(-1, 4)).reshape(x.shape[0], 3, 2).sum(1), nn.Linear(4, 2)),
        floats(5, 3, 4),
    ),
    "each frame by itself": (
        of(lambda layer, x: layer(x.flatten(0, 1)).unflatten(0, (x.shape[0], 3)).amax((1, 3, 4)), nn.Conv2d(1, 2, 3)),
        floats(5, 3, 1, 5, 5),
    ),
    "standard score of a row": (of(lambda x: (x - x.mean(1, keepdim=True)) / x.std(1, keepdim=True)), floats(5, 4)),
    "cosine": (of(lambda x: functional.cosine_similarity(x[:, :2], x[:, 2:], dim=-1)), floats(5, 4)),
    "length one": (of(lambda x: functional.normalize(x, dim=-1)), floats(5, 4)),
    "sum of products": (of(lambda x: torch.einsum("bij,bkj->bik", x, x)), floats(5, 3, 4)),
    "argmax": (of(lambda x: x.argmax(1)), floats(5, 4)),
    "topk": (of(lambda x: x.topk(2)[0]), floats(5, 4)),
    "a table": (of(lambda x: torch.arange(9.0)[x.long().clamp(0, 8)]), floats(5, 3)),
    "some columns": (of(lambda x: x[:, [0, 2]].sum(1)), floats(5, 3)),
    "columns apart": (of(lambda x: torch.stack([x[:, 0], x[:, 1] * 2], 1)), floats(5, 3)),
    "columns as words": (
        of(lambda layer, x: torch.cat([x[:, 1:], layer(x[:, 0].long().clamp(0, 8))], 1), nn.Embedding(9, 3)),
        floats(5, 3),
    ),
    "one hot": (of(lambda x: functional.one_hot(x, 9).float().sum(1)), integers(5, 3)),
    "written part by part": (of(filled), floats(5, 4)),
    "columns of a product": (of(lambda x: (torch.ones(3, 4) @ x.T).T), floats(5, 4)),
    "a place of each row": (
        of(lambda x: x[torch.arange(x.shape[0]), x[:, :, 0].long().clamp(0, 2).sum(1) % 3]),
        floats(5, 3, 4),
    ),
    "a place of each row, behind another dimension": (
        of(lambda x: x.transpose(0, 1)[:, torch.arange(x.shape[0]), x[:, 0, 0].long().clamp(0, 3)].T),
        floats(5, 3, 4),
    ),
    "the last place": (of(lambda x: x[torch.arange(x.shape[0]), torch.tensor([2])]), floats(5, 3)),
    "norm of a row": (of(lambda x: x / torch.linalg.norm(x, dim=1, keepdim=True)), floats(5, 4)),
    "norm of a matrix": (of(torch.linalg.matrix_norm), floats(5, 3, 4)),
    "norm of a matrix by two dimensions": (of(lambda x: torch.linalg.norm(x, dim=(1, 2))), floats(5, 3, 4)),
    "tiles": (of(lambda x: x.tile(2) + x[:, None].tile(1, 2, 2).sum(1)), floats(5, 4)),
    "side by side": (of(lambda x: torch.hstack([x, torch.column_stack([x, x * 2])])), floats(5, 4)),
    "a contraction": (of(lambda x: torch.tensordot(x, torch.ones(2, 3, 4), ([2, 1], [0, 1]))), floats(5, 3, 2)),
    "a contraction with what comes before": (
        of(lambda x: torch.tensordot(torch.ones(2, 3, 4), x, ([2], [1])).movedim(-1, 0)),
        floats(5, 4),
    ),
    "spectrum": (of(lambda x: torch.fft.irfft(torch.fft.rfft(x).abs())), floats(5, 6)),
    "spectrum of a picture": (of(lambda x: torch.view_as_real(torch.fft.fft2(x)).sum((1, 2))), floats(5, 4, 4)),
    "spectrum by dimensions": (of(lambda x: torch.fft.fftn(x, dim=(1, 2)).abs()), floats(5, 4, 4)),
    "short spectra": (
        of(lambda x: torch.stft(x, 4, window=torch.ones(4), return_complex=True).abs().mean(-1)),
        floats(5, 16),
    ),
    "complex numbers": (of(lambda x: torch.view_as_complex(x.unflatten(1, (2, 2))).abs()), floats(5, 4)),
    "a grid": (of(sampled), floats(5, 6, 4, 4)),
    "a graph of its own": (of(without_gradients), floats(5, 4)),
    "numbers by themselves": (of(lambda x: x * 2), floats(5)),
}


def first_is_zero(x: torch.Tensor) -> torch.Tensor:
    x = x * 1
    x[0] = 0
    return x


def centred(x: torch.Tensor) -> torch.Tensor:
    x = x * 1
    x[:, 0].sub_(x[:, 0].mean())
    return x


def sorted_apart(x: torch.Tensor) -> torch.Tensor:
    values, places = torch.zeros(0), torch.zeros(0).long()
    torch.sort(x, 1, out=(values, places))
    return x - values.mean(0)


# What a program of rows of four numbers does, and the operator that is not known to keep them apart.
MIXED: dict[str, tuple[Callable[..., Any], str]] = {
    "scales what is large": (lambda x: torch.where(x.abs().max() > 100, x / x.abs().max(), x), "aten.max.default"),
    "centres": (lambda x: x - x.mean(0), "aten.mean.dim"),
    "centres in place": (centred, "aten.mean.default"),
    "norm of all": (lambda x: x / x.norm(), "aten.linalg_vector_norm.default"),
    "variance": (lambda x: x / (1 + x.var(0)), "aten.var.dim"),
    "any of all": (lambda x: x * (x > 3).any(), "aten.any.default"),
    "median of all": (lambda x: x - x.median(), "aten.median.default"),
    "flips": (lambda x: x.flip(0), "aten.flip.default"),
    "rolls": (lambda x: x.roll(1, 0), "aten.roll.default"),
    "rolls all": (lambda x: x.roll(1), "aten.roll.default"),
    "sums up": (lambda x: x.cumsum(0), "aten.cumsum.default"),
    "greatest so far": (lambda x: x.cummax(0)[0], "aten.cummax.default"),
    "sorts": (lambda x: x.sort(0)[0], "aten.sort.default"),
    "sorts rows": (lambda x: x[x[:, 0].argsort()], "aten.argsort.default"),
    "products of rows": (lambda x: x @ x.T @ x, "aten.matmul.default"),
    "sum of products": (lambda x: torch.einsum("bi,cj->bj", x, x), "aten.einsum.default"),
    "softmax over rows": (lambda x: x.softmax(0), "aten.softmax.int"),
    "softmax of what was turned": (lambda x: x.T.softmax(-1).T, "aten.softmax.int"),
    "every other row": (lambda x: x.flatten()[::2].reshape(-1, 2), "aten.slice.Tensor"),
    "twice as many": (lambda x: torch.cat([x, x])[: x.shape[0]], "aten.cat.default"),
    "rows twice, paired": (lambda x: x.repeat(2, 1).reshape(-1, 2, 4).sum(1), "aten.reshape.default"),
    "a row before": (lambda x: functional.pad(x, (0, 0, 1, 0))[:-1], "aten.pad.default"),
    "the first row": (lambda x: x - x[0], "aten.select.int"),
    "the first rows": (lambda x: x - x[:1], "aten.slice.Tensor"),
    "place": (lambda x: x + torch.arange(x.shape[0])[:, None], "aten.slice.Tensor"),
    "turned around": (lambda x: x.index_select(0, torch.arange(x.shape[0]).flip(0)), "aten.flip.default"),
    "row and column of one number": (
        lambda x: x.repeat(1, x.shape[0])[torch.arange(x.shape[0]), torch.arange(x.shape[0])], "aten.repeat.default",
    ),
    "a table of places": (lambda x: x + torch.ones(9, 4)[torch.arange(x.shape[0])], "aten.index.Tensor"),
    "a place of another row": (
        lambda x: x[torch.arange(x.shape[0]), x[:, 0].argsort() % 4], "aten.argsort.default",
    ),
    "rows at the number of another dimension": (
        lambda x: x + x.T[torch.arange(x.shape[0]) % 4, 0][:, None], "aten.remainder.Scalar",
    ),
    "numbers of rows twice": (
        lambda x: x.T[:2][x[:, 0].long().clamp(0, 1), torch.arange(x.shape[0])] + torch.arange(x.shape[0]),
        "aten.add.Tensor",
    ),
    "rows in halves": (
        lambda x: x.reshape(-1, 2)[torch.arange(x.shape[0]), x[:, 0].long().clamp(0, 1)], "aten.index.Tensor",
    ),
    "number of rows": (lambda x: x / x.shape[0], "aten.div.Tensor"),
    "number of rows as a tensor": (lambda x: x + torch.full((x.shape[0], 1), x.shape[0] * 1.0), "aten.full.default"),
    "each with each": (lambda x: (x[:, None] - x[None]).sum(1), "aten.sub.Tensor"),
    "attention to rows": (
        lambda x: functional.scaled_dot_product_attention(x[None], x[None], x[None])[0],
        "aten.scaled_dot_product_attention.default",
    ),
    "norm of a channel": (lambda x: functional.instance_norm(x.T[None])[0].T, "aten.instance_norm.default"),
    "group norm": (lambda x: functional.group_norm(x.T[None], 1)[0].T, "aten.group_norm.default"),
    "rows as a table": (lambda x: functional.embedding(x[:, 0].long().clamp(0, 0), x), "aten.embedding.default"),
    "gathers rows": (lambda x: x.gather(0, x.long().clamp(0, 0)), "aten.gather.default"),
    "triangle": (lambda x: x.tril(), "aten.tril.default"),
    "one row is another": (first_is_zero, "aten.select.int"),
    "branch": (
        lambda x: torch.cond(x[:, 0].max() > 0, lambda y: y + 1, lambda y: y - 1, (x,)), "aten.max.default",
    ),
    "branch on the number of rows": (
        lambda x: torch.cond(torch.ones(1).sum() > 0, lambda y: y + 1, lambda y: y - 1, (x,)), "higher_order.cond",
    ),
    "drops every size of 1": (lambda x: x.sum(1, keepdim=True).squeeze(), "aten.squeeze.default"),
    "a result in an argument": (sorted_apart, "aten.sort.values"),
    "norm over rows": (lambda x: x / torch.linalg.norm(x, dim=0), "aten.linalg_norm.default"),
    "norm of the whole": (lambda x: x / torch.linalg.norm(x), "aten.linalg_norm.default"),
    "norm of rows as a matrix": (lambda x: x / torch.linalg.matrix_norm(x), "aten.linalg_matrix_norm.str_ord"),
    "a contraction of rows": (lambda x: x - torch.tensordot(x, x, ([0], [0])).sum(0), "aten.tensordot.default"),
    "spectrum of rows as a picture": (lambda x: torch.fft.fft2(x).abs(), "aten.fft_fft2.default"),
    "spectrum of all": (lambda x: torch.fft.fftn(x).abs(), "aten.fft_fftn.default"),
    "under one another": (lambda x: torch.vstack([x, x])[: x.shape[0]], "aten.vstack.default"),
    "numbers side by side": (lambda x: torch.hstack([x[:, 0], x[:, 1]])[: x.shape[0]], "aten.hstack.default"),
    "tiles, paired": (lambda x: x.tile(2, 1).reshape(-1, 2, 4).sum(1), "aten.reshape.default"),
    "rows as places of a grid": (
        lambda x: functional.grid_sample(x[None, None], torch.zeros(1, 2, 2, 2), align_corners=False).sum() + x,
        "aten.grid_sampler.default",
    ),
    "random": (lambda x: x + torch.rand_like(x), "aten.rand_like.default"),
}  # fmt: skip

ALONE: dict[str, tuple[nn.Module, tuple[torch.Tensor, ...], str]] = {
    "a branch on the number of rows": (
        of(lambda x: x * 3 if x.shape[0] % 2 == 0 else x * 2), (floats(4, 4),),
        "the program does not take every number of rows",
    ),
    "at most some rows": (
        of(lambda x: x + 1 if x.shape[0] < 9 else x), (floats(4, 4),), "the program does not take every number of rows"
    ),
    "at least some rows": (
        of(lambda x: x + 1 if x.shape[0] > 3 else x), (floats(4, 4),), "the program does not take every number of rows"
    ),
    "one row": (of(lambda x: x * 2), (floats(1, 4),), "the program takes batches of exactly 1"),
    "spectrum over rows": (
        of(lambda x: torch.fft.fft(x, dim=0).abs()), (floats(5, 4),),
        "the program does not take every number of rows",
    ),
    "as many as columns": (
        of(lambda x: x @ x), (floats(4, 4),), "the program takes batches of exactly 4"
    ),
    "no rows": (of(lambda x: x * 2), (floats(),), "the program's input has no rows"),
    "several inputs": (
        nn.Bilinear(4, 4, 2), (floats(5, 4), floats(5, 4)), "the program has 2 inputs: expected one tensor"
    ),
    "several outputs": (of(lambda x: (x, x)), (floats(5, 4),), "the program's output is not one tensor"),
    "a list": (of(lambda x: [x]), (floats(5, 4),), "the program's output is not one tensor"),
    "an answer for all": (
        of(lambda x: x.sum()), (floats(5, 4),), "the program's output has not one row for each row of the input"
    ),
    "an answer of its own": (
        of(lambda _: torch.ones(3)), (floats(5, 4),), "the program's output has not one row for each row of the input"
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", KEPT_APART)
def test_usual_networks_are_proven_to_keep_rows_apart(name: str) -> None:
    """And they do: rows together are answered as rows alone."""
    module, example = KEPT_APART[name]
    module.eval()
    assert proof.obstacle(document(module, example)) == ""
    assert_apart(module, example)


@pytest.mark.parametrize("name", MIXED)
def test_the_operator_that_may_mix_rows_is_named(name: str) -> None:
    """The first that is not known to keep them apart; an author who knows better may vouch for it."""
    function, operator = MIXED[name]
    program = document(of(function), floats(5, 4))
    assert proof.obstacle(program) == f"{operator} is not known to keep rows apart"
    assert proof.obstacle(program, is_vouched_for=True) == ""


@pytest.mark.parametrize("pick", [lambda x: x.squeeze(1), lambda x: x.squeeze((1, 2))])
def test_a_free_dimension_that_may_be_lost_ends_the_proof(pick: Callable[..., torch.Tensor]) -> None:
    """Of one place it is squeezed away, and then the softmax over places is one over rows."""
    example = floats(5, 3, 1)
    program = document(of(lambda x: pick(x).flatten(1).softmax(-1)), example, free=(0, 1))
    assert proof.obstacle(program).startswith("aten.squeeze.dim")


@pytest.mark.parametrize("name", ALONE)
def test_what_cannot_be_put_together_is_answered_alone(name: str) -> None:
    """A request is neither answered nor refused because of its neighbours, whoever vouches for the rows."""
    module, examples, because = ALONE[name]
    program = document(module, *examples)
    assert proof.obstacle(program) == proof.obstacle(program, is_vouched_for=True) == because


def assert_apart(module: nn.Module, example: torch.Tensor) -> None:
    """Rows of several magnitudes are answered together as they are alone."""
    for batch in batches(example):
        with torch.inference_mode():
            together = module(batch.clone())
            alone = torch.cat([module(batch[index : index + 1].clone()) for index in range(len(batch))])
        greatest = max(1.0, alone.double().abs().nan_to_num(0, posinf=0).max().item())
        torch.testing.assert_close(together, alone, rtol=1e-3, atol=1e-5 * greatest, equal_nan=True)


def batches(example: torch.Tensor) -> Iterator[torch.Tensor]:
    yield example
    yield example.flip(0)
    if example.is_floating_point():
        yield example * torch.tensor([1.0, 1e4, -1.0, 0.0, 1e-3])[: len(example)].reshape(-1, *[1] * (example.ndim - 1))


def test_operators_element_by_element_are_those_that_torch_calls_so() -> None:
    """All that torch tags as such, or one of a few that it doesn't tag and that are tried here."""
    tagged = set()
    for name in operator_kinds.ELEMENTWISE:
        packet = getattr(torch.ops.aten, name)
        assert packet.overloads(), name
        if any(torch.Tag.pointwise in getattr(packet, overload).tags for overload in packet.overloads()):
            tagged.add(name)
    for name in operator_kinds.ELEMENTWISE - tagged:
        together = elementwise(name, slice(None))
        alone = [elementwise(name, slice(index, index + 1)) for index in range(5)]
        torch.testing.assert_close(together, torch.cat(alone), equal_nan=True)


def elementwise(name: str, part: slice) -> torch.Tensor:
    """What an operator gives for some rows, in the first form that it takes."""
    x, y = (numbers[part].abs() / 9 + 0.1 for numbers in (floats(5, 4), floats(5, 4).flip(1)))
    for arguments in ((x,), (x, y), (x > 0.2, y > 0.2), (x.long(), y.long()), (x, 2.0), (x, x > 0.2, 2.0)):
        with contextlib.suppress(RuntimeError, TypeError):
            result: torch.Tensor = getattr(torch.ops.aten, name)(*arguments)
            return result
    raise AssertionError(name)


# Pieces of drawn programs: of any tensor, by a dimension.
SHAPES: list[Callable[[torch.Tensor, int], torch.Tensor]] = [
    lambda t, d: t.transpose(d, -1),
    lambda t, d: t.movedim(d, 0),
    lambda t, _: t.permute(*reversed(range(t.ndim))),
    lambda t, d: t.unsqueeze(d),
    lambda t, d: t.flatten(d),
    lambda t, d: t.flatten(0, d),
    lambda t, d: t.unflatten(d, (-1, 2)),
    lambda t, _: t.reshape(-1, 2),
    lambda t, _: t.reshape(4, -1),
    lambda t, d: torch.stack([t, t * 2], d),
    lambda t, d: t.repeat_interleave(2, d),
    lambda t, d: t.repeat(*(2 if dim == d else 1 for dim in range(t.ndim))),
    lambda t, d: torch.cat([t, t + 1], d),
    lambda t, d: t.tile(*(2 if dim == d else 1 for dim in range(t.ndim))),
    lambda t, _: torch.hstack([t, t]),
    lambda t, d: torch.tensordot(
        t, torch.ones(t.shape[d], 2) if isinstance(t.shape[d], int) else torch.ones(2, 2), ([d], [0])
    ),
]
OPERATORS: list[Callable[[torch.Tensor, int], torch.Tensor]] = [
    lambda t, d: t.softmax(d),
    lambda t, d: t.cumsum(d),
    lambda t, d: t.flip(d),
    lambda t, d: t.roll(1, d),
    lambda t, d: t.sort(d)[0],
    lambda t, d: t - t.mean(d, keepdim=True),
    lambda t, d: t / (1 + t.abs().amax(d, keepdim=True)),
    lambda t, d: torch.where(t.abs().amax(d, keepdim=True) > 100, t / 7, t),
    lambda t, d: t + t.sum(d).unsqueeze(d),
    lambda t, d: t + t.select(d, 0).unsqueeze(d),
    lambda t, d: t.index_select(d, torch.zeros(1, dtype=torch.long)) + t,
    lambda t, _: t @ t.transpose(-1, -2) @ t,
    lambda t, _: t.sigmoid() * 2,
    lambda t, d: t / (1 + torch.linalg.norm(t, dim=d, keepdim=True)),
    lambda t, _: t / (1 + torch.linalg.matrix_norm(t, keepdim=True)),
    lambda t, d: torch.fft.fft(t, dim=d).real,
    lambda t, _: torch.fft.fft2(t).real,
    lambda t, d: functional.pad(t.movedim(d, -1), (1, 0))[..., :-1].movedim(-1, d),
    lambda t, d: t.mul_(t.amin(d, keepdim=True) + 1),
    lambda t, d: t + torch.arange(t.shape[d]).reshape(-1, *[1] * (t.ndim - 1 - d)),
    lambda t, d: t.movedim(d, 0)[torch.arange(t.shape[d]), t.movedim(d, 0).flatten(1)[:, 0].long().clamp(0, 1)],
    lambda t, d: t.movedim(d, 1)[:, torch.arange(t.shape[d]), 0] + t.select(d, 0),
]


class Drawn(nn.Module):
    """Pieces one after the other, each by a dimension; the output has as many rows as the input."""

    def __init__(self, pieces: list[tuple[Callable[[torch.Tensor, int], torch.Tensor], int]]) -> None:
        super().__init__()
        self.pieces = pieces

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        result = x * 1
        for piece, dim in self.pieces:
            result = piece(result, dim % result.ndim)
        return result.reshape(x.shape[0], -1)


def test_no_drawn_program_that_mixes_rows_is_proven() -> None:
    """Whatever is proven answers rows together as alone: views that move and split rows, then sums over any of them."""
    proven, unproven = list[Any](), list[Any]()

    @given(st.lists(st.tuples(st.sampled_from(SHAPES + OPERATORS), st.integers(0, 3)), min_size=1, max_size=5))
    def hold(pieces: list[tuple[Callable[[torch.Tensor, int], torch.Tensor], int]]) -> None:
        module, example = Drawn(pieces), floats(5, 2, 4)
        try:
            program = document(module, example)
        except (RuntimeError, ValueError, IndexError):
            return  # the pieces don't fit each other
        if proof.obstacle(program):
            unproven.append(pieces)
        else:
            proven.append(pieces)
            assert_apart(module, example)

    hold()
    assert len(proven) > 20
    assert len(unproven) > 20

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import programs
import pytest
import torch
import torch._inductor.inductor_prims  # registers operators that draw
from programs import Function, floats, of
from signet_torchserve.errors import NotServable
from signet_torchserve.model import operator_kinds, pure_function
from signet_torchserve.model.operator_calls import Call
from torch import nn
from torch.nn import functional

EVAL = "call model.eval() before logging it"
ALLOW = "set the tag serving.allow to random"
STRICT = frozenset[str]()
RANDOM = frozenset(["random"])


class Counter(nn.Module):
    """Remembers its calls."""

    def __init__(self, change: Callable[[torch.Tensor, torch.Tensor], Any]) -> None:
        super().__init__()
        self.register_buffer("calls", torch.zeros(4))
        self.change = change

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        self.change(self.calls, x)
        return x + self.calls


class Average(nn.Module):
    """Assigns a buffer."""

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("mean", torch.zeros(4))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        self.mean = self.mean * 0.9 + x.mean(0)
        return x + self.mean


class Constant(nn.Module):
    """Changes a tensor that is no buffer."""

    def __init__(self) -> None:
        super().__init__()
        self.kept = torch.zeros(4)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        self.kept += 1
        return x + self.kept


def refusal(module: nn.Module, example: torch.Tensor, allow: frozenset[str] = STRICT) -> str:
    try:
        pure_function.refuse_impure(programs.document(module, example), allow)
    except NotServable as error:
        return str(error)
    return ""


def without_gradients(x: torch.Tensor) -> torch.Tensor:
    with torch.no_grad():
        return functional.dropout(x * 2)


def filled(*parts: Any) -> Callable[[torch.Tensor], torch.Tensor]:
    """Writes to some columns of four."""

    def fill(x: torch.Tensor) -> torch.Tensor:
        result = torch.empty(x.shape[0], 4)
        for part in parts:
            result[:, part] = x[:, part]
        return result

    return fill


def filled_without_gradients(x: torch.Tensor) -> torch.Tensor:
    result = torch.empty_like(x)
    with torch.no_grad():
        result.copy_(x)
    return result


def branch(x: torch.Tensor) -> torch.Tensor:
    return torch.cond(x.sum() > 0, lambda y: y + torch.rand_like(y), lambda y: y - 1, (x,))


def branch_that_writes_its_own(x: torch.Tensor) -> torch.Tensor:
    """The program's memory and the branch's have the same name, each in its graph."""
    unwritten = torch.empty(x.shape[0], 4)
    return torch.cond(x.sum() > 0, lambda y: torch.empty(y.shape[0], 4).copy_(y) + 1, lambda y: y + 1, (x,)) + unwritten


def samples() -> nn.Module:
    return nn.LSTM(4, 3, num_layers=2, dropout=0.1, batch_first=True)


TRAINING: dict[str, tuple[nn.Module, torch.Tensor]] = {
    "dropout": (nn.Dropout(0.1), floats(5, 4)),
    "dropout in place": (Function(lambda layer, x: layer(x * 1), nn.Dropout(0.1, inplace=True)), floats(5, 4)),
    "dropout of channels": (nn.Dropout2d(0.1), floats(5, 4, 3, 3)),
    "alpha dropout": (nn.AlphaDropout(0.1), floats(5, 4)),
    "feature alpha dropout": (nn.FeatureAlphaDropout(0.1), floats(5, 4)),
    "native dropout": (Function(lambda x: torch.native_dropout(x, 0.1, True)[0]), floats(5, 4)),  # noqa: FBT003 -- torch's
    "functional dropout": (of(functional.dropout), floats(5, 4)),
    "dropout in a graph of its own": (of(without_gradients), floats(5, 4)),
    "rrelu": (nn.RReLU(), floats(5, 4)),
    "lstm": (samples(), floats(5, 6, 4)),
    "gru": (nn.GRU(4, 3, num_layers=2, dropout=0.1, batch_first=True), floats(5, 6, 4)),
    "rnn": (nn.RNN(4, 3, num_layers=2, dropout=0.1, batch_first=True), floats(5, 6, 4)),
    "attention": (nn.TransformerEncoderLayer(8, 2, 16, batch_first=True), floats(5, 6, 8)),
    "multihead attention": (
        Function(lambda layer, x: layer(x, x, x)[0], nn.MultiheadAttention(8, 2, 0.1, batch_first=True)),
        floats(5, 6, 8),
    ),
    "attention by itself": (
        of(lambda x: functional.scaled_dot_product_attention(x, x, x, dropout_p=0.1)),
        floats(5, 2, 6, 4),
    ),
}
STATISTICS: dict[str, tuple[nn.Module, torch.Tensor]] = {
    "batch norm": (nn.Sequential(nn.Linear(4, 8), nn.BatchNorm1d(8)), floats(5, 4)),
    "batch norm of images": (nn.BatchNorm2d(4), floats(5, 4, 3, 3)),
    "batch norm without statistics": (nn.BatchNorm1d(4, track_running_stats=False).eval(), floats(5, 4)),
    "instance norm that keeps statistics": (nn.InstanceNorm1d(4, track_running_stats=True), floats(5, 4, 3)),
    "functional batch norm": (of(lambda x: functional.batch_norm(x, None, None, training=True)), floats(5, 4)),
}
DRAWING: dict[str, Callable[[torch.Tensor], torch.Tensor]] = {
    "rand": lambda x: x + torch.rand(4),
    "rand like": lambda x: x + torch.rand_like(x),
    "randn": lambda x: x + torch.randn(x.shape[0], 4),
    "randint": lambda x: x + torch.randint(0, 9, (4,)),
    "randint like": lambda x: x + torch.randint_like(x, 9),
    "randperm": lambda x: x[:, torch.randperm(4)],
    "normal": lambda x: torch.normal(x, 1.0),
    "normal in place": lambda x: torch.empty_like(x).normal_(),
    "uniform in place": lambda x: torch.zeros_like(x).uniform_(),
    "exponential": lambda x: x + torch.zeros(4).exponential_(),
    "bernoulli": lambda x: torch.bernoulli(x.sigmoid()),
    "multinomial": lambda x: torch.multinomial(x.softmax(1), 1),
    "poisson": lambda x: torch.poisson(x.abs()),
    "gumbel softmax": functional.gumbel_softmax,
    "a branch that draws": branch,
}
MOVING: dict[str, nn.Module] = {
    "in place": Counter(lambda calls, _: calls.add_(1)),
    "by an operator": Counter(lambda calls, x: calls.copy_(x[0])),
    "in a part": Counter(lambda calls, x: calls[1:3].mul_(2).add_(x[0, 0])),
    "as where greatest values go": Counter(lambda calls, x: torch.max(x, 0, out=(calls, torch.zeros(4).long()))),
    "as where sorted values go": Counter(lambda calls, x: torch.sort(x[0], out=(calls, torch.zeros(4).long()))),
    "as where a sum goes": Counter(lambda calls, x: torch.add(x[0], 1, out=calls)),
    "through views": Counter(lambda calls, x: calls.view(2, 2).t()[0].fill_(x.sum())),
    "at an index": Counter(lambda calls, _: calls.__setitem__(slice(1, 2), 3.0)),
    "at indices": Counter(lambda calls, x: calls.index_put_((x[:, 0].long().clamp(0, 3),), x[:, 1])),
    "by assignment": Average(),
    "of a constant": Constant(),
}
READING_NOTHING: dict[str, Callable[[torch.Tensor], torch.Tensor]] = {
    "empty": lambda x: x + torch.empty(4),
    "empty like": torch.empty_like,
    "new empty": lambda x: x.new_empty(x.shape[0], 2),
    "a part of it": lambda x: torch.empty(x.shape[0], 4)[:, 1:],
    "changed in place": lambda x: torch.empty_like(x).add_(x),
    "some columns written": filled(0, slice(2, None)),
    "columns written twice": filled(slice(2), slice(1, 3), -4),
    "written at indices": lambda x: torch.empty_like(x).index_put_((torch.tensor([0]),), torch.ones(4)),
    "written where a mask says": lambda x: torch.empty_like(x).masked_fill_(x > 0, 1.0),
    "scattered to": lambda x: torch.empty_like(x).scatter_(1, torch.zeros(x.shape[0], 1).long(), 1.0),
    "a copy of it written": lambda x: [y := torch.empty(x.shape[0], 4), y.mT.flatten().zero_()][0],
    "beside memory that a branch writes": branch_that_writes_its_own,
    "grown": lambda x: x.new_zeros(1).resize_(4) + x,
    "grown to another's size": lambda x: torch.zeros(1).resize_as_(torch.zeros(4)) + x,
}
PURE: dict[str, tuple[nn.Module, torch.Tensor]] = {
    **{f"{name}, in eval mode": (module, example) for name, (module, example) in {**TRAINING, **STATISTICS}.items()
       if name in {"dropout", "dropout of channels", "alpha dropout", "rrelu", "lstm", "gru", "rnn", "attention",
                   "multihead attention", "batch norm", "batch norm of images"}},
    "nothing to train": (nn.Sequential(nn.Linear(4, 8), nn.ReLU()), floats(5, 4)),
    "dropout of nothing": (nn.Dropout(0.0), floats(5, 4)),
    "an lstm without dropout": (nn.LSTM(4, 3, batch_first=True), floats(5, 6, 4)),
    "instance norm": (nn.InstanceNorm1d(4), floats(5, 4, 3)),
    "rrelu of one slope": (nn.RReLU(0.1, 0.1), floats(5, 4)),
    "what was computed changes in place": (of(lambda x: (x * 2).add_(1).relu_()), floats(5, 4)),
    "the input changes in place": (of(lambda x: x.add_(1)), floats(5, 4)),
    "a copy of a weight changes": (Counter(lambda calls, _: calls.clone().add_(1)), floats(5, 4)),
    "memory that is written before it is read": (of(lambda x: torch.empty_like(x).copy_(x).add_(1)), floats(5, 4)),
    "memory that is written column by column": (of(filled(*range(4))), floats(5, 4)),
    "memory that is written in slices": (of(filled(slice(1, None), slice(-4, 1))), floats(5, 4)),
    "memory that is written in another graph": (of(filled_without_gradients), floats(5, 4)),
    "memory that is written through a view": (of(lambda x: torch.empty_like(x).mT.copy_(x.mT).mT), floats(5, 4)),
    "memory that a result goes to": (of(lambda x: torch.add(x, 1, out=torch.empty_like(x))), floats(5, 4)),
    "memory of which only the type is looked at": (of(lambda x: torch.zeros_like(torch.empty(4)) + x), floats(5, 4)),
    "memory of no size": (of(lambda x: torch.cat([torch.empty(0), x.flatten()])), floats(5, 4)),
}  # fmt: skip


@pytest.mark.parametrize("name", TRAINING)
def test_a_model_that_was_logged_in_training_mode_is_refused(name: str) -> None:
    """Whatever operator draws because of it, in whichever graph; unless its author wants answers that vary."""
    module, example = TRAINING[name]
    module.train()
    assert EVAL in refusal(module, example)
    assert refusal(module, example).startswith("The model was logged in training mode (aten.")
    assert not refusal(module, example, RANDOM)


@pytest.mark.parametrize("name", STATISTICS)
def test_a_model_that_takes_the_statistics_of_the_batch_is_refused(name: str) -> None:
    """The answers depend on neighbours, and that is never wanted."""
    module, example = STATISTICS[name]
    module.train(mode=name != "batch norm without statistics")
    assert EVAL in refusal(module, example)
    assert EVAL in refusal(module, example, RANDOM)


@pytest.mark.parametrize("name", DRAWING)
def test_a_model_that_draws_random_numbers_is_refused(name: str) -> None:
    """In eval mode too, unless its author wants answers that vary."""
    assert ALLOW in refusal(of(DRAWING[name]), floats(5, 4))
    assert not refusal(of(DRAWING[name]), floats(5, 4), RANDOM)


@pytest.mark.parametrize("name", MOVING)
def test_a_model_whose_state_moves_is_refused(name: str) -> None:
    """However it changes a buffer or a constant, and whatever its author allows."""
    for allow in (STRICT, RANDOM):
        message = refusal(MOVING[name].eval(), floats(5, 4), allow)
        assert message.startswith("The model changes its ")
        assert "its answers depend on the requests before" in message


@pytest.mark.parametrize("name", READING_NOTHING)
def test_a_model_that_reads_unwritten_memory_is_refused(name: str) -> None:
    """What is there was left by others."""
    assert "reads memory of which a part may not be written" in refusal(of(READING_NOTHING[name]), floats(5, 4))


@pytest.mark.parametrize("name", PURE)
def test_a_model_whose_answers_are_a_function_of_the_request_is_not_refused(name: str) -> None:
    """Training mode is nothing bad where no operator makes a difference of it, nor is a change of what is its own."""
    module, example = PURE[name]
    if "eval mode" in name:
        module.eval()
    assert not refusal(module, example)


def overloads() -> list[Any]:
    """All of torch's operators on tensors that a program may call."""
    found = []
    for qualified in torch._C._dispatch_get_all_op_names():
        namespace, _, name = qualified.partition("::")
        base, _, overload = name.partition(".")
        if namespace in {"aten", "prims"}:
            packet = getattr(getattr(torch.ops, namespace), base, None)
            if packet is not None and (overload or "default") in packet.overloads():
                found.append(getattr(packet, overload or "default"))
    return found


def call(overload: Any, **constants: Any) -> Call:
    """A call of an operator with a tensor in each argument, but for constants."""
    inputs = [
        {"name": one.name, "arg": constants.get(one.name, {"as_tensor": {"name": one.name}})}
        for one in overload._schema.arguments
    ]
    return Call({"target": f"torch.ops.{overload}", "inputs": inputs, "outputs": []})


def test_every_operator_that_draws_random_numbers_is_known() -> None:
    """What torch tags as such is in the list, or is told by an argument that says that it is training."""
    on = {"train": {"as_bool": True}, "training": {"as_bool": True}, "dropout_p": {"as_float": 0.5}}
    chances = {
        "p": {"as_float": 0.5},
        "dropout": {"as_float": 0.5},
        "num_layers": {"as_int": 2},
        "lower": {"as_float": 0.1},
    }
    tagged = [one for one in overloads() if torch.Tag.nondeterministic_seeded in one.tags]
    assert len(tagged) > 100
    unknown = [str(one) for one in tagged if not pure_function.is_random(call(one, **on, **chances))]
    assert set(unknown) <= {"aten._fused_sdp_choice.default"}  # it chooses an operator, and draws nothing


def test_every_operator_that_writes_to_its_arguments_is_known() -> None:
    """What torch's schemas say that an operator writes to is what `pure_function` takes for written."""
    checked = 0
    for one in overloads():
        writes = [
            argument.name for argument in one._schema.arguments if argument.alias_info and argument.alias_info.is_write
        ]
        if one._opname.startswith(("_fused_ada", "_fused_sgd", "_amp_")) and not one._opname.endswith("_"):
            continue  # no program that is served trains
        if writes and one._opname not in {"record_stream", "retain_grad", "requires_grad_", "detach_", "as_strided"}:
            checked += 1
            assert set(writes) <= set(pure_function.written(call(one))), one
    assert checked > 300


def test_every_operator_that_returns_its_argument_s_memory_is_known() -> None:
    """What torch's schemas say to be a view is in the list."""
    for one in overloads():
        returned = [result for result in one._schema.returns if result.alias_info and not result.alias_info.is_write]
        assert not returned or one._opname in operator_kinds.VIEWS, one

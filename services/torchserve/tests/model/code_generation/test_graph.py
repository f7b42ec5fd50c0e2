from __future__ import annotations

import dis
import json
import re
import subprocess
import sys
import warnings
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from signet_torchserve.archive.builder import strip_pickles
from signet_torchserve.model.code_generation.graph import Graph
from signet_torchserve.model.code_generation.source import Unsupported
from signet_torchserve.model.torch_module import TorchModule
from torch import nn
from torch.nn import functional

CPU = torch.device("cpu")
# The way that writes Python, and the plain one.
each_way = pytest.mark.parametrize("read", [Graph, TorchModule])
AUTO = torch.export.Dim.AUTO


class Function(nn.Module):
    """A function of some tensors and modules, as a module."""

    def __init__(self, function: Callable[..., Any], *modules: nn.Module) -> None:
        super().__init__()
        self.function = function
        self.parts = nn.ModuleList(modules)

    def forward(self, *tensors: torch.Tensor) -> Any:
        return self.function(*self.parts, *tensors)


class State(nn.Module):
    """Buffers of every dtype that a weight can have, a constant, tied and strided weights."""

    def __init__(self) -> None:
        super().__init__()
        for dtype in (torch.bool, torch.uint8, torch.int32, torch.int64, torch.float16, torch.bfloat16, torch.float64):
            self.register_buffer(f"of_{dtype}".replace(".", "_"), torch.tensor([0, 1, 1]).to(dtype))
        self.register_buffer("passing", torch.ones(3), persistent=False)
        self.register_buffer("nothing", torch.ones(0, 3))
        self.first = nn.Linear(3, 3)
        self.second = nn.Linear(3, 3, bias=False)
        self.second.weight = self.first.weight
        self.strided = nn.Parameter(torch.randn(3, 6).t()[::2])

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        total = self.second(self.first(x)) @ self.strided + self.passing + torch.tensor([1.0, 2.0, 3.0])
        for name, buffer in self.named_buffers():
            if name != "nothing":
                total = total + buffer
        return torch.cat([total, self.nothing.to(total.dtype)])


class Scaled(nn.Module):
    """A param beside the input, as MLflow exports one."""

    def forward(
        self, x: torch.Tensor, scale: float = 1.0, name: str = "a", nothing: float | None = None
    ) -> torch.Tensor:
        return x * scale if name == "a" and nothing is None else x


class Counter(nn.Module):
    """A program that remembers its calls."""

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("calls", torch.zeros(1))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        self.calls.add_(1)
        return x + self.calls


def no_grad(x: torch.Tensor) -> torch.Tensor:
    with torch.no_grad():
        return x * 2


def floats(*shape: int) -> torch.Tensor:
    return torch.randn(shape)


def integers(*shape: int) -> torch.Tensor:
    return torch.randint(0, 7, shape)


def convolutions() -> nn.Module:
    return nn.Sequential(
        nn.Conv2d(3, 4, 3, padding=1), nn.BatchNorm2d(4), nn.ReLU(inplace=True), nn.MaxPool2d(2),
        nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 2), nn.Dropout(),
    )  # fmt: skip


def attention(x: torch.Tensor) -> torch.Tensor:
    return functional.scaled_dot_product_attention(x, x, x, is_causal=True)


def masked(x: torch.Tensor) -> torch.Tensor:
    return torch.where(x > 0, x, x.new_tensor(-1.0)).masked_fill(x.abs() < 0.1, float("-inf"))


def branch(x: torch.Tensor) -> torch.Tensor:
    return torch.cond(x.sum() > 0, lambda y: y + 1, lambda y: y - 1, (x,))


# What a program does, its module, and its input for a number of rows.
PROGRAMS: dict[str, tuple[nn.Module, Callable[[int], tuple[torch.Tensor, ...]]]] = {
    "mlp": (nn.Sequential(nn.Linear(4, 16), nn.ReLU(), nn.Linear(16, 3)), lambda n: (floats(n, 4),)),
    "convolutions": (convolutions(), lambda n: (floats(n, 3, 8, 8),)),
    "conv1d": (nn.Conv1d(2, 3, 3, padding="same", padding_mode="circular"), lambda n: (floats(n, 2, 9),)),
    "transposed convolution": (nn.ConvTranspose2d(2, 3, 3, stride=2), lambda n: (floats(n, 2, 5, 5),)),
    "channels last": (Function(lambda x: x.to(memory_format=torch.channels_last) + 1), lambda n: (floats(n, 2, 3, 3),)),
    "lstm": (nn.LSTM(4, 5, batch_first=True, num_layers=2), lambda n: (floats(n, 6, 4),)),
    "gru": (Function(lambda gru, x: gru(x)[0], nn.GRU(4, 5, batch_first=True)), lambda n: (floats(n, 6, 4),)),
    "embedding": (nn.Sequential(nn.Embedding(7, 3), nn.LayerNorm(3)), lambda n: (integers(n, 5),)),
    "embedding bag": (nn.EmbeddingBag(7, 3), lambda n: (integers(n, 5),)),
    "transformer": (nn.TransformerEncoderLayer(8, 2, 16, batch_first=True), lambda n: (floats(n, 5, 8),)),
    "multihead attention": (
        Function(lambda layer, x: layer(x, x, x), nn.MultiheadAttention(8, 2, batch_first=True)),
        lambda n: (floats(n, 5, 8),),
    ),
    "attention": (Function(attention), lambda n: (floats(n, 2, 5, 4),)),
    "gelu, silu, softmax": (nn.Sequential(nn.GELU("tanh"), nn.SiLU(), nn.Softmax(1)), lambda n: (floats(n, 4),)),
    "group norm": (nn.GroupNorm(2, 4), lambda n: (floats(n, 4, 3),)),
    "batch norm in training": (nn.BatchNorm1d(4).train(), lambda n: (floats(n, 4),)),
    "argmax": (Function(lambda x: x.argmax(1)), lambda n: (floats(n, 4),)),
    "topk": (Function(lambda x: tuple(torch.topk(x, 2))), lambda n: (floats(n, 4),)),
    "nested output": (
        Function(lambda x: {"a": x + 1, "b": (x, [x * 2, x.max(1)[0]]), "n": x.shape[0], "c": 3}),
        lambda n: (floats(n, 4),),
    ),
    "two inputs": (Function(lambda a, b: a @ b.t()), lambda n: (floats(n, 4), floats(n, 4))),
    "state": (State(), lambda n: (floats(n, 3),)),
    "counter": (Counter(), lambda n: (floats(n, 3),)),
    "view": (Function(lambda x: x.view(x.shape[0], -1)), lambda n: (floats(n, 4, 2),)),
    "arithmetic on sizes": (
        Function(lambda x: x.reshape(-1)[: (x.shape[0] * 4 + 1) // 2] * (x.shape[0] / 2) - x.shape[0] % 3),
        lambda n: (floats(n, 4),),
    ),
    "arange": (Function(lambda x: x + torch.arange(x.shape[0])[:, None]), lambda n: (floats(n, 4),)),
    "zeros": (Function(lambda x: torch.zeros(x.shape[0], 2, dtype=torch.int32)), lambda n: (floats(n, 4),)),
    "split": (Function(lambda x: x.split([1, 3], 1)), lambda n: (floats(n, 4),)),
    "unbind": (Function(lambda x: list(x.unbind(1))), lambda n: (floats(n, 4),)),
    "casts": (
        Function(lambda x: (x.half(), x.double(), x.to(torch.bfloat16), x.long(), x.bool(), x.int())),
        lambda n: (floats(n, 4),),
    ),
    "unsigned": (
        Function(lambda x: (x.abs().to(torch.uint16), x.abs().to(torch.uint32).to(torch.float32))),
        lambda n: (floats(n, 4),),
    ),
    "complex": (Function(lambda x: torch.fft.rfft(x).abs() * abs(1 + 2j)), lambda n: (floats(n, 4),)),
    "masks": (Function(masked), lambda n: (floats(n, 4),)),
    "einsum": (Function(lambda a, b: torch.einsum("bi,bj->bij", a, b)), lambda n: (floats(n, 4), floats(n, 3))),
    "pad": (Function(lambda x: functional.pad(x, (1, 2), value=float("inf"))), lambda n: (floats(n, 4),)),
    "interpolate": (
        Function(lambda x: functional.interpolate(x, scale_factor=2.0, mode="bilinear")),
        lambda n: (floats(n, 2, 3, 3),),
    ),
    "cumsum": (Function(lambda x: x.cumsum(1).std(1)), lambda n: (floats(n, 4),)),
    "indexing": (Function(lambda x: x[:, [0, 2]].index_select(1, torch.tensor([1, 0]))), lambda n: (floats(n, 4),)),
    "optional indices": (Function(lambda x: x[:, :, torch.tensor([0, 1])]), lambda n: (floats(n, 4, 2),)),
    "one hot": (Function(lambda x: functional.one_hot(x, 7)), lambda n: (integers(n),)),
    "rounding": (Function(lambda x: torch.div(x, 3, rounding_mode="floor").clamp(-1, 2)), lambda n: (floats(n, 4),)),
    "item": (Function(lambda x: x * x.sum().item()), lambda n: (floats(n, 4),)),
    "in place": (Function(lambda x: x.clone().add_(1).mul_(2)), lambda n: (floats(n, 4),)),
    "identity": (nn.Identity(), lambda n: (floats(n, 4),)),
    "half": (nn.Linear(4, 3).half(), lambda n: (floats(n, 4).half(),)),
    "bfloat16": (nn.Linear(4, 3).bfloat16(), lambda n: (floats(n, 4).bfloat16(),)),
    "double": (nn.Linear(4, 3).double(), lambda n: (floats(n, 4).double(),)),
    "booleans": (Function(lambda x: ~x | x.any(1, keepdim=True)), lambda n: (floats(n, 4) > 0,)),
}

# What is left to torch.export.load.
UNSUPPORTED: dict[str, tuple[nn.Module, tuple[torch.Tensor, ...], Any]] = {
    "cond": (Function(branch), (floats(3, 4),), ({0: AUTO},)),
    "no_grad": (Function(no_grad), (floats(3, 4),), ({0: AUTO},)),
}


def save(folder: Path, module: nn.Module, inputs: tuple[Any, ...], shapes: Any, **params: Any) -> Path:
    """Export a module into an archive's .pt2 file."""
    shapes = (shapes,) if isinstance(module, Function) else (*shapes, *(None for _ in params))
    with warnings.catch_warnings(action="ignore"):  # of torch.export's, about LSTMs and strided weights
        exported = torch.export.export(module, inputs, params, dynamic_shapes=shapes)
        torch.export.save(exported, folder / "exported.pt2")
    strip_pickles(folder / "exported.pt2", folder / "model.pt2")
    return folder / "model.pt2"


def free(inputs: tuple[torch.Tensor, ...]) -> Any:
    return tuple({0: AUTO} for _ in inputs)


@each_way
@pytest.mark.parametrize("name", PROGRAMS)
def test_a_program_gives_what_the_exported_module_gives(name: str, read: Callable[..., Any], tmp_path: Path) -> None:
    """The same but for rounding, for any number of rows, call after call."""
    module, inputs = PROGRAMS[name]
    module.train(name == "batch norm in training")
    path = save(tmp_path, module, inputs(3), free(inputs(3)))
    program = read(path, CPU)
    expected = torch.export.load(path).module()
    with torch.inference_mode():
        for rows in (3, 1, 2, 7, 3):
            tensors = inputs(rows)
            wanted = expected(*(tensor.clone() for tensor in tensors))
            torch.testing.assert_close(program(*tensors), wanted, equal_nan=True)


@pytest.mark.parametrize("name", UNSUPPORTED)
def test_what_only_pytorch_can_run_is_unsupported(name: str, tmp_path: Path) -> None:
    """Anything but operators on tensors is left to PyTorch."""
    path = save(tmp_path, *UNSUPPORTED[name])
    with pytest.raises(Unsupported):
        Graph(path, CPU)
    torch.export.load(path)


@each_way
@pytest.mark.parametrize(
    ("module", "inputs", "shapes"),
    [
        (nn.Linear(4, 3), (floats(3, 4),), ({0: AUTO},)),
        (nn.Linear(4, 3), (floats(3, 4),), ({},)),
        (nn.Linear(4, 3), (floats(4, 4),), ({0: torch.export.Dim("n", min=3, max=5)},)),
        (nn.Linear(4, 3), (floats(3, 4),), ({0: torch.export.Dim("n", min=2, max=5)},)),
        (nn.ReLU(), (floats(3, 4),), ({0: AUTO, 1: AUTO},)),
        (Function(lambda x: x @ x), (floats(3, 3),), ({0: AUTO, 1: AUTO},)),
    ],
)
def test_a_program_refuses_the_shapes_that_the_exported_module_refuses(
    module: nn.Module, inputs: tuple[torch.Tensor, ...], shapes: Any, read: Callable[..., Any], tmp_path: Path
) -> None:
    """Sizes that are fixed, out of range or unequal are refused, each time, and the others are not."""
    path = save(tmp_path, module, inputs, shapes)
    program, expected = read(path, CPU), torch.export.load(path).module()
    refused = 0
    for shape in [*((n, 4) for n in range(8)), (3, 3), (4, 3), (4,), (2, 2, 4), ()] * 2:
        try:
            wanted = expected(torch.ones(shape))
        except RuntimeError:
            with pytest.raises(ValueError, match=r"Expected inputs of the shapes .*, but got"):
                program(torch.ones(shape))
            refused += 1
        else:
            torch.testing.assert_close(program(torch.ones(shape)), wanted)
    assert 0 < refused < 26


@each_way
def test_a_refusal_names_what_was_expected(read: Callable[..., Any], tmp_path: Path) -> None:
    """The message has the names, sizes and limits of all inputs, and the shapes that came."""
    path = save(tmp_path, Function(torch.add), (floats(3, 4), floats(3, 4)), ({0: torch.export.Dim("n", max=9)},) * 2)
    program = read(path, CPU)
    a, b = program.names
    n = program.forms[0].sizes[0]
    expected = (
        f"Expected inputs of the shapes {a} [{n}, 4], {b} [{n}, 4] (0 <= {n} <= 9), but got {a} [3, 4], {b} [2, 4]"
    )
    with pytest.raises(ValueError, match=re.escape(expected)):
        program(floats(3, 4), floats(2, 4))
    with pytest.raises(ValueError, match=re.escape(f"but got {a} [3, 4]")):
        program(floats(3, 4))


@each_way
@pytest.mark.parametrize(
    "params",
    [
        {},
        {"scale": 2.0},
        {"scale": 3.0, "name": "a", "nothing": None},
        {"scale": 2, "name": "a", "nothing": None},
        {"scale": 2.0, "title": "a", "nothing": None},
        {"scale": 2.0, "name": "a"},
    ],
)
def test_a_program_refuses_params_that_it_was_not_exported_for(
    params: dict[str, Any], read: Callable[..., Any], tmp_path: Path
) -> None:
    """Only those values are taken that the program was exported with, and of their types."""
    path = save(tmp_path, Scaled(), (floats(3, 4),), ({0: AUTO},), scale=2.0, name="a", nothing=None)
    program, expected = read(path, CPU), torch.export.load(path).module()
    x = floats(2, 4)
    torch.testing.assert_close(program(x, scale=2.0, name="a", nothing=None), x * 2)
    with pytest.raises((RuntimeError, ValueError)):
        expected(x, **params)
    with pytest.raises((RuntimeError, ValueError), match="Expected the params" if read is Graph else None):
        program(x, **params)


@pytest.mark.parametrize(
    "change",
    [
        lambda program: program["graph_module"]["graph"]["nodes"][0].update(target="torch.os.system"),
        lambda program: program["graph_module"]["graph"]["nodes"][0].update(target="torch.ops.aten.from_file.default"),
        lambda program: program["graph_module"]["graph"]["nodes"][0].update(target="torch.ops.aten.save.default"),
        lambda program: program["graph_module"]["graph"]["nodes"][0].update(target="torch.ops.aten.__class__.mro"),
        lambda program: program["graph_module"]["graph"]["nodes"][0]["inputs"][0].update(name="x=print(), y"),
        lambda program: program["graph_module"]["graph"]["nodes"][0]["inputs"][0].update(arg={"as_graph": {}}),
        lambda program: program["graph_module"]["graph"].update(outputs=[]),
        lambda program: program["schema_version"].update(major=9),
        lambda program: program.clear(),
    ],
)
def test_a_file_of_another_form_is_unsupported(change: Callable[[Any], None], tmp_path: Path) -> None:
    """Nothing of what the file says is looked up outside PyTorch's operators on tensors, or evaluated."""
    path = save(tmp_path, nn.Linear(4, 3), (floats(3, 4),), ({0: AUTO},))

    def rewritten(text: bytes) -> bytes:
        program = json.loads(text)
        change(program)
        return json.dumps(program).encode()

    changed = with_program(path, rewritten)
    with pytest.raises(Unsupported):
        Graph(changed, CPU)


def test_names_in_the_file_are_never_compiled(tmp_path: Path) -> None:
    """Names that are no identifiers, or that PyTorch or Python use, are names like any other."""
    path = save(tmp_path, nn.Linear(4, 3), (floats(3, 4),), ({0: AUTO},))
    changed = with_program(
        path, lambda text: text.replace(b'"linear"', b'"c0 = print(1); x"').replace(b'"p_weight"', b'"v0"')
    )
    x = floats(3, 4)
    torch.testing.assert_close(Graph(changed, CPU)(x), Graph(path, CPU)(x))


def test_a_graph_needs_none_of_the_compiler(tmp_path: Path) -> None:
    """Loading and calling one imports neither dynamo nor sympy, which is what a worker's start and memory cost."""
    path = save(tmp_path, convolutions().eval(), (floats(3, 3, 8, 8),), ({0: AUTO},))
    check = (
        "import sys, torch, pathlib; from signet_torchserve.model.program import Program;"
        f"Program(pathlib.Path({str(path)!r})); print('sympy' in sys.modules or 'torch._dynamo' in sys.modules)"
    )
    assert (
        subprocess.run([sys.executable, "-c", check], check=True, stdout=subprocess.PIPE, text=True).stdout == "False\n"
    )


def test_values_are_freed_after_their_last_use(tmp_path: Path) -> None:
    """A deep program holds no more than a few of its intermediate values."""
    path = save(tmp_path, Function(lambda x: x.sin().sin().sin().sin().sin()), (floats(3, 4),), ({0: AUTO},))
    graph = Graph(path, CPU)
    code = graph._function.__code__
    assert code.co_nlocals == 6
    assert dis.Bytecode(code).dis().count("LOAD_CONST               0 (None)") == 5


def with_program(path: Path, change: Callable[[bytes], bytes]) -> Path:
    """Copy of a .pt2 file whose program's JSON is changed."""
    changed = path.with_name("changed.pt2")
    with zipfile.ZipFile(path) as old, zipfile.ZipFile(changed, "w") as new:
        for record in old.namelist():
            content = old.read(record)
            new.writestr(record, change(content) if record.endswith("models/model.json") else content)
    return changed

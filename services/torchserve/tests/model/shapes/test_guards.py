"""Programs whose sizes torch guards, exported as MLflow exports them, against torch's own module of the logged file."""

from __future__ import annotations

import itertools
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import hypothesis
import pytest
import torch
from hypothesis import strategies as st
from signet_torchserve.archive import builder
from signet_torchserve.errors import NotServable
from signet_torchserve.model import program
from signet_torchserve.model.shapes.guards import Guards

AUTO = torch.export.Dim.AUTO
CPU = torch.device("cpu")
SIZES = range(10)

# To export a program takes a thousand times as long as to draw one.
PROGRAMS = max(3, hypothesis.settings().max_examples // 3)

Step = Callable[..., torch.Tensor]


class Steps(torch.nn.Module):
    """Functions of all inputs, each of which makes the next value of the first one."""

    def __init__(self, steps: Sequence[Step]) -> None:
        super().__init__()
        self.steps = steps
        self.one = torch.nn.Parameter(torch.ones(1))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.run(x)

    def run(self, x: torch.Tensor, *others: torch.Tensor) -> torch.Tensor:
        for step in self.steps:
            x = step(x, *others)
        return x * self.one


class StepsOfTwo(Steps):
    """The same of two inputs."""

    def forward(self, x: torch.Tensor, other: torch.Tensor) -> torch.Tensor:  # type: ignore[override]  # two inputs
        return self.run(x, other)


def export(folder: Path, module: torch.nn.Module, *examples: torch.Tensor) -> tuple[Path, Path]:
    """The file that MLflow logs of a module whose rows are free, and its copy in an archive."""
    logged, archived = folder / "logged.pt2", folder / "archived.pt2"
    exported = torch.export.export(module.eval(), examples, dynamic_shapes=[{0: AUTO} for _ in examples])
    torch.export.save(exported, logged)
    builder.strip_pickles(logged, archived)
    return logged, archived


def rows(count: int) -> torch.Tensor:
    return torch.arange(2.0 * count).reshape(count, 2) / 4 - 1


def outcome(module: Callable[..., Any], *inputs: torch.Tensor) -> Any:
    """What a program returns; None where it refuses."""
    try:
        return module(*inputs)
    except (RuntimeError, AssertionError, ValueError, TypeError, IndexError, ZeroDivisionError):
        return None


def assert_alike(logged: Path, archived: Path, inputs: int) -> list[tuple[int, ...]]:
    """Hold the archived program, read either way, to torch's module of the logged one, at all sizes; those it takes."""
    theirs = torch.export.load(logged).module()
    ours = [program._load(archived, CPU, is_generated=is_generated) for is_generated in (True, False)]
    taken = []
    for sizes in itertools.product(SIZES, repeat=inputs):
        tensors = list(map(rows, sizes))
        wanted = outcome(theirs, *tensors)
        for one in ours:
            got = outcome(one, *tensors)
            assert (got is None) == (wanted is None), f"{sizes}: {got} instead of {wanted} by {one}"
            if wanted is not None:
                torch.testing.assert_close(got, wanted, equal_nan=True)
        if wanted is not None:
            taken.append(sizes)
    return taken


def _branched(condition: Callable[..., bool]) -> Step:
    return lambda x, *others: x * 3 if condition(x, *others) else x * 2


def _looped(divisor: int) -> Step:
    def loop(x: torch.Tensor, *_: torch.Tensor) -> torch.Tensor:
        for index in range(x.shape[0] // divisor):
            x = x + index
        return x

    return loop


def _padded(multiple: int) -> Step:
    def pad(x: torch.Tensor, *_: torch.Tensor) -> torch.Tensor:
        padded = torch.nn.functional.pad(x, (0, 0, 0, -x.shape[0] % multiple))
        return padded.reshape(-1, multiple, 2).sum(1)

    return pad


def _conditional(x: torch.Tensor, *_: torch.Tensor) -> torch.Tensor:
    return torch.cond(x.sum() > 0, lambda x: x + 1, lambda x: x - 1, (x,))


numbers = st.integers(1, 6)
sizes = st.one_of(
    st.just(lambda x, *_: x.shape[0]),
    st.just(lambda *inputs: inputs[-1].shape[0]),
    st.just(lambda *inputs: inputs[0].shape[0] + inputs[-1].shape[0]),
    st.builds(lambda k: lambda x, *_: x.shape[0] // k, numbers),
    st.builds(lambda k: lambda x, *_: x.shape[0] % k, numbers),
    st.builds(lambda k: lambda *inputs: inputs[-1].shape[0] * k, numbers),
    st.builds(lambda k: lambda x, *_: max(x.shape[0], k), numbers),
    st.builds(lambda k: lambda x, *_: x.shape[0] / k, numbers),
    st.builds(lambda k: lambda *_: k, numbers),
)
comparisons = st.sampled_from(
    [
        lambda a, b: a == b,
        lambda a, b: a != b,
        lambda a, b: a < b,
        lambda a, b: a >= b,
        lambda a, b: a > b and a != b + 2,
        lambda a, b: a < b or a % 3 == 1,
    ]
)
conditions = st.builds(
    lambda one, comparison, other: lambda *inputs: bool(comparison(one(*inputs), other(*inputs))),
    sizes,
    comparisons,
    sizes,
)
steps = st.one_of(
    st.builds(_branched, conditions),
    st.builds(_branched, conditions),
    st.builds(_looped, numbers),
    st.builds(_padded, numbers),
    st.just(_conditional),
    st.builds(lambda k: lambda x, *_: x[: min(x.shape[0], k)], numbers),
    st.builds(lambda k: lambda x, *_: x[k:] + x[:-k], numbers),
    st.builds(lambda k, hop: lambda x, *_: x.unfold(0, k, hop).sum(-1), numbers, numbers),
    st.builds(lambda k: lambda *inputs: inputs[0] + inputs[-1][::k], numbers),
    st.builds(lambda k: lambda *inputs: inputs[0] - inputs[-1][k:], numbers),
    st.just(lambda *inputs: torch.cat([inputs[0], inputs[-1]])),
    st.builds(lambda k: lambda x, *_: torch.cat(x.chunk(k)), numbers),
    st.builds(lambda k: lambda x, *_: x.reshape(k, -1, 2).sum(0), numbers),
    st.just(lambda *inputs: inputs[0].T @ inputs[-1]),
)


@hypothesis.settings(max_examples=PROGRAMS)
@hypothesis.given(st.lists(steps, min_size=1, max_size=2), st.lists(st.integers(1, 8), min_size=1, max_size=2))
def test_a_program_takes_what_the_module_of_the_logged_file_takes(steps: list[Step], counts: list[int]) -> None:
    """Drawn programs: at every size, an archive's program answers as torch's own module, or both refuse."""
    with tempfile.TemporaryDirectory() as folder:
        try:
            logged, archived = export(Path(folder), (Steps, StepsOfTwo)[len(counts) - 1](steps), *map(rows, counts))
        except Exception:  # noqa: BLE001 -- whatever torch.export raises
            hypothesis.reject()  # it cannot be logged
        assert_alike(logged, archived, len(counts))


def even(x: torch.Tensor) -> torch.Tensor:
    return x * 3 if x.shape[0] % 2 == 0 else x * 2


PROGRAMS_BY_SIZE: list[tuple[list[Step], list[int], list[tuple[int, ...]]]] = [
    # what it computes, the rows of its examples, what it takes of 0 to 9 rows
    ([even], [4], [(0,), (2,), (4,), (6,), (8,)]),
    ([_conditional, even], [4], [(0,), (2,), (4,), (6,), (8,)]),  # runs in PyTorch itself
    ([_branched(lambda x: x.shape[0] > 6)], [4], [(n,) for n in range(7)]),
    ([_looped(3)], [4], [(3,), (4,), (5,)]),
    ([_padded(4)], [6], [(5,), (6,), (7,), (8,), (9,)]),
    ([lambda x: x], [1], [(1,)]),
    ([lambda x: x.repeat(1, 2)[2:]], [2], [(0,), (1,), (2,)]),
    ([torch.add], [4, 4], [(n, n) for n in range(10)]),
    ([lambda x, y: x - y[1:]], [4, 5], [(n, n + 1) for n in range(2, 9)]),
    ([_branched(lambda x, y: x.shape[0] == 2 * y.shape[0])], [4, 2], [(2 * n, n) for n in range(2, 5)]),
]


@pytest.mark.parametrize(("steps", "examples", "taken"), PROGRAMS_BY_SIZE)
def test_sizes_that_a_branch_did_not_see_are_refused(
    steps: list[Step], examples: list[int], taken: list[tuple[int, ...]], tmp_path: Path
) -> None:
    """Guards are checked whoever runs the program, and what they admit is answered."""
    module = (Steps, StepsOfTwo)[len(examples) - 1](steps)
    assert assert_alike(*export(tmp_path, module, *map(rows, examples)), len(examples)) == taken


@pytest.mark.parametrize("is_generated", [True, False])
@pytest.mark.parametrize("step", [even, lambda x: even(_conditional(x))])
def test_a_refusal_names_the_size_and_what_is_expected(step: Step, is_generated: bool, tmp_path: Path) -> None:
    """The guard is said as people write it, with the shapes that came."""
    _, archived = export(tmp_path, Steps([step]), rows(4))
    expected = r"Expected inputs with x\.shape\[0\] % 2 == 0, for which the program was exported, but got x \[3, 2\]"
    with pytest.raises(ValueError, match=expected):
        program._load(archived, CPU, is_generated=is_generated)(rows(3))


class Several(torch.nn.Module):
    """Inputs that have no names of their own."""

    def forward(self, *xs: torch.Tensor) -> torch.Tensor:
        return xs[0] + xs[1]


def test_guards_of_inputs_without_names_are_checked(tmp_path: Path) -> None:
    """Torch calls them `L['xs'][0]`."""
    examples = (rows(4), rows(4))
    exported = torch.export.export(Several(), examples, dynamic_shapes=(tuple({0: AUTO} for _ in examples),))
    torch.export.save(exported, tmp_path / "logged.pt2")
    builder.strip_pickles(tmp_path / "logged.pt2", tmp_path / "archived.pt2")
    taken = assert_alike(tmp_path / "logged.pt2", tmp_path / "archived.pt2", 2)
    assert taken == [(n, n) for n in SIZES]


def document(guard: str) -> Any:
    """Of a program's JSON, what says which sizes it takes."""
    symbol = {"expr_str": "Symbol('s77', positive=True, integer=True)", "hint": {"as_int": 4}}
    return {
        "graph_module": {
            "graph": {"tensor_values": {"x": {"sizes": [{"as_expr": symbol}, {"as_int": 2}]}}},
            "signature": {"input_specs": [{"user_input": {"arg": {"as_tensor": {"name": "x"}}}}]},
            "module_call_graph": [{"signature": {"forward_arg_names": ["x"]}}],
        },
        "guards_code": [guard],
        "range_constraints": {"s77": {"min_val": 2, "max_val": None}},
    }


@pytest.mark.parametrize(
    ("guard", "holds"),
    [
        ("L['x'].size()[0] % 2 == 0", True),
        ("min(3, L['x'].size()[0]) <= L['x'].size()[1]", False),
        ("(L['x'].size()[0] / 3) > 1.5 or not (L['x'].size()[1] != 2)", True),
        ("math.floor(torch._sym_sqrt(torch.sym_float(L['x'].size()[0]))) == 2", True),
        ("2 < L['flat_args'][0].size()[0] <= 4", True),
        ("L['x'].size()[0] // (L['x'].size()[0] - 4) == 1", False),  # a division by 0
        ("L['x'].size()[0] ** 1000 > 1", False),  # longer than a size can be
    ],
)
def test_guards_are_calculated_as_python_does(guard: str, *, holds: bool) -> None:
    """Of an input of 4 rows and 2 columns; what has no result does not hold."""
    assert (Guards(document(guard)).mismatch([(4, 2)]) is None) is holds


@pytest.mark.parametrize(
    "guard",
    [
        "L['y'].size()[0] == 2",
        "L['x'].size()[2] == 2",
        "L['x'].stride()[0] == 2",
        "L['x'].size()[0].bit_length() == 2",
        "IsNonOverlappingAndDenseIndicator(L['x'].size()[0], 1)",
        "s77 == 2",
    ],
)
def test_a_guard_that_cannot_be_checked_is_never_ignored(guard: str) -> None:
    """Its version is refused, with the guard."""
    with pytest.raises(NotServable, match=r"The program has the guard .*, which cannot be checked"):
        Guards(document(guard))


def test_a_size_that_no_input_has_is_refused() -> None:
    """A symbol that is found in no dimension could be any number."""
    of_another = document("True")
    sizes = of_another["graph_module"]["graph"]["tensor_values"]["x"]["sizes"]
    sizes[0]["as_expr"]["expr_str"] = "Mul(Integer(2), Symbol('s1', positive=True, integer=True))"
    with pytest.raises(NotServable, match="of which s1 is not the size of any input"):
        Guards(of_another)

from __future__ import annotations

import copy
import json
import re
import subprocess
import sys
import warnings
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import models
import pytest
import torch
from models import Formula, rows
from signet_torchserve.archive import builder
from signet_torchserve.errors import NotServable
from signet_torchserve.model import safety_scan

Document = dict[str, Any]
GRAPH = "model/models/model.json"


@pytest.fixture(scope="module")
def logged(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model that adds 1, logged once."""
    return models.save(tmp_path_factory.mktemp("logged") / "model", Formula(lambda x: x + 1), rows(3, 1))


@pytest.fixture(scope="module")
def document(logged: Path) -> Document:
    """The program's JSON."""
    with zipfile.ZipFile(logged / "data" / "model.pt2") as file:
        graph: Document = json.loads(file.read(GRAPH))
    return graph


def write(logged: Path, target: Path, document: Document) -> None:
    """The logged program with another graph."""
    with zipfile.ZipFile(logged / "data" / "model.pt2") as source, zipfile.ZipFile(target, "w") as copied:
        for record in source.namelist():
            copied.writestr(record, json.dumps(document) if record == GRAPH else source.read(record))


def graph(document: Document) -> Document:
    found: Document = document["graph_module"]["graph"]
    return found


def call(document: Document, target: str, *texts: str) -> None:
    """Let the program call something with texts before it does anything else."""
    inputs = [{"name": "", "arg": {"as_string": text}, "kind": 1} for text in texts]
    node = {"target": target, "inputs": inputs, "outputs": [{"as_none": True}], "metadata": {}, "name": "called"}
    graph(document)["nodes"].insert(0, node)


def python(marker: str) -> str:
    return f"__import__('pathlib').Path('{marker}').touch()"


def in_a_size(document: Document, marker: str) -> None:
    graph(document)["tensor_values"]["x"]["sizes"][0] = {"as_expr": {"expr_str": python(marker), "hint": None}}


def in_a_guard(document: Document, marker: str) -> None:
    document["guards_code"] = [f"{python(marker)} is None"]


def as_an_operator(document: Document, marker: str) -> None:
    call(
        document,
        "torch.export.custom_ops._call_custom_autograd_function_in_pre_dispatch",
        f"hostile_{marker}.x",
    )


def as_a_file_of_an_operator(document: Document, marker: str) -> None:
    node = {
        "target": "torch.ops.aten.from_file.default",
        "inputs": [
            {"name": "filename", "arg": {"as_string": marker}, "kind": 1},
            {"name": "shared", "arg": {"as_bool": True}, "kind": 1},
            {"name": "size", "arg": {"as_int": 1}, "kind": 1},
        ],
        "outputs": [{"as_tensor": {"name": "file"}}],
        "metadata": {},
        "name": "file",
    }
    graph(document)["nodes"][0]["inputs"][1]["arg"] = {"as_tensor": {"name": "file"}}
    graph(document)["nodes"].insert(0, node)
    graph(document)["tensor_values"]["file"] = graph(document)["tensor_values"]["p_one"]


def in_a_keyword(document: Document, marker: str) -> None:
    call(document, "torch.ops.higher_order.cond", "")
    graph(document)["nodes"][0]["inputs"] = [
        {"name": f"pred={python(marker)}, true_fn", "arg": {"as_string_to_argument": {}}, "kind": 2}
    ]


def in_a_container(document: Document, marker: str) -> None:
    spec = document["graph_module"]["module_call_graph"][0]["signature"]
    context = {"default_factory_module": f"hostile_{marker}", "default_factory_name": "x", "dict_context": []}
    spec["out_spec"] = json.dumps([1, {"type": "collections.defaultdict", "context": context, "children_spec": []}])


def in_a_key(document: Document, marker: str) -> None:
    spec = document["graph_module"]["module_call_graph"][0]["signature"]
    context = json.dumps([{"__enum__": True, "fqn": f"hostile_{marker}:x", "name": "x"}])
    spec["in_spec"] = spec["in_spec"].replace('"context": "[]"', f'"context": {json.dumps(context)}')


ATTACKS: dict[Callable[[Document, str], None], str] = {
    in_a_size: "as expr_str, which loading it might run: expected arithmetic on sizes.",
    in_a_guard: "as guards_code, which loading it might run: expected arithmetic on sizes.",
    as_an_operator: "as target, which loading it might run: expected an operator on tensors that touches no files",
    as_a_file_of_an_operator: "as target, which loading it might run: expected an operator on tensors that touches",
    in_a_keyword: "as name, which loading it might run: expected a name.",
    in_a_container: "as out_spec, which loading it might run: expected tuples, lists and dicts",
    in_a_key: "as in_spec, which loading it might run: expected tuples, lists and dicts",
}
IDS = [attack.__name__ for attack in ATTACKS]

LOAD = """
import contextlib, logging, sys, warnings
import torch

logging.disable()
warnings.simplefilter("ignore")
for path in sys.argv[1:]:
    with contextlib.suppress(Exception):
        torch.export.load(path).module()(torch.ones(2, 1))
"""


@pytest.fixture(scope="module")
def attacked(logged: Path, document: Document, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder with a crafted program for each attack, and with the files that torch's own loader let them write."""
    folder = tmp_path_factory.mktemp("attacked")
    for name, attack in zip(IDS, ATTACKS, strict=True):
        crafted = copy.deepcopy(document)
        attack(crafted, name)
        write(logged, folder / f"{name}.pt2", crafted)
        (folder / f"hostile_{name}.py").write_text(python(name))
    command = [sys.executable, "-c", LOAD, *(f"{name}.pt2" for name in IDS)]
    subprocess.run(command, cwd=folder, env={"PYTHONPATH": str(folder)}, check=True)
    return folder


@pytest.mark.parametrize(("attack", "message"), ATTACKS.items(), ids=IDS)
def test_what_loading_would_run_is_refused(
    attack: Callable[[Document, str], None], message: str, attacked: Path, tmp_path: Path
) -> None:
    """A program that writes a file when torch loads or calls it is refused, with the text that would have done it."""
    assert (attacked / attack.__name__).exists(), "torch has not run it, so its refusal proves nothing"
    with pytest.raises(NotServable, match=re.escape(message)):
        builder.strip_pickles(attacked / f"{attack.__name__}.pt2", tmp_path / "stripped.pt2")


class Busy(torch.nn.Module):
    """Sizes in formulas and guards, a branch, a vmap, an infinity, and weights with odd names."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = torch.nn.ModuleDict({"odd-name": torch.nn.Linear(4, 3)})

    def forward(self, x: torch.Tensor, *, k: torch.Tensor) -> dict[str, Any]:
        h = self.layers["odd-name"](x)
        if x.shape[0] > 2:
            h = torch.cat([h, h[: x.shape[0] // 2]])
        h = torch.cond(h.sum() > 0, lambda a: a + 1, lambda a: a - 1, (h,))
        h = torch.vmap(lambda a: a * 2)(h).clamp(max=float("inf"))
        return {"the output": h, "more": [(h.int() & 1) + k, h.reshape(1, -1, 3).softmax(-1)]}


def test_an_honest_program_is_left_as_it_is(tmp_path: Path) -> None:
    """A program with formulas, guards, branches and nested outputs is taken, and computes what it did before."""
    inputs, options = torch.randn(8, 4), {"k": torch.ones(1)}
    shapes = {"x": {0: torch.export.Dim.AUTO}, "k": None}
    with warnings.catch_warnings(action="ignore"):
        program = torch.export.export(Busy(), (inputs,), options, dynamic_shapes=shapes)
        torch.export.save(program, tmp_path / "saved.pt2")
    builder.strip_pickles(tmp_path / "saved.pt2", tmp_path / "stripped.pt2")
    stripped = torch.export.load(tmp_path / "stripped.pt2").module()
    torch.testing.assert_close(stripped(inputs, **options), program.module()(inputs, **options))
    with pytest.raises((AssertionError, RuntimeError), match=r"Guard failed|to be >= 3"):
        stripped(inputs[:2], **options)


@pytest.mark.parametrize(
    ("text", "is_taken"),
    [
        ("Symbol('s77', positive=True, integer=True)", True),
        ("FloorDiv(Add(Mul(Integer(2), Symbol('s77', integer=True)), Integer(1)), Integer(3))", True),
        ("((L['flat_args'][0].size()[0] + (L['x'].size()[0] // 2)) % 12) <= 0", True),
        ("s0 + 2*s1", True),
        ("-1.5e3 < math.ceil(u0) and not s0 == 3", True),
        ("Symbol('s77').__class__", False),
        ("Symbol('x(1)')", False),
        ("S('1')", False),
        ("sympify('x')", False),
        ("open('x')", False),
        ("[].append(1)", False),
        ("(lambda: 1)()", False),
        ("[s for s in L]", False),
        ("f'{s0}'", False),
        ("L['x'].data.tofile('x')", False),
        ("L['x'].size()[0] == 1 # or so", False),
        ("L['x\"); evil(\"'] == 1", False),
        ("s0 ==\n1", False),
        ("(" * 5000 + "1" + ")" * 5000, False),
        ("s0 :", False),
        ("", False),
    ],
)
def test_formulas_are_arithmetic_on_sizes(text: str, *, is_taken: bool) -> None:
    """The formulas that torch writes are taken; whatever calls, names or quotes more is refused."""
    for key in ("expr_str", "guards_code"):
        if is_taken:
            assert safety_scan.harmless({key: [text]}) == {key: [text]}
        else:
            with pytest.raises(NotServable, match=key):
                safety_scan.harmless({key: [text]})


@pytest.mark.parametrize(
    ("target", "is_taken"),
    [
        ("torch.ops.aten.add.Tensor", True),
        ("torch.ops.aten.__and__.Scalar", True),
        ("torch.ops.aten._to_copy.default", True),
        ("torch.ops.higher_order.cond", True),
        ("_operator.floordiv", True),
        ("math.trunc", True),
        ("torch.sym_max", True),
        ("torch._functorch.predispatch._add_batch_dim", True),
        ("torch.os.system", False),
        ("torch.load", False),
        ("torch.ops.load_library", False),
        ("torch.ops.aten.save.default", False),
        ("torch.ops.aten.from_file.out", False),
        ("torch.ops.aten.__class__.mro", False),
        ("torch.ops.aten.add.__class__", False),
        ("torch.ops.aten.add", False),
        ("torch.ops.other.add.default", False),
        ("torch.ops.higher_order.triton_kernel_wrapper_mutation", False),
        ("_operator.methodcaller", False),
        ("math.__loader__", False),
        ("#extension:op", False),
        ("torch.ops.aten.add.Tensor\n", False),
    ],
)
def test_operators_compute_on_tensors(target: str, *, is_taken: bool) -> None:
    """Operators on tensors and sizes are taken, as targets and as arguments; all else in torch is refused."""
    for key in ("target", "as_operator"):
        if is_taken:
            assert safety_scan.harmless({key: target}) == {key: target}
        else:
            with pytest.raises(NotServable, match="expected an operator"):
                safety_scan.harmless({key: target})


def test_no_other_operator_takes_a_file() -> None:
    """The operators that read or write a file are those that are refused by name."""
    takes_a_file = {
        schema.name
        for schema in torch._C._jit_get_all_schemas()
        if schema.name.startswith(("aten::", "prims::"))
        and any("file" in argument.name for argument in schema.arguments)
    }
    assert takes_a_file == {"aten::from_file", "aten::save"}


@pytest.mark.parametrize(
    "document",
    [
        {"name": "a b"},
        {"as_name": "f()"},
        {"name": "a\n"},
        {"parameter_name": 'a"].b'},
        {"parameter_name": "layer.__class__.forward"},
        {"forward_arg_names": ["x", "y=1"]},
        {"tensor_values": {"x'": {}}},
        {"as_float": "inf()"},
        {"no such key": "a(b)"},
    ],
)
def test_names_are_names(document: Document) -> None:
    """Whatever has no rule of its own must be a name, for torch writes it into source."""
    with pytest.raises(NotServable, match="expected a name"):
        safety_scan.harmless(document)


def test_comments_are_dropped() -> None:
    """Stack traces and the like, which torch writes into source too, are left out; an input of that name is not."""
    commented = {"metadata": {"stack_trace": "evil()"}, "tensor_values": {"metadata": {"dtype": 7}}}
    assert safety_scan.harmless(commented) == {"metadata": {}, "tensor_values": {"metadata": {"dtype": 7}}}

"""Refuses a program with a text that could run code: loading a .pt2 file runs some of its texts.

`torch.export.load` is no sandbox: it evaluates the formulas of symbolic sizes (`sympify`) and of guards (`exec`), looks
operators up by their dotted names anywhere in torch, imports what a tree of containers names, and writes the graph's
names unquoted into the source of a function. Here every text of a program has a rule; by default it must be a name.

Not checked is what the allowed operators compute, and how much time and memory they take.

Source: torch/_export/serde/serialize.py, torch/export/_unlift.py, torch/utils/_pytree.py and torch/fx/graph.py of
torch 2.13.
"""

from __future__ import annotations

import ast
import json
import re
from collections.abc import Callable
from typing import Any

from signet_torchserve.errors import NotServable

_NAME = re.compile(r"-?[\w.]*")  # the sign is -Infinity's
_QUOTED_NAME = re.compile(r"[^\"'\\\x00-\x1f]*")  # of weights and modules, which torch puts in quotes
_VERSION = re.compile(r"[\w.+<=-]*")

_OPERATOR = re.compile(
    r"torch\.ops\.(aten|prims)\.((?!__)\w+|__i?(and|or|xor|lshift|rshift)__)\.(?!_)\w+"
    r"|torch\.ops\.higher_order\."
    r"(associative_scan|cond|flex_attention|map_impl|scan|while_loop|wrap_with_autocast|wrap_with_set_grad_enabled)"
    r"|torch\._?sym_\w+"
    r"|torch\._functorch\.predispatch\."
    r"(lazy_load_decompositions|_(add|remove)_batch_dim|_vmap_(in|de)crement_nesting)"
    r"|math\.(?!_)\w+"
    r"|_operator\.(add|and_|eq|floordiv|ge|getitem|gt|le|lshift|lt|mod|mul|ne|neg|or_|pos|pow|rshift|sub|truediv)"
)
_FILE_OPERATOR = re.compile(r"torch\.ops\.aten\.(from_file|save)\..*")

_FORMULA = (
    ast.Expression, ast.BoolOp, ast.BinOp, ast.UnaryOp, ast.Compare, ast.Call, ast.keyword, ast.Subscript,
    ast.Attribute, ast.Name, ast.Constant, ast.boolop, ast.operator, ast.unaryop, ast.cmpop, ast.expr_context,
)  # fmt: skip
_FUNCTION = re.compile(
    "Abs|Add|And|CeilDiv|CeilToInt|CleanDiv|Eq|Equality|Float|FloatPow|FloatTrueDiv|FloorDiv|FloorToInt|Ge|GreaterThan"
    "|Gt|Identity|IntTrueDiv|Integer|IsNonOverlappingAndDenseIndicator|LShift|Le|LessThan|Lt|Max|Min|Mod"
    "|ModularIndexing|Mul|Ne|Not|Or|Pow|PowByNatural|PythonMod|RShift|Rational|RoundDecimal|RoundToInt"
    "|StrictGreaterThan|StrictLessThan|Symbol|ToFloat|TruncToFloat|TruncToInt|Unequality|Where|abs|bool|ceiling|float"
    "|floor|int|max|min|round|sqrt"
)
_ATTRIBUTE = re.compile("_?sym_[a-z]+|ceil|floor|inf|isnan|size|sqrt|storage_offset|stride|trunc")
_MORE_THAN_A_FORMULA = frozenset('#"\\;')  # torch puts guards into comments, quotes and lines of source

_CONTAINERS = frozenset(
    {
        None,  # a leaf
        "builtins.dict",
        "builtins.list",
        "builtins.tuple",
        "collections.OrderedDict",
        "torch.fx.immutable_collections.immutable_dict",
        "torch.fx.immutable_collections.immutable_list",
    }
)


def harmless(document: Any, key: str = "") -> Any:
    """Copy of a program's JSON, if no text of it can run code. The copy lacks the comments (`metadata`).

    Args:
        document: a `models/model.json` or `…_config.json` record of a .pt2 file.
        key: the name that the document has in a greater one, if it is a part of that.

    Raises:
        NotServable: a text is not what it ought to be.
        ValueError: a tree of containers cannot be read; so can TypeError and KeyError.
    """
    match document:
        case dict():
            for name in document:
                _check(name, "name", _is_quoted_name)
            return {
                name: {} if name == "metadata" and _are_texts(inner) else harmless(inner, name)
                for name, inner in document.items()
            }
        case list():
            return [harmless(inner, key) for inner in document]
        case str():
            _check(document, key, _RULES.get(key, _is_name))
    return document


def _check(text: str, key: str, rule: Callable[[str], bool]) -> None:
    if not rule(text):
        raise NotServable(
            f"The program holds {text[:200]!r} as {key}, which loading it might run: expected {_EXPECTED[rule]}."
        )


def _are_texts(document: Any) -> bool:
    return isinstance(document, dict) and all(isinstance(text, str) for text in document.values())


def _is_name(text: str) -> bool:
    return bool(_NAME.fullmatch(text)) and not _is_special(text)


def _is_quoted_name(text: str) -> bool:
    return bool(_QUOTED_NAME.fullmatch(text)) and not _is_special(text)


def _is_special(text: str) -> bool:
    return any(part.startswith("__") and part.endswith("__") for part in text.split("."))


def _is_version(text: str) -> bool:
    return bool(_VERSION.fullmatch(text))


def is_operator(text: str) -> bool:
    """Whether a text names a call that a program may make: one that reaches nothing but its arguments."""
    return bool(_OPERATOR.fullmatch(text)) and not _FILE_OPERATOR.fullmatch(text)


def _is_any_text(_: str) -> bool:
    return True


def _is_formula(text: str) -> bool:
    """Whether a text is arithmetic on sizes: `FloorDiv(Symbol('s77'), 2)`, `L['x'].size()[0] % 8 == 0`."""
    if _MORE_THAN_A_FORMULA & set(text) or not text.isprintable():
        return False
    try:
        nodes = list(ast.walk(ast.parse(text, mode="eval")))
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return False
    return all(isinstance(node, _FORMULA) and _is_arithmetic(node) for node in nodes)


def _is_arithmetic(node: ast.AST) -> bool:
    match node:
        case ast.Call(func=ast.Name(id=name)):
            return bool(_FUNCTION.fullmatch(name))
        case ast.Call(func=function):
            return isinstance(function, ast.Attribute)
        case ast.Attribute(attr=name):
            return bool(_ATTRIBUTE.fullmatch(name))
        case ast.Constant(value=value):
            return _is_name(value) if isinstance(value, str) else isinstance(value, (bool, int, float))
    return True


def _is_input_tree(text: str) -> bool:
    return _is_tree(json.loads(text)[1], _is_name)


def _is_output_tree(text: str) -> bool:
    return _is_tree(json.loads(text)[1], _is_any_text)


def _is_tree(tree: Any, rule: Callable[[str], bool]) -> bool:
    if tree["type"] not in _CONTAINERS:
        return False
    keys = json.loads(tree["context"] or "null")
    return (
        keys is None or (isinstance(keys, list) and all(isinstance(key, str) and rule(key) for key in keys))
    ) and all(_is_tree(child, rule) for child in tree["children_spec"])


_RULES: dict[str, Callable[[str], bool]] = {
    "target": is_operator,
    "as_operator": is_operator,
    "expr_str": _is_formula,
    "guards_code": _is_formula,
    "in_spec": _is_input_tree,
    "out_spec": _is_output_tree,
    "as_string": _is_any_text,  # a value, never evaluated
    "as_strings": _is_any_text,
    "fqn": _is_quoted_name,
    "parameter_name": _is_quoted_name,
    "buffer_name": _is_quoted_name,
    "tensor_constant_name": _is_quoted_name,
    "torch_version": _is_version,
}
_EXPECTED: dict[Callable[[str], bool], str] = {
    _is_name: "a name",
    _is_quoted_name: "a name",
    _is_version: "a version",
    is_operator: "an operator on tensors that touches no files, such as 'torch.ops.aten.add.Tensor'",
    _is_formula: "arithmetic on sizes",
    _is_input_tree: "tuples, lists and dicts, with names as keys",
    _is_output_tree: "tuples, lists and dicts, with texts as keys",
}

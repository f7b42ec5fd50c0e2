"""The README takes a stranger to a rejected body, as written."""

from __future__ import annotations

import inspect
import re
import subprocess
import sys
from pathlib import Path

import signet_contract
from signet_contract import Policy, middleware

README = (Path(__file__).parents[1] / "README.md").read_text("utf-8")
BLOCKS = re.findall(r"```(\w+)\n(.*?)```", README, re.DOTALL)


def test_from_the_install_to_a_rejected_body() -> None:
    """Fifteen lines, of which the second block is run and its output is the third."""
    (first, install), (second, program), (third, output) = BLOCKS[:3]
    assert (first, second, third) == ("sh", "python", "text")
    assert install.startswith("pip install ")
    assert len((install + program).strip().splitlines()) <= 15
    done = subprocess.run([sys.executable, "-c", program], check=True, capture_output=True, text=True)
    assert done.stdout == output


def test_the_fastapi_example_is_python_and_names_what_is_there() -> None:
    """What it imports exists, and so do the names, words and defaults that the text tells."""
    _, program = next(block for block in BLOCKS if "add_middleware" in block[1])
    compile(program, "README.md", "exec")
    exec(program.partition("\napp = ")[0], {})  # noqa: S102 -- the README's own lines
    parameters = inspect.signature(middleware.ContractMiddleware).parameters
    assert {"paths", "max_bytes", "about"} <= parameters.keys()
    assert f"`max_bytes` ({middleware.MAX_BYTES:,})" in README
    table = README.partition("## In Python")[2]
    for name in signet_contract.__all__:
        assert f"`{name}`" in table or f"`{name}(" in table or f"`{name}." in table or name in UNTOLD, name
    for word in set(Policy) - {Policy.RANDOM}:
        assert f"`{word}`" in table


UNTOLD = {"DecodedRequest", "Format"}  # what `decode` returns, which its docstring tells

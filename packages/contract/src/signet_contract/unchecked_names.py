"""Names that a request gives to columns which the model's signature knows by their place alone.

Nobody can tell whether they stand in the right order: two columns that are exchanged would get a plausible answer to
another question. 0, 1, 2 … are no names: pandas and CSV write them where there are none.
"""

from __future__ import annotations

import reprlib
from collections.abc import Sequence
from typing import Any

from signet_contract.errors import SignatureMismatch, Violation
from signet_contract.policy import Policy


def are_names(columns: Sequence[Any]) -> bool:
    """Whether columns are called something else than 0, 1, …, be it as integers or as texts."""
    return list(map(str, columns)) != list(map(str, range(len(columns))))


def reject(columns: Sequence[Any], policy: frozenset[str]) -> None:
    """Reject the names of a table's columns for a signature that has none.

    Args:
        columns: the names, in the order of the columns.
        policy: words of `policy` that hold.

    Raises:
        SignatureMismatch: there are names, and they are not let through.
    """
    if Policy.UNCHECKED_NAMES in policy or not are_names(columns):
        return
    names = reprlib.repr(list(columns))
    raise SignatureMismatch(
        f"The input names its columns {names}, but the model's signature has no names to check their order by: "
        'send the rows as {"inputs": [[…], …]}, or log the model with named columns (mlflow.models.set_signature).',
        [Violation("columns", "columns without names", f"the names {names}")],
    )

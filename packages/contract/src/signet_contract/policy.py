"""What is let through although MLflow or the contract would reject it; by default nothing.

A deployment's policy is its registry tag `serving.allow`.

| word              | lets through                                                    | what becomes of it        |
| ----------------- | --------------------------------------------------------------- | ------------------------- |
| `extra_columns`   | columns or inputs that the signature does not have              | dropped                   |
| `nulls`           | null and NaN in required columns                                | NaN, if the type has it   |
| `non_finite`      | what is infinite for the model, NaN in tensors, params and text | given as they are         |
| `empty`           | inputs without rows or values                                   | given as they are         |
| `mixed_types`     | values of another JSON kind among a column's (`[1.5, true]`)    | what pandas makes of them |
| `unchecked_names` | names of columns, where the signature has none                  | taken by their places     |
| `whole_numbers`   | a `double` column of whole numbers, up to 2**53                 | the same as doubles       |
| `random`          | a model that draws random numbers (serving asks it)             | answers that vary         |

The first six lift a rule that is stricter than MLflow's (see `decision`); MLflow itself may still reject. With
`whole_numbers` a deployment is less strict than MLflow: JavaScript writes 4.0 as 4. `random` is about the model and not
about requests. Neither torch nor MLflow is imported here.
"""

from __future__ import annotations

from collections.abc import Sequence
from enum import StrEnum

from signet_contract.errors import Violation


class Policy(StrEnum):
    """One word of a policy."""

    EXTRA_COLUMNS = "extra_columns"
    NULLS = "nulls"
    NON_FINITE = "non_finite"
    EMPTY = "empty"
    MIXED_TYPES = "mixed_types"
    UNCHECKED_NAMES = "unchecked_names"
    WHOLE_NUMBERS = "whole_numbers"
    RANDOM = "random"


_LIFTS = {
    "columns": Policy.EXTRA_COLUMNS,
    "null": Policy.NULLS,
    "finite": Policy.NON_FINITE,
    "empty": Policy.EMPTY,
    "type": Policy.MIXED_TYPES,
}


def rejecting(violations: Sequence[Violation], policy: frozenset[str]) -> list[Violation]:
    """The violations that the policy does not lift. All are of rules that are stricter than MLflow's."""
    return [violation for violation in violations if _LIFTS.get(violation.rule) not in policy]

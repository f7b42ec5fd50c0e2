from __future__ import annotations

import pytest
from signet_torchserve import name_validation
from signet_torchserve.errors import NotServable


@pytest.mark.parametrize(
    "name",
    ["", "ü", "a b", "../a", "a/b", "-a", ".a", "_a", "a\n", "a\tb", "a%2e", "a?b", "a@b", "a,b", "日本", "..", "a..b"],
)
def test_a_name_that_no_url_can_carry_is_refused(name: str) -> None:
    """A registered model whose name TorchServe cannot serve is refused by name."""
    with pytest.raises(NotServable) as caught:
        name_validation.check(name)
    assert str(caught.value).startswith(f"TorchServe cannot serve a model named {name!r}: ")


@pytest.mark.parametrize("length", [247, 250, 256, 5000])
def test_a_name_that_no_file_system_can_carry_is_refused(length: int) -> None:
    """A name that is too long is refused with its length and the longest that is served."""
    with pytest.raises(NotServable) as caught:
        name_validation.check("n" * length)
    assert str(caught.value) == (
        f"TorchServe cannot serve a model whose name has {length} characters (nnnnnnnnnnnnnnnnnnnn…): "
        "expected at most 246."
    )


@pytest.mark.parametrize("name", ["a", "0", "iris_classification", "A.b-c_d", "a.mar", "a.", "n" * 246])
def test_other_names_are_served(name: str) -> None:
    """Letters, digits, '_', '-' and '.' name a deployment."""
    name_validation.check(name)

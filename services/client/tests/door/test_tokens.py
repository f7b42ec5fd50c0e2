from __future__ import annotations

import hashlib
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from signet_client.door.folder import Folder
from signet_client.door.tokens import EVERY, FILE, NONE, Tokens, lifetime_s, rate
from signet_client.errors import DoorUnreachable, InvalidOption, TokenExists, UnknownToken


@pytest.fixture
def tokens(tmp_path: Path) -> Tokens:
    return Tokens(Folder(str(tmp_path)))


def _create(tokens: Tokens, name: str, deployment: str = EVERY) -> str:
    return tokens.create(name, deployment, NONE, NONE, NONE)


def test_only_a_digest_is_kept(tokens: Tokens, tmp_path: Path) -> None:
    """The file is a map of HAProxy's, which others than its group can't read, and no token can be found from it."""
    token = tokens.create("billing", "fare", 100, 5000, 3600)
    kept = (tmp_path / FILE).read_text()
    digest, name, deployment, expires, *limits, created = kept.split()
    assert digest == hashlib.sha256(token.encode()).hexdigest().upper()
    assert (name, deployment, limits) == ("billing", "fare", ["100", "5000"])
    assert int(expires) - int(created) == 3600
    assert abs(time.time() - int(created)) < 60
    assert token not in kept
    assert (tmp_path / FILE).stat().st_mode & 0o007 == 0


def test_tokens_are_never_alike(tokens: Tokens) -> None:
    """Each has 256 bits of its own."""
    made = [_create(tokens, f"t{number}") for number in range(20)]
    assert len(set(made)) == 20
    assert {len(token) for token in made} == {len("signet_") + 43}


def test_a_name_is_one_tokens(tokens: Tokens) -> None:
    """A second token of a name is refused, until the first is revoked; another one stays."""
    _create(tokens, "other")
    _create(tokens, "billing")
    with pytest.raises(TokenExists, match="'billing' exists already"):
        _create(tokens, "billing")
    tokens.revoke("billing")
    assert [token.name for token in tokens.all()] == ["other"]
    with pytest.raises(UnknownToken, match="'billing' does not exist"):
        tokens.revoke("billing")
    _create(tokens, "billing")


def test_two_commands_at_once_lose_no_token(tokens: Tokens) -> None:
    """They take turns."""
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda number: _create(tokens, f"t{number}"), range(40)))
    assert len(tokens.all()) == 40


@pytest.mark.parametrize(
    "name", ["", "-x", ".x", "a b", "a\nb", "a\tb", "ä", "x" * 247, "a/b", "a=b", '"', "a\x00", "a b * 0 0 0 0\n"]
)
def test_a_name_that_would_break_the_map(tokens: Tokens, name: str) -> None:
    """Names and deployments have no spaces, line breaks or quotes: they would say something else in the file."""
    with pytest.raises(InvalidOption):
        _create(tokens, name)
    with pytest.raises(InvalidOption):
        _create(tokens, "x", name)
    assert tokens.all() == []


@pytest.mark.parametrize(("text", "expected"), [("", NONE), ("1/s", 1), ("100/s", 100), ("1000000/s", 1_000_000)])
def test_rates(text: str, expected: int) -> None:
    """So many a second."""
    assert rate("--rate", text) == expected


@pytest.mark.parametrize("text", ["0/s", "100", "-1/s", "1.5/s", "100/m", "1000001/s", "/s", " 1/s", "1e3/s", "٣/s"])
def test_rates_that_are_none(text: str) -> None:
    """What can't be read is refused, not taken for no limit."""
    with pytest.raises(InvalidOption, match=r"Option --rate has value .* Expected 1/s to 1000000/s"):
        rate("--rate", text)


@pytest.mark.parametrize(("text", "expected"), [("", NONE), ("90d", 90 * 86400), ("12h", 12 * 3600)])
def test_lifetimes(text: str, expected: int) -> None:
    """Days and hours."""
    assert lifetime_s(text) == expected


@pytest.mark.parametrize("text", ["0d", "90", "d", "-1d", "1.5d", "90days", "100000d", "1w"])
def test_lifetimes_that_are_none(text: str) -> None:
    """What can't be read is refused, not taken for forever."""
    with pytest.raises(InvalidOption):
        lifetime_s(text)


def test_a_folder_that_is_not_there(tmp_path: Path) -> None:
    """The message names it and the setting."""
    with pytest.raises(DoorUnreachable, match=r"No such file or directory. Expected .*SIGNET_DOOR"):
        _create(Tokens(Folder(str(tmp_path / "none"))), "x")

"""Named tokens: who may ask for predictions from a network, for which deployment, how often and until when.

They are kept in a file that HAProxy reads as a map: each line has a token's digest, and what the token may do. A token
has 256 random bits, so nobody finds one by trying, and one round of SHA-256 is enough. A slow hash with a salt, which
passwords need, would protect nothing more and would slow down every request.

Source: https://docs.haproxy.org/3.2/configuration.html#map
"""

from __future__ import annotations

import hashlib
import re
import secrets
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

from signet_client.errors import InvalidOption, TokenExists, TooManyTokens, UnknownToken

if TYPE_CHECKING:
    from collections.abc import Iterable

    from signet_client.door.folder import Folder

FILE = "tokens.map"
EVERY = "*"
"""Stands for every deployment."""
NONE = 0
"""Stands for no limit, and for no end."""

# No more tokens than this: the gateway's metrics have a line for each.
MOST = 1000
_PREFIX = "signet_"
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,63}")
_DEPLOYMENT = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,245}")
_RATE = re.compile(r"([1-9][0-9]{0,6})/s")
_MOST_A_SECOND = 1_000_000
_TIME = re.compile(r"([1-9][0-9]{0,4})([hd])")
_SECONDS = {"h": 3600, "d": 86400}


@dataclass(frozen=True)
class Token:
    """What is kept of a token: not the token itself, only its digest."""

    digest: str
    name: str
    deployment: str = EVERY
    expires: int = NONE
    """In seconds since 1970."""
    rate: int = NONE
    """Requests a second."""
    row_rate: int = NONE
    """Rows a second."""
    created: int = 0
    """In seconds since 1970."""

    def is_valid(self) -> bool:
        return self.expires == NONE or self.expires > time.time()


class Tokens:
    """The tokens in the door's folder. Each method raises DoorUnreachable."""

    def __init__(self, folder: Folder) -> None:
        self._folder = folder

    def create(self, name: str, deployment: str, rate: int, row_rate: int, lifetime_s: int) -> str:
        """Keep the digest of a new token, which is returned. Raises TokenExists, TooManyTokens, InvalidOption."""
        if not _NAME.fullmatch(name):
            expected = "up to 64 letters, digits, '_', '-' and '.', with a letter or digit first"
            raise InvalidOption("name", name, expected)
        if deployment != EVERY and (not _DEPLOYMENT.fullmatch(deployment) or ".." in deployment):
            raise InvalidOption("--deployment", deployment, "the name of a deployment")
        token = _PREFIX + secrets.token_urlsafe(32)
        now = int(time.time())
        with self._folder.alone():
            tokens = self.all()
            if any(other.name == name for other in tokens):
                raise TokenExists(name)
            if len(tokens) >= MOST:
                raise TooManyTokens(MOST)
            expires = now + lifetime_s if lifetime_s else NONE
            self._write([*tokens, Token(digest(token), name, deployment, expires, rate, row_rate, now)])
        return token

    def revoke(self, name: str) -> None:
        """Forget the token of this name. Raises UnknownToken."""
        with self._folder.alone():
            tokens = self.all()
            if all(token.name != name for token in tokens):
                raise UnknownToken(name)
            self._write(token for token in tokens if token.name != name)

    def all(self) -> list[Token]:
        """Every token, in the order in which they were made."""
        lines = (line.split(" ") for line in (self._folder.read(FILE) or "").splitlines())
        return [Token(digest, name, deployment, *map(int, rest)) for digest, name, deployment, *rest in lines]

    def _write(self, tokens: Iterable[Token]) -> None:
        lines = (
            f"{it.digest} {it.name} {it.deployment} {it.expires} {it.rate} {it.row_rate} {it.created}\n"
            for it in tokens
        )
        self._folder.write(FILE, "".join(lines))


def digest(token: str) -> str:
    """SHA-256 as HAProxy writes it."""
    return hashlib.sha256(token.encode()).hexdigest().upper()


def rate(option: str, text: str) -> int:
    """How many a second `100/s` says; nothing is no limit. Raises InvalidOption."""
    if not text:
        return NONE
    match = _RATE.fullmatch(text)
    if match is None or int(match[1]) > _MOST_A_SECOND:
        raise InvalidOption(option, text, f"1/s to {_MOST_A_SECOND}/s, such as 100/s")
    return int(match[1])


def lifetime_s(text: str) -> int:
    """The seconds of `90d` or `12h`; nothing is no end. Raises InvalidOption."""
    if not text:
        return NONE
    match = _TIME.fullmatch(text)
    if match is None:
        raise InvalidOption("--expires", text, "days or hours, such as 90d or 12h")
    return int(match[1]) * _SECONDS[match[2]]

"""The commands on the folder that the gateway reads: tokens, an issuer of tokens, the certificate, the door itself."""

from __future__ import annotations

import sys
import time
from dataclasses import MISSING, dataclass, fields
from typing import TYPE_CHECKING, Any, Protocol

from jsonargparse import ArgumentParser
from rich.console import Console
from rich.table import Table

from signet_client.door import certificate, tokens, trusted_issuer
from signet_client.errors import NoToken

if TYPE_CHECKING:
    from jsonargparse import Namespace
    from jsonargparse._subcommands import ActionSubCommands

    from signet_client.door.folder import Folder


class Command(Protocol):
    """One of the door's commands, with its options."""

    def run(self, folder: Folder) -> int:
        """Do it and return the exit code. Raises ClientError."""


@dataclass(frozen=True)
class CreateOptions:
    """Make a token and print it, once: only its digest is kept. It is in force within seconds.

    Args:
        name: What the log and the metrics call its holder.
        deployment: The deployment that it opens; all of them if there is none.
        rate: Requests that it is for, such as 100/s; any number if there is none.
        rows: Rows that it is for, such as 5000/s; any number if there is none.
        expires: Days or hours that it is valid, such as 90d or 12h; until it is revoked if there are none.
    """

    name: str
    deployment: str = tokens.EVERY
    rate: str = ""
    rows: str = ""
    expires: str = ""

    def run(self, folder: Folder) -> int:
        """Print the token alone to standard output, so that a pipe gets nothing else. Raises ClientError."""
        limits = tokens.rate("--rate", self.rate), tokens.rate("--rows", self.rows)
        lifetime_s = tokens.lifetime_s(self.expires)
        token = tokens.Tokens(folder).create(self.name, self.deployment, *limits, lifetime_s)
        print(f"Token {self.name}, which is not shown again:", file=sys.stderr)
        print(token)
        return 0


@dataclass(frozen=True)
class ListOptions:
    """List the tokens."""

    def run(self, folder: Folder) -> int:
        table = Table("name", "deployment", "rate", "rows", "created", "expires", box=None, pad_edge=False)
        for token in tokens.Tokens(folder).all():
            limits = (f"{limit}/s" if limit else "-" for limit in (token.rate, token.row_rate))
            expires = _day(token.expires) + ("" if token.is_valid() else " (expired)") if token.expires else "-"
            table.add_row(token.name, token.deployment, *limits, _day(token.created), expires)
        Console(width=None if sys.stdout.isatty() else 200, highlight=False).print(table)
        return 0


@dataclass(frozen=True)
class RevokeOptions:
    """Revoke a token: within seconds nobody gets in with it.

    Args:
        name: The token's name.
    """

    name: str

    def run(self, folder: Folder) -> int:
        tokens.Tokens(folder).revoke(self.name)
        print(f"Token {self.name} is revoked.")
        return 0


@dataclass(frozen=True)
class TrustOptions:
    """Take the JSON Web Tokens of an issuer, whose public keys come on standard input: a JWKS, or PEM.

    Args:
        issuer: What the tokens say in `iss`.
        audience: What they say in `aud`.
        rate: Requests that each of its subjects may send, such as 100/s; any number if there is none.
        rows: Rows for each of its subjects, such as 5000/s; any number if there is none.
    """

    issuer: str
    audience: str
    rate: str = ""
    rows: str = ""

    def run(self, folder: Folder) -> int:
        limits = tokens.rate("--rate", self.rate), tokens.rate("--rows", self.rows)
        keys = trusted_issuer.keys(sys.stdin.read())
        trusted_issuer.trust(folder, trusted_issuer.Issuer(self.issuer, self.audience, *limits, keys))
        print(f"Tokens of {self.issuer} are taken, {_RELOAD}")
        return 0


@dataclass(frozen=True)
class ForgetOptions:
    """Take no JSON Web Tokens any more."""

    def run(self, folder: Folder) -> int:
        trusted_issuer.forget(folder)
        print(f"No issuer's tokens are taken, {_RELOAD}")
        return 0


@dataclass(frozen=True)
class MakeOptions:
    """Make a self-signed certificate, in place of what is there.

    Args:
        hosts: Names and addresses that it is for, with commas between them.
    """

    hosts: str = ""

    def run(self, folder: Folder) -> int:
        hosts = self.hosts.split(",") if self.hosts else certificate.own_hosts()
        return _install(folder, certificate.made_for(hosts))


@dataclass(frozen=True)
class InstallOptions:
    """Install a certificate from standard input: the chain and the key, in the PEM format, one after the other."""

    def run(self, folder: Folder) -> int:
        return _install(folder, certificate.of(sys.stdin.read()))


@dataclass(frozen=True)
class DoorOptions:
    """Make the door ready to open: a certificate if there is none. Without a valid token it stays shut."""

    def run(self, folder: Folder) -> int:
        """What the gateway of docker-compose.public.yml waits for. Raises ClientError."""
        if not any(token.is_valid() for token in tokens.Tokens(folder).all()):
            raise NoToken
        if folder.read(certificate.FILE) is None:
            return _install(folder, certificate.made_for(certificate.own_hosts()))
        return 0


_RELOAD = "once the gateway has read its configuration anew: docker compose kill --signal SIGUSR2 gateway"
_Options = type[Any]  # of a dataclass that is a `Command`

COMMANDS: dict[str, tuple[str, _Options | dict[str, tuple[str, _Options]]]] = {
    "token": (
        "make, list and revoke the tokens that the door asks for",
        {
            "create": ("make a token and print it, once", CreateOptions),
            "list": ("list the tokens", ListOptions),
            "revoke": ("revoke a token", RevokeOptions),
        },
    ),
    "issuer": (
        "take the JSON Web Tokens of an issuer",
        {
            "trust": ("take them, with the keys from standard input", TrustOptions),
            "forget": ("take none any more", ForgetOptions),
        },
    ),
    "certificate": (
        "make or install the certificate that the door shows",
        {
            "make": ("make a self-signed certificate", MakeOptions),
            "install": ("install a certificate and its key from standard input", InstallOptions),
        },
    ),
    "door": ("make the door ready to open, or say why it stays shut", DoorOptions),
}
"""Summary and options of each command, or those of the commands below it."""


def add_to(commands: ActionSubCommands) -> None:
    """Add the door's commands to those of `signet`."""
    for name, (summary, options) in COMMANDS.items():
        parser = ArgumentParser(description=summary)
        commands.add_subcommand(name, parser, help=summary)
        if not isinstance(options, dict):
            continue
        below = parser.add_subcommands()
        for verb, (verb_summary, verb_options) in options.items():
            verb_parser = ArgumentParser(description=verb_summary)
            required = [field.name for field in fields(verb_options) if field.default is MISSING]
            verb_parser.add_class_arguments(verb_options, skip=set(required))
            for field in required:
                verb_parser.add_argument(field, type=str)
            below.add_subcommand(verb, verb_parser, help=verb_summary)


def chosen(arguments: Namespace) -> Command:
    """The command that the arguments name."""
    _, options = COMMANDS[arguments.subcommand]
    given = arguments[arguments.subcommand]
    if isinstance(options, dict):
        _, options = options[given.subcommand]
        given = given[given.subcommand]
    command: Command = options(**vars(given)) if given else options()
    return command


def _install(folder: Folder, installed: certificate.Certificate) -> int:
    certificate.install(folder, installed)
    print(f"The certificate is valid until {installed.expires:%Y-%m-%d}. SHA-256: {installed.fingerprint}")
    return 0


def _day(seconds: int) -> str:
    return time.strftime("%Y-%m-%d %H:%M", time.gmtime(seconds))

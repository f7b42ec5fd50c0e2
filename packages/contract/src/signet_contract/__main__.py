"""`signet-contract`: whether a body is right for a model, and what changes between two models.

A MODEL is an MLmodel file, the folder that holds one, or a URI that MLflow knows, such as models:/ride/1.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

import orjson

from signet_contract.contract import Contract
from signet_contract.errors import DecidedTooLate, EnforcementMissing, Rejected
from signet_contract.policy import Policy

RIGHT, WRONG, UNDECIDED = 0, 1, 2


class Unusable(Exception):
    """What was asked cannot be decided; the message says why."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Exit code: 0 for a right body or no breaking change, 1 for the opposite, 2 where that could not be decided."""
    options = _parser().parse_args(arguments)
    try:
        return _check(options) if options.command == "check" else _diff(options)
    except (Unusable, DecidedTooLate, EnforcementMissing) as error:
        print(f"signet-contract: {error}", file=sys.stderr)
        return UNDECIDED


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser("signet-contract", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True, metavar="check | diff")
    check = commands.add_parser(
        "check", help="whether a model's signature admits a body", description="Prints what a server would answer."
    )
    check.add_argument("model", metavar="MODEL", help="an MLmodel file, its folder, or a URI that MLflow knows")
    check.add_argument("body", metavar="BODY", help="a file, or - for what is piped in")
    check.add_argument("--content-type", default="", metavar="TYPE", help="text/csv for CSV; JSON needs none")
    check.add_argument(
        "--allow", type=_words, default=(), metavar="WORDS", help=f"what is let through: some of {','.join(Policy)}"
    )
    diff = commands.add_parser(
        "diff", help="what changes for clients of a model", description="Prints the changes, the breaking ones first."
    )
    diff.add_argument("old", metavar="OLD", help="a MODEL as above")
    diff.add_argument("new", metavar="NEW", help="the MODEL that takes its place")
    return parser


def _words(text: str) -> list[Policy]:
    words = [word.strip() for word in text.split(",") if word.strip()]
    if unknown := [word for word in words if word not in set(Policy)]:
        raise argparse.ArgumentTypeError(f"{','.join(unknown)}: expected some of {','.join(Policy)}")
    return list(map(Policy, words))


def _check(options: argparse.Namespace) -> int:
    contract = _contract(options.model, options.allow)
    try:
        body = sys.stdin.buffer.read() if options.body == "-" else Path(options.body).read_bytes()
    except OSError as error:
        raise Unusable(f"The body {options.body} cannot be read: {error.strerror}.") from error
    try:
        contract.check(body, options.content_type)
    except Rejected as rejection:
        print(orjson.dumps(rejection.document(), default=str, option=orjson.OPT_INDENT_2).decode())
        return WRONG
    print("right")
    return RIGHT


def _diff(options: argparse.Namespace) -> int:
    changes = _contract(options.new).compare(_contract(options.old))
    for change in changes:
        print(f"{'breaking' if change.is_breaking else 'compatible'}: {change.text}")
    if not changes:
        print("no change")
    return WRONG if any(change.is_breaking for change in changes) else RIGHT


def _contract(model: str, policy: Sequence[str] = ()) -> Contract:
    with tempfile.TemporaryDirectory(prefix="signet-contract-") as folder:
        path = _downloaded(model, folder) if _is_uri(model) else model
        try:
            return Contract.load(path, policy)
        except OSError as error:
            raise Unusable(f"The model {model} cannot be read: {error.filename}: {error.strerror}.") from error
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise Unusable(str(error)) from error


def _is_uri(model: str) -> bool:
    scheme, colon, _ = model.partition(":/")
    return bool(colon) and scheme.isalnum()


def _downloaded(uri: str, folder: str) -> str:
    try:
        from mlflow.artifacts import download_artifacts  # noqa: PLC0415 -- seconds, for URIs alone
    except ModuleNotFoundError as error:
        raise Unusable(
            f"MLflow knows where {uri} is, and the module {error.name} is not installed: "
            "pip install 'signet-contract[enforcement]'"
        ) from error
    try:
        return str(download_artifacts(f"{uri.rstrip('/')}/MLmodel", dst_path=folder))
    except Exception as error:  # each of MLflow's stores has errors of its own
        raise Unusable(f"The model {uri} cannot be fetched: {error}") from error


if __name__ == "__main__":
    sys.exit(main())

"""An issuer whose JSON Web Tokens the door takes: its name, the audience that it must name, and its public keys.

HAProxy reads them as a file of its configuration and one file for each key. Sources: RFC 7517 and 7518 (keys),
https://docs.haproxy.org/3.2/configuration.html#jwt_verify
"""

from __future__ import annotations

import base64
import json
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa

from signet_client.errors import InvalidOption, UnusableKeys

if TYPE_CHECKING:
    from signet_client.door.folder import Folder

FILE = "issuer.cfg"
MOST_KEYS = 3
"""The one in use, the one before and the one to come."""

_FEWEST_BITS = 2048
_CURVES: dict[str, ec.EllipticCurve] = {"P-256": ec.SECP256R1(), "P-384": ec.SECP384R1(), "P-521": ec.SECP521R1()}
# What may stand in HAProxy's configuration as it is.
_PLAIN = re.compile(r"[A-Za-z0-9:/._@|~+=-]{1,200}")
_PEM = re.compile(r"-----BEGIN ([A-Z ]+)-----.*?-----END \1-----", re.DOTALL)

PublicKey = rsa.RSAPublicKey | ec.EllipticCurvePublicKey


@dataclass(frozen=True)
class Issuer:
    """Who signs tokens, for whom, and how much each of their subjects may ask for."""

    name: str
    audience: str
    rate: int
    row_rate: int
    keys: list[PublicKey]


def trust(folder: Folder, issuer: Issuer) -> None:
    """Let the gateway take the issuer's tokens from its next start or reload. Raises DoorUnreachable, InvalidOption."""
    for option, text in (("issuer", issuer.name), ("audience", issuer.audience)):
        if not _PLAIN.fullmatch(text):
            raise InvalidOption(
                option, text, "up to 200 letters, digits and :/._@|~+=-, such as https://id.example.org/"
            )
    with folder.alone():
        for index in range(MOST_KEYS):
            # HAProxy's configuration names all files, so with fewer keys the last one is written several times.
            key = issuer.keys[min(index, len(issuer.keys) - 1)]
            folder.write(f"issuer-{index}.pem", key.public_bytes(*_SPKI).decode())
        folder.write(
            FILE,
            "global\n"
            f"    setenv SIGNET_ISSUER {issuer.name}\n"
            f"    setenv SIGNET_AUDIENCE {issuer.audience}\n"
            f"    setenv SIGNET_ISSUER_LIMITS '{issuer.rate} {issuer.row_rate}'\n",
        )


def forget(folder: Folder) -> None:
    """Take no issuer's tokens from the next start or reload on. Raises DoorUnreachable."""
    with folder.alone():
        folder.write(FILE, "")


def keys(text: str) -> list[PublicKey]:
    """The public keys of a JSON Web Key Set, or of one PEM block after the other. Raises UnusableKeys."""
    try:
        found = _of_set(json.loads(text)) if text.lstrip().startswith("{") else _of_blocks(text)
    except (ValueError, KeyError, TypeError, UnsupportedAlgorithm) as error:
        raise UnusableKeys(str(error)) from error
    if not 1 <= len(found) <= MOST_KEYS:
        raise UnusableKeys(f"there are {len(found)} keys for signatures, and 1 to {MOST_KEYS} were expected")
    return found


def _of_set(document: Any) -> list[PublicKey]:
    return [_of_jwk(key) for key in document["keys"] if key.get("use", "sig") == "sig"]


def _of_jwk(key: dict[str, str]) -> PublicKey:
    if key["kty"] == "RSA":
        return _strong(rsa.RSAPublicNumbers(_number(key["e"]), _number(key["n"])).public_key())
    if key["kty"] == "EC" and key["crv"] in _CURVES:
        return ec.EllipticCurvePublicNumbers(_number(key["x"]), _number(key["y"]), _CURVES[key["crv"]]).public_key()
    raise ValueError(f"a key is of the type {key['kty']} {key.get('crv', '')}".rstrip())


def _of_blocks(text: str) -> list[PublicKey]:
    found: list[PublicKey] = []
    for block in _PEM.finditer(text):
        if "PRIVATE" in block[1]:
            raise ValueError("a key is private")
        pem = block[0].encode()
        key: Any = (
            x509.load_pem_x509_certificate(pem).public_key()
            if block[1] == "CERTIFICATE"
            else serialization.load_pem_public_key(pem)
        )
        if isinstance(key, ec.EllipticCurvePublicKey) and isinstance(key.curve, tuple(map(type, _CURVES.values()))):
            found.append(key)
        elif isinstance(key, rsa.RSAPublicKey):
            found.append(_strong(key))
        else:
            raise ValueError(f"a key is of the type {type(key).__name__}")  # noqa: TRY004 -- what was read, not passed
    return found


def _strong(key: rsa.RSAPublicKey) -> rsa.RSAPublicKey:
    if key.key_size < _FEWEST_BITS:
        raise ValueError(f"a key has {key.key_size} bits, and {_FEWEST_BITS} or more were expected")
    return key


def _number(text: str) -> int:
    return int.from_bytes(base64.urlsafe_b64decode(text + "=" * (-len(text) % 4)))


_SPKI = (serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)

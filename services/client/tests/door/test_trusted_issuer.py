from __future__ import annotations

import base64
import json
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from signet_client.door import certificate, trusted_issuer
from signet_client.door.folder import Folder
from signet_client.errors import InvalidOption, UnusableKeys

from testing.repository import ROOT

RSA, EC = rsa.generate_private_key(65537, 2048), ec.generate_private_key(ec.SECP384R1())


def _pem(key: Any) -> str:
    spki = (serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
    return str(key.public_key().public_bytes(*spki).decode())


def _private(key: Any) -> str:
    pkcs8 = (serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    return str(key.private_bytes(*pkcs8).decode())


def _number(number: int) -> str:
    return base64.urlsafe_b64encode(number.to_bytes((number.bit_length() + 7) // 8)).rstrip(b"=").decode()


def _jwks(*keys: dict[str, str]) -> str:
    return json.dumps({"keys": keys})


def _jwk(key: Any) -> dict[str, str]:
    numbers = key.public_key().public_numbers()
    if isinstance(key, rsa.RSAPrivateKey):
        return {"kty": "RSA", "n": _number(numbers.n), "e": _number(numbers.e)}
    return {"kty": "EC", "crv": "P-384", "x": _number(numbers.x), "y": _number(numbers.y)}


@pytest.mark.parametrize(
    "text",
    [
        pytest.param(_pem(RSA) + _pem(EC), id="PEM"),
        pytest.param(_jwks(_jwk(RSA), _jwk(EC)), id="JWKS"),
        pytest.param(
            _jwks({**_jwk(RSA), "use": "sig"}, {"kty": "x", "use": "enc"}, _jwk(EC)), id="JWKS, and another use"
        ),
    ],
)
def test_keys_are_read_as_they_are(text: str) -> None:
    """RSA and EC, in both formats."""
    assert trusted_issuer.keys(text) == [RSA.public_key(), EC.public_key()]


def test_a_certificate_stands_for_its_key() -> None:
    """Some issuers publish those."""
    pem = certificate.made_for(["x"]).pem
    (key,) = trusted_issuer.keys(pem[: pem.index("-----BEGIN PRIVATE")])
    assert isinstance(key, ec.EllipticCurvePublicKey)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "there are 0 keys"),
        ("{}", "keys"),
        ("{", "Expecting"),
        (_jwks(), "there are 0 keys"),
        (_jwks({"kty": "oct", "k": "x"}), "type oct"),
        (_jwks({"kty": "EC", "crv": "secp256k1"}), "type EC secp256k1"),
        (_jwks(*[_jwk(RSA)] * 4), "there are 4 keys"),
        (_private(RSA), "a key is private"),
        (_pem(ed25519.Ed25519PrivateKey.generate()), "Ed25519"),
        (_pem(rsa.generate_private_key(65537, 1024)), "1024 bits"),  # noqa: S505 -- which is the point
    ],
)
def test_keys_that_are_none(text: str, reason: str) -> None:
    """Secrets, weak keys and what HAProxy can't verify with are refused, each with its reason."""
    with pytest.raises(UnusableKeys, match=reason):
        trusted_issuer.keys(text)


@pytest.mark.parametrize("text", ["", "a b", "a\n    stats socket x", "'", '"', "$HOME", "#", "ä", "x" * 201])
def test_a_name_stands_in_the_configuration_as_it_is(tmp_path: Path, text: str) -> None:
    """What would be read as something else there is refused, and nothing is written."""
    for names in ((text, "x"), ("x", text)):
        with pytest.raises(InvalidOption):
            trusted_issuer.trust(Folder(str(tmp_path)), trusted_issuer.Issuer(*names, 0, 0, [EC.public_key()]))
    assert list(tmp_path.iterdir()) == []


def test_every_file_that_the_gateway_names_is_there(tmp_path: Path) -> None:
    """Also where there is but one key; the configuration is empty once the issuer is forgotten."""
    trusted_issuer.trust(Folder(str(tmp_path)), trusted_issuer.Issuer("https://x", "signet", 5, 0, [EC.public_key()]))
    named = ROOT / "gateway" / "public.cfg"
    files = {word.partition('"')[0] for word in named.read_text().split('jwt_verify(txn.alg,"/run/door/')[1:]}
    assert {file: (tmp_path / file).read_text() for file in files} == dict.fromkeys(files, _pem(EC))
    assert len(files) == trusted_issuer.MOST_KEYS
    assert "setenv SIGNET_ISSUER_LIMITS '5 0'" in (tmp_path / trusted_issuer.FILE).read_text()
    trusted_issuer.forget(Folder(str(tmp_path)))
    assert (tmp_path / trusted_issuer.FILE).read_text() == ""

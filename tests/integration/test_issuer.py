"""JSON Web Tokens of an issuer whose keys lie in a file: which are taken, and for what."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import time
from typing import TYPE_CHECKING, Any

import pytest
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature

from testing.polling import until

if TYPE_CHECKING:
    from door import Door

pytestmark = pytest.mark.compose

ISSUER, AUDIENCE = "https://id.example.org/", "signet"


def _encoded(content: bytes) -> str:
    return base64.urlsafe_b64encode(content).rstrip(b"=").decode()


def _public(key: Any) -> bytes:
    pem = (serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
    return bytes(key.public_key().public_bytes(*pem))


class Issuer:
    """Two keys that the door knows, one that it doesn't, and what is signed with them."""

    def __init__(self) -> None:
        self.rsa = rsa.generate_private_key(65537, 2048)
        self.ec = ec.generate_private_key(ec.SECP256R1())
        self.other = ec.generate_private_key(ec.SECP256R1())

    def jwks(self) -> str:
        """Both public keys, one for encryption among them."""
        numbers, point = self.rsa.public_key().public_numbers(), self.ec.public_key().public_numbers()
        large = {"n": _encoded(numbers.n.to_bytes(256)), "e": _encoded(numbers.e.to_bytes(3))}
        small = {"x": _encoded(point.x.to_bytes(32)), "y": _encoded(point.y.to_bytes(32)), "crv": "P-256"}
        keys = [{"kty": "RSA", "use": "sig", **large}, {"kty": "EC", **small}, {"kty": "OKP", "use": "enc"}]
        return json.dumps({"keys": keys})

    def token(self, key: Any = None, alg: str = "ES256", **claims: Any) -> str:
        """A token that is taken, but for what is given."""
        payload = {"iss": ISSUER, "aud": AUDIENCE, "sub": "ann", "deployment": "ok", "exp": int(time.time()) + 600}
        payload = {name: value for name, value in {**payload, **claims}.items() if value is not None}
        signed = ".".join(_encoded(json.dumps(part).encode()) for part in ({"alg": alg, "typ": "JWT"}, payload))
        return f"{signed}.{_encoded(self._signature(key or self.ec, alg, signed.encode()))}"

    def _signature(self, key: Any, alg: str, signed: bytes) -> bytes:
        if alg == "none":
            return b""
        if alg == "HS256":
            return hmac.new(_public(key), signed, hashlib.sha256).digest()
        if alg == "RS256":
            return bytes(self.rsa.sign(signed, padding.PKCS1v15(), hashes.SHA256()))
        return b"".join(
            number.to_bytes(32) for number in decode_dss_signature(key.sign(signed, ec.ECDSA(hashes.SHA256())))
        )


@pytest.fixture(scope="module")
def issuer(door: Door) -> Issuer:
    """Trusted since the gateway has read its configuration anew; a connection that was open went on."""
    issuer = Issuer()
    done = door.signet("issuer", "trust", ISSUER, AUDIENCE, "--rows", "1000/s", stdin=issuer.jwks())
    assert done.returncode == 0, done.stderr
    with door.session(door.master) as session:
        url = f"{door.url}/predictions/ok"
        assert session.post(url, data=b"{}").status_code == 200
        assert door.compose("kill", "--signal", "SIGUSR2", "gateway").returncode == 0
        until("its tokens are taken", lambda: door.ask("ok", issuer.token()).status_code == 200, timeout_s=15)
        assert session.post(url, data=b"{}").status_code == 200
    return issuer


def test_a_token_of_the_issuer(door: Door, issuer: Issuer) -> None:
    """Either key's, for one audience or several; the log and the metrics call it by its subject."""
    for token in (
        issuer.token(),
        issuer.token(issuer.rsa, "RS256"),
        issuer.token(aud=["other", AUDIENCE]),
        issuer.token(deployment="*"),
        issuer.token(nbf=int(time.time()) - 5),
    ):
        answer = door.ask("ok", token)
        assert answer.status_code == 200, answer.text
    until("it is logged", lambda: "token=jwt:ann" in door.logs(), timeout_s=5)
    assert 'signet_door_requests_total{token="jwt:ann"}' in door.metrics()
    assert door.ask("ok", issuer.token(), {"Small-Rows": "5000"}).status_code == 200
    assert door.ask("ok", issuer.token()).json()["type"] == "TooManyRows"


def test_no_other_token(door: Door, issuer: Issuer) -> None:
    """Signed by nobody, by another, or by the public key itself; expired, for others, or of nobody."""
    now = int(time.time())
    right = issuer.token()
    head, payload, signature = right.split(".")
    forged = _encoded(
        json.dumps({"iss": ISSUER, "aud": AUDIENCE, "sub": "eve", "deployment": "*", "exp": now + 60}).encode()
    )
    for token, kind in (
        (issuer.token(issuer.other), "TokenUnknown"),
        (issuer.token(alg="none"), "TokenUnknown"),
        (issuer.token(alg="HS256"), "TokenUnknown"),
        (issuer.token(issuer.rsa, "HS256"), "TokenUnknown"),
        (f"{head}.{forged}.{signature}", "TokenUnknown"),
        (f"{head}.{payload}.", "TokenUnknown"),
        (f"{head}.{payload}", "TokenUnknown"),
        (issuer.token(iss="https://other.example.org/"), "TokenUnknown"),
        (issuer.token(iss=ISSUER + "x"), "TokenUnknown"),
        (issuer.token(iss=None), "TokenUnknown"),
        (issuer.token(aud="signet2"), "TokenUnknown"),
        (issuer.token(aud=["signet2"]), "TokenUnknown"),
        (issuer.token(aud=None), "TokenUnknown"),
        (issuer.token(sub=None), "TokenUnknown"),
        (issuer.token(sub="a b * 0 0 0"), "TokenUnknown"),
        (issuer.token(sub="x" * 61), "TokenUnknown"),
        (issuer.token(exp=None), "TokenUnknown"),
        (issuer.token(exp=0), "TokenUnknown"),
        (issuer.token(exp="never"), "TokenUnknown"),
        (issuer.token(nbf=now + 60), "TokenUnknown"),
        (issuer.token(exp=now - 5), "TokenExpired"),
    ):
        answer = door.ask("ok", token)
        assert (answer.status_code, answer.json()["type"]) == (401, kind), token
    for claims in ({"deployment": "fare"}, {"deployment": None}, {"deployment": "ok x"}, {"deployment": ["ok"]}):
        answer = door.ask("ok", issuer.token(sub="bob", **claims))
        assert (answer.status_code, answer.json()["type"]) == (403, "DeploymentNotOpen"), claims


def test_a_connection_keeps_no_token_longer_than_its_time(door: Door, issuer: Issuer) -> None:
    """A token that begins, one that ends, and one that is forged, on a connection that knows another one already."""
    now = int(time.time())
    begins, ends = issuer.token(sub="kim", nbf=now + 3), issuer.token(sub="kim", exp=now + 3)
    with door.session() as session:

        def asked(token: str) -> str:
            """The type of the rejection, or nothing."""
            answer = session.post(
                f"{door.url}/predictions/ok", data=b"{}", headers={"Authorization": f"Bearer {token}"}, timeout=30
            )
            return "" if answer.status_code == 200 else str(answer.json()["type"])

        assert asked(ends) == ""
        assert asked(ends) == ""
        assert asked(issuer.token(issuer.other)) == "TokenUnknown"
        assert asked(door.master) == ""
        assert asked(begins) == "TokenUnknown"
        until("it has begun", lambda: asked(begins) == "", timeout_s=10)
        until("it has expired", lambda: asked(ends) == "TokenExpired", timeout_s=10)
        assert asked(issuer.token(sub="bob", deployment="fare")) == "DeploymentNotOpen"
        assert asked(issuer.token(issuer.other)) == "TokenUnknown"

"""The door's certificate: one from a file, or a self-signed one that is made at the first start."""

from __future__ import annotations

import datetime as dt
import ipaddress
import re
import socket
from dataclasses import dataclass
from typing import TYPE_CHECKING

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from signet_client.errors import InvalidOption, UnusableCertificate

if TYPE_CHECKING:
    from signet_client.door.folder import Folder

FILE = "certificate.pem"
_LIFETIME = dt.timedelta(days=397)  # the most that browsers take
_CLOCKS_DIFFER = dt.timedelta(hours=1)
_LABEL = re.compile(r"(\*\.)?[A-Za-z0-9-]{1,63}(\.[A-Za-z0-9-]{1,63})*")


@dataclass(frozen=True)
class Certificate:
    """A certificate with its chain and its key, as they lie in one file."""

    pem: str
    fingerprint: str
    """SHA-256, in hexadecimal."""
    expires: dt.datetime


def of(pem: str) -> Certificate:
    """A certificate's chain and its key, unencrypted. Raises UnusableCertificate."""
    try:
        certificate, *_ = x509.load_pem_x509_certificates(pem.encode())
        key = serialization.load_pem_private_key(_key_of(pem).encode(), None)
        public = key.public_key().public_bytes(*_SPKI)
        is_of_the_key = certificate.public_key().public_bytes(*_SPKI) == public
    except (ValueError, TypeError, UnsupportedAlgorithm) as error:
        raise UnusableCertificate(str(error)) from error
    if not is_of_the_key:
        raise UnusableCertificate("the first certificate is not that of the key")
    expires = certificate.not_valid_after_utc
    if expires < dt.datetime.now(dt.UTC):
        raise UnusableCertificate(f"the certificate has expired on {expires:%Y-%m-%d}")
    return Certificate(pem, certificate.fingerprint(hashes.SHA256()).hex(), expires)


def made_for(hosts: list[str]) -> Certificate:
    """A self-signed certificate with a new key. Raises InvalidOption."""
    names = [_general_name(host) for host in hosts]
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, hosts[0][:64])])
    key = ec.generate_private_key(ec.SECP256R1())
    now = dt.datetime.now(dt.UTC)
    certificate = (
        x509.CertificateBuilder(subject, subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - _CLOCKS_DIFFER)
        .not_valid_after(now + _LIFETIME)
        .add_extension(x509.SubjectAlternativeName(names), critical=False)
        # Clients take it as its own authority.
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .sign(key, hashes.SHA256())
    )
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    return of((certificate.public_bytes(serialization.Encoding.PEM) + private).decode())


def install(folder: Folder, certificate: Certificate) -> None:
    """Give the gateway the certificate: it takes it within seconds. Raises DoorUnreachable."""
    with folder.alone():
        folder.write(FILE, certificate.pem)


def own_hosts() -> list[str]:
    """The hosts that a certificate is made for if none are named."""
    return ["localhost", "127.0.0.1", "gateway", socket.gethostname()]


_SPKI = (serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)
_KEY = re.compile(r"-----BEGIN [A-Z ]*PRIVATE KEY-----.*?-----END [A-Z ]*PRIVATE KEY-----", re.DOTALL)


def _key_of(pem: str) -> str:
    match = _KEY.search(pem)
    if match is None:
        raise ValueError("there is no private key in it")
    return match[0]


def _general_name(host: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(host))
    except ValueError:
        if not _LABEL.fullmatch(host):
            raise InvalidOption("--hosts", host, "names or addresses, with commas between them") from None
        return x509.DNSName(host)

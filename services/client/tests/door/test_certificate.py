from __future__ import annotations

import ssl
from pathlib import Path

import pytest
from cryptography import x509
from signet_client.door import certificate
from signet_client.errors import InvalidOption, UnusableCertificate


def test_a_made_one_is_for_its_hosts(tmp_path: Path) -> None:
    """Names and addresses, each as what it is; Python's own TLS takes certificate and key."""
    made = certificate.made_for(["ml.example.org", "*.example.org", "192.0.2.1", "::1"])
    (tmp_path / "pem").write_text(made.pem)
    ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_cert_chain(tmp_path / "pem")
    read = x509.load_pem_x509_certificate(made.pem.encode())
    names = read.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert names.get_values_for_type(x509.DNSName) == ["ml.example.org", "*.example.org"]
    assert [str(address) for address in names.get_values_for_type(x509.IPAddress)] == ["192.0.2.1", "::1"]


@pytest.mark.parametrize("host", ["", "a b", "http://x", "ä.org", "x" * 64, "a..b", "x:443"])
def test_a_host_that_is_none(host: str) -> None:
    """What no client could ask for is refused."""
    with pytest.raises(InvalidOption):
        certificate.made_for([host])


def test_certificate_and_key_in_either_order() -> None:
    """A file may begin with the key."""
    pem = certificate.made_for(["x"]).pem
    at = pem.index("-----BEGIN PRIVATE")
    assert certificate.of(pem[at:] + pem[:at]).fingerprint == certificate.of(pem).fingerprint


def test_what_the_gateway_could_not_use() -> None:
    """It is refused, with the reason, before the gateway sees it."""
    one, other = certificate.made_for(["x"]).pem, certificate.made_for(["y"]).pem
    at = one.index("-----BEGIN PRIVATE")
    for pem, reason in (
        ("", "Unable to load"),
        (one[:at], "no private key"),
        (one[at:], "Unable to load"),
        (one[:at] + other[other.index("-----BEGIN PRIVATE") :], "not that of the key"),
        (one[: at + 60], "no private key"),
    ):
        with pytest.raises(UnusableCertificate, match=reason):
            certificate.of(pem)

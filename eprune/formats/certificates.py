"""Certificates of platforms, and of the small private authority that signs them, as PEM: X.509, with P-256 keys.

A platform's certificate holds the platform's name as its one alternative name (DNS), for that is whom the other end of
a link wants to talk to, whatever host it is on. It serves both the end that dials and the one that answers.
"""

from __future__ import annotations

from datetime import datetime, timedelta, timezone
from typing import NamedTuple, Optional

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

#: How far another machine's clock may be behind.
SLACK = timedelta(hours=1)
_NAME_CHARACTERS = 64  # of a subject, which is only for people


class Pair(NamedTuple):
    """A certificate and its private key, both PEM."""

    certificate: bytes
    key: bytes


class Validity(NamedTuple):
    """From when to when a certificate is valid, in UTC."""

    begin: datetime
    end: datetime

    def at(self, now: datetime) -> bool:
        """Whether it is valid then."""
        return self.begin <= now <= self.end


def days_from(now: datetime, days: float) -> Validity:
    """So many days from now on; a little earlier, too, for clocks that are behind."""
    return Validity(now - SLACK, now + timedelta(days=days))


def make_authority(valid: Validity) -> Pair:
    """A new authority, which vouches for itself."""
    key = ec.generate_private_key(ec.SECP256R1())
    return Pair(_authority(key, valid), _private(key))


def renew_authority(authority: Pair, valid: Validity) -> bytes:
    """The authority's certificate with other dates: what it has signed stays signed. Raises ValueError on no PEM."""
    return _authority(load_key(authority.key), valid)


def certify(authority: Pair, platform: str, valid: Validity) -> Pair:
    """A new key for a platform, and its certificate. Raises ValueError if the authority is not PEM."""
    key = ec.generate_private_key(ec.SECP256R1())
    return Pair(_sign(authority, platform, key.public_key(), valid), _private(key))


def renew(authority: Pair, certificate: bytes, platform: str, valid: Validity) -> bytes:
    """A platform's certificate with other dates, for the same key. Raises ValueError on what is not PEM."""
    public = x509.load_pem_x509_certificate(certificate).public_key()
    if not isinstance(public, ec.EllipticCurvePublicKey):
        raise ValueError("the certificate is for another kind of key")
    return _sign(authority, platform, public, valid)


def validity(certificate: bytes) -> Validity:
    """Its dates. Raises ValueError if it is not PEM."""
    loaded = x509.load_pem_x509_certificate(certificate)
    return Validity(loaded.not_valid_before_utc, loaded.not_valid_after_utc)


def now() -> datetime:
    """The time, as certificates state it."""
    return datetime.now(timezone.utc).replace(microsecond=0)


def _authority(key: ec.EllipticCurvePrivateKey, valid: Validity) -> bytes:
    name = _name("eprune authority")
    builder = _builder(name, name, key.public_key(), valid, None)
    builder = builder.add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
    builder = builder.add_extension(_usage(signs=True), critical=True)
    return builder.sign(key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM)


def _sign(authority: Pair, platform: str, public: ec.EllipticCurvePublicKey, valid: Validity) -> bytes:
    issuer = x509.load_pem_x509_certificate(authority.certificate)
    key = load_key(authority.key)
    builder = _builder(_name(platform[:_NAME_CHARACTERS]), issuer.subject, public, valid, key.public_key())
    builder = builder.add_extension(x509.SubjectAlternativeName([x509.DNSName(platform)]), critical=False)
    builder = builder.add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
    builder = builder.add_extension(_usage(signs=False), critical=True)
    purposes = [ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH]
    builder = builder.add_extension(x509.ExtendedKeyUsage(purposes), critical=False)
    return builder.sign(key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM)


def _builder(
    subject: x509.Name,
    issuer: x509.Name,
    public: ec.EllipticCurvePublicKey,
    valid: Validity,
    signer: Optional[ec.EllipticCurvePublicKey],
) -> x509.CertificateBuilder:
    builder = x509.CertificateBuilder(
        subject_name=subject,
        issuer_name=issuer,
        public_key=public,
        serial_number=x509.random_serial_number(),
        not_valid_before=valid.begin,
        not_valid_after=valid.end,
    )
    builder = builder.add_extension(x509.SubjectKeyIdentifier.from_public_key(public), critical=False)
    authority = x509.AuthorityKeyIdentifier.from_issuer_public_key(signer or public)
    return builder.add_extension(authority, critical=False)


def _usage(signs: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not signs,
        key_cert_sign=signs,
        crl_sign=signs,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        encipher_only=False,
        decipher_only=False,
    )


def _name(text: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, text)])


def _private(key: ec.EllipticCurvePrivateKey) -> bytes:
    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )


def load_key(pem: bytes) -> ec.EllipticCurvePrivateKey:
    """A private key. Raises ValueError if it is none, or of another kind."""
    try:
        key = serialization.load_pem_private_key(pem, None)
    except TypeError as error:  # it has a password
        raise ValueError(str(error)) from None
    if not isinstance(key, ec.EllipticCurvePrivateKey):
        raise ValueError("another kind of key")
    return key

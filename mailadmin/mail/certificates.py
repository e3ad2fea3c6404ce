"""Reads certificates and keys, to show what servers and people hand us; nothing here decides about trust."""

from typing import TypedDict

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat, load_pem_private_key

from mailadmin.mail.scrub import scrub

MOST_NAMES = 20
SMALLEST_KEY = 2048  # bits of RSA
_UNREADABLE = (ValueError, TypeError, x509.InvalidVersion, x509.UnsupportedGeneralNameType, x509.DuplicateExtension)


class Certificate(TypedDict):
    """A certificate as it is shown: the names it is for (at most 20), who it is about and who vouches for it, from when
    to when (ISO 8601, UTC), and its SHA-256 as 64 hexadecimal digits. The words are the server's, scrubbed.
    """

    names: list[str]
    subject: str
    issuer: str
    starts: str
    ends: str
    sha256: str


def read(der: bytes) -> Certificate | None:
    """What the DER certificate says; None for one that cannot be read."""
    try:
        return _told(x509.load_der_x509_certificate(der))
    except _UNREADABLE:
        return None


def read_pem(text: str) -> list[tuple[Certificate, str]]:
    """The certificates in PEM `text`, each with its own PEM. Raises ValueError if there is none or one is damaged."""
    try:
        found = x509.load_pem_x509_certificates(text.encode("ascii", "replace"))
        return [(_told(one), one.public_bytes(Encoding.PEM).decode("ascii")) for one in found]
    except _UNREADABLE as error:
        raise ValueError("A certificate cannot be read.") from error


def check_key(pem: str) -> None:
    """Return if `pem` is a private key that can sign for us: RSA, no passphrase. Raises ValueError with a sentence."""
    _key(pem)


def check_pair(certificate: str, key: str) -> None:
    """Return if the private `key` belongs to the first certificate in `certificate`, both PEM. Raises ValueError."""
    mine = _key(key).public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    theirs = x509.load_pem_x509_certificate(certificate.encode("ascii", "replace")).public_key()
    if theirs.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo) != mine:
        raise ValueError("This private key does not belong to the certificate.")


def _key(pem: str) -> RSAPrivateKey:
    try:
        key = load_pem_private_key(pem.encode("ascii", "replace"), password=None)
    except TypeError as error:  # what the library says of one with a passphrase
        raise ValueError(
            "This private key is protected by a passphrase. Save it without one, and upload that."
        ) from error
    except (ValueError, UnsupportedAlgorithm) as error:
        raise ValueError("There is no private key in this. It begins with -----BEGIN PRIVATE KEY-----.") from error
    if not isinstance(key, RSAPrivateKey) or key.key_size < SMALLEST_KEY:
        raise ValueError(f"This private key cannot be used: an RSA key of {SMALLEST_KEY} bits or more is needed.")
    return key


def _told(certificate: x509.Certificate) -> Certificate:
    return Certificate(
        names=_names(certificate)[:MOST_NAMES],
        subject=scrub(certificate.subject.rfc4514_string()),
        issuer=scrub(certificate.issuer.rfc4514_string()),
        starts=certificate.not_valid_before_utc.isoformat(),
        ends=certificate.not_valid_after_utc.isoformat(),
        sha256=certificate.fingerprint(SHA256()).hex(),
    )


def _names(certificate: x509.Certificate) -> list[str]:
    """The DNS names and IP addresses that it is for."""
    try:
        names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except x509.ExtensionNotFound:
        return []
    found = [*names.get_values_for_type(x509.DNSName), *map(str, names.get_values_for_type(x509.IPAddress))]
    return [scrub(name) for name in found]

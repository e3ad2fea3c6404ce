"""Contexts for encrypted connections, and plain sentences for handshakes that fail; the sockets are in `dial.py`."""

import functools
import ssl
import warnings
from dataclasses import dataclass
from typing import Protocol

from mailadmin.mail import certificates
from mailadmin.mail.errors import Category, MailError
from mailadmin.mail.scrub import scrub
from mailadmin.mail.types import Server, ServerProtocol, TLSMode, TLSVersion, Trust

# Where servers usually listen: for TLS from the first byte, and for STARTTLS.
TLS_PORTS = {ServerProtocol.IMAP: 993, ServerProtocol.POP3: 995, ServerProtocol.SMTP: 465}
STARTTLS_PORTS = {ServerProtocol.IMAP: 143, ServerProtocol.POP3: 110, ServerProtocol.SMTP: 587}

_PUBLIC = Trust()  # the public authorities, and those of the installation
_VERSIONS = {
    TLSVersion.TLS_1_0: ssl.TLSVersion.TLSv1,
    TLSVersion.TLS_1_1: ssl.TLSVersion.TLSv1_1,
    TLSVersion.TLS_1_2: ssl.TLSVersion.TLSv1_2,
    TLSVersion.TLS_1_3: ssl.TLSVersion.TLSv1_3,
}
_OLD = {TLSVersion.TLS_1_0, TLSVersion.TLS_1_1}

# X509_V_ERR_* of OpenSSL's x509_vfy.h, with the rule of the catalogue and our sentence.
_REFUSED: dict[int, tuple[str, str]] = {
    9: ("tls-not-yet-valid", "The certificate of the server is not yet valid; check the clocks of both machines."),
    10: ("tls-expired", "The certificate of the server has expired; whoever runs the server must renew it."),
    18: ("tls-self-signed", "The certificate of the server is self-signed, so nobody vouches for it."),
}
_UNKNOWN = ("tls-unknown-authority", "The certificate of the server comes from an authority that is not known here.")
_REFUSED |= dict.fromkeys((2, 19, 20, 21, 27), _UNKNOWN)
_WRONG_NAME = {62, 63, 64}

_NOT_TLS = {
    "WRONG_VERSION_NUMBER", "UNKNOWN_PROTOCOL", "HTTP_REQUEST", "HTTPS_PROXY_REQUEST", "RECORD_LAYER_FAILURE",
    "PACKET_LENGTH_TOO_LONG", "BAD_RECORD_TYPE", "UNEXPECTED_MESSAGE", "INVALID_RECORD_TYPE", "RECORD_TOO_SMALL",
}  # fmt: skip
_TOO_OLD = {
    "UNSUPPORTED_PROTOCOL", "TLSV1_ALERT_PROTOCOL_VERSION", "NO_PROTOCOLS_AVAILABLE", "VERSION_TOO_LOW",
    "SSLV3_ALERT_HANDSHAKE_FAILURE", "DH_KEY_TOO_SMALL", "TLSV1_ALERT_INSUFFICIENT_SECURITY",
    "LEGACY_SIGALG_DISALLOWED_OR_UNSUPPORTED",
}  # fmt: skip


class Peer(Protocol):
    """Whoever we encrypt with: a mail server, or a web site."""

    @property
    def host(self) -> str:
        """The name that has to stand in the certificate."""

    @property
    def port(self) -> int:
        """Where it listens."""

    @property
    def trust(self) -> Trust:
        """How its certificate is judged."""


@dataclass(frozen=True, slots=True)
class Site:
    """A web site, which is always encrypted from the first byte."""

    host: str
    port: int
    trust: Trust = _PUBLIC


@functools.lru_cache(maxsize=64)
def context(ca_file: str | None, trust: Trust, socket_class: type[ssl.SSLSocket]) -> ssl.SSLContext:
    """Return the one context for `trust` and the installation's `ca_file`, both beside the system's authorities.

    It is kept because loading the authorities costs 40 ms. Raises MailError (config) if certificates cannot be used.
    A context for a pinned certificate verifies nothing by itself: `check_pin` does, before anything is said.
    """
    made = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT) if trust.pin else ssl.create_default_context()
    if trust.pin:
        made.check_hostname, made.verify_mode = False, ssl.CERT_NONE
    # Private authorities rarely follow RFC 5280 to the letter, and whoever trusts a single certificate means just that.
    made.verify_flags = made.verify_flags & ~ssl.VERIFY_X509_STRICT | ssl.VERIFY_X509_PARTIAL_CHAIN
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # Old versions, where an administrator asks for them.
        made.minimum_version = _VERSIONS[trust.minimum]
    if trust.minimum in _OLD:
        made.set_ciphers("DEFAULT:@SECLEVEL=0")  # OpenSSL speaks old TLS on its lowest level of security only.
    made.sslsocket_class = socket_class
    _load(made, ca_file, trust)
    return made


def _load(made: ssl.SSLContext, ca_file: str | None, trust: Trust) -> None:
    if ca_file:
        try:
            made.load_verify_locations(ca_file)
        except OSError as error:
            raise MailError(
                Category.CONFIG, f"The file of trusted authorities cannot be read: {ca_file}. Check MAILADMIN_CA_FILE."
            ) from error
    if trust.authorities:
        try:
            made.load_verify_locations(cadata=trust.authorities)
        except (OSError, ValueError) as error:
            raise MailError(Category.CONFIG, "The provider’s trusted certificates cannot be read.") from error


def check_pin(trust: Trust, der: bytes | None) -> None:
    """Return if the certificate `der` is the pinned one, or none is pinned. Raises MailError (tls)."""
    if not trust.pin:
        return
    shown = certificates.read(der) if der else None
    if shown is None or shown["sha256"] != trust.pin:
        sentence = "The server showed another certificate than the pinned one, so nothing was sent to it."
        raise MailError(Category.TLS, sentence, permanent=True, code="tls-pin", certificate=shown)


def explain(error: OSError, server: Peer, chain: list[bytes]) -> MailError:
    """Return what a failed handshake means. `chain` is the server's certificates in DER, its own first, or nothing."""
    if isinstance(error, ssl.SSLCertVerificationError):
        return _untrusted(error, server, chain)
    reason = getattr(error, "reason", None) or ""
    if reason in _NOT_TLS and isinstance(server, Server):
        return not_tls(server)
    hung_up = isinstance(error, (ssl.SSLEOFError, ConnectionError))
    if reason in _TOO_OLD or (hung_up and server.trust.minimum is TLSVersion.TLS_1_3):  # Some say no by hanging up.
        least = server.trust.minimum
        sentence = (
            f"The server and this installation have no version of encryption in common; the least is TLS {least}."
        )
        return MailError(Category.TLS, sentence, detail=reason, permanent=True, code="tls-too-old")
    if hung_up:
        sentence = "The server closed the connection while encryption began."
        return MailError(Category.TLS, sentence, detail=reason, code="tls-closed")
    return MailError(Category.TLS, "Encryption with the server could not be agreed.", detail=reason)


def not_tls(server: Server) -> MailError:
    """Return the error for a port that was dialled with TLS and answers in plain text."""
    if server.tls_mode is not TLSMode.IMPLICIT:
        sentence = "The server agreed to encrypt, and then did not."
        return MailError(Category.TLS, sentence, permanent=True, code="tls-promise-broken")
    port = TLS_PORTS[server.protocol]
    return MailError(
        Category.TLS,
        f"This port speaks without encryption at first; choose STARTTLS or port {port}.",
        permanent=True,
        code="tls-port-is-plain",
    )


def is_tls(server: Server) -> MailError:
    """Return the error for a port that was dialled in plain text and speaks TLS."""
    port = STARTTLS_PORTS[server.protocol]
    return MailError(
        Category.TLS,
        f"This port is encrypted from the first byte; choose implicit TLS, or STARTTLS on port {port}.",
        permanent=True,
        code="tls-port-is-encrypted",
    )


def _untrusted(error: ssl.SSLCertVerificationError, server: Peer, chain: list[bytes]) -> MailError:
    number, detail = error.verify_code, scrub(error.verify_message or "")
    shown = certificates.read(chain[0]) if chain else None
    if number in _WRONG_NAME:
        code = "tls-wrong-name"
        sentence = f"The certificate of the server is not for {server.host}; enter the name that it is for."
        if shown and shown["names"]:
            detail = scrub("The certificate is for " + ", ".join(shown["names"][:10]))
    else:
        code, sentence = _REFUSED.get(number, ("tls-untrusted", "The certificate of the server cannot be trusted."))
    return MailError(Category.TLS, sentence, detail=detail, permanent=True, code=code, certificate=shown)

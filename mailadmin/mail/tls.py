"""Contexts for encrypted connections, and plain sentences for handshakes that fail; the sockets are in `dial.py`."""

import functools
import ssl

from mailadmin.mail.certificates import names_in
from mailadmin.mail.errors import Category, MailError
from mailadmin.mail.scrub import scrub
from mailadmin.mail.types import Server, ServerProtocol, TLSMode

# X509_V_ERR_* of OpenSSL's x509_vfy.h.
_EXPIRED, _NOT_YET, _SELF_SIGNED, _WRONG_NAME = 10, 9, 18, {62, 63, 64}
_UNKNOWN = {2, 19, 20, 21, 27}

_NOT_TLS = {
    "WRONG_VERSION_NUMBER", "UNKNOWN_PROTOCOL", "HTTP_REQUEST", "HTTPS_PROXY_REQUEST", "RECORD_LAYER_FAILURE",
    "PACKET_LENGTH_TOO_LONG", "BAD_RECORD_TYPE", "UNEXPECTED_MESSAGE", "INVALID_RECORD_TYPE", "RECORD_TOO_SMALL",
}  # fmt: skip
_TOO_OLD = {
    "UNSUPPORTED_PROTOCOL", "TLSV1_ALERT_PROTOCOL_VERSION", "NO_PROTOCOLS_AVAILABLE", "VERSION_TOO_LOW",
    "SSLV3_ALERT_HANDSHAKE_FAILURE", "DH_KEY_TOO_SMALL", "TLSV1_ALERT_INSUFFICIENT_SECURITY",
    "LEGACY_SIGALG_DISALLOWED_OR_UNSUPPORTED",
}  # fmt: skip


@functools.lru_cache(maxsize=32)
def context(ca_file: str | None, socket_class: type[ssl.SSLSocket]) -> ssl.SSLContext:
    """Return the one verifying context for `ca_file` (beside the system's authorities), at least TLS 1.2.

    It is kept because loading the authorities costs 40 ms. Raises MailError (config) if the file cannot be used.
    """
    made = ssl.create_default_context()
    made.minimum_version = ssl.TLSVersion.TLSv1_2
    made.sslsocket_class = socket_class
    if ca_file:
        try:
            made.load_verify_locations(ca_file)
        except OSError as error:
            raise MailError(
                Category.CONFIG, f"The file of trusted authorities cannot be read: {ca_file}. Check MAILADMIN_CA_FILE."
            ) from error
    return made


def explain(error: OSError, server: Server, chain: list[bytes]) -> MailError:
    """Return what a failed handshake means. `chain` is the server's certificates in DER, its own first, or nothing."""
    if isinstance(error, ssl.SSLCertVerificationError):
        return _untrusted(error, server, chain)
    reason = (error.reason or "") if isinstance(error, ssl.SSLError) else ""
    if reason in _NOT_TLS:
        return not_tls(server)
    if reason in _TOO_OLD:
        sentence = "The server offers only old encryption that is no longer safe; it must offer TLS 1.2 or newer."
        return MailError(Category.TLS, sentence, detail=reason, permanent=True)
    if isinstance(error, (ssl.SSLEOFError, ConnectionError)):
        return MailError(Category.TLS, "The server closed the connection while encryption began.", detail=reason)
    return MailError(Category.TLS, "Encryption with the server could not be agreed.", detail=reason)


def not_tls(server: Server) -> MailError:
    """Return the error for a port that was dialled with TLS and answers in plain text."""
    if server.tls_mode is not TLSMode.IMPLICIT:
        return MailError(Category.TLS, "The server agreed to encrypt, and then did not.", permanent=True)
    port = 993 if server.protocol is ServerProtocol.IMAP else 465
    return MailError(
        Category.TLS,
        f"This port speaks without encryption at first; choose STARTTLS or port {port}.",
        permanent=True,
    )


def is_tls(server: Server) -> MailError:
    """Return the error for a port that was dialled in plain text and speaks TLS."""
    port = 143 if server.protocol is ServerProtocol.IMAP else 587
    return MailError(
        Category.TLS,
        f"This port is encrypted from the first byte; choose implicit TLS, or STARTTLS on port {port}.",
        permanent=True,
    )


def _untrusted(error: ssl.SSLCertVerificationError, server: Server, chain: list[bytes]) -> MailError:
    code, detail = error.verify_code, scrub(error.verify_message or "")
    if code == _EXPIRED:
        sentence = "The certificate of the server has expired; whoever runs the server must renew it."
    elif code == _NOT_YET:
        sentence = "The certificate of the server is not yet valid; check the clocks of both machines."
    elif code == _SELF_SIGNED:
        sentence = "The certificate of the server is self-signed, so nobody vouches for it."
    elif code in _UNKNOWN:
        sentence = "The certificate of the server comes from an authority that is not known here."
    elif code in _WRONG_NAME:
        sentence = f"The certificate of the server is not for {server.host}; enter the name that it is for."
        names = names_in(chain[0]) if chain else []
        detail = scrub("The certificate is for " + ", ".join(names[:10])) if names else detail
    else:
        sentence = "The certificate of the server cannot be trusted."
    return MailError(Category.TLS, sentence, detail=detail, permanent=True)

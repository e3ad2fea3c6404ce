"""Reads the names in a certificate, to show what a server calls itself; nothing here decides about trust."""

from cryptography import x509


def names_in(der: bytes) -> list[str]:
    """Return the DNS names and IP addresses that the DER certificate is for; an unreadable one has none.

    The names are the server's words: scrub them before they are shown.
    """
    try:
        certificate = x509.load_der_x509_certificate(der)
        names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except (ValueError, TypeError, x509.ExtensionNotFound, x509.DuplicateExtension, x509.UnsupportedGeneralNameType):
        return []
    return [*names.get_values_for_type(x509.DNSName), *map(str, names.get_values_for_type(x509.IPAddress))]

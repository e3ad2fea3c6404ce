"""Makes an authority and server certificates for tests; they live for a month."""

import datetime
import ipaddress
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID

_PEM = serialization.Encoding.PEM


class Authority:
    """An authority whose certificate is in `ca_file`; every certificate goes into the same folder.

    With a `parent` it is an intermediate one.
    """

    def __init__(self, folder: Path, stem: str = "ca", parent: "Authority | None" = None) -> None:
        self.folder = folder
        self.ca_file = folder / f"{stem}.pem"
        self._key = ec.generate_private_key(ec.SECP256R1())
        self._name = _common_name(f"Test authority of mailadmin ({stem})" if parent else "Test authority of mailadmin")
        signer = parent or self
        usage = x509.KeyUsage(True, False, False, False, False, True, True, False, False)
        certificate = (
            _draft(self._name, signer._name, self._key)
            .add_extension(x509.BasicConstraints(True, 0 if parent else None), True)
            .add_extension(usage, True)
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(self._key.public_key()), False)
            .sign(signer._key, hashes.SHA256())
        )
        self.ca_file.write_bytes(certificate.public_bytes(_PEM))

    def intermediate(self, stem: str) -> "Authority":
        """An authority that this one vouches for."""
        return Authority(self.folder, stem, self)

    def issue(
        self,
        stem: str,
        hosts: tuple[str, ...] = ("localhost", "127.0.0.1", "127.0.0.2"),
        *,
        days: tuple[int, int] = (-1, 30),
    ) -> tuple[Path, Path]:
        """Return the files of a certificate for `hosts` and of its key, valid within `days` from today."""
        key = ec.generate_private_key(ec.SECP256R1())
        issuer_key = x509.AuthorityKeyIdentifier.from_issuer_public_key(self._key.public_key())
        draft = _for_hosts(_draft(_common_name(hosts[0]), self._name, key, days), hosts)
        return self._write(stem, draft.add_extension(issuer_key, False).sign(self._key, hashes.SHA256()), key)

    def issue_self_signed(self, stem: str, hosts: tuple[str, ...]) -> tuple[Path, Path]:
        """The same for a certificate that nobody but itself vouches for."""
        key, name = ec.generate_private_key(ec.SECP256R1()), _common_name(hosts[0])
        return self._write(stem, _for_hosts(_draft(name, name, key), hosts).sign(key, hashes.SHA256()), key)

    def _write(self, stem: str, certificate: x509.Certificate, key: ec.EllipticCurvePrivateKey) -> tuple[Path, Path]:
        files = self.folder / f"{stem}.pem", self.folder / f"{stem}.key"
        files[0].write_bytes(certificate.public_bytes(_PEM))
        no_password = serialization.NoEncryption()
        files[1].write_bytes(key.private_bytes(_PEM, serialization.PrivateFormat.PKCS8, no_password))
        return files


def _for_hosts(draft: x509.CertificateBuilder, hosts: tuple[str, ...]) -> x509.CertificateBuilder:
    names = x509.SubjectAlternativeName([_general_name(host) for host in hosts])
    purpose = x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH])
    return draft.add_extension(names, False).add_extension(purpose, False)


def _draft(
    subject: x509.Name, issuer: x509.Name, key: ec.EllipticCurvePrivateKey, days: tuple[int, int] = (-1, 30)
) -> x509.CertificateBuilder:
    now = datetime.datetime.now(datetime.UTC)
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now + datetime.timedelta(days[0]))
        .not_valid_after(now + datetime.timedelta(days[1]))
    )


def _common_name(name: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, name)])


def _general_name(host: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(host))
    except ValueError:
        return x509.DNSName(host)

"""Server-side contexts for TLS, good and of every bad kind, by name."""

import functools
import ssl
import warnings
from pathlib import Path

from tests.servers.certificates import Authority

HOSTS = ("localhost", "127.0.0.1")
# Nobody may say a word to these: whoever shows such a certificate is not known to be the server that was meant.
UNTRUSTED = {"expired", "not yet valid", "self-signed", "unknown authority", "wrong name", "no intermediate"}
_OLD = {"only 1.0": ssl.TLSVersion.TLSv1, "only 1.1": ssl.TLSVersion.TLSv1_1}
_NEW = {"only 1.2": ssl.TLSVersion.TLSv1_2, "only 1.3": ssl.TLSVersion.TLSv1_3}


class Encryption:
    """One authority, its certificate in `folder`/ca.pem, and contexts that know its certificates."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "other").mkdir(exist_ok=True)
        self._authority, self._stranger = Authority(folder), Authority(folder / "other")

    @functools.cache  # noqa: B019 - lives as long as its process
    def context(self, kind: str) -> ssl.SSLContext:
        """The context of that kind: good, one of UNTRUSTED, `only 1.0` to `only 1.3`, or `wants certificate`."""
        made = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        made.load_cert_chain(*self._files(kind))
        if kind in _OLD:
            made.set_ciphers("DEFAULT:@SECLEVEL=0")  # OpenSSL speaks old TLS on its lowest level of security only.
        if kind in _OLD | _NEW:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", DeprecationWarning)
                made.minimum_version = made.maximum_version = (_OLD | _NEW)[kind]
        if kind.startswith("wants certificate"):
            made.verify_mode = ssl.CERT_REQUIRED
            made.load_verify_locations(self._authority.ca_file)
        if kind == "wants certificate, 1.2":
            made.maximum_version = ssl.TLSVersion.TLSv1_2
        return made

    def _files(self, kind: str) -> tuple[Path, Path]:
        stem = kind.replace(" ", "-")
        if kind == "expired":
            return self._authority.issue(stem, HOSTS, days=(-30, -1))
        if kind == "not yet valid":
            return self._authority.issue(stem, HOSTS, days=(1, 30))
        if kind == "wrong name":
            return self._authority.issue(stem, ("mail.elsewhere.invalid", "imap.elsewhere.invalid"))
        if kind == "unknown authority":
            return self._stranger.issue(stem, HOSTS)
        if kind == "self-signed":
            return self._stranger.issue_self_signed(stem, HOSTS)
        if kind == "no intermediate":
            return self._authority.intermediate("intermediate").issue(stem, HOSTS)
        return self._authority.issue(stem, HOSTS)

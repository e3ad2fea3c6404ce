"""What can go wrong between us and a mail server, in fifteen categories."""

from enum import StrEnum

from mailadmin.mail.certificates import Certificate


class Category(StrEnum):
    """Why a connection failed. The same fifteen words stand in the database, the pages, the commands and the tests."""

    DNS = "dns"
    REFUSED = "refused"
    TIMEOUT = "timeout"
    NETWORK = "network"
    TLS = "tls"
    PROTOCOL = "protocol"
    AUTH = "auth"
    OAUTH = "oauth"
    THROTTLED = "throttled"
    UNAVAILABLE = "unavailable"
    QUOTA = "quota"
    PERMISSION = "permission"
    POLICY = "policy"
    UNSUPPORTED = "unsupported"
    CONFIG = "config"


PERMANENT = frozenset(
    {Category.AUTH, Category.OAUTH, Category.PERMISSION, Category.POLICY, Category.UNSUPPORTED, Category.CONFIG}
)


class MailError(Exception):
    """A mail server could not be used.

    `category` says why, `permanent` whether only a person can mend it, `detail` is the server's own text: already
    scrubbed by whoever raises it (at most 500 characters, secrets masked, control and bidi characters made visible).
    `code` is the id of the rule in catalogue.py that explains it; without one, what is known of the failure decides.
    `certificate` is what a server showed that was not trusted. `str(error)` is a sentence for the administrator, made
    of our own words and never of the server's.
    """

    def __init__(
        self,
        category: Category,
        message: str,
        *,
        detail: str = "",
        permanent: bool | None = None,
        code: str = "",
        certificate: Certificate | None = None,
    ) -> None:
        super().__init__(message)
        self.category = category
        self.message = message
        self.detail = detail
        self.code = code
        self.certificate = certificate
        self.permanent = category in PERMANENT if permanent is None else permanent

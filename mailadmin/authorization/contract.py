"""The values that go in and out: an app, what it gets, who signed in, and the one error that says why not."""

from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum

from mailadmin.mail.errors import Category, MailError


class ClientAuth(StrEnum):
    """How an app shows at the token URL who it is (RFC 6749 2.3, RFC 7523 2.2)."""

    POST = "client_secret_post"
    BASIC = "client_secret_basic"
    KEY = "private_key_jwt"
    NONE = "none"


@dataclass(frozen=True, slots=True)
class Client:
    """One OAuth app with everything that a request needs; URLs are final. Secrets never show in a repr.

    `key` and `certificate` (PEM) are for ClientAuth.KEY. `parameters` are added to the authorization request.
    """

    client_id: str
    token_url: str
    auth: ClientAuth = ClientAuth.POST
    secret: str = field(default="", repr=False)
    key: str = field(default="", repr=False)
    certificate: str = field(default="", repr=False)
    authorize_url: str = ""
    issuer: str = ""
    jwks_url: str = ""
    userinfo_url: str = ""
    revocation_url: str = ""
    scopes: tuple[str, ...] = ()
    parameters: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True, slots=True)
class Tokens:
    """What a token URL gave. `refresh` empty: none came. `scopes` None: it did not say (then all that we asked for)."""

    access: str = field(repr=False)
    expires_at: datetime
    refresh: str = field(default="", repr=False)
    scopes: frozenset[str] | None = None
    id_token: str = field(default="", repr=False)


@dataclass(frozen=True, slots=True)
class Identity:
    """Who signed in: `addresses` that the provider vouches for, the main one first, lower case; `source` is
    `id_token` or `userinfo`. Empty where the provider does not tell. `doubted` are addresses that it names and does not
    vouch for: they prove nobody, but may show that it is somebody else. `subject` is who it is at the issuer, whatever
    the address (OpenID Connect Core 2), from a verified id token alone. So are `proofs`, the names that the provider
    has for how somebody proved who they are, and `proved_at`, when (seconds since 1970; 0: it does not say)."""

    addresses: tuple[str, ...] = ()
    source: str = ""
    name: str = ""
    subject: str = field(default="", compare=False)
    doubted: tuple[str, ...] = field(default=(), compare=False)
    proofs: frozenset[str] = field(default=frozenset(), compare=False)
    proved_at: float = field(default=0.0, compare=False)


@dataclass(frozen=True, slots=True)
class Metadata:
    """What an issuer publishes about itself (RFC 8414, OpenID Connect Discovery 1.0)."""

    issuer: str
    authorize_url: str = ""
    token_url: str = ""
    jwks_url: str = ""
    userinfo_url: str = ""
    revocation_url: str = ""
    scopes: tuple[str, ...] = ()
    has_pkce: bool | None = None
    says_issuer: bool = False  # RFC 9207


class OAuthError(MailError):
    """A token or authorization request that failed. `error` and `suberror` as in RFC 6749 4.1.2.1 and 5.2, and
    Microsoft's; `retry_after` seconds, if the server said. Only these decide; the text beside them explains."""

    def __init__(
        self,
        category: Category,
        message: str,
        *,
        error: str = "",
        suberror: str = "",
        retry_after: float | None = None,
        detail: str = "",
        permanent: bool | None = None,
        code: str = "",
    ) -> None:
        super().__init__(category, message, detail=detail, permanent=permanent, code=code)
        self.error = error
        self.suberror = suberror
        self.retry_after = retry_after

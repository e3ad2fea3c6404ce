"""How the owner of a mailbox can let us in: by signing in at the provider, or with a password."""

import hashlib
from dataclasses import dataclass

from sqlalchemy.orm import Session

from mailadmin import boot
from mailadmin.accounts.models import Account
from mailadmin.errors import RuleBroken
from mailadmin.mail import known_providers
from mailadmin.mail.known_providers import KnownProvider
from mailadmin.mail.types import Direction, ServiceType, SignInMethod
from mailadmin.oauth import service as oauth
from mailadmin.oauth.models import GrantKind
from mailadmin.oauth.words import short_name
from mailadmin.text import t


@dataclass(frozen=True, slots=True)
class Way:
    """What the owner is asked for. `name` is the provider's, `host` the server that has to let us in, `help_url` where
    an app password is made; `doors` are all servers that are given the password. The permission to sign in is taken
    back at `revoke`, a way in words after "open", which begins at `revoke_url`."""

    method: SignInMethod
    name: str
    host: str
    service_type: ServiceType = ServiceType.OTHER
    help_url: str = ""
    is_encrypted: bool = True
    doors: tuple[str, ...] = ()
    revoke: str = ""
    revoke_url: str = ""

    @property
    def is_oauth(self) -> bool:
        """Whether the owner signs in at the provider."""
        return self.method is SignInMethod.OAUTH

    @property
    def hosts(self) -> str:
        """The names of those servers, for the page."""
        return t(" and ").join(dict.fromkeys(door.split(":", 1)[1].rsplit(":", 2)[0] for door in self.doors))

    @property
    def seen(self) -> str:
        """What goes with the form, so that the password goes to the servers that the page has named."""
        return hashlib.sha256(" ".join(self.doors).encode()).hexdigest()[:32]


def way_of(session: Session, account: Account) -> Way:
    """The best way that `account` has now. Raises RuleBroken, a sentence for the administrator, if it has none."""
    server, provider = account.server(Direction.INCOMING), account.provider
    if server is None:
        said = t("This account has no server for receiving yet, so its owner could not be let in. Choose one first.")
        raise RuleBroken(said)
    known = _known(account, server.host)
    name = short_name(provider) if provider else (known.short_name if known else "") or server.host
    usual = frozenset(known.methods) if known else frozenset({SignInMethod.PASSWORD})
    methods = (provider.sign_in_methods if provider else usual) or frozenset({SignInMethod.PASSWORD})
    service_type = provider.service_type if provider else ServiceType.OTHER
    why_not = ""
    if SignInMethod.OAUTH in methods and provider is not None:
        why_not = oauth.why_not(oauth.app_of(session, provider), GrantKind.PERSON)
        if not why_not and not boot.settings().public_url:
            why_not = t("Set PUBLIC_URL first: without it the provider cannot send the owner back to us.")
        why_not = why_not or oauth.why_astray(account, GrantKind.PERSON, oauth.OWNERS)
        if not why_not:
            told = known_providers.oauth_of(known)
            revoke, revoke_url = (told.revoke, told.revoke_url) if told else ("", "")
            return Way(SignInMethod.OAUTH, name, server.host, service_type, revoke=revoke, revoke_url=revoke_url)
    passwords = methods - {SignInMethod.OAUTH}
    if not passwords:
        said = t("{name} lets its owners in with OAuth alone, which cannot be used yet.", name=name)
        raise RuleBroken(f"{said} {why_not}")
    method = account.method if account.method in passwords else None
    method = method or (SignInMethod.PASSWORD if SignInMethod.PASSWORD in passwords else SignInMethod.APP_PASSWORD)
    help_url = known.app_password_url if known else ""
    return Way(method, name, server.host, service_type, help_url, not account.is_unencrypted, _doors(account))


def _doors(account: Account) -> tuple[str, ...]:
    """Where the password would go: to the server for sending too, unless that has one of its own."""
    has_own = any(row.direction is Direction.OUTGOING for row in account.credentials)
    used = (Direction.INCOMING,) if has_own else Direction
    return tuple(str(server) for server in (account.server(d) for d in used) if server is not None)


def _known(account: Account, host: str) -> KnownProvider | None:
    if account.provider is not None:
        return known_providers.everyone().get(account.provider.catalogue_key or "")
    return known_providers.by_server_host(host)

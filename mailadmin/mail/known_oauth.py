"""What the catalogue knows of a provider's OAuth: the table `oauth` of an entry in `known/*.toml`, read and filled in.

like            the key of the entry whose OAuth server also serves this one; then nothing else stands here
issuer, authorize_url, token_url, jwks_url, userinfo_url, revocation_url
                where it is asked what (RFC 6749 3, OpenID Connect Core 5.3, RFC 7009), https. Left out where it is
                not known, or not as those texts say: without jwks_url and userinfo_url nobody tells who signed in,
                and only the mail server shows whose mailbox it is
scopes          what people are asked for: mail, and with openid who they are
app_scopes      the same for mailboxes without a person (client credentials, service account)
parameters      what else the authorization request says, written like a query
client_auth     how an app shows who it is, a ClientAuth of authorization.py
tenant          what stands in its URLs for {tenant} unless an administrator says otherwise; without it they have
                none
clouds          Microsoft's clouds by name: `login`, the host that stands for {login} in URLs, and `mail` and
                `app_mail`, the hosts that stand for {mail} and {app_mail} in scopes
approval        the provider has to approve a registration before it works
register_url    where an app is registered
steps           how, in a few steps: sentences for an administrator who has never done it; {redirect} is our address
revoke_url      where the owner of a mailbox takes the permission back
revoke          the way there in words, which follow "open"
sources, checked  as in known_providers.py
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import date
from typing import Any

URLS = ("issuer", "authorize_url", "token_url", "jwks_url", "userinfo_url", "revocation_url")


@dataclass(frozen=True, slots=True)
class KnownCloud:
    """One of Microsoft's clouds: its name, and the hosts that differ."""

    name: str
    login: str
    mail: str
    app_mail: str


@dataclass(frozen=True, slots=True)
class KnownOAuth:
    """The OAuth server of an entry; see above for what its fields mean."""

    like: str = ""
    issuer: str = ""
    authorize_url: str = ""
    token_url: str = ""
    jwks_url: str = ""
    userinfo_url: str = ""
    revocation_url: str = ""
    scopes: tuple[str, ...] = ()
    app_scopes: tuple[str, ...] = ()
    parameters: str = ""
    client_auth: str = "client_secret_post"
    tenant: str = ""
    clouds: tuple[KnownCloud, ...] = ()
    approval: bool = False
    register_url: str = ""
    steps: tuple[str, ...] = ()
    revoke_url: str = ""
    revoke: str = ""
    sources: tuple[str, ...] = ()
    checked: date | None = None

    def at(self, cloud: str = "") -> "KnownOAuth":
        """The same with the hosts of `cloud` filled in, those of the first cloud if it is not known."""
        found = next((one for one in self.clouds if one.name == cloud), self.clouds[0] if self.clouds else None)
        if found is None:
            return self
        urls = {name: getattr(self, name).replace("{login}", found.login) for name in URLS}
        scopes = tuple(scope.replace("{mail}", found.mail) for scope in self.scopes)
        app_scopes = tuple(scope.replace("{app_mail}", found.app_mail) for scope in self.app_scopes)
        return replace(self, **urls, scopes=scopes, app_scopes=app_scopes)


def read(values: Mapping[str, Any]) -> KnownOAuth:
    """The table `values` of a file. Raises TypeError for a field that nobody knows."""
    fields = dict(values)
    for name in ("scopes", "app_scopes", "steps", "sources"):
        fields[name] = tuple(fields.get(name, ()))
    fields["clouds"] = tuple(KnownCloud(name, **hosts) for name, hosts in fields.get("clouds", {}).items())
    return KnownOAuth(**fields)

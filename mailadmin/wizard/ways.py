"""The ways to sign in that an account has, in words: which are open, which are refused since when, what each costs."""

from collections.abc import Iterator
from dataclasses import dataclass

from mailadmin.accounts.models import Account
from mailadmin.mail.advice import Advice, advice, since_words
from mailadmin.mail.known_providers import KnownProvider
from mailadmin.mail.types import ServiceType, SignInMethod
from mailadmin.oauth import service as oauth
from mailadmin.oauth.models import GrantKind, OAuthApp
from mailadmin.text import t
from mailadmin.wizard.choices import known_of

Badge = tuple[str, str, str]  # tone, icon, words
ME, DELEGATE, OWNER = "me", "delegate", "owner"  # who signs in; nobody: a kind of grant


@dataclass(frozen=True, slots=True)
class Way:
    """One way to sign in; `is_open`: it can be chosen. `is_ready`: nothing has to be set up for it first."""

    method: SignInMethod
    label: str
    hint: str
    is_open: bool
    badge: Badge | None = None
    is_ready: bool = True


@dataclass(frozen=True, slots=True)
class Who:
    """Somebody who can sign in with OAuth: ME, DELEGATE, OWNER, or a kind of grant for which nobody has to."""

    key: str
    label: str
    hint: str


@dataclass(frozen=True, slots=True)
class Ways:
    """All of them for one account, what to know before one is tried, and where app passwords are made.

    `who` can sign in with OAuth; empty while there is no OAuth app for it.
    """

    name: str
    all: tuple[Way, ...]
    advice: tuple[Advice, ...]
    help_url: str = ""
    who: tuple[Who, ...] = ()
    is_microsoft: bool = False

    @property
    def open(self) -> list[Way]:
        """Those that can be chosen."""
        return [way for way in self.all if way.is_open]

    @property
    def first(self) -> Way | None:
        """The one to begin with: the best that needs nothing to be set up."""
        return next((way for way in self.open if way.is_ready), next(iter(self.open), None))

    @property
    def takes_passwords(self) -> bool:
        """Whether a password of some sort can be typed."""
        return any(way.method is not SignInMethod.OAUTH for way in self.open)

    @property
    def has_oauth(self) -> bool:
        """Whether OAuth can be chosen."""
        return any(way.method is SignInMethod.OAUTH for way in self.open)

    @property
    def notices(self) -> tuple[Advice, ...]:
        """What is told before the choice; the most important, should all of it be merely good to know."""
        return tuple(one for one in self.advice if one.tone != "run") or self.advice[:1]

    @property
    def asides(self) -> tuple[Advice, ...]:
        """The rest, in small print."""
        return tuple(one for one in self.advice if one not in self.notices)

    @property
    def is_shut(self) -> bool:
        """Whether none is open."""
        return not self.open


def ways(account: Account, *, app: OAuthApp | None = None, insists: bool = False) -> Ways:
    """How `account` may sign in, best first; `app` is its provider's. Who `insists` may try a password where all are
    refused.

    What an administrator wrote into the provider's row counts more than the catalogue.
    """
    known, provider = known_of(account), account.provider
    offered = provider.sign_in_methods if provider else frozenset(known.methods) if known else None
    offered = offered or frozenset({SignInMethod.PASSWORD})
    name = (known.short_name if known else "") or (provider.name if provider else t("This server"))
    who = tuple(_who(name, app, is_microsoft=_is_microsoft(account)))
    first = _oauth(name, offered, has_provider=provider is not None, is_ready=bool(who))
    found = [first, _app_password(name, offered, known), _password(name, offered, known, insists)]
    told = (
        tuple(advice(known)) if known else (_only_passwords(name, offered),) if provider and not first.is_open else ()
    )
    help_url = known.app_password_url if known else ""
    return Ways(name, tuple(way for way in found if way), told, help_url, who, _is_microsoft(account))


def _oauth(name: str, offered: frozenset[SignInMethod], *, has_provider: bool, is_ready: bool) -> Way:
    method, label = SignInMethod.OAUTH, "OAuth"
    if method not in offered:
        hint = t("{name} does not support it.", name=name)
        return Way(method, label, hint, False, ("off", "ban", t("Not offered")))
    if not has_provider:  # An OAuth app belongs to a provider of ours.
        hint = t("{name} offers it. Choose {name} as the provider in the step before.", name=name)
        return Way(method, label, hint, False, ("off", "ban", t("Needs the provider")))
    hint = t(
        "{name} asks the owner to agree. No password is stored, and the owner can take the permission back at any"
        " time.",
        name=name,
    )
    return Way(method, label, hint, True, ("ok", "shield-check", t("Recommended")), is_ready)


def _who(name: str, app: OAuthApp | None, *, is_microsoft: bool) -> Iterator[Who]:
    """Who can sign in with `app`, the usual first."""
    if oauth.can(app, GrantKind.PERSON):
        hint = t("You can sign in as this mailbox. We take you to {name} and back.", name=name)
        yield Who(ME, t("I do, now"), hint)
        hint = t("It has no password of its own, and you may open it and send as it. You sign in as yourself.")
        if is_microsoft:
            yield Who(DELEGATE, t("I do: this is a shared mailbox, and I am its delegate"), hint)
        hint = t("They get a link that works once, for 7 days. You never see a password.")
        yield Who(OWNER, t("The owner, with a one-time link"), hint)
    if oauth.can(app, GrantKind.APPLICATION):
        hint = t("Your app registration opens the mailbox without asking its owner. An administrator agrees once.")
        yield Who(GrantKind.APPLICATION, t("Nobody: the organisation lets this console in (app-only)"), hint)
    if oauth.can(app, GrantKind.SERVICE_ACCOUNT):
        hint = t("The service account opens every mailbox of the organisation that its administrators allow.")
        yield Who(GrantKind.SERVICE_ACCOUNT, t("Nobody: a service account"), hint)


def _is_microsoft(account: Account) -> bool:
    return account.provider is not None and account.provider.service_type is ServiceType.MICROSOFT


def _app_password(name: str, offered: frozenset[SignInMethod], known: KnownProvider | None) -> Way | None:
    method, label = SignInMethod.APP_PASSWORD, t("App password")
    if method in offered:
        hint = t(
            "Made by the owner at {name} for this console alone. It can be withdrawn there at any time.", name=name
        )
        return Way(method, label, _with_cost(hint, offered), True, _legacy(offered))
    if known and known.refuses(method):
        return Way(method, label, _refused(name, known, method), False, _refused_badge(known, method))
    return None


def _password(name: str, offered: frozenset[SignInMethod], known: KnownProvider | None, insists: bool) -> Way:
    method, label = SignInMethod.PASSWORD, t("Password")
    if method in offered:
        hint = t("The password of the mailbox. When someone changes it, we notice and ask you for the new one.")
        return Way(method, label, _with_cost(hint, offered), True, _legacy(offered))
    if known and known.refuses(method):
        return Way(method, label, _refused(name, known, method), insists, _refused_badge(known, method))
    hint = t("{name} does not let other programs sign in with the mailbox password.", name=name)
    return Way(method, label, hint, insists, ("off", "ban", t("Not offered")))


def _legacy(offered: frozenset[SignInMethod]) -> Badge | None:
    return ("warn", "alert-triangle", t("Legacy")) if SignInMethod.OAUTH in offered else None


def _with_cost(hint: str, offered: frozenset[SignInMethod]) -> str:
    if SignInMethod.OAUTH not in offered:
        return hint
    cost = t("The cost: it is stored here, encrypted; and it ends when the provider takes OAuth alone.")
    return f"{hint} {cost}"


def _refused(name: str, known: KnownProvider, method: SignInMethod) -> str:
    refusal = known.refuses(method)
    since = since_words(refusal.since) if refusal else ""
    return t("{name} has not let other programs sign in like this since {since}.", name=name, since=since)


def _refused_badge(known: KnownProvider, method: SignInMethod) -> Badge:
    refusal = known.refuses(method)
    year = refusal.since[:4] if refusal else ""
    return "off", "ban", t("Refused since {year}", year=year)


def _only_passwords(name: str, offered: frozenset[SignInMethod]) -> Advice:
    only = offered == {SignInMethod.PASSWORD}
    title = t("{name} offers passwords only", name=name) if only else t("How the password is kept")
    text = t("It is stored encrypted with your server’s key and never shown again, not even to administrators.")
    return Advice("run", title, text)

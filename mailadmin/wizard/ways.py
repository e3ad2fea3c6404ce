"""The ways to sign in that an account has, in words: which are open, which are refused since when, what each costs."""

from dataclasses import dataclass

from mailadmin.accounts.models import Account
from mailadmin.mail.advice import Advice, advice, since_words
from mailadmin.mail.known_providers import KnownProvider
from mailadmin.mail.types import SignInMethod
from mailadmin.text import t
from mailadmin.wizard.choices import known_of

Badge = tuple[str, str, str]  # tone, icon, words


@dataclass(frozen=True, slots=True)
class Way:
    """One way to sign in; `is_open`: it can be chosen."""

    method: SignInMethod
    label: str
    hint: str
    is_open: bool
    badge: Badge | None = None


@dataclass(frozen=True, slots=True)
class Ways:
    """All of them for one account, what to know before one is tried, and where app passwords are made."""

    name: str
    all: tuple[Way, ...]
    advice: tuple[Advice, ...]
    help_url: str = ""

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
        """Whether none is open: no password is taken, and nothing else is built in yet."""
        return not any(way.is_open for way in self.all)


def ways(account: Account, *, insists: bool = False) -> Ways:
    """How `account` may sign in, best first. Who `insists` may try a password where all are refused.

    What an administrator wrote into the provider's row counts more than the catalogue.
    """
    known, provider = known_of(account), account.provider
    offered = provider.sign_in_methods if provider else frozenset(known.methods) if known else None
    offered = offered or frozenset({SignInMethod.PASSWORD})
    name = (known.short_name if known else "") or (provider.name if provider else t("This server"))
    found = [_oauth(name, offered), _app_password(name, offered, known), _password(name, offered, known, insists)]
    told = tuple(advice(known)) if known else (_only_passwords(name, offered),) if provider else ()
    return Ways(name, tuple(way for way in found if way), told, known.app_password_url if known else "")


def _oauth(name: str, offered: frozenset[SignInMethod]) -> Way | None:
    if SignInMethod.OAUTH in offered:
        hint = t(
            "{name} asks the owner to agree, and no password is stored. This console cannot do that yet.", name=name
        )
        return Way(SignInMethod.OAUTH, "OAuth", hint, False, ("off", "ban", t("Not set up here yet")))
    hint = t("{name} does not support it.", name=name)
    return Way(SignInMethod.OAUTH, "OAuth", hint, False, ("off", "ban", t("Not offered")))


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

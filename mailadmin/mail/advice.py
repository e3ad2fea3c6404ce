"""Says before the first attempt what will happen at a known provider: which sign-in works, what is to be done first."""

from dataclasses import dataclass
from datetime import date
from typing import Literal

from mailadmin.mail.known_providers import KnownProvider, Refusal
from mailadmin.mail.types import SignInMethod
from mailadmin.text import t

Tone = Literal["bad", "warn", "run"]
_TONES = ("bad", "warn", "run")


@dataclass(frozen=True, slots=True)
class Advice:
    """One thing to know. `bad`: it will fail; `warn`: it fails unless something is done; `run`: good to know.

    `text` is one or more sentences, `label` the words of the link to `url`, where there is one.
    """

    tone: Tone
    title: str
    text: str
    url: str = ""
    label: str = ""


def advice(known: KnownProvider, method: SignInMethod | None = None) -> list[Advice]:
    """What to know before an account at `known` is tried, most important first; empty where nothing is special.

    With `method`, what matters for that way to sign in; without, for somebody who has yet to choose one.
    """
    if known.closed:
        title = t("{name} has no IMAP for others", name=known.short_name)
        return [_linked("bad", title, t(known.closed), known.help_url, known)]
    about_method = _before_the_choice(known) if method is None else _about_choice(known, method)
    said = [about_method, _about_switch(known), _about_pace(known)]
    if known.remark:
        said.append(Advice("run", t("Good to know"), t(known.remark)))
    return sorted((one for one in said if one), key=lambda one: _TONES.index(one.tone))


def since_words(since: str) -> str:
    """A date or a month of the catalogue in words: 16 September 2024, or January 2023."""
    if len(since) == len("2023-01"):
        return f"{date.fromisoformat(f'{since}-01'):%B %Y}"
    day = date.fromisoformat(since)
    return f"{day.day} {day:%B %Y}"


def _before_the_choice(known: KnownProvider) -> Advice | None:
    """What becomes of the password that people have at hand."""
    if SignInMethod.PASSWORD in known.methods:
        return _with_two_steps(known) if SignInMethod.APP_PASSWORD in known.methods else None
    if SignInMethod.APP_PASSWORD in known.methods:
        return _needs_app_password("warn", known)
    refusal = known.refuses(SignInMethod.PASSWORD)
    return _refused(known, refusal) if refusal else None


def _about_choice(known: KnownProvider, method: SignInMethod) -> Advice | None:
    app_password, password = SignInMethod.APP_PASSWORD, SignInMethod.PASSWORD
    if method in known.methods:
        if method is app_password:
            return _how_to_make(known)
        return _with_two_steps(known) if method is password and app_password in known.methods else None
    if method is password and app_password in known.methods:
        return _needs_app_password("bad", known)
    if refusal := known.refuses(method):
        return _refused(known, refusal)
    if method is SignInMethod.OAUTH:
        title = t("{name} has no OAuth for mail", name=known.short_name)
        return Advice("bad", title, t("Its servers take a password; choose another way to sign in."))
    return None


def _refused(known: KnownProvider, refusal: Refusal) -> Advice:
    """A method that is gone for good, and what is left."""
    name, of = known.short_name, refusal.method
    both = known.refuses(SignInMethod.PASSWORD) and known.refuses(SignInMethod.APP_PASSWORD)
    what = t("passwords") if of is SignInMethod.PASSWORD else t("app passwords")
    every = t("every password, app passwords included,") if both else t("every password")
    text = t("{name} has refused {every} since {since}", name=name, every=every, since=since_words(refusal.since))
    if refusal.protocols:
        protocols = t(" and ").join(protocol.upper() for protocol in refusal.protocols)
        text = t("{said} for {protocols}", said=text, protocols=protocols)
    text += "."
    if SignInMethod.OAUTH in known.methods:
        text += " " + t("The way in is to sign in with {name} (OAuth).", name=name)
    title = t("{name} no longer accepts {what}", name=name, what=what)
    return _linked("bad", title, text, known.help_url, known)


def _needs_app_password(tone: Tone, known: KnownProvider) -> Advice:
    name, refusal = known.short_name, known.refuses(SignInMethod.PASSWORD)
    if SignInMethod.OAUTH in known.methods:
        title = t("{name} needs an app password or its own sign-in", name=name)
    else:
        title = t("{name} needs an app password", name=name)
    text = t("The normal password does not work here: the owner makes an app password for this console alone.")
    if refusal:
        text += " " + t("{name} has refused the normal one since {since}.", name=name, since=since_words(refusal.since))
    return _linked(tone, title, text, known.app_password_url or known.help_url, known)


def _how_to_make(known: KnownProvider) -> Advice:
    title = t("The owner makes the app password at {name}", name=known.short_name)
    text = t("It is made for this console alone and can be withdrawn there at any time.")
    return _linked("run", title, text, known.app_password_url or known.help_url, known)


def _with_two_steps(known: KnownProvider) -> Advice:
    title = t("With two-step sign-in, an app password is needed")
    text = t(
        "Where the owner has switched it on, {name} refuses the normal password from other programs.",
        name=known.short_name,
    )
    return _linked("run", title, text, known.app_password_url or known.help_url, known)


def _about_switch(known: KnownProvider) -> Advice | None:
    if not known.switch_on:
        return None
    spoken = {text.partition(":")[0] for text in (*known.servers, *known.hosted_servers)}
    what = "POP3" if "pop3" in spoken and "imap" not in spoken else "IMAP"
    title = t("{what} must be switched on here first", what=what)
    return _linked("warn", title, t(known.switch_on), known.help_url, known)


def _about_pace(known: KnownProvider) -> Advice | None:
    if not known.least_minutes:
        return None
    return Advice(
        "run",
        t("{name} allows a look only every {minutes} minutes", name=known.short_name, minutes=known.least_minutes),
        t("It refuses whoever signs in more often. The owner’s other programs count as well."),
    )


def _linked(tone: Tone, title: str, text: str, url: str, known: KnownProvider) -> Advice:
    """An Advice with a link to the provider's own page, where one is known."""
    return Advice(tone, title, text, url, t("Help page of {name}", name=known.short_name) if url else "")

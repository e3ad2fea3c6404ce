"""A provider's OAuth app as pages show it: its section on the provider's page, and how "Verify set-up" goes."""

from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

from flask import request

from mailadmin import boot, db, queue
from mailadmin.accounts import service as accounts
from mailadmin.accounts.models import Account
from mailadmin.connections import service as connections
from mailadmin.db import now
from mailadmin.mail import known_providers
from mailadmin.mail.errors import Category, MailError
from mailadmin.mail.known_oauth import KnownOAuth
from mailadmin.mail.types import Direction, SignInMethod, StageOutcome
from mailadmin.oauth import service
from mailadmin.oauth.models import GrantKind, OAuthApp
from mailadmin.providers import service as providers
from mailadmin.providers.models import Provider
from mailadmin.text import t

PATIENCE = timedelta(seconds=5)  # until it is said that nobody has begun
_TONES = {
    StageOutcome.RUNNING: "run",
    StageOutcome.PASSED: "ok",
    StageOutcome.FAILED: "bad",
    StageOutcome.SKIPPED: "off",
}
_OF_SERVERS = (Category.DNS, Category.REFUSED, Category.TIMEOUT, Category.NETWORK, Category.TLS)
_STEPS = {
    "address": "The way back to this console",
    "discovery": "What the issuer says of itself",
    "client": "Client ID and secret",
    "scopes": "Scopes",
    "expiry": "What runs out",
    "application": "A token for the app itself",
    "application-incoming": "Receive from a mailbox without a person",
    "application-outgoing": "Sign in to send without a person",
    "service": "A token by the service account",
    "service-incoming": "Receive from a mailbox by the service account",
    "service-outgoing": "Sign in to send by the service account",
}
KIND_WORDS = {
    GrantKind.PERSON: "People sign in with it",
    GrantKind.APPLICATION: "It opens mailboxes by itself",
    GrantKind.SERVICE_ACCOUNT: "Its service account opens mailboxes",
}


@dataclass(frozen=True, slots=True)
class Line:
    """One step: its name, tone (run ok warn bad off), what is done, how it went, why it failed, lines to run, what the
    provider said where nothing else tells it, and whether the issuer offers something."""

    name: str
    tone: str
    what: str
    detail: str
    diagnosis: dict[str, Any] | None = None
    commands: list[list[str]] = field(default_factory=list)
    said: str = ""
    has_offer: bool = False


def section(provider: Provider) -> dict[str, Any]:
    """What the part of the provider's page shows; without `oauth` it has none."""
    app, known = service.app_of(db.session(), provider), known_of(provider)
    if app is None and known is None and SignInMethod.OAUTH not in provider.sign_in_methods:
        return {"oauth": None}
    kinds = [t(words) for kind, words in KIND_WORDS.items() if service.can(app, kind)]
    return {
        "oauth": {
            "app": app,
            "known": known,
            "kinds": kinds,
            "troubles": service.app_troubles(app) if app else [],
            "lacks": "" if kinds or app is None else service.why_not(app, GrantKind.PERSON),
            "redirect": redirect_of(provider),
        }
    }


def known_of(provider: Provider) -> KnownOAuth | None:
    """What the catalogue knows of the provider's OAuth."""
    return known_providers.oauth_of(providers.known(provider))


def redirect_of(provider: Provider) -> str:
    """Where browsers come back to: at PUBLIC_URL, or where this page was opened as long as that is not set."""
    return service.redirect_uri(provider.id, boot.settings().public_url or here())


def here() -> str:
    """Where the browser has opened this page."""
    return request.url_root.rstrip("/")


def steps_of(provider: Provider, known: KnownOAuth | None) -> list[str]:
    """How the app is registered, with our address filled in."""
    found = known.steps if known else ()
    return [t(step).replace("{redirect}", redirect_of(provider)) for step in found]


def verification(app: OAuthApp | None) -> dict[str, Any]:
    """What the part about "Verify set-up" shows."""
    steps = (app.verification or []) if app else []
    lines = [_line(app, step) for step in steps] if app else []
    is_running = app is not None and service.is_verifying(app)
    wanted_at = app.verify_wanted_at if app else None
    is_silent = wanted_at is not None and not lines and wanted_at < now() - PATIENCE
    counted = [line.tone for line in lines]
    return {
        "lines": lines,
        "is_running": is_running,
        "counted": {
            "ok": counted.count("ok") + counted.count("warn"),
            "bad": counted.count("bad"),
            "off": counted.count("off"),
        },
        "is_old": bool(app and app.verified_at and app.changed_at > app.verified_at and not is_running),
        "is_silent": is_silent,
        "queue_is_away": is_silent and queue.waiting() is None,
        "here": here(),
        "public_url": boot.settings().public_url,
    }


def offered(app: OAuthApp | None) -> dict[str, str]:
    """The addresses that the issuer told and that are other than ours, by field."""
    steps = (app.verification or []) if app else []
    return next((dict(step["offer"]) for step in steps if step.get("offer")), {})


def _line(app: OAuthApp, step: dict[str, Any]) -> Line:
    name, outcome, detail = step["name"], StageOutcome(step["outcome"]), step["detail"]
    commands, category = step.get("commands") or [], step.get("category")
    at_mailbox = name.endswith(tuple(Direction))
    # What a rule says of people who sign in is no help where the app signs in itself, and what it says of mail servers
    # none where a web site was asked.
    is_told = (at_mailbox and (bool(commands) or category == Category.OAUTH)) or (
        not at_mailbox and category in _OF_SERVERS
    )
    has_failed = outcome is StageOutcome.FAILED and bool(category)
    if has_failed and category == Category.OAUTH and at_mailbox and not commands:
        why = "The organisation has not let the app into {mailbox} yet, or the scopes are not those for mail."
        detail = f"{detail} {t(why, mailbox=app.verify_mailbox or t('the mailbox'))}"
    return Line(
        name,
        _tone(app, name, outcome),
        t(_STEPS.get(name, name)),
        detail if outcome is not StageOutcome.RUNNING else t("Waiting for an answer"),
        diagnosis=_diagnosis(app, step) if has_failed and not is_told else None,
        commands=commands,
        said=step.get("said", "") if is_told else "",
        has_offer=bool(step.get("offer")),
    )


def _tone(app: OAuthApp, name: str, outcome: StageOutcome) -> str:
    """What ends soon has not failed, and is no plain pass either."""
    is_soon = name == "expiry" and outcome is StageOutcome.PASSED and bool(service.app_troubles(app))
    return "warn" if is_soon else _TONES[outcome]


def _diagnosis(app: OAuthApp, step: dict[str, Any]) -> dict[str, Any]:
    direction = Direction.OUTGOING if step["name"].endswith(Direction.OUTGOING) else Direction.INCOMING
    error = MailError(
        Category(step["category"]),
        step["detail"],
        detail=step.get("said", ""),
        permanent=step.get("permanent", True),
        code=step.get("rule", ""),
    )
    server = app.provider.server(direction)
    mailbox = app.verify_mailbox or t("the mailbox")
    found = connections.diagnose(error, direction=direction, server=server, user_name=mailbox, address=mailbox)
    return {**found, "direction": step["name"]}  # for ids, each of which stands once on a page


def begun_accounts(provider: Provider) -> list[Account]:
    """The accounts there whose set-up waits for a way to sign in: somebody may have come from one of them."""
    there = accounts.using(db.session(), provider)
    return [a for a in there if not a.is_set_up and a.method is None and a.deleting_at is None]

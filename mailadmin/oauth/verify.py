"""Verify set-up: everything about an OAuth app that can be tried before somebody signs in, step by step.

A job calls `verify` outside any transaction. Each step is written as it ends, so that a page shows them live. What was
not tried is never said to work: such a step is skipped, with the reason. A step is a plain object in
`OAuthApp.verification`:
    name      ADDRESS, DISCOVERY, ...
    outcome   a StageOutcome
    detail    our own words
    rule      the id of the rule that explains a failure, or empty; `category` and `permanent` with it, as in MailError
    said      the provider's own words, scrubbed
    commands  pairs: what a line or a value is for, and the line to run or the value to enter
    offer     addresses of the issuer that could be taken over, by field
"""

from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, field
from datetime import datetime
from typing import Any
from urllib.parse import urlsplit

from sqlalchemy import update
from sqlalchemy.orm import Session

from mailadmin import authorization, db
from mailadmin.authorization import Client, Tokens
from mailadmin.errors import RuleBroken
from mailadmin.mail.deadline import Deadline
from mailadmin.mail.errors import MailError
from mailadmin.mail.types import Direction, Rules, Server, ServiceType, StageOutcome
from mailadmin.oauth import app_rules, apps, expiry, mailbox_steps, way_back
from mailadmin.oauth.app_rules import URLS
from mailadmin.oauth.models import GrantKind, OAuthApp
from mailadmin.text import t

ADDRESS, DISCOVERY, CLIENT, SCOPES, EXPIRY = "address", "discovery", "client", "scopes", "expiry"
APPLICATION, SERVICE = "application", "service"
SECONDS = 6.0  # for one step
ALL_SECONDS = 45.0  # after which no step begins: whatever a job does for longer than a minute counts as lost


@dataclass(frozen=True, slots=True)
class Found:
    """How a step ended; see the top of this file."""

    outcome: StageOutcome
    detail: str
    rule: str = ""
    category: str = ""
    permanent: bool = True
    said: str = ""
    commands: tuple[tuple[str, str], ...] = ()
    offer: dict[str, str] = field(default_factory=dict)


Step = tuple[str, Callable[[], Found]]


@dataclass(frozen=True, slots=True)
class _Plan:
    """What is verified, read in one go. A client that cannot be used is the reason why; None: none is wanted."""

    public_url: str
    redirect_uri: str
    urls: dict[str, str]
    with_tenant: frozenset[str]
    is_microsoft: bool
    scopes: str
    app_scopes: str
    person: Client | str | None
    application: Client | str | None
    service_key: str | None
    troubles: tuple[expiry.Trouble, ...]
    dates: tuple[str, ...]
    mailbox: str
    incoming: Server | None
    outgoing: Server | None


def want(session: Session, app: OAuthApp, *, mailbox: str = "") -> None:
    """Ask for "Verify set-up", with `mailbox` for the steps that need one. Ring "token" after the commit.

    Raises RuleBroken at `verify_mailbox` for what is no address.
    """
    mailbox = mailbox.strip()
    local, at, domain = mailbox.rpartition("@")
    is_address = bool(at and local and "." in domain) and mailbox.isprintable() and " " not in mailbox
    if mailbox and (not is_address or len(mailbox) > 254):
        raise RuleBroken(t("Enter a whole address, such as sales@example.com."), field="verify_mailbox")
    values: dict[str, Any] = {"verify_wanted_at": db.now(), "verify_mailbox": mailbox, "verification": []}
    _put(session, app.id, values)
    session.refresh(app)


def is_running(app: OAuthApp) -> bool:
    """Whether somebody waits for "Verify set-up"."""
    return app.verify_wanted_at is not None


def verify(app_id: int, rules: Rules, public_url: str) -> None:
    """Try everything about the app and write down how it went. Talks for a minute at most, outside any transaction."""
    began, until = db.now(), Deadline(ALL_SECONDS)  # What somebody saves meanwhile is not what was verified.
    plan = _read(app_id, public_url)
    if plan is None:
        return
    done: list[dict[str, Any]] = []
    for name, look in _Verification(plan, rules).steps():
        _write(app_id, [*done, _told(name, Found(StageOutcome.RUNNING, ""))])
        late = _skipped(t("The steps before took too long, so this was not tried. Verify again."))
        done.append(_told(name, late if until.is_over else _looked(look)))
    _write(app_id, done, verified_at=began)


def _looked(look: Callable[[], Found]) -> Found:
    try:
        return look()
    except MailError as error:
        return failed(error)


def failed(error: MailError, detail: str = "", commands: tuple[tuple[str, str], ...] = ()) -> Found:
    """A step that ended with `error`."""
    told = {"rule": error.code, "category": error.category.value, "permanent": error.permanent, "said": error.detail}
    return Found(StageOutcome.FAILED, detail or error.message, commands=commands, **told)  # type: ignore[arg-type]


def _told(name: str, found: Found) -> dict[str, Any]:
    return {"name": name, **asdict(found), "commands": [list(pair) for pair in found.commands]}


def _write(app_id: int, steps: list[dict[str, Any]], *, verified_at: datetime | None = None) -> None:
    values: dict[str, Any] = {"verification": steps}
    if verified_at is not None:
        values |= {"verified_at": verified_at, "verify_wanted_at": None, "verify_started_at": None}
    with db.transaction() as session:
        _put(session, app_id, values)


def _put(session: Session, app_id: int, values: dict[str, Any]) -> None:
    # Not through the row, whose version would say that somebody changed the settings.
    statement = update(OAuthApp).where(OAuthApp.id == app_id).values(**values)
    session.execute(statement.execution_options(synchronize_session=False))


def _read(app_id: int, public_url: str) -> _Plan | None:
    with db.reading() as session:
        app = session.get(OAuthApp, app_id)
        if app is None:
            return None
        provider = app.provider
        return _Plan(
            public_url=public_url,
            redirect_uri=apps.redirect_uri(provider.id, public_url),
            urls={name: apps.url(app, getattr(app, name)) for name in URLS},
            with_tenant=frozenset(name for name in URLS if "{tenant}" in getattr(app, name)),
            is_microsoft=provider.service_type is ServiceType.MICROSOFT,
            scopes=app.scopes,
            app_scopes=app.app_scopes,
            person=_client(session, app, GrantKind.PERSON) if app.client_id else None,
            application=_client(session, app, GrantKind.APPLICATION) if _speaks_for_itself(app) else None,
            service_key=_service_key(session, app),
            troubles=tuple(expiry.troubles(app)),
            dates=_dates(app),
            mailbox=app.verify_mailbox,
            incoming=provider.server(Direction.INCOMING),
            outgoing=provider.server(Direction.OUTGOING),
        )


def _speaks_for_itself(app: OAuthApp) -> bool:
    return bool(app.app_scopes and app.client_id) and app.service_key_id is None


def _client(session: Session, app: OAuthApp, kind: GrantKind) -> Client | str:
    try:
        return apps.client_of(session, app, kind)
    except RuleBroken as broken:
        return broken.message


def _service_key(session: Session, app: OAuthApp) -> str | None:
    try:
        return apps.service_key(session, app) if app.service_key_id else None
    except RuleBroken:
        return ""


def _dates(app: OAuthApp) -> tuple[str, ...]:
    found = []
    if app.secret_ends_on and app.secret_id:
        found.append(t("The client secret is good until {day}.", day=expiry.day(app.secret_ends_on)))
    if app.certificate_ends_at and app.key_id:
        found.append(t("The certificate is good until {day}.", day=expiry.day(app.certificate_ends_at)))
    return tuple(found)


def _passed(detail: str) -> Found:
    return Found(StageOutcome.PASSED, detail)


def _skipped(why: str) -> Found:
    return Found(StageOutcome.SKIPPED, why)


def _failed(detail: str, rule: str = "", **more: Any) -> Found:
    return Found(StageOutcome.FAILED, detail, rule, "config" if rule else "", **more)


class _Verification:
    """The steps for one plan, in the order in which they are tried."""

    def __init__(self, plan: _Plan, rules: Rules) -> None:
        self.plan, self.rules = plan, rules
        self.tokens: Tokens | None = None

    def steps(self) -> Iterator[Step]:
        yield ADDRESS, self.address
        yield DISCOVERY, self.discovery
        yield CLIENT, self.client
        yield SCOPES, self.scopes
        yield EXPIRY, self.expiry
        if self.plan.application is not None:
            yield APPLICATION, self.application
            yield from self._mailbox(APPLICATION)
        if self.plan.service_key is not None:
            self.tokens = None
            yield SERVICE, self.service
            yield from self._mailbox(SERVICE)

    def address(self) -> Found:
        """Where browsers come back to. Whether the provider knows it shows when it is asked, in the next steps."""
        plan = self.plan
        signs_in_at = plan.urls["authorize_url"] if plan.person is not None else ""  # Else nobody is sent anywhere.
        if why := way_back.why_refused(plan.public_url, signs_in_at):
            return _failed(why)
        said = t("People come back to {url}", url=self.plan.redirect_uri)
        return _passed(f"{t('Whether the provider knows the address shows when somebody signs in.')} {said}")

    def discovery(self) -> Found:
        plan = self.plan
        if not plan.urls["issuer"]:
            return _skipped(t("No issuer is entered, so nobody can be asked whether the addresses are right."))
        told = authorization.discover(plan.urls["issuer"], self.rules, Deadline(SECONDS))
        theirs = {name: getattr(told, name) for name in URLS if name != "issuer" and getattr(told, name)}
        wrong = [name for name, url in theirs.items() if plan.urls[name] and not self._agrees(name, url)]
        lacking = [name for name in ("authorize_url", "token_url") if not plan.urls[name]]
        if not plan.urls["jwks_url"] and not plan.urls["userinfo_url"]:
            lacking += ["jwks_url", "userinfo_url"]
        offer = {name: theirs[name] for name in (*wrong, *lacking) if name in theirs}
        if offer and not plan.urls["revocation_url"] and "revocation_url" in theirs:
            offer["revocation_url"] = theirs["revocation_url"]
        if wrong:
            names = ", ".join(f"{name.replace('_url', ' URL')}: {theirs[name]}" for name in wrong)
            return _failed(t("The issuer says something else than stands here. {names}", names=names), offer=offer)
        if offer:
            return _failed(t("The issuer tells addresses that are missing here."), offer=offer)
        if not theirs:
            return _skipped(t("The issuer answers, but tells no addresses."))
        return _passed(t("The issuer answers, and its addresses are the ones that stand here."))

    def _agrees(self, name: str, url: str) -> bool:
        """Whether `url` is ours; where a tenant stands in it, an issuer may write its ID in place of its domain."""
        ours = self.plan.urls[name]
        if ours.rstrip("/") == url.rstrip("/"):
            return True
        return name in self.plan.with_tenant and _without_tenant(ours) == _without_tenant(url)

    def client(self) -> Found:
        client = self.plan.person if self.plan.person is not None else self.plan.application
        if client is None:
            return _skipped(t("There is no client ID: this app has a service account only."))
        if isinstance(client, str):
            client = self.plan.application
        if not isinstance(client, Client):
            return _failed(str(self.plan.person))
        error = authorization.try_app(client, self.rules, Deadline(SECONDS), redirect_uri=self.plan.redirect_uri)
        if error is not None:
            return failed(error)
        if client.auth is authorization.ClientAuth.NONE:
            return _passed(t("The provider knows the client ID. There is no secret to check."))
        return _passed(t("The provider knows the client ID, and accepts how the app shows who it is."))

    def scopes(self) -> Found:
        """What can be told without anybody: whether a provider grants them shows only when somebody signs in."""
        if not self.plan.scopes:
            return _skipped(t("There are no scopes for people."))
        if self.plan.is_microsoft and (why := app_rules.why_mixed(self.plan.scopes)):
            return _failed(why, "aadsts_700022")
        if app_rules.ABOUT_PEOPLE.issuperset(self.plan.scopes.split()):
            said = "None of these opens mail: they only tell who signs in. The provider’s help names those for mail."
            return _failed(t(said))
        if not self.plan.is_microsoft:
            return _skipped(t("Whether the provider knows them shows when somebody signs in."))
        if "offline_access" not in self.plan.scopes.split():
            said = t(
                "offline_access is missing, so Microsoft gives no refresh token: accounts would stop within the hour."
            )
            return _failed(said, "oauth_no_refresh_token")
        return _passed(t("All of one resource. Whether Microsoft grants them shows when somebody signs in."))

    def expiry(self) -> Found:
        if self.plan.troubles:
            worst = self.plan.troubles[0]
            outcome = StageOutcome.FAILED if worst.tone == "bad" else StageOutcome.PASSED  # What ends soon works today.
            return Found(outcome, f"{worst.title}. {worst.text}")
        if not self.plan.dates:
            return _skipped(t("No date is entered, so nobody is reminded."))
        return _passed(" ".join(self.plan.dates))

    def application(self) -> Found:
        plan = self.plan
        if not isinstance(plan.application, Client):
            return _skipped(str(plan.application))
        tokens = authorization.client_credentials(plan.application, self.rules, Deadline(SECONDS))
        if plan.is_microsoft and (lacks := mailbox_steps.missing_roles(tokens, plan.incoming, plan.outgoing)):
            said = (
                "A token came, but without {roles}. In Entra > App registrations > API permissions, add them under"
                " Office 365 Exchange Online > Application permissions, and grant admin consent."
            )
            return _failed(t(said, roles=", ".join(lacks)))
        self.tokens = tokens
        if plan.is_microsoft:
            return _passed(t("A token came, with {roles}", roles=", ".join(mailbox_steps.roles(tokens))))
        return _passed(t("A token came."))

    def service(self) -> Found:
        plan = self.plan
        entered = mailbox_steps.admin_console(plan.service_key or "", plan.app_scopes)
        if not plan.service_key:
            return _failed(t("The key of the service account cannot be opened. Upload it again."))
        if not plan.mailbox:
            return Found(
                StageOutcome.SKIPPED, t("Enter a mailbox below, for which a token is asked."), commands=entered
            )
        try:
            self.tokens = authorization.service_account(
                plan.service_key,
                self.rules,
                Deadline(SECONDS),
                subject=plan.mailbox,
                scopes=tuple(plan.app_scopes.split()),
                token_url=plan.urls["token_url"],
            )
        except MailError as error:
            return failed(error, commands=entered)
        return _passed(t("A token came for {mailbox}.", mailbox=plan.mailbox))

    def _mailbox(self, kind: str) -> Iterator[Step]:
        for direction in Direction:
            yield f"{kind}-{direction}", lambda direction=direction: self._sign_in(kind, direction)  # type: ignore[misc]

    def _sign_in(self, kind: str, direction: Direction) -> Found:
        plan = self.plan
        server = plan.incoming if direction is Direction.INCOMING else plan.outgoing
        if server is None:
            return _skipped(t("The provider has no server for it."))
        if not plan.mailbox:
            return _skipped(t("Enter a mailbox below, which is tried then."))
        if self.tokens is None:
            return _skipped(t("There is no token to try."))
        lines = mailbox_steps.Lines(plan.application, self.tokens, plan.mailbox) if plan.is_microsoft else None
        try:
            mailbox_steps.sign_in(server, self.rules, plan.mailbox, self.tokens)
        except MailError as error:
            detail, commands = lines.after(error) if lines and kind == APPLICATION else ("", ())
            return failed(error, detail, commands)
        said = t("{host} lets the app in as {mailbox}.", host=server.host, mailbox=plan.mailbox)
        if direction is Direction.INCOMING or lines is None:
            return _passed(said)
        said += " " + t("Nothing was sent, so the right to send as this mailbox was not tested; this line gives it.")
        return Found(StageOutcome.PASSED, said, commands=(lines.sending_as(),))


def _without_tenant(url: str) -> tuple[str, str]:
    parts = urlsplit(url)
    return parts.netloc.lower(), parts.path.lstrip("/").partition("/")[2].rstrip("/")

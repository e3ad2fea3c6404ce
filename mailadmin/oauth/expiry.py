"""What of an OAuth app ends, or has ended: its secret, its certificate, the sign-ins of an app in Google's Testing."""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta

from sqlalchemy import select
from sqlalchemy.orm import Session

from mailadmin.db import now
from mailadmin.mail.errors import Category
from mailadmin.oauth.models import Grant, OAuthApp, Publishing
from mailadmin.text import t

STAGES = (30, 14, 3)  # days before the end
_LAST = STAGES[-1]
_TESTING = timedelta(days=7)
_ABOUT = timedelta(hours=12)
_SEVERAL = 2


@dataclass(frozen=True, slots=True)
class Trouble:
    """What somebody should see to: `key` is secret, certificate, testing or seven-days; `days` are left, less than 0
    when it is over. `tone` is warn, or bad where accounts stand still or will within three days."""

    key: str
    tone: str
    title: str
    text: str
    days: int | None = None

    @property
    def stage(self) -> int | None:
        """Which of the reminders it is: 30, 14 or 3 days before, or 0 when it is over."""
        if self.days is None:
            return None
        return 0 if self.days < 0 else min(stage for stage in STAGES if self.days <= stage)


def troubles(app: OAuthApp, grants: Sequence[Grant] = (), *, at: datetime | None = None) -> list[Trouble]:
    """What ends of `app` within 30 days, or has ended; `grants` are those that failed for good. The worst first."""
    at = at or now()
    ends = [_secret(app, at), _certificate(app, at), _seven_days(app, grants), _testing(app)]
    found = [trouble for trouble in ends if trouble is not None]
    return sorted(found, key=lambda trouble: trouble.tone != "bad")


def alarms(session: Session) -> list[tuple[OAuthApp, list[Trouble]]]:
    """The apps that somebody should see to, by the name of their provider. That an app is in Testing is no alarm."""
    failed: dict[int, list[Grant]] = defaultdict(list)
    dead = select(Grant).where(Grant.failed_permanent, Grant.failed_category == Category.OAUTH).limit(1000)
    for grant in session.scalars(dead):
        failed[grant.app_id].append(grant)
    found = []
    for app in session.scalars(select(OAuthApp)):
        told = [one for one in troubles(app, failed[app.id]) if one.key != "testing"]
        if told:
            found.append((app, told))
    return sorted(found, key=lambda each: each[0].provider.name.casefold())


def day(moment: date) -> str:
    """`20 Nov 2026`."""
    return f"{moment.day} {moment:%b %Y}"


def _secret(app: OAuthApp, at: datetime) -> Trouble | None:
    if app.secret_ends_on is None or app.secret_id is None:
        return None
    days = (app.secret_ends_on - at.date()).days
    if days < 0:
        title = t("The client secret of {name} ran out on {day}", name=app.provider.name, day=day(app.secret_ends_on))
        text = t("No account of this provider can renew its sign-in. Make a new secret, and paste its value.")
        return Trouble("secret", "bad", title, text, days)
    title = _ends(t("The client secret of {name}", name=app.provider.name), days)
    text = t("From then on no account can renew its sign-in. Make a new secret beside it, and paste its value.")
    return _soon("secret", title, text, days)


def _certificate(app: OAuthApp, at: datetime) -> Trouble | None:
    if app.certificate_ends_at is None or app.key_id is None:
        return None
    days = (app.certificate_ends_at.date() - at.date()).days
    if app.certificate_ends_at <= at:
        ended = day(app.certificate_ends_at)
        title = t("The certificate of the app of {name} expired on {day}", name=app.provider.name, day=ended)
        text = t("The app cannot show who it is any more. Upload a new certificate with its key, here and there.")
        return Trouble("certificate", "bad", title, text, min(days, -1))
    title = _ends(t("The certificate of the app of {name}", name=app.provider.name), days)
    text = t("Upload a new certificate at the provider first, then here with its key.")
    return _soon("certificate", title, text, days)


def _soon(key: str, title: str, text: str, days: int) -> Trouble | None:
    if days > STAGES[0]:
        return None
    return Trouble(key, "bad" if days <= _LAST else "warn", title, text, days)


def _ends(what: str, days: int) -> str:
    if days == 0:
        return t("{what} ends today", what=what)
    return t("{what} ends tomorrow", what=what) if days == 1 else t("{what} ends in {n} days", what=what, n=days)


def _testing(app: OAuthApp) -> Trouble | None:
    if app.publishing is not Publishing.TESTING:
        return None
    title = t("Google ends every sign-in after seven days")
    text = t(
        "The app is in Testing. Under Google Auth Platform > Audience choose Publish app, and connect again after."
    )
    return Trouble("testing", "warn", title, text)


def _seven_days(app: OAuthApp, grants: Sequence[Grant]) -> Trouble | None:
    """Sign-ins that ended a week after they began: what Google does to an app in Testing, whatever was said of it."""
    lived = [grant.failed_at - grant.granted_at for grant in grants if grant.failed_at]
    number = sum(abs(life - _TESTING) <= _ABOUT for life in lived)
    if number < _SEVERAL or "google" not in app.token_url:
        return None
    title = t("{n} sign-ins at {name} ended after seven days", n=number, name=app.provider.name)
    text = t(
        "Google does this to apps in Testing. Publish the app under Google Auth Platform > Audience, then reconnect."
    )
    return Trouble("seven-days", "bad", title, text)

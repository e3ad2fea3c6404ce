"""What the tests of connect links share: accounts, links, and the letters that a real server was given."""

import email
import email.policy
import re
from datetime import timedelta
from email.message import EmailMessage

from mailadmin import db
from mailadmin.accounts import service as accounts
from mailadmin.accounts import system_mail
from mailadmin.accounts.models import Account, Health
from mailadmin.accounts.service import AccountWish, Login
from mailadmin.connections.jobs import drain_notices
from mailadmin.invites import service
from mailadmin.invites.models import Invite
from mailadmin.mail.errors import Category
from mailadmin.organisation import service as organisation
from mailadmin.permissions import SYSTEM
from mailadmin.sealed import Secret
from mailadmin.sync import service as sync
from tests.oauth.harbour import PASSWORD, PUBLIC_URL, SALES, Harbour, work
from tests.pages import Browser

SENDER = "support@example.org"


def a_company(harbour: Harbour, *, has_sender: bool = True) -> None:
    """Example Ltd, whose console writes through SENDER."""
    with db.transaction() as session:
        organisation.rename(session, name="Example Ltd")
        if not has_sender:
            return
        login = Login("", Secret(PASSWORD))
        wish = AccountWish(SENDER, incoming=harbour.imap, outgoing=harbour.smtp, login=login)
        account = accounts.create(session, wish=wish, actor=SYSTEM)
        account.is_set_up = True
        session.flush()
        system_mail.choose_sender(session, account.id, actor=SYSTEM)


def refused(account: Account) -> None:
    """Let the servers of `account` have refused its password."""
    with db.transaction() as session:
        found = accounts.get(session, account.id)
        found.health, found.health_category = Health.NEEDS_ATTENTION, Category.AUTH
        found.health_reason = "The server refused the password"


def without_oauth(harbour: Harbour, *, is_set_up: bool = False) -> Account:
    """SALES at a provider of which nobody has set up OAuth."""
    return harbour.account(is_set_up=is_set_up, with_password=is_set_up, has_app=False)


def asked(browser: Browser, account: Account, send_to: str = "") -> str:
    """Ask the owner as an administrator does; the path of the link on the page."""
    page = browser.post(f"/accounts/{account.id}/invite", {"send_to": send_to}, follow=True)
    return page.words(page.one("code", id="link")).removeprefix(PUBLIC_URL)


def invite_of(account: Account) -> Invite:
    """The newest link of `account`."""
    with db.reading() as session:
        found = service.latest(session, account.id)
        assert found is not None
        return found


def account_now(account: Account) -> Account:
    with db.reading() as session:
        return accounts.get(session, account.id)


def done() -> None:
    """What runners and the clock do meanwhile."""
    work()
    with db.transaction() as session:
        service.settle_all(session)
    with db.transaction() as session:
        sync.set_up_waiting(session)
    drain_notices()


def run_out(account: Account) -> None:
    """Let the link of `account` have run out yesterday."""
    with db.transaction() as session:
        service.get_open(session, account.id).expires_at = db.now() - timedelta(days=1)
        service.settle_all(session)


def letters(harbour: Harbour) -> list[EmailMessage]:
    """What was sent, oldest first."""
    return [email.message_from_bytes(raw, policy=email.policy.default) for _, _, raw in harbour.sink.messages]


def text_of(letter: EmailMessage) -> str:
    return str(letter.get_content())


def link_in(letter: EmailMessage) -> str:
    """The path of the link in `letter`."""
    found = re.search(rf"{re.escape(PUBLIC_URL)}(/c/\S+)", text_of(letter))
    assert found is not None
    return found[1]


__all__ = ["SALES", "SENDER"]

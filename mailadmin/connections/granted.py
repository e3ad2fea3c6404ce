"""The test of what an attempt was granted, and what the account takes of it when."""

from sqlalchemy.orm import Session

from mailadmin.accounts import service as accounts
from mailadmin.accounts.drafts import Change
from mailadmin.accounts.models import Account, Health
from mailadmin.connections import service
from mailadmin.connections.endings import check_actor
from mailadmin.connections.models import Check
from mailadmin.errors import MailAdminError, RuleBroken
from mailadmin.mail.errors import Category, MailError
from mailadmin.mail.types import Direction
from mailadmin.oauth import service as oauth
from mailadmin.oauth.models import Attempt, AttemptState
from mailadmin.permissions import Actor
from mailadmin.text import t
from mailadmin.vault import Unsealable


def begin_test(session: Session, attempt_id: int) -> None:
    """Test what the attempt was granted. Ring "check" after the commit.

    An account that has nothing to lose takes the grant at once; any other keeps what it has until the test has passed.
    Repeatable: one whose test has begun is left alone.
    """
    attempt = session.get(Attempt, attempt_id, with_for_update={"of": Attempt}, populate_existing=True)
    if attempt is None or attempt.state is not AttemptState.GRANTED or service.of_attempt(session, attempt_id):
        return
    account = session.get(Account, attempt.account_id, with_for_update={"of": Account}, populate_existing=True)
    try:
        if account is None or account.deleting_at is not None:
            raise RuleBroken(t("The account was deleted meanwhile."))
        with session.begin_nested():
            _begin(session, account, attempt)
    except MailAdminError as broken:
        oauth.refuse(session, attempt, MailError(Category.CONFIG, broken.message))
    except (Unsealable, LookupError):
        said = t("What was granted cannot be opened with this installation's keys. Start again.")
        oauth.refuse(session, attempt, MailError(Category.CONFIG, said))


def _begin(session: Session, account: Account, attempt: Attempt) -> None:
    actor = Actor(attempt.requested_by, attempt.person_id, attempt.from_address)
    check_actor(session, actor, account)
    if _has_nothing_to_lose(account):
        oauth.take_grant(session, account, attempt, actor=actor)
        if service.is_testable(account):
            check: Check = service.request_check(session, account=account, actor=Actor(actor.name))
            check.attempt = attempt
    else:
        wish = oauth.wish_with(session, account, attempt)
        legs = accounts.legs_if(session, account, wish=wish, version=account.version)
        change = Change(account.id, account.version, wish, actor)
        service.request_draft_check(
            session, legs=legs, address=account.address, actor=actor, change=change, attempt=attempt
        )
    session.flush()


def _has_nothing_to_lose(account: Account) -> bool:
    is_refused = account.health_category in (Category.OAUTH, Category.AUTH)
    is_broken = account.health is Health.NEEDS_ATTENTION and is_refused
    return not account.is_set_up or account.credential(Direction.INCOMING) is None or is_broken

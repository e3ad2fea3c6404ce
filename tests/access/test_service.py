"""Mail is reached through one query only."""

import pytest
from sqlalchemy.orm import Session

from mailadmin.access import service
from mailadmin.accounts import service as accounts
from mailadmin.db import now
from mailadmin.errors import NotFound
from mailadmin.people.models import Person
from mailadmin.permissions import SYSTEM
from tests.accounts.factories import an_account


def test_administrators_see_live_accounts_and_nobody_else_any(session: Session, ada: Person, wim: Person) -> None:
    account, gone = an_account(session), an_account(session, address="gone@example.net")
    accounts.request_deletion(session, gone, actor=SYSTEM)
    assert session.scalars(service.visible_accounts(ada)).unique().all() == [account]
    assert session.scalars(service.visible_accounts(wim)).unique().all() == []


def test_mailbox_of_others_does_not_exist(session: Session, ada: Person, wim: Person) -> None:
    account = an_account(session)
    assert service.get_visible(session, ada, account.id) is account
    with pytest.raises(NotFound):
        service.get_visible(session, wim, account.id)


def test_administrator_who_was_deactivated_sees_nothing(session: Session, ada: Person) -> None:
    an_account(session)
    ada.deactivated_at = now()
    assert session.scalars(service.visible_accounts(ada)).unique().all() == []

"""What a conversation with the server through which an account sends says: of the account, and in words."""

from typing import Any

from sqlalchemy.orm import Session

from mailadmin.accounts import service as accounts
from mailadmin.accounts.models import Account
from mailadmin.accounts.service import Leg
from mailadmin.connections.diagnosis import diagnose
from mailadmin.mail.errors import Category, MailError
from mailadmin.mail.types import Direction, StageName


def diagnosed(error: MailError, stage: StageName | None, *, leg: Leg, address: str) -> dict[str, Any]:
    """What `error` means, as `diagnosis.diagnose` tells it."""
    return diagnose(
        error,
        direction=Direction.OUTGOING,
        stage=stage,
        server=leg.server,
        user_name=leg.how.username,
        address=address,
    )


def locked(session: Session, account_id: int) -> Account | None:
    """The account as it is now, locked until the end of the transaction."""
    return session.get(Account, account_id, with_for_update={"of": Account}, populate_existing=True)


def write_health(session: Session, account: Account, told: dict[str, Any] | None, *, permanent: bool = False) -> None:
    """Note that the server did not let `account` in, for the reason `told`, a diagnosis; None: that it did."""
    if told is None:
        accounts.record_success(session, account, direction=Direction.OUTGOING)
        return
    accounts.record_failure(
        session,
        account,
        direction=Direction.OUTGOING,
        category=Category(told["category"]),
        reason=told["title"],
        permanent=permanent,
        sure=False,
    )

"""Drafts: what is tested before it is saved is sealed, and gone afterwards."""

import pytest
from sqlalchemy import func, select

from mailadmin import db
from mailadmin.accounts import drafts
from mailadmin.accounts.models import Draft
from mailadmin.accounts.service import Leg
from mailadmin.connections import service
from mailadmin.connections.jobs import drain_checks
from mailadmin.mail.types import Direction, Password, Server, ServerProtocol, TLSMode, TLSVersion, Trust
from mailadmin.permissions import SYSTEM
from mailadmin.sealed import SealedSecret

pytestmark = pytest.mark.usefixtures("booted")
TRUST = Trust(TLSVersion.TLS_1_1, "-----BEGIN CERTIFICATE-----\nx", "ab" * 32)
LEGS = {
    Direction.INCOMING: Leg(
        Server(ServerProtocol.IMAP, "::1", 993, TLSMode.IMPLICIT, TRUST), Password("wim", "pass word ä")
    ),
    Direction.OUTGOING: Leg(Server(ServerProtocol.SMTP, "localhost", 587, TLSMode.STARTTLS), Password("", "")),
}


def test_what_is_kept_comes_back() -> None:
    with db.transaction() as session:
        draft_id = drafts.keep(session, LEGS).id
    with db.reading() as session:
        draft = session.get(Draft, draft_id)
        assert draft
        assert drafts.legs_of(session, draft) == LEGS


def test_the_row_shows_nothing() -> None:
    with db.transaction() as session:
        drafts.keep(session, LEGS)
        for row in session.scalars(select(SealedSecret)):
            assert b"pass word" not in row.sealed
            assert b"993" not in row.sealed


def test_a_draft_ends_with_its_test() -> None:
    legs = {Direction.INCOMING: Leg(Server(ServerProtocol.IMAP, "127.0.0.1", 1, TLSMode.IMPLICIT), Password("a", "b"))}
    with db.transaction() as session:
        check_id = service.request_draft_check(session, legs=legs, address="a@example.org", actor=SYSTEM).id
    drain_checks()
    with db.reading() as session:
        check = service.get(session, check_id)
        assert (check.outcome, check.category, check.draft_id, check.account_id) == ("failed", "refused", None, None)
        assert check.servers == {"incoming": "imap:127.0.0.1:1:implicit"}
        for table in (Draft, SealedSecret):
            assert session.scalar(select(func.count()).select_from(table)) == 0

"""What keeps a message from being sent that waits: rights, a pause, the switch, a deletion, its person."""

from sqlalchemy import select, update

from mailadmin import db
from mailadmin.access.models import Access
from mailadmin.accounts.models import Account, Health
from mailadmin.errors import RuleBroken
from mailadmin.organisation import service as organisation
from mailadmin.people.models import Person
from mailadmin.permissions import SYSTEM
from mailadmin.writing import outbox, service
from mailadmin.writing.jobs import drain_outgoing
from mailadmin.writing.models import OutgoingFile, OutgoingMessage, Progress
from tests.conftest import both_databases
from tests.sync.factories import change
from tests.writing.factories import Desk


@both_databases
def test_rights_that_are_taken_away_meanwhile_keep_it_from_being_sent(desk: Desk) -> None:
    outgoing_id = desk.sent()
    with db.transaction() as session:
        session.execute(update(Access).values(may_send=False))
    drain_outgoing()
    row = desk.row(outgoing_id)
    assert row.progress is Progress.DRAFT
    assert "may not send" in row.problem
    assert desk.post.connections == 0


def test_rights_that_are_taken_away_while_the_message_is_on_the_line_stop_the_final_dot(desk: Desk) -> None:
    def revoke() -> bytes:
        with db.transaction() as session:
            session.execute(update(Access).values(may_send=False))
        return b"354 go on\r\n"

    desk.post.does["data"] = [revoke]
    outgoing_id = desk.sent()
    drain_outgoing()
    assert desk.progress(outgoing_id) is Progress.DRAFT
    assert "may not send" in desk.row(outgoing_id).problem
    assert desk.post.given == []


def test_a_person_who_is_deactivated_sends_nothing_any_more(desk: Desk) -> None:
    outgoing_id = desk.sent()
    with db.transaction() as session:
        session.execute(update(Person).values(deactivated_at=db.now()))
    drain_outgoing()
    assert desk.progress(outgoing_id) is Progress.DRAFT
    assert desk.post.messages == []


def test_while_the_account_is_paused_or_mail_is_switched_off_it_waits(desk: Desk) -> None:
    outgoing_id = desk.sent()
    change(desk.account, health=Health.PAUSED)
    drain_outgoing()
    with db.reading() as session:
        assert "paused" in service.waits_for(session, desk.now(session, outgoing_id))
        assert not outbox.are_due(session)
    change(desk.account, health=Health.HEALTHY)
    with db.transaction() as session:
        organisation.rename(session, name="Example Ltd")
        organisation.change(session, name="Example Ltd", uses_mail=False, actor=SYSTEM)
    drain_outgoing()
    with db.reading() as session:
        assert "switched off" in service.waits_for(session, desk.now(session, outgoing_id))
    assert (desk.progress(outgoing_id), desk.post.connections) == (Progress.WAITING, 0)
    with db.transaction() as session:
        organisation.change(session, name="Example Ltd", uses_mail=True, actor=SYSTEM)
    drain_outgoing()
    assert desk.progress(outgoing_id) is Progress.SENT


def test_an_account_that_is_being_deleted_sends_nothing(desk: Desk) -> None:
    outgoing_id = desk.sent()
    change(desk.account, deleting_at=db.now())
    drain_outgoing()
    assert (desk.progress(outgoing_id), desk.post.connections) == (Progress.WAITING, 0)


def test_a_message_can_be_taken_back_until_a_job_has_it(desk: Desk) -> None:
    outgoing_id = desk.sent()
    with db.transaction() as session:
        service.take_back(session, desk.now(session, outgoing_id))
    drain_outgoing()
    assert (desk.progress(outgoing_id), desk.post.connections) == (Progress.DRAFT, 0)
    desk.send(outgoing_id)
    refused: list[str] = []

    def too_late() -> bytes:
        with db.database().session() as session:
            try:
                service.take_back(session, desk.now(session, outgoing_id))
            except RuleBroken as broken:
                refused.append(broken.message)
        return b"250 ok\r\n"

    desk.post.does["mail"] = [too_late]
    drain_outgoing()
    assert desk.progress(outgoing_id) is Progress.SENT
    assert "cannot be taken back" in refused[0]


def test_the_rows_of_an_account_go_with_it(desk: Desk) -> None:
    desk.sent(files=(("a.txt", b"a"),))
    with db.transaction() as session:
        account = session.get(Account, desk.account.id)
        session.execute(Account.__table__.delete().where(Account.id == desk.account.id))  # type: ignore[attr-defined]
        assert account
    with db.reading() as session:
        assert session.scalars(select(OutgoingMessage.id)).all() == []
        assert session.scalars(select(OutgoingFile.id)).all() == []

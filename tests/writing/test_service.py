"""Drafts: whose they are, what is kept of what was typed, and what may be done with them when."""

from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import event, select, update
from sqlalchemy.orm import Session

from mailadmin import db
from mailadmin.access import service as access
from mailadmin.access.models import Access
from mailadmin.accounts.models import Account, Kind
from mailadmin.contacts.models import Contact
from mailadmin.errors import NotFound, RuleBroken
from mailadmin.people.models import Person, Team, TeamMember
from mailadmin.permissions import SYSTEM
from mailadmin.writing import service, templates
from mailadmin.writing.jobs import drain_outgoing
from mailadmin.writing.models import Intent, OutgoingFile, OutgoingMessage, Progress
from tests.access.factories import give
from tests.conftest import both_databases
from tests.servers.post import hang_up
from tests.sync.factories import an_account, change
from tests.writing.factories import NORA, Desk, a_worker, smtp_of, typed


def people_of(session: Session, desk: Desk) -> tuple[Person, Account]:
    person, account = session.get(Person, desk.person.id), session.get(Account, desk.account.id)
    assert person
    assert account
    return person, account


def save(desk: Desk, outgoing_id: int, **fields: Any) -> None:
    with db.transaction() as session:
        outgoing = desk.now(session, outgoing_id)
        service.save(session, outgoing, **typed(outgoing, **fields))


@both_databases
def test_what_was_typed_is_kept_as_it_is(desk: Desk) -> None:
    outgoing_id = desk.draft(
        to="no address yet,", cc="a\r\nb", subject=" a  b\r\nc ", text="one\r\ntwo\0\x07\n", bcc="x"
    )
    row = desk.row(outgoing_id)
    assert (row.to, row.cc, row.bcc) == ("no address yet,", "a\nb", "x")
    assert (row.subject, row.text, row.quotes) == ("a b c", "one\ntwo\n", True)
    assert row.version == 2
    save(desk, outgoing_id)
    assert desk.row(outgoing_id).version == 2  # Nothing was changed.
    save(desk, outgoing_id, quotes=False)
    assert (desk.row(outgoing_id).version, desk.row(outgoing_id).quotes) == (3, False)


def test_of_two_windows_the_second_is_told(desk: Desk) -> None:
    outgoing_id = desk.draft()
    save(desk, outgoing_id, text="the first")
    with pytest.raises(RuleBroken) as raised:
        save(desk, outgoing_id, version=2, text="the second")
    assert raised.value.field == "version"
    assert desk.row(outgoing_id).text == "the first"


@pytest.mark.parametrize(("field", "length"), [("subject", 999), ("text", 500_001), ("to", 30_001), ("bcc", 30_001)])
def test_too_much_is_refused_at_its_field(desk: Desk, field: str, length: int) -> None:
    outgoing_id = desk.draft()
    with pytest.raises(RuleBroken) as raised:
        save(desk, outgoing_id, **{field: "x" * length})
    assert raised.value.field == field


def test_drafts_are_their_persons_alone_and_go_with_the_right_to_see_the_account(desk: Desk) -> None:
    outgoing_id = desk.draft()
    with db.transaction() as session:
        person, account = people_of(session, desk)
        other = a_worker(session, "Olga Novak", "olga@example.com")
        give(session, other, account)
        assert service.get_own(session, person, outgoing_id).id == outgoing_id
        assert [one.id for one in service.listed(session, person, account.id)] == [outgoing_id]
        assert service.count(session, person, account.id) == 1
        assert (service.listed(session, other, account.id), service.count(session, other, account.id)) == ([], 0)
        for asker, wanted in ((other, outgoing_id), (person, outgoing_id + 1)):
            with pytest.raises(NotFound):
                service.get_own(session, asker, wanted)
        session.execute(update(Access).where(Access.person_id == person.id).values(may_send=False))
        assert service.get_own(session, person, outgoing_id)
        with pytest.raises(RuleBroken, match="not send") as raised:
            service.send(session, desk.now(session, outgoing_id))
        assert raised.value.field == "account_id"
        session.execute(Access.__table__.delete())  # type: ignore[attr-defined]
        with pytest.raises(NotFound):
            service.get_own(session, person, outgoing_id)


def test_from_is_what_one_may_send_as_the_primary_first(desk: Desk) -> None:
    reading = an_account("reading@example.net", outgoing=smtp_of(desk.post))
    mute = an_account("mute@example.net")
    second = an_account("second@example.net", outgoing=smtp_of(desk.post))
    with db.transaction() as session:
        person, account = people_of(session, desk)
        for other in (reading, mute, second):
            give(session, person, session.merge(other))
        session.execute(update(Access).where(Access.account_id == reading.id).values(may_send=False))
        session.execute(update(Access).values(is_primary=False))
        session.execute(update(Access).where(Access.account_id == second.id).values(is_primary=True))
        assert [one.id for one in service.senders(session, person)] == [second.id, account.id]
        with pytest.raises(RuleBroken, match="no server for sending"):
            service.begin(session, person, session.get(Account, mute.id))  # type: ignore[arg-type]
    outgoing_id = desk.draft()
    save(desk, outgoing_id, account_id=second.id)
    assert desk.row(outgoing_id).account_id == second.id
    for wrong in (reading.id, 99_999):
        with pytest.raises(RuleBroken) as raised:
            save(desk, outgoing_id, account_id=wrong)
        assert raised.value.field == "account_id"


def test_what_one_may_send_as_is_found_for_all_accounts_at_once_as_for_each(desk: Desk) -> None:
    with db.transaction() as session:
        person, _ = people_of(session, desk)
        team, other_team = Team(name="Lamps"), Team(name="Desks")
        session.add_all([team, other_team])
        session.flush()
        session.add(TeamMember(person_id=person.id, team_id=team.id))
        other = a_worker(session, "Olga Novak", "olga@example.com")
        shared, ours, theirs = {"kind": Kind.SHARED}, {"team_id": team.id}, {"team_id": other_team.id}
        owned = [{"kind": Kind.PERSONAL, "owner_id": one.id} for one in (person, other)]
        teams = [{"kind": Kind.TEAM, **one} for one in (ours, theirs)]
    given = [(None, one) for one in (shared, *owned, *teams)]  # whether they have a slot, and it may send
    given += [(False, shared), (False, teams[0]), (False, teams[1]), (True, teams[1])]
    for n, (slot, fields) in enumerate(given):
        each = an_account(f"n{n}@example.net", outgoing=smtp_of(desk.post))
        if slot is not None:
            with db.transaction() as session:
                give(session, session.get_one(Person, person.id), session.merge(each))
                session.execute(update(Access).where(Access.account_id == each.id).values(may_send=slot))
        change(each, **fields)
    with db.reading() as session:
        person, _ = people_of(session, desk)
        may = {one.id for one in session.scalars(select(Account)).unique() if access.may_send(session, person, one)}
        assert len(may) == 5
        session.expunge_all()
        person, _ = people_of(session, desk)
        asked: list[str] = []
        event.listen(session.connection(), "before_cursor_execute", lambda *args: asked.append(args[2]))
        assert {one.id for one in service.senders(session, person)} == may
        assert len(asked) <= 6, asked


def test_an_open_page_that_nobody_touched_is_no_draft_and_is_swept(desk: Desk) -> None:
    with db.transaction() as session:
        person, account = people_of(session, desk)
        untouched = service.begin(session, person, account)
        assert service.count(session, person, account.id) == 0
    kept = desk.draft()
    for days, left in ((6, [untouched.id, kept]), (8, [kept])):
        with db.transaction() as session:
            old = db.now() - timedelta(days=days)
            session.execute(update(OutgoingMessage).values(created_at=old, changed_at=old))
            service.forget_old(session)
            assert session.scalars(select(OutgoingMessage.id).order_by(OutgoingMessage.id)).all() == left


def test_what_was_sent_is_kept_for_a_month(desk: Desk) -> None:
    outgoing_id = desk.sent()
    drain_outgoing()
    for days, left in ((29, 1), (31, 0)):
        with db.transaction() as session:
            session.execute(update(OutgoingMessage).values(sent_at=db.now() - timedelta(days=days)))
            service.forget_old(session)
            assert len(session.scalars(select(OutgoingMessage.id)).all()) == left
    assert outgoing_id


def test_files_are_added_and_removed_within_what_servers_take(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(service, "LARGEST", 1000)
    outgoing_id = desk.draft(files=(("a.txt", b"x" * 600),))
    other = desk.draft()
    with db.transaction() as session:
        outgoing = desk.now(session, outgoing_id)
        with pytest.raises(RuleBroken) as raised:
            service.attach(session, outgoing, name="b.txt", type="text/plain", content=b"x" * 401)
        assert raised.value.field == "files"
        (file,) = service.files(session, outgoing)
        service.detach(session, desk.now(session, other), file.id)
        assert len(service.files(session, outgoing)) == 1
        before = outgoing.version
        service.detach(session, outgoing, file.id)
        assert (service.files(session, outgoing), outgoing.version) == ([], before + 1)


@pytest.mark.parametrize("deed", ["save", "attach", "detach", "send", "insert"])
def test_what_waits_or_was_sent_cannot_be_changed(desk: Desk, deed: str) -> None:
    outgoing_id = desk.sent(files=(("a.txt", b"x"),))
    for progress in (Progress.WAITING, Progress.SENT):
        with db.transaction() as session:
            outgoing = desk.now(session, outgoing_id)
            outgoing.progress = progress
            doing = {
                "save": lambda o=outgoing: service.save(session, o, **typed(o, text="other")),
                "attach": lambda o=outgoing: service.attach(session, o, name="b", type="", content=b"y"),
                "detach": lambda o=outgoing: service.detach(session, o, service.files(session, o)[0].id),
                "send": lambda o=outgoing: service.send(session, o),
                "insert": lambda o=outgoing: service.insert_template(session, o, 1),
            }
            with pytest.raises(RuleBroken) as raised:
                doing[deed]()
            assert raised.value.field == "version"


def test_a_draft_can_be_thrown_away_and_what_waits_cannot(desk: Desk) -> None:
    waiting, unclear = desk.sent(), desk.sent()
    with db.transaction() as session:
        desk.now(session, unclear).progress = Progress.UNCLEAR
    for kept in (waiting, unclear):
        with db.transaction() as session, pytest.raises(RuleBroken):
            service.discard(session, desk.now(session, kept))
    with db.transaction() as session:
        service.take_back(session, desk.now(session, waiting))
        service.discard(session, desk.now(session, waiting))
        assert session.get(OutgoingMessage, waiting) is None


def test_a_refused_recipient_is_named_at_every_field(desk: Desk) -> None:
    outgoing_id = desk.draft(to="nora", cc="x@", bcc="b@x.example")
    with pytest.raises(RuleBroken) as raised:
        desk.send(outgoing_id)
    assert set(raised.value.fields) == {"to", "cc"}  # type: ignore[attr-defined]
    assert desk.progress(outgoing_id) is Progress.DRAFT


def test_a_problem_stands_at_the_field_of_the_recipient_whom_it_names_in_full(desk: Desk) -> None:
    outgoing_id = desk.draft(to="ann@x.example", cc="joann@x.example", bcc="jo@x.example.com")
    for named, field in (
        ("joann@x.example (“no such user”)", "cc"),
        ("ANN@x.example (“no such user”)", "to"),
        ("b@y.example (“<jo@x.example.com>: unknown.”)", "bcc"),
        ("mary.ann@x.example.", ""),
    ):
        with db.transaction() as session:
            row = desk.now(session, outgoing_id)
            row.problem = f"The server does not take: {named}. Nothing was sent."
            assert service.problem_field(row) == field


def test_what_is_unclear_and_is_sent_again_needs_the_right_still(desk: Desk) -> None:
    desk.post.does["dot"] = [hang_up]
    outgoing_id = desk.sent()
    drain_outgoing()
    with db.transaction() as session:
        session.execute(update(Access).values(may_send=False))
    with pytest.raises(RuleBroken), db.transaction() as session:
        service.settle_unclear(session, desk.now(session, outgoing_id), has_arrived=False)
    assert desk.progress(outgoing_id) is Progress.UNCLEAR


def test_a_template_is_put_where_the_text_ends_with_what_it_names(desk: Desk) -> None:
    with db.transaction() as session:
        made = templates.add(
            session,
            name="Quote",
            subject="Your quote, {contact}",
            text="Dear {contact},\n{name} of {team}{account} {other} writes.",
            actor=SYSTEM,
        )
        assert [one.name for one in service.templates(session)] == ["Quote"]
    outgoing_id = desk.draft(to=f"{{name}} {NORA}", subject="", text="First.\n\n")
    with db.transaction() as session:
        service.insert_template(session, desk.now(session, outgoing_id), made.id)
    row = desk.row(outgoing_id)
    address = desk.account.address
    assert row.subject == "Your quote, {name} Nora Feldt"
    assert row.text == f"First.\n\nDear {{name}} Nora Feldt,\nWim de Vries of {address} {{other}} writes."
    with db.transaction() as session:
        service.insert_template(session, desk.now(session, outgoing_id), made.id)
    assert desk.row(outgoing_id).subject == row.subject


def test_templates_are_checked_and_told_in_the_trail(desk: Desk) -> None:
    with db.transaction() as session:
        made = templates.add(session, name="Quote", subject="", text="Hello", actor=SYSTEM)
        for field, values in (
            ("name", {"name": " qUOTE ", "subject": "", "text": "x"}),
            ("name", {"name": "", "subject": "", "text": "x"}),
            ("subject", {"name": "Other", "subject": "x" * 201, "text": "x"}),
            ("text", {"name": "Other", "subject": "", "text": " \n"}),
        ):
            with pytest.raises(RuleBroken) as raised:
                templates.add(session, **values, actor=SYSTEM)
            assert raised.value.field == field
        templates.change(session, made, name="QUOTE", subject="a\r\nb", text="x\r\ny", actor=SYSTEM)
        assert (made.name, made.subject, made.text) == ("QUOTE", "a b", "x\ny")
        templates.remove(session, made, actor=SYSTEM)
        with pytest.raises(NotFound):
            templates.get(session, made.id)


def test_contacts_are_suggested_to_those_who_may_see_them(desk: Desk) -> None:
    hidden = an_account("other@example.net")
    with db.transaction() as session:
        person, account = people_of(session, desk)
        session.add(Contact(address="nora@halden.example", name="Feldt, Nora", account_id=account.id))
        session.add(Contact(address="norbert@x.example", name="", account_id=hidden.id))
        session.flush()
        assert service.suggestions(session, person, "NOR") == ['"Feldt, Nora" <nora@halden.example>']
        assert service.suggestions(session, person, "%") == []
        assert service.suggestions(session, person, "n") == []


def test_an_answer_needs_a_message_of_that_account(desk: Desk) -> None:
    with db.transaction() as session:
        person, account = people_of(session, desk)
        for about in (None, 4711):
            with pytest.raises(NotFound):
                service.begin(session, person, account, intent=Intent.REPLY, about_id=about)
        assert session.scalars(select(OutgoingFile.id)).all() == []

"""The templates of the organisation: who may keep them, what they may hold, and how they look in a message."""

import pytest
from sqlalchemy import select

from mailadmin import db
from mailadmin.activity.models import Activity
from mailadmin.people.models import Person
from mailadmin.permissions import SYSTEM
from mailadmin.writing import templates
from mailadmin.writing.models import MailTemplate
from tests import factories
from tests.conftest import both_databases
from tests.pages import Browser

QUOTE = {"name": "Quote", "subject": "Quote for {contact}", "text": "Dear {contact},\n\nwe offer {price}.\n{name}"}


def stored() -> list[MailTemplate]:
    with db.reading() as session:
        return list(session.scalars(select(MailTemplate).order_by(MailTemplate.name)))


def a_template(name: str = "Quote") -> int:
    with db.transaction() as session:
        return templates.add(session, **{**QUOTE, "name": name}, actor=SYSTEM).id


@both_databases
def test_template_is_written_listed_changed_and_deleted(ada_at: Browser) -> None:
    assert "No templates yet" in ada_at.get("/templates").words()
    page = ada_at.post("/templates/new", QUOTE, follow=True)
    assert "The template Quote is saved." in page.words()
    assert "Quote for {contact}" in page.words()
    path = f"/templates/{stored()[0].id}"
    assert ada_at.get(path).value("name") == "Quote"
    version = ada_at.get(path).one("input", name="version").get("value")
    ada_at.post(path, {**QUOTE, "name": "Offer", "subject": "", "version": version})
    assert [(each.name, each.subject) for each in stored()] == [("Offer", "")]
    assert "Delete the template Offer?" in ada_at.get(f"{path}/delete").words()
    assert "Delete the template Offer?" in ada_at.get(f"{path}/delete", htmx=True).words()
    assert "The template Offer is deleted." in ada_at.post(f"{path}/delete", follow=True).words()
    assert stored() == []
    assert ada_at.get(path).status == 404
    with db.reading() as session:
        said = session.scalars(select(Activity.what).where(Activity.what.contains("template")).order_by(Activity.id))
        assert list(said) == ["added the template Quote", "changed the template Offer", "deleted the template Offer"]


@pytest.mark.parametrize(
    ("wrong", "field", "said"),
    [
        ({"name": ""}, "name", "Give the template a name."),
        ({"name": "OFFER"}, "name", "There is a template called “OFFER” already."),
        ({"name": "x" * 61}, "name", "At most 60 characters can stand here."),
        ({"subject": "x" * 201}, "subject", "At most 200 characters can stand here."),
        ({"text": " \n"}, "text", "Type the text of the template."),
        ({"text": "x" * 20_001}, "text", "At most 20,000 characters can stand here."),
    ],
)
def test_what_a_template_cannot_be_is_said_at_its_field(
    ada_at: Browser, wrong: dict[str, str], field: str, said: str
) -> None:
    a_template("Offer")
    page = ada_at.post("/templates/new", {**QUOTE, **wrong})
    assert (page.status, page.error(field)) == (422, said)
    assert page.value("subject" if field != "subject" else "name") == (
        QUOTE["subject"] if field != "subject" else "Quote"
    )
    assert len(stored()) == 1


@both_databases
def test_second_administrator_is_told_and_may_win(ada_at: Browser) -> None:
    path = f"/templates/{a_template()}"
    first, second = ({"version": ada_at.get(path).one("input", name="version").get("value")} for _ in range(2))
    ada_at.post(path, {**QUOTE, "text": "One", **first})
    refused = ada_at.post(path, {**QUOTE, "text": "Two", **second})
    assert (refused.status, refused.value("text"), stored()[0].text) == (422, "Two", "One")
    assert "Somebody else changed this template meanwhile." in refused.words()
    again = {"version": refused.one("input", name="version").get("value")}
    ada_at.post(path, {**QUOTE, "text": "Two", **again})
    assert stored()[0].text == "Two"


def test_template_of_number_zero_is_none(ada_at: Browser) -> None:
    assert {ada_at.get("/templates/0").status, ada_at.post("/templates/0", QUOTE).status} == {404}
    assert ada_at.post("/templates/0/preview", QUOTE).status == 404
    assert stored() == []


def test_text_of_a_template_keeps_the_blanks_of_its_language(ada_at: Browser) -> None:
    text = "12\u00a0000\u202f€ می\u200cخواهم\u200f"
    ada_at.post("/templates/new", {**QUOTE, "text": text, "subject": "東京\u3000{contact}"})
    assert stored()[0].text == text


def test_preview_shows_placeholders_filled_and_stores_nothing(ada_at: Browser) -> None:
    path = f"/templates/{a_template()}"
    filled = "Quote for Nora FeldtDear Nora Feldt, we offer {price}. Ada Lindqvist"
    page = ada_at.get(path)
    assert page.words(page.one("section", id="template-preview")) == f"Looks like this {filled}"
    for word in templates.PLACEHOLDERS:
        assert f"{{{word}}}" in page.words(page.one("dl", class_="facts"))
    typed = {**QUOTE, "subject": "<b>", "text": "{account}"}
    assert ada_at.post(f"{path}/preview", typed, htmx=True).words() == "Looks like this <b>ada@example.com"
    plain = ada_at.post("/templates/preview", typed)
    assert (plain.value("text"), plain.value("name")) == ("{account}", "Quote")
    assert "ada@example.com" in plain.words(plain.one("section", id="template-preview"))
    assert stored()[0].subject == QUOTE["subject"]


def test_settings_lead_to_them_and_workers_keep_out(ada_at: Browser, wim: Person) -> None:
    path = f"/templates/{a_template()}"
    assert any(e.get("href") == "/templates" for e in ada_at.get("/settings").all("a"))
    other = Browser(ada_at._app)
    other.sign_in(wim.email, factories.PASSWORD)
    assert {other.get(p).status for p in ("/templates", path, f"{path}/delete")} == {403}
    assert {other.post(p, QUOTE).status for p in (path, "/templates/new", f"{path}/preview", f"{path}/delete")} == {403}
    assert len(stored()) == 1

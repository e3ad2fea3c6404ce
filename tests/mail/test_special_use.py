"""What a folder is for: attributes first, then names in many languages."""

import pytest

from mailadmin.mail.special_use import not_mail, one_of_each, role_of
from mailadmin.mail.types import Folder, Role


def a_folder(path: str, role: Role | None = None, source: str = "name", locked: str = "") -> Folder:
    return Folder(path, path.rpartition("/")[2], "/", role=role, role_source=source if role else "", locked=locked)


def test_the_server_decides_before_the_name() -> None:
    assert role_of(["\\HasNoChildren", "\\Trash"], "Sent", "/") == (Role.TRASH, "server")


def test_inbox_is_the_inbox_in_any_case() -> None:
    assert role_of([], "Inbox", "/") == (Role.INBOX, "server")


@pytest.mark.parametrize(
    ("path", "role"),
    [
        ("Gesendete Elemente", Role.SENT),
        ("Éléments envoyés", Role.SENT),
        ("INBOX.Sent", Role.SENT),
        ("sent_mail", Role.SENT),
        ("Papelera", Role.TRASH),
        ("Verwijderde items", Role.TRASH),
        ("Kosz", Role.TRASH),
        ("Корзина", Role.TRASH),
        ("ごみ箱", Role.TRASH),
        ("Posta indesiderata", Role.JUNK),
        ("垃圾邮件", Role.JUNK),
        ("Rascunhos", Role.DRAFTS),
        ("임시보관함", Role.DRAFTS),
        ("Skräppost", Role.JUNK),
        ("Luonnokset", Role.DRAFTS),
        ("Koncepty", Role.DRAFTS),
        ("Piszkozatok", Role.DRAFTS),
        ("Arşiv", Role.ARCHIVE),
        ("Надіслані", Role.SENT),
        ("Slettet post", Role.TRASH),
    ],
)
def test_names_are_known_in_many_languages(path: str, role: Role) -> None:
    assert role_of([], path, ".") == (role, "name")


def test_an_ordinary_name_is_no_role() -> None:
    assert role_of([], "Projects", "/") == (None, "")


def test_a_role_is_given_once_by_name_to_the_highest_folder() -> None:
    folders = [a_folder("Old/Trash", Role.TRASH), a_folder("Trash", Role.TRASH), a_folder("Papierkorb", Role.TRASH)]
    assert [folder.role for folder in one_of_each(folders)] == [None, Role.TRASH, None]


def test_a_role_that_the_server_gave_is_not_given_by_name() -> None:
    folders = [a_folder("Trash", Role.TRASH), a_folder("Bin", Role.TRASH, "server")]
    assert [folder.role for folder in one_of_each(folders)] == [None, Role.TRASH]


@pytest.mark.parametrize(
    ("path", "why"),
    [
        ("Kalender", "Holds appointments, not mail"),
        ("Contactpersonen", "Holds contacts, not mail"),
        ("Tâches", "Holds tasks, not mail"),
        ("Notizen", "Holds notes, not mail"),
        ("Journal", "Holds a journal, not mail"),
        ("Calendar/Birthdays", "Holds appointments, not mail"),
        ("INBOX/Calendar", "Holds appointments, not mail"),
        ("Projects/Notes", ""),
        ("Projects", ""),
    ],
)
def test_folders_without_mail_are_known_by_name(path: str, why: str) -> None:
    assert not_mail(path, "/") == why

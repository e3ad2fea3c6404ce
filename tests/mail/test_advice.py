"""What is said of a provider before the first attempt."""

from dataclasses import replace

import pytest

from mailadmin.mail.advice import advice, since_words
from mailadmin.mail.known_providers import everyone
from mailadmin.mail.types import SignInMethod

OAUTH, APP_PASSWORD, PASSWORD = SignInMethod.OAUTH, SignInMethod.APP_PASSWORD, SignInMethod.PASSWORD


def first(key: str, method: SignInMethod | None = None) -> tuple[str, str, str]:
    """Tone, title and text of the most important advice."""
    said = advice(everyone()[key], method)[0]
    return said.tone, said.title, said.text


@pytest.mark.parametrize("method", [None, PASSWORD])
def test_microsoft_no_longer_accepts_passwords(method: SignInMethod | None) -> None:
    tone, title, text = first("microsoft-365", method)
    assert (tone, title) == ("bad", "Microsoft no longer accepts passwords")
    assert text == (
        "Microsoft has refused every password, app passwords included, since January 2023 for IMAP and POP3. "
        "The way in is to sign in with Microsoft (OAuth)."
    )


def test_an_app_password_does_not_help_at_microsoft_either() -> None:
    tone, title, text = first("outlook", APP_PASSWORD)
    assert (tone, title) == ("bad", "Outlook.com no longer accepts app passwords")
    assert "since 16 September 2024." in text


def test_google_needs_an_app_password_or_its_own_sign_in() -> None:
    tone, title, text = first("google")
    assert (tone, title) == ("warn", "Google needs an app password or its own sign-in")
    assert "since 1 May 2025" in text
    assert advice(everyone()["google"])[0].url == "https://support.google.com/accounts/answer/185833"


def test_the_normal_password_chosen_where_it_is_refused_will_fail() -> None:
    assert first("google", PASSWORD)[0] == "bad"
    assert first("icloud", PASSWORD)[:2] == ("bad", "iCloud needs an app password")


def test_a_chosen_app_password_is_told_where_to_make_it() -> None:
    assert first("google", APP_PASSWORD)[:2] == ("run", "The owner makes the app password at Google")


def test_the_chosen_way_that_works_needs_no_words() -> None:
    assert [said.title for said in advice(everyone()["fastmail"], OAUTH)] == ["Good to know"]
    assert advice(everyone()["orange-fr"]) == advice(everyone()["orange-fr"], PASSWORD) == []


def test_oauth_chosen_where_there_is_none_will_fail() -> None:
    assert first("posteo", OAUTH)[:2] == ("bad", "Posteo has no OAuth for mail")


def test_imap_must_be_switched_on_and_web_de_is_asked_every_15_minutes_only() -> None:
    said = {one.title: one for one in advice(everyone()["web-de"])}
    switch = said["IMAP must be switched on here first"]
    assert switch.tone == "warn"
    assert "POP3/IMAP Abruf" in switch.text
    assert (switch.url, switch.label) == ("https://hilfe.web.de/pop-imap/einschalten.html", "Help page of WEB.DE")
    assert said["WEB.DE allows a look only every 15 minutes"].tone == "run"
    assert said["With two-step sign-in, an app password is needed"].tone == "run"


def test_what_will_fail_is_said_first_and_what_is_good_to_know_last() -> None:
    tones = [one.tone for one in advice(everyone()["outlook"])]
    assert tones == ["bad", "warn", "run"]
    assert [one.tone for one in advice(everyone()["web-de"])] == ["warn", "run", "run"]


def test_a_provider_with_pop3_alone_speaks_of_pop3() -> None:
    known = replace(everyone()["ocn"], switch_on="The owner switches it on.")
    assert advice(known)[0].title == "POP3 must be switched on here first"
    assert first("exchange")[1] == "IMAP must be switched on here first"


def test_proton_has_no_imap_for_others_and_nothing_else_is_said() -> None:
    (said,) = advice(everyone()["proton"])
    assert (said.tone, said.title) == ("bad", "Proton Mail has no IMAP for others")
    assert "Bridge" in said.text


def test_what_is_said_of_any_provider_is_complete() -> None:
    said = [one for known in everyone().values() for method in (None, *SignInMethod) for one in advice(known, method)]
    assert [one for one in said if not one.title or not one.text.endswith(".") or "{" in one.title + one.text] == []
    assert [one for one in said if bool(one.url) != bool(one.label)] == []


@pytest.mark.parametrize(
    ("since", "words"), [("2023-01", "January 2023"), ("2024-09-16", "16 September 2024"), ("2025-05-01", "1 May 2025")]
)
def test_dates_are_in_words(since: str, words: str) -> None:
    assert since_words(since) == words

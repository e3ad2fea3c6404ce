"""The OAuth servers of the catalogue: whoever offers OAuth for mail has one, and every entry can be used as it is."""

import re
from datetime import UTC, date, datetime

import pytest

from mailadmin.authorization import ClientAuth
from mailadmin.mail import known_oauth
from mailadmin.mail.known_oauth import URLS, KnownOAuth
from mailadmin.mail.known_providers import everyone, oauth_of
from mailadmin.mail.types import ServiceType, SignInMethod
from mailadmin.oauth import app_rules
from mailadmin.oauth.models import Cloud

FOUND = {known.key: oauth for known in everyone().values() if (oauth := oauth_of(known))}
OWN = {key: oauth for key, oauth in FOUND.items() if not (known := everyone()[key].oauth) or not known.like}


def test_whoever_offers_oauth_for_mail_has_a_server_for_it_and_nobody_else() -> None:
    offers = {known.key for known in everyone().values() if SignInMethod.OAUTH in known.methods}
    assert set(FOUND) == offers
    assert {"google", "microsoft-365", "outlook", "yahoo", "aol", "fastmail", "mail-ru", "yandex", "comcast"} <= offers
    assert FOUND["verizon"] is FOUND["aol"]


@pytest.mark.parametrize(("key", "oauth"), OWN.items())
def test_every_entry_obeys_the_rules_for_what_people_type(key: str, oauth: KnownOAuth) -> None:
    for cloud in Cloud:
        at = oauth.at(cloud)
        texts = {name: getattr(at, name) for name in URLS} | {
            "client_id": "",
            "tenant": oauth.tenant,
            "parameters": oauth.parameters,
            "scopes": " ".join(at.scopes),
            "app_scopes": " ".join(at.app_scopes),
        }
        assert [broken.message for broken in app_rules.faults(texts, everyone()[key].service_type)] == []
        assert at.authorize_url
        assert at.token_url
        assert at.scopes
        assert not re.search(r"\{(?!tenant\})", " ".join(texts.values()))


@pytest.mark.parametrize(("key", "oauth"), OWN.items())
def test_every_entry_says_how_to_register_where_it_is_from_and_when_it_was_checked(key: str, oauth: KnownOAuth) -> None:
    assert 3 <= len(oauth.steps) <= 5
    assert any("{redirect}" in step for step in oauth.steps)
    assert all(url == "" or url.startswith("https://") for url in (oauth.register_url, oauth.revoke_url))
    assert oauth.client_auth in set(ClientAuth)
    assert oauth.sources
    assert oauth.checked
    assert date(2026, 1, 1) <= oauth.checked <= datetime.now(UTC).date()


def test_the_clouds_of_microsoft_have_hosts_of_their_own() -> None:
    known = FOUND["microsoft-365"]
    assert [cloud.name for cloud in known.clouds] == [cloud.value for cloud in Cloud]
    assert known.at(Cloud.US).token_url == "https://login.microsoftonline.us/{tenant}/oauth2/v2.0/token"
    assert known.at(Cloud.CHINA).app_scopes == ("https://partner.outlook.cn/.default",)
    assert known.at("elsewhere") == known.at(Cloud.GLOBAL)


def test_only_microsoft_has_tenants() -> None:
    with_tenant = {key for key, oauth in FOUND.items() if oauth.tenant}
    assert with_tenant == {key for key, each in everyone().items() if each.service_type is ServiceType.MICROSOFT}


def test_a_field_that_nobody_knows_is_refused() -> None:
    with pytest.raises(TypeError):
        known_oauth.read({"tokenurl": "https://id.example.com/token"})

"""Verify set-up, against real servers: what works is said to work, what does not is explained, the rest is skipped."""

import base64
import json
from datetime import timedelta
from typing import Any
from uuid import UUID

import pytest
from joserfc.jwk import RSAKey
from sqlalchemy import func, select

from mailadmin import db, sealed
from mailadmin.authorization import Client, ClientAuth, Tokens
from mailadmin.db import now
from mailadmin.mail.errors import Category, MailError
from mailadmin.mail.types import Rules, ServiceType
from mailadmin.oauth import service, verify, way_back
from mailadmin.oauth.apps import KEY, SECRET, SERVICE_KEY
from mailadmin.oauth.mailbox_steps import Lines
from mailadmin.oauth.models import GrantKind, OAuthApp
from mailadmin.sealed import Secret
from tests.oauth.harbour import PUBLIC_URL, SALES, Harbour, work
from tests.oauth.test_app_saving import a_pair
from tests.servers import oauth_odd

pytestmark = pytest.mark.usefixtures("booted")
BACK = f"{PUBLIC_URL}/oauth/callback/1"
TENANT, OBJECT = "8b6f0c3a-1111-4222-8333-444455556666", "5d0f9a1e-aaaa-4bbb-8ccc-ddddeeeeffff"


def an_app(harbour: Harbour, *, service_type: ServiceType = ServiceType.OTHER, **changes: Any) -> int:
    with db.transaction() as session:
        provider = harbour.provider(session, service_type=service_type)
        return harbour.app(session, provider, **changes).id


def verified(
    harbour: Harbour, app_id: int, *, public_url: str = PUBLIC_URL, rules: Rules | None = None
) -> dict[str, Any]:
    """The steps by name after the app was verified."""
    verify.verify(app_id, Rules(harbour.idp.rules.networks, ca_file=str(harbour.ca_file)), public_url)
    with db.reading() as session:
        app = session.get_one(OAuthApp, app_id)
        assert app.verified_at is not None
        assert app.verification is not None
        return {step["name"]: step for step in app.verification}


def sealed_key(key: str) -> UUID:
    with db.transaction() as session:
        return sealed.keep(session, Secret(key), purpose=KEY)


def outcomes(steps: dict[str, Any]) -> dict[str, str]:
    return {name: step["outcome"] for name, step in steps.items()}


def test_a_right_app_passes_and_what_was_not_tried_is_skipped(harbour: Harbour) -> None:
    steps = verified(harbour, an_app(harbour))
    assert outcomes(steps) == {
        "address": "passed",
        "discovery": "passed",
        "client": "passed",
        "scopes": "skipped",
        "expiry": "skipped",
        "application": "passed",
        "application-incoming": "skipped",
        "application-outgoing": "skipped",
    }
    assert f"{PUBLIC_URL}/oauth/callback/" in steps["address"]["detail"]


@pytest.mark.parametrize(
    ("url", "outcome"),
    [
        ("", "failed"),
        ("http://console.example.com", "failed"),
        ("http://localhost:8000", "passed"),
        ("http://127.0.0.1:8000", "passed"),
        ("https://console.example.com", "passed"),
    ],
)
def test_people_must_be_able_to_come_back(harbour: Harbour, url: str, outcome: str) -> None:
    steps = verified(harbour, an_app(harbour), public_url=url)
    assert steps["address"]["outcome"] == outcome


GOOGLE = "https://accounts.google.com/o/oauth2/v2/auth"
ENTRA = "https://login.microsoftonline.com/organizations/oauth2/v2.0/authorize"


@pytest.mark.parametrize(
    ("at", "url", "words"),
    [
        (GOOGLE, "https://10.1.2.3", "IP address 10.1.2.3"),
        (GOOGLE, "https://[fd00::1]:8443", "IP address fd00::1"),
        (GOOGLE, "https://console.corp.internal", "public ending"),
        (GOOGLE, "https://console", "public ending"),
        (GOOGLE, "http://127.0.0.1:8000", ""),
        (GOOGLE, "http://localhost:8000", ""),
        (GOOGLE, "https://console.example.com", ""),
        (ENTRA, "http://127.0.0.1:8000", "http://localhost"),
        (ENTRA, "http://localhost:8000", ""),
        (ENTRA, "https://127.0.0.1:8000", ""),
        (ENTRA, "https://console.corp.internal", ""),
        ("https://id.example.net/authorize", "https://10.1.2.3", ""),
    ],
)
def test_each_provider_sends_people_back_only_to_hosts_that_it_takes(at: str, url: str, words: str) -> None:
    why = way_back.why_refused(url, at)
    assert (words in why) if words else why == ""
    assert not why or "set PUBLIC_URL" in why.replace("Set", "set")


def test_a_host_that_google_takes_for_nobody_fails_where_people_sign_in(harbour: Harbour) -> None:
    app_id = an_app(harbour, authorize_url=GOOGLE)
    step = verified(harbour, app_id, public_url="https://10.1.2.3")["address"]
    assert (step["outcome"], "IP address 10.1.2.3" in step["detail"]) == ("failed", True)


def test_what_is_missing_is_named(harbour: Harbour) -> None:
    assert "has no token URL." in verified(harbour, an_app(harbour, token_url="", app_scopes=""))["client"]["detail"]


def test_a_wrong_secret_is_told_with_the_words_of_the_provider(harbour: Harbour) -> None:
    app_id = an_app(harbour)
    harbour.idp.store.apps["mailadmin"].secret = "another"
    step = verified(harbour, app_id)["client"]
    assert (step["outcome"], step["category"]) == ("failed", "config")
    assert "invalid_client" in step["said"]


def test_a_secret_that_has_run_out_at_microsoft_is_explained_by_its_rule(harbour: Harbour) -> None:
    app_id = an_app(harbour)
    harbour.idp.odd["token"] = oauth_odd.expired_secret("mailadmin")
    step = verified(harbour, app_id)["client"]
    assert (step["outcome"], step["rule"]) == ("failed", "aadsts_7000222")


def test_a_date_that_is_over_fails_before_anybody_notices(harbour: Harbour) -> None:
    step = verified(harbour, an_app(harbour, secret_ends_on=now().date().replace(year=2020)))["expiry"]
    assert step["outcome"] == "failed"
    assert "ran out" in step["detail"]


def test_what_the_issuer_says_otherwise_is_offered(harbour: Harbour) -> None:
    app_id = an_app(harbour, token_url="https://localhost:1/token", userinfo_url="")
    step = verified(harbour, app_id)["discovery"]
    assert step["outcome"] == "failed"
    assert step["offer"] == {"token_url": harbour.idp.token_url}


def test_an_issuer_alone_is_enough_to_learn_the_rest(harbour: Harbour) -> None:
    nothing = dict.fromkeys(("authorize_url", "token_url", "jwks_url", "userinfo_url", "revocation_url"), "")
    steps = verified(harbour, an_app(harbour, **nothing))
    assert set(steps["discovery"]["offer"]) == set(nothing)
    assert steps["client"]["outcome"] == "failed"


def test_a_server_that_cannot_be_reached_fails_the_step_and_not_the_rest(harbour: Harbour) -> None:
    steps = verified(harbour, an_app(harbour, issuer="https://localhost:1"))
    assert steps["discovery"]["outcome"] == "failed"
    assert steps["client"]["outcome"] == "passed"


def test_a_mailbox_that_lets_the_app_in_is_opened_and_nothing_is_sent(harbour: Harbour) -> None:
    app_id = an_app(harbour, verify_mailbox=SALES)
    harbour.idp.may_open.add(("mailadmin", SALES))
    sent = len(harbour.sink.messages)
    steps = verified(harbour, app_id)
    assert steps["application-incoming"]["outcome"] == "passed"
    assert steps["application-outgoing"]["outcome"] == "passed"
    assert len(harbour.sink.messages) == sent


def test_a_mailbox_that_does_not_let_the_app_in_is_told(harbour: Harbour) -> None:
    steps = verified(harbour, an_app(harbour, verify_mailbox=SALES))
    assert outcomes(steps)["application"] == "passed"
    assert steps["application-incoming"]["outcome"] == "failed"
    assert steps["application-incoming"]["category"] == "oauth"


def test_microsoft_gives_no_token_for_an_app_without_its_own_tenant(harbour: Harbour) -> None:
    app_id = an_app(harbour, service_type=ServiceType.MICROSOFT, tenant="organizations", app_scopes="mail")
    step = verified(harbour, app_id)["application"]
    assert step["outcome"] == "skipped"
    assert "tenant" in step["detail"]


def test_a_token_of_microsoft_without_the_roles_for_mail_is_no_success(harbour: Harbour) -> None:
    app_id = an_app(harbour, service_type=ServiceType.MICROSOFT, tenant=TENANT, verify_mailbox=SALES)
    steps = verified(harbour, app_id)
    assert steps["application"]["outcome"] == "failed"
    assert "IMAP.AccessAsApp, SMTP.SendAsApp" in steps["application"]["detail"]
    assert steps["application-incoming"]["outcome"] == "skipped"


def test_google_lets_no_app_in_without_a_person(harbour: Harbour) -> None:
    app_id = an_app(harbour, service_type=ServiceType.GOOGLE)
    step = verified(harbour, app_id)["application"]
    assert step["outcome"] == "skipped"
    assert "service account" in step["detail"]
    with db.transaction() as session:
        assert not service.can(session.get(OAuthApp, app_id), GrantKind.APPLICATION)


def test_scopes_that_only_tell_who_somebody_is_fail(harbour: Harbour) -> None:
    step = verified(harbour, an_app(harbour, scopes="openid email offline_access"))["scopes"]
    assert step["outcome"] == "failed"
    assert "None of these opens mail" in step["detail"]


def test_a_secret_that_ends_soon_is_told_and_has_not_failed(harbour: Harbour) -> None:
    step = verified(harbour, an_app(harbour, secret_ends_on=now().date() + timedelta(days=13)))["expiry"]
    assert (step["outcome"], "in 13 days" in step["detail"]) == ("passed", True)


def test_scopes_of_two_services_of_microsoft_fail(harbour: Harbour) -> None:
    mixed = "https://outlook.office.com/IMAP.AccessAsUser.All https://graph.microsoft.com/Mail.Send offline_access"
    step = verified(harbour, an_app(harbour, service_type=ServiceType.MICROSOFT, scopes=mixed))["scopes"]
    assert (step["outcome"], step["rule"]) == ("failed", "aadsts_700022")


def test_a_service_account_opens_the_mailbox_or_says_what_the_admin_console_needs(harbour: Harbour) -> None:
    key = harbour.idp.add_service_account("mail@harbour.test", domains=("example.org",), scopes=("mail",))
    app_id = an_app(harbour, verify_mailbox=SALES)
    with db.transaction() as session:
        app = session.get_one(OAuthApp, app_id)
        app.service_key_id = sealed.keep(session, Secret(key), purpose=SERVICE_KEY)
    steps = verified(harbour, app_id)
    assert [steps[name]["outcome"] for name in ("service", "service-incoming", "service-outgoing")] == ["passed"] * 3
    assert "application" not in steps
    harbour.idp.store.service_accounts.clear()
    step = verified(harbour, app_id)["service"]
    assert step["outcome"] == "failed"
    assert [value for _, value in step["commands"]] == ["100000000000000000001", "mail"]


def test_an_app_whose_secret_was_removed_is_told_before_anybody_is_asked(harbour: Harbour) -> None:
    app_id = an_app(harbour, secret_id=None)
    step = verified(harbour, app_id)["client"]
    assert (step["outcome"], harbour.idp.count("token")) == ("failed", 0)
    assert "no client secret" in step["detail"]


def test_a_certificate_shows_who_the_app_is(harbour: Harbour) -> None:
    certificate, key = a_pair()
    other = sealed_key(key)
    app_id = an_app(harbour, client_auth=ClientAuth.KEY, certificate=certificate, key_id=other, secret_id=None)
    harbour.idp.add_app("mailadmin", auth=("private_key_jwt",), key=RSAKey.import_key(key), redirect_uris=(BACK,))
    steps = verified(harbour, app_id)
    assert steps["client"]["outcome"] == "passed"
    assert steps["application"]["outcome"] == "passed"


def test_a_secret_that_does_not_open_is_told(harbour: Harbour) -> None:
    app_id = an_app(harbour)
    with db.transaction() as session:
        app = session.get_one(OAuthApp, app_id)
        app.secret_id = sealed.keep(session, Secret("x"), purpose=SECRET)
        row = session.get_one(sealed.SealedSecret, app.secret_id)
        row.sealed = bytes(len(row.sealed))
    step = verified(harbour, app_id)["client"]
    assert "cannot be opened" in step["detail"]


def test_the_job_verifies_what_was_asked_for_and_the_settings_keep_their_version(harbour: Harbour) -> None:
    app_id = an_app(harbour)
    with db.transaction() as session:
        app = session.get_one(OAuthApp, app_id)
        edition = service.app_edition(app)
        service.want_verification(session, app, mailbox="")
    work()
    with db.reading() as session:
        app = session.get_one(OAuthApp, app_id)
        assert not service.is_verifying(app)
        assert app.verify_started_at is None
        assert (len(app.verification or []), service.app_edition(app)) == (8, edition)


def test_what_is_saved_while_the_steps_run_was_not_verified(harbour: Harbour) -> None:
    app_id = an_app(harbour)

    def save_meanwhile() -> None:
        with db.transaction() as session:
            session.get_one(OAuthApp, app_id).changed_at = now()

    harbour.idp.odd["token"] = save_meanwhile  # and then the usual answer
    verified(harbour, app_id)
    with db.reading() as session:
        app = session.get_one(OAuthApp, app_id)
        assert app.verified_at is not None
        assert app.changed_at > app.verified_at


def test_an_app_that_was_deleted_meanwhile_is_left_alone(harbour: Harbour) -> None:
    verify.verify(4711, Rules(), PUBLIC_URL)
    with db.reading() as session:
        assert session.scalar(select(func.count()).select_from(OAuthApp)) == 0


def test_no_secret_and_no_token_is_written_down(harbour: Harbour) -> None:
    app_id = an_app(harbour, verify_mailbox=SALES)
    written = json.dumps(verified(harbour, app_id))
    assert [token for token in harbour.idp.store.access if token in written] == []
    assert "hush" not in written


# Exchange says little; what it says leads to the lines that are still to be run.


def lines_after(code: str) -> list[str]:
    claims = json.dumps({"oid": OBJECT, "roles": ["IMAP.AccessAsApp"]}).encode()
    token = f"h.{base64.urlsafe_b64encode(claims).decode().rstrip('=')}.s"
    client = Client(client_id=TENANT, token_url="https://x.example/")
    lines = Lines(client, Tokens(access=token, expires_at=now()), "o'hara@example.com")
    _, commands = lines.after(MailError(Category.OAUTH, "No.", code=code))
    return [line for _, line in commands]


def test_an_app_that_exchange_does_not_know_is_told_apart_from_one_without_permission() -> None:
    unknown, closed = lines_after("ms_oauth_refused"), lines_after("ms_authenticated_not_connected")
    assert f"New-ServicePrincipal -AppId {TENANT} -ObjectId {OBJECT} -DisplayName Mailadmin" in unknown
    assert not [line for line in closed if line.startswith("New-ServicePrincipal")]
    opening = f"Add-MailboxPermission -Identity 'o''hara@example.com' -User {OBJECT} -AccessRights FullAccess"
    assert opening in unknown
    assert opening in closed


def test_sending_that_is_switched_off_leads_to_the_line_that_switches_it_on() -> None:
    line = "Set-CASMailbox -Identity 'o''hara@example.com' -SmtpClientAuthenticationDisabled $false"
    assert lines_after("ms_smtp_auth_disabled_mailbox") == ["Connect-ExchangeOnline", line]
    assert lines_after("dns-unknown") == []

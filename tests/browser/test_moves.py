"""A campaign as people click through it: report, preview, sign in at the provider, progress, and the way back."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, expect

from mailadmin import boot, db
from mailadmin.config import read_settings
from mailadmin.mail.types import SignInMethod
from mailadmin.oauth.apps import redirect_uri
from tests import factories
from tests.browser.conftest import examine, listened_to, sign_in
from tests.conftest import SECRET_KEY
from tests.moves.conftest import fleet  # noqa: F401
from tests.moves.fleet import SALES, SUPPORT, WIM, Fleet
from tests.oauth.conftest import harbour, running_harbour  # noqa: F401
from tests.oauth.harbour import CLIENT_SECRET, Harbour
from tests.real import Installation, eventually

OAUTH, PASSWORD = SignInMethod.OAUTH, SignInMethod.PASSWORD


@pytest.fixture
def console(tmp_path: Path, harbour: Harbour) -> Iterator[Installation]:  # noqa: F811
    """`mailadmin up`, which trusts the provider; this process shares its database."""
    installation = Installation(tmp_path)
    public_url = f"http://127.0.0.1:{installation.port}"
    variables = {
        "SECRET_KEY": SECRET_KEY,
        "PUBLIC_URL": public_url,
        "MAILADMIN_ALLOWED_NETWORKS": "127.0.0.0/8",
        "MAILADMIN_CA_FILE": str(harbour.ca_file),
    }
    installation.start(**variables)
    url = f"sqlite:///{installation.folder / 'mailadmin.db'}"
    boot.start(read_settings({**variables, "DATABASE_URL": url, "REDIS_URL": "unix:///nowhere/queue.sock"}))
    yield installation
    installation.stop()
    db.database().engine.dispose()


@pytest.fixture
def there(console: Installation, fleet: Fleet) -> Fleet:  # noqa: F811
    """Three accounts with passwords: one is Ada's, one opens for the app, one for neither."""
    fleet.begin(SALES, SUPPORT, WIM)
    back = redirect_uri(fleet.provider_id, f"http://127.0.0.1:{console.port}")
    fleet.idp.add_app("mailadmin", secret=CLIENT_SECRET, redirect_uris=(back,))
    fleet.let_in(SUPPORT)
    with db.transaction() as session:
        ada = factories.a_person(session)
        session.flush()
        ada_id = ada.id
    fleet.change(SALES, owner_id=ada_id)
    return fleet


def test_campaign_from_report_to_rollback(
    chromium: Browser,
    console: Installation,
    there: Fleet,
    screenshots: Path,
) -> None:
    with listened_to(chromium, console, ignore_https_errors=True) as context:
        page = context.new_page()
        sign_in(page)
        page.get_by_role("link", name="Leave passwords").click()
        expect(page.get_by_role("row").filter(has_text="Harbour")).to_contain_text("People can sign in, app-only")
        page.get_by_role("link", name="Move accounts…").click()
        page.get_by_label("People: you sign in to yours").check()
        for address in (SALES, SUPPORT, WIM):
            page.get_by_label(f"Tick {address}").check()
        for address in (SUPPORT, WIM):
            page.get_by_label(f"Way for {address}").select_option("App-only")
        page.get_by_role("button", name="Preview the move of these").click()
        expect(page.get_by_role("heading", level=1)).to_have_text("Move 3 accounts at Harbour?")
        page.get_by_role("button", name="Prepare the move").click()
        row = page.get_by_role("row")
        expect(row.filter(has_text=SUPPORT)).to_contain_text("The old password is kept for 14 more days")
        expect(row.filter(has_text=WIM)).to_contain_text("The account is as it was before.")
        row.filter(has_text=SALES).get_by_role("button", name="Sign in").click()
        agree(page, SALES)
        expect(page.get_by_role("heading", name=f"{SALES} is connected")).to_be_visible()
        page.get_by_role("link", name="Back to the others").click()
        expect(page.get_by_text("2 of 3 moved")).to_be_visible()
        assert [there.method(each) for each in (SALES, SUPPORT, WIM)] == [OAUTH, OAUTH, PASSWORD]
        row.filter(has_text=SUPPORT).get_by_role("button", name="Back to the password").click()
        expect(row.filter(has_text=SUPPORT)).to_contain_text("Back on a password")
        eventually(lambda: there.method(SUPPORT) is PASSWORD)
        row.filter(has_text=SALES).get_by_role("button", name="Destroy it now…").click()
        page.get_by_role("dialog").get_by_role("button", name="Destroy password").click()
        expect(row.filter(has_text=SALES)).to_contain_text("There is no old password any more.")
        examine(page, screenshots / "moves-progress.png")


def agree(page: Page, who: str) -> None:
    """What a person does at the provider: the page leads there by itself."""
    page.get_by_label(who).check()
    page.get_by_role("button", name="Allow").click()

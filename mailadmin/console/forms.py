"""Questions before something goes away, and the filters of lists."""

from collections.abc import Sequence

from flask_wtf import FlaskForm
from werkzeug.datastructures import MultiDict
from wtforms import SearchField, SelectField, StringField
from wtforms.validators import ValidationError

from mailadmin.accounts.models import Kind
from mailadmin.console.account_search import LEGACY, OWN, UNENCRYPTED, Wanted
from mailadmin.form import options
from mailadmin.mail.types import SignInMethod
from mailadmin.text import t

Pairs = Sequence[tuple[str, str]]  # what to choose from: value and words
LONGEST_SEARCH = 200


class DeleteForm(FlaskForm):
    """Deletion on a click; the form only carries the token."""


class TypeToDeleteForm(FlaskForm):
    """Deletion that cannot be undone: the address has to be typed."""

    confirm = StringField()

    def __init__(self, address: str) -> None:
        super().__init__()
        self._address = address
        self.confirm.label.text = t("Type {address} to confirm", address=address)

    def validate_confirm(self, field: StringField) -> None:
        if (field.data or "").strip().lower() != self._address.lower():
            raise ValidationError(t("This is not {address}. Type it exactly.", address=self._address))


def _words(typed: str | None) -> str:
    """What was typed into a search, with single spaces and no control characters."""
    return " ".join("".join(c if c.isprintable() else " " for c in typed or "")[:LONGEST_SEARCH].split())


class SearchForm(FlaskForm):
    """Words to search for, read from the address. It only reads, so it carries no token."""

    class Meta:
        csrf = False

    q = SearchField(filters=[_words])

    def __init__(self, typed: MultiDict[str, str], *, label: str) -> None:
        super().__init__(formdata=typed)
        self.q.label.text = label

    def words(self) -> str:
        """What was typed, as printable words."""
        return self.q.data or ""


class AccountFilter(SearchForm):
    """What narrows and sorts the list of accounts, read from its address; what is not to choose from counts as empty.

    It only reads, so it carries no token.
    """

    health = SelectField(validate_choice=False)
    provider = SelectField(validate_choice=False)
    kind = SelectField(validate_choice=False)
    method = SelectField(validate_choice=False)
    team = SelectField(validate_choice=False)
    sort = SelectField(validate_choice=False)

    def __init__(self, typed: MultiDict[str, str], *, providers: Pairs, teams: Pairs) -> None:
        super().__init__(typed, label=t("Search by address, name, ID or sender"))
        self._offer("health", t("Health"), t("Any health"), _healths())
        own = [(OWN, t("Own servers"))] if providers else []
        self._offer("provider", t("Provider"), t("All providers"), [*((str(i), name) for i, name in providers), *own])
        self._offer("kind", t("Kind"), t("All kinds"), [(kind.value, t(kind.capitalize())) for kind in Kind])
        self._offer("method", t("Sign-in"), t("All sign-ins"), _methods())
        self._offer("team", t("Team"), t("All teams"), [(str(i), name) for i, name in teams])
        self._offer("sort", t("Order"), t("By address"), _orders())

    def _offer(self, name: str, label: str, nothing: str, choices: Pairs) -> None:
        field = self[name]
        field.label.text = label
        field.choices = options([("", nothing), *choices])
        if field.data not in {value for value, _ in choices}:
            field.data = ""

    def wanted(self, *, state: str, page: int) -> Wanted:
        """What the list shall show."""
        chosen = {name: self[name].data for name in ("health", "provider", "kind", "method", "team")}
        sort = self.sort.data or Wanted().sort
        return Wanted(q=self.words(), state=state, sort=sort, page=page, **chosen)


def _healths() -> Pairs:
    return [
        ("connected", t("Connected")),
        ("syncing", t("Syncing")),
        ("signin", t("Sign-in needed")),
        ("refused", t("Password refused")),
        ("setting", t("Needs a setting")),
        ("unreachable", t("Unreachable")),
        ("partial", t("Not complete")),
        (UNENCRYPTED, t("Not encrypted")),
        ("waiting", t("Waiting for owner")),
        ("paused", t("Paused")),
        ("draft", t("Unfinished")),
    ]


def _methods() -> Pairs:
    return [
        (SignInMethod.OAUTH.value, t("OAuth")),
        (SignInMethod.APP_PASSWORD.value, t("App password")),
        (SignInMethod.PASSWORD.value, t("Password")),
        (LEGACY, t("Legacy: a password despite OAuth")),
    ]


def _orders() -> Pairs:
    return [
        ("-address", t("By address, from Z to A")),
        ("name", t("By name")),
        ("-name", t("By name, from Z to A")),
        ("provider", t("By provider")),
        ("-provider", t("By provider, from Z to A")),
        ("state", t("Worst first")),
        ("-state", t("Best first")),
        ("synced", t("Longest without a sync first")),
        ("-synced", t("Last synced first")),
    ]

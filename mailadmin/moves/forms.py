"""What is chosen for a campaign: the way for all, and other ways for some. All of it stands in addresses."""

import re
from collections.abc import Mapping, Sequence
from typing import Any

from werkzeug.datastructures import MultiDict
from wtforms import Field, RadioField, SelectChoice, SelectField, StringField

from mailadmin.form import Form
from mailadmin.moves.campaign import Wish
from mailadmin.moves.models import MoveState, MoveWay
from mailadmin.moves.ways import ALONE, PEOPLE
from mailadmin.text import t
from mailadmin.web import row_id

WAY_WORDS = {
    MoveWay.SIGN_IN: "You sign in to each",
    MoveWay.OWNER: "Their owners, by connect links",
    MoveWay.APPLICATION: "The app by itself, for all at once",
    MoveWay.SERVICE_ACCOUNT: "The service account, for all at once",
}
SHORT_WORDS = {
    MoveWay.SIGN_IN: "You sign in",
    MoveWay.OWNER: "Connect link",
    MoveWay.APPLICATION: "App-only",
    MoveWay.SERVICE_ACCOUNT: "Service account",
}
STATE_WORDS = {
    MoveState.PREPARED: "In line",
    MoveState.WAITING: "Waiting for somebody",
    MoveState.TESTING: "Testing",
    MoveState.FAILED: "Failed",
    MoveState.MOVED: "Moved",
    MoveState.ROLLED_BACK: "Back on a password",
}
MOST = 200  # accounts that are named one by one
_WAY = re.compile(r"way-n\d{1,18}", re.ASCII)


class SearchForm(Form):
    """What narrows the list of accounts."""

    q = StringField(t("Search the accounts"))


class ProviderForm(Form):
    """Which moves the list of progress shows."""

    provider = SelectField(t("Provider"))

    def __init__(self, names: Sequence[tuple[int, str]], chosen: int | None) -> None:
        super().__init__(formdata=None, meta={"csrf": False}, data={"provider": str(chosen or "")})
        everyone = [SelectChoice("", t("All providers"))]
        self.provider.choices = everyone + [SelectChoice(str(id_), name) for id_, name in names]


class WayForm(Form):
    """The way for all, and by the number of an account the way for that one, where it is another."""

    by = RadioField(t("Who lets this console in"))

    def __init__(self, typed: MultiDict[str, str] | None, possible: Sequence[MoveWay], usual: str) -> None:
        super().__init__(typed if typed and "by" in typed else None, meta={"csrf": False}, data={"by": usual})
        words = {way.value: WAY_WORDS[way] for way in possible}
        alone = [way.value for way in possible if way in ALONE]
        words[PEOPLE] = "People: you sign in to yours, owners get connect links"
        order = [*alone, PEOPLE, *(way for way in words if way not in (*alone, PEOPLE))]
        self.by.choices = [SelectChoice(way, t(words[way])) for way in order]


def way_fields(possible: Sequence[MoveWay], account_ids: Sequence[int]) -> Mapping[int, Field]:
    """For each account a field with the way for it alone; empty: as for all."""
    choices = [SelectChoice("", t("As above")), *(SelectChoice(way.value, t(SHORT_WORDS[way])) for way in possible)]
    fields = {f"n{id_}": SelectField(t("Way"), choices=choices) for id_ in account_ids}
    form: Any = type("_Ways", (Form,), fields)(formdata=None, prefix="way-", meta={"csrf": False})
    return {id_: form[f"n{id_}"] for id_ in account_ids}


def wish_from(typed: MultiDict[str, str], possible: Sequence[MoveWay]) -> Wish | None:
    """What was chosen, in an address or a form; None if that makes no sense."""
    by, known = typed.get("by", ""), {way.value: way for way in possible}
    if by not in {PEOPLE, *known}:
        return None
    if typed.get("which") != "ticked":
        return Wish(by, None, _exceptions(typed, [int(key[5:]) for key in typed if _WAY.fullmatch(key)][:MOST], known))
    ids = tuple(dict.fromkeys(typed.getlist("account", type=row_id)))[:MOST]
    return Wish(by, ids, _exceptions(typed, ids, known))


def _exceptions(typed: MultiDict[str, str], ids: Sequence[int], known: Mapping[str, MoveWay]) -> Mapping[int, MoveWay]:
    return {id_: known[way] for id_ in ids if (way := typed.get(f"way-n{id_}", "")) in known}


def hidden(wish: Wish) -> list[tuple[str, str]]:
    """`wish` as fields of a form, from which `wish_from` reads it again."""
    fields = [("by", wish.by), ("which", "all" if wish.ids is None else "ticked")]
    fields += [("account", str(id_)) for id_ in wish.ids or ()]
    return fields + [(f"way-n{id_}", way.value) for id_, way in wish.exceptions.items()]

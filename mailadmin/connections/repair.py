"""What the page of a test offers to do about it with one click, and doing it; then the account is tested again."""

from dataclasses import dataclass
from typing import Any

from sqlalchemy.orm import Session

from mailadmin.accounts import service as accounts
from mailadmin.accounts.models import Account
from mailadmin.connections import service
from mailadmin.connections.models import Check, CheckOutcome
from mailadmin.errors import RuleBroken
from mailadmin.mail.errors import Category
from mailadmin.mail.types import Direction, Server, TLSMode
from mailadmin.permissions import Actor
from mailadmin.providers.servers import TLS_WORDS
from mailadmin.text import t


@dataclass(frozen=True, slots=True)
class Offer:
    """One click: `key` comes back with it, `label` stands on the button, `hint` below it.

    `to_settings` is a host to enter in the settings for `direction`, where the password has to be typed again: a
    stored one is not sent to a host it was not given for. An offer that is not `is_plain` needs a confirmation; an
    `is_guess` was not tried yet.
    """

    key: str
    label: str
    hint: str
    direction: Direction
    to_settings: str = ""
    is_plain: bool = True
    is_guess: bool = False


def offers(account: Account, check: Check) -> dict[Direction, list[Offer]]:
    """What can be done about `check` with one click, by direction; nothing while it runs or when it is outdated."""
    if check.finished_at is None or check.account_version != account.version or _has_moved(account, check):
        return {}
    found: dict[Direction, list[Offer]] = {}
    if check.user_name and check.outcome is CheckOutcome.PASSED:
        label = t("Use the user name {name}", name=check.user_name)
        hint = t("It worked in this test; the account still signs in as {name}.", name=_login(account))
        found[Direction.INCOMING] = [Offer("login", label, hint, Direction.INCOMING)]
    diagnosis = check.diagnosis
    while diagnosis:
        direction = Direction(diagnosis["direction"])
        found[direction] = list(_offered(account, check, direction, diagnosis))
        diagnosis = diagnosis.get("also")
    return {direction: list_ for direction, list_ in found.items() if list_}


def _has_moved(account: Account, check: Check) -> bool:
    """Whether the provider has other servers than those that were tested."""
    return any(str(accounts.server_of(account, Direction(d))) != server for d, server in check.servers.items())


def _offered(account: Account, check: Check, direction: Direction, diagnosis: dict[str, Any]) -> list[Offer]:
    made = []
    for number, fix in enumerate(diagnosis.get("fixes", ())):
        server = accounts.parse_server(fix["server"])
        if fix["kind"] == "door":
            tls_mode = t(TLS_WORDS[server.tls_mode])
            label = t("Use port {port} with {tls_mode}", port=server.port, tls_mode=tls_mode)
            hint = t("Tried just now: the server greets there.")
            if account.own_server(direction) is None:
                hint += " " + t("This account then has servers of its own.")
            made.append(Offer(f"{direction}:{number}", label, hint, direction))
        else:
            label = t("Use {host}", host=server.host)
            hint = t("Tried just now: the certificate is for this name. The password has to be typed again.")
            made.append(Offer("", label, hint, direction, to_settings=server.host))
    certificate = diagnosis.get("certificate")
    if certificate and diagnosis["rule"] != "tls-too-old":
        label = t("Pin this certificate…")
        hint = t("Then exactly this one is accepted for this account, and no other.")
        made.append(Offer(f"{direction}:pin", label, hint, direction, is_plain=False))
    if diagnosis["rule"] == "tls-pin":
        hint = t("Then the usual rules hold: an authority has to vouch for the certificate.")
        made.append(Offer(f"{direction}:unpin", t("Remove the pin"), hint, direction))
    if login := _other_login(account, check, direction, diagnosis):
        hint = t("One more sign-in with the stored password, at the same server.")
        made.append(Offer(f"try:{login}", t("Try signing in as {name}", name=login), hint, direction, is_guess=True))
    return made


def _other_login(account: Account, check: Check, direction: Direction, diagnosis: dict[str, Any]) -> str:
    """The other common form of the user name, where a refusal may be about that; it is tried when somebody asks."""
    credential = account.credential(Direction.INCOMING)
    typed_by_hand = credential is not None and credential.username not in ("", account.address)
    asks = diagnosis["category"] == Category.AUTH and direction is Direction.INCOMING
    if not asks or typed_by_hand or check.user_name:
        return ""
    local_part = account.address.rpartition("@")[0]
    return local_part if _login(account) == account.address else account.address


def _login(account: Account) -> str:
    return accounts.user_name(account, Direction.INCOMING)


def apply(session: Session, account: Account, check: Check, *, offer: str, actor: Actor) -> Check:
    """Do what `offer` says, if `check` still offers it, and answer the new check. Raises RuleBroken."""
    session.refresh(account, with_for_update={"of": Account})  # What is offered is offered for these settings.
    known = [each.key for list_ in offers(account, check).values() for each in list_]
    if check.account_id != account.id or offer not in known or not offer:
        raise RuleBroken(t("The settings have changed meanwhile. Test again."))
    if offer.startswith("try:"):
        return service.request_other_login(session, account=account, user_name=offer[4:], actor=actor)
    if offer == "login":
        accounts.use_login(session, account, login=check.user_name, actor=actor)
    else:
        _repair(session, account, check, offer, actor)
    return service.request_check(session, account=account, actor=actor)


def _repair(session: Session, account: Account, check: Check, offer: str, actor: Actor) -> None:
    direction, what = Direction(offer.partition(":")[0]), offer.partition(":")[2]
    diagnosis = check.diagnosis
    while diagnosis and diagnosis["direction"] != direction:
        diagnosis = diagnosis.get("also")
    assert diagnosis is not None
    if what == "pin":
        accounts.pin(session, account, direction=direction, sha256=diagnosis["certificate"]["sha256"], actor=actor)
    elif what == "unpin":
        accounts.pin(session, account, direction=direction, sha256="", actor=actor)
    else:
        server: Server = accounts.parse_server(diagnosis["fixes"][int(what)]["server"])
        assert server.tls_mode is not TLSMode.NONE
        accounts.use_server(session, account, direction=direction, server=server, actor=actor)

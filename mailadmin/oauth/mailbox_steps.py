"""The steps of "Verify set-up" that open a mailbox without a person, and what the provider wants set for them."""

import base64
import json
import re
from dataclasses import dataclass
from typing import Any

from mailadmin.authorization import Client, Tokens
from mailadmin.mail import powershell
from mailadmin.mail.deadline import Deadline
from mailadmin.mail.errors import MailError
from mailadmin.mail.incoming import open_incoming
from mailadmin.mail.smtp import open_smtp
from mailadmin.mail.types import Bearer, Rules, Server, ServerProtocol
from mailadmin.text import t

SECONDS = 8.0
Command = tuple[str, str]  # what it is for, and the line
_ROLES = {
    ServerProtocol.IMAP: "IMAP.AccessAsApp",
    ServerProtocol.POP3: "POP.AccessAsApp",
    ServerProtocol.SMTP: "SMTP.SendAsApp",
}
_GUID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", re.IGNORECASE)


def claims(token: str) -> dict[str, Any]:
    """What an access token says, if it is a JWT that can be read: for display alone, since nothing is verified."""
    part = token.partition(".")[2].partition(".")[0]
    try:
        told = json.loads(base64.urlsafe_b64decode(part + "=" * (-len(part) % 4)))
    except (ValueError, RecursionError):
        return {}
    return told if isinstance(told, dict) else {}


def roles(tokens: Tokens) -> list[str]:
    """The permissions for an app itself that a token of Microsoft carries, those that are about mail."""
    found = claims(tokens.access).get("roles")
    return sorted({role for role in found if role in _ROLES.values()}) if isinstance(found, list) else []


def missing_roles(tokens: Tokens, incoming: Server | None, outgoing: Server | None) -> list[str]:
    """The permissions that the servers will want, and `tokens` do not carry."""
    had = roles(tokens)
    return [_ROLES[server.protocol] for server in (incoming, outgoing) if server and _ROLES[server.protocol] not in had]


def sign_in(server: Server, rules: Rules, mailbox: str, tokens: Tokens) -> None:
    """Sign in to `mailbox` at `server` with the token, and look whether it opens. Nothing is sent. Raises MailError."""
    how, deadline = Bearer(mailbox, tokens.access), Deadline(SECONDS)
    if server.protocol is ServerProtocol.SMTP:
        outgoing = open_smtp(server, rules, deadline, secrets=(tokens.access,))
        try:
            outgoing.sign_in(how)
        finally:
            outgoing.close()
        return
    incoming = open_incoming(server, rules, deadline, secrets=(tokens.access,))
    try:
        incoming.sign_in(how)
        incoming.folders(counts=False)  # Exchange lets in, and only then says that the mailbox may not be opened.
    finally:
        incoming.close()


@dataclass(frozen=True, slots=True)
class Lines:
    """The lines of Exchange Online PowerShell for an app and a mailbox, with the values filled in."""

    client: Client | str | None
    tokens: Tokens
    mailbox: str

    def after(self, error: MailError) -> tuple[str, tuple[Command, ...]]:
        """Which of the settings in Exchange is missing, as far as `error` tells, and the lines that make it."""
        code = error.code
        if code == "ms_oauth_refused":
            said = "The token is good, but Exchange does not know the app, or there is no such mailbox."
            return t(said), (self._connect(), self._registration(), self._opening())
        if code == "ms_authenticated_not_connected":
            said = "Exchange knows the app, but the app has no permission on this mailbox, or IMAP is off for it."
            return t(said), (self._connect(), self._opening(), self._receiving())
        if code in ("ms_smtp_auth_disabled_mailbox", "ms_smtp_auth_disabled"):
            said = "The token is good, but authenticated sending is switched off for this mailbox."
            return t(said), (self._connect(), self._submission())
        if code in ("ms_535_573", "ms_not_authenticated"):
            said = (
                "Exchange refuses to send. It says the same whether it does not know the app, the app has no permission"
                " on the mailbox, or sending is off for it: go through the lines."
            )
            return t(said), (self._connect(), self._registration(), self._opening(), self._submission())
        return "", ()

    def sending_as(self) -> Command:
        """The line that lets the app send as the mailbox."""
        line = (
            f"Add-RecipientPermission -Identity {self._where} -Trustee {self._app} -AccessRights SendAs -Confirm:$false"
        )
        return t("Let the app send as this mailbox"), line

    def _connect(self) -> Command:
        return t("Sign in as an Exchange administrator"), "Connect-ExchangeOnline"

    def _registration(self) -> Command:
        app_id = powershell.word(self.client.client_id) if isinstance(self.client, Client) else "APPLICATION-ID"
        line = f"New-ServicePrincipal -AppId {app_id} -ObjectId {self._app} -DisplayName Mailadmin"
        return t("Tell Exchange about the app"), line

    def _opening(self) -> Command:
        line = f"Add-MailboxPermission -Identity {self._where} -User {self._app} -AccessRights FullAccess"
        return t("Let the app open this mailbox"), line

    def _receiving(self) -> Command:
        return t("Allow IMAP for this mailbox"), f"Set-CASMailbox -Identity {self._where} -ImapEnabled $true"

    def _submission(self) -> Command:
        line = f"Set-CASMailbox -Identity {self._where} -SmtpClientAuthenticationDisabled $false"
        return t("Allow authenticated sending for this mailbox"), line

    @property
    def _where(self) -> str:
        return powershell.word(self.mailbox)

    @property
    def _app(self) -> str:
        """The ID of the app's entry under Enterprise applications: a token names it, so nobody takes the wrong one."""
        told = claims(self.tokens.access).get("oid")
        return told if isinstance(told, str) and _GUID.fullmatch(told) else "OBJECT-ID"


def admin_console(key_file: str, scopes: str) -> tuple[Command, ...]:
    """What is entered in the Google Admin console, so that a service account may act for the company's mailboxes."""
    try:
        client_id = str(json.loads(key_file).get("client_id") or "")
    except ValueError:
        client_id = ""
    where = t("admin.google.com > Security > Access and data control > API controls > Manage domain-wide delegation")
    entered = [(t("Client ID, under Add new at {where}", where=where), client_id)] if client_id else []
    return (*entered, (t("OAuth scopes, in the same place"), ",".join(scopes.split())))

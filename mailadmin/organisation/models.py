"""The company that uses this installation."""

from sqlalchemy import String, Text
from sqlalchemy.orm import Mapped, mapped_column

from mailadmin.db import Base


class Organisation(Base):
    """One row: settings for the whole company."""

    __tablename__ = "organisation"

    id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str] = mapped_column(String(120))
    uses_mail: Mapped[bool] = mapped_column(default=True)  # False: nothing is synced, and workers see no mailboxes
    own_domains: Mapped[str] = mapped_column(Text, default="")  # separated by spaces; nobody there is a contact
    free_mail_contacts: Mapped[bool] = mapped_column(default=True)  # senders at free-mail providers become contacts
    text_kilobytes: Mapped[int] = mapped_column(default=256)  # of a message's text, kept for reading and searching
    team_accounts_use_slots: Mapped[bool] = mapped_column(default=False)
    teams_have_many_accounts: Mapped[bool] = mapped_column(default=False)
    requires_second_factor: Mapped[bool] = mapped_column(default=False)
    workers_add_accounts: Mapped[bool] = mapped_column(default=False)  # of their own, without an administrator
    activity_months: Mapped[int] = mapped_column(default=24)  # how long the audit trail is kept

"""Mailadmin: an administrator's console for mail accounts that says why a mailbox fails and what to do."""

__version__ = "0.1.0"

"""Owners of mailboxes whose servers are real, and the account through which they are written to."""

from tests.oauth.conftest import harbour, running_harbour, settings  # noqa: F401

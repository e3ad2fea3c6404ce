"""What people call those who are asked for consent."""

from mailadmin.mail import known_providers
from mailadmin.providers.models import Provider


def short_name(provider: Provider) -> str:
    """`provider` as its owners say it, Google and not Google Workspace, where that is known."""
    known = known_providers.everyone().get(provider.catalogue_key or "")
    return (known.short_name if known else "") or provider.name

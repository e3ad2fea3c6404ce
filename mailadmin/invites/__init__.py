"""One-time links by which owners connect their mailboxes themselves."""

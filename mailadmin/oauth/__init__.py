"""Sign-in with OAuth: apps, consent, tokens."""

"""Attacks: what must not be possible."""

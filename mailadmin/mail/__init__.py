"""Talking to mail servers: a library of its own, with no Flask, no SQLAlchemy and no settings of the console."""

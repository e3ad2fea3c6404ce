"""Folders, messages and the runs that keep them equal to the server."""

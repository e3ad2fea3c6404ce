"""Waiting for servers to tell of new mail: many connections in one process, opened by a few threads."""

"""Organisations that run mail servers: their domains, servers and login format."""

"""Writing mail: drafts, what waits to be sent, and the templates that people begin with."""

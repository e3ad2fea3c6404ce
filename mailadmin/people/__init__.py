"""People who sign in here, their sessions, and the first administrator."""

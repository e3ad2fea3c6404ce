"""Mail accounts, their credentials and their health."""

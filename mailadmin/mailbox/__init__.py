"""Reading the mail that was synced."""

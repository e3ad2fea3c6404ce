"""The people in the mail."""

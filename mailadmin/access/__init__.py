"""Who may use which account."""

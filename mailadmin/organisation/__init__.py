"""What holds for the whole company."""

"""A new account step by step, and its settings afterwards."""

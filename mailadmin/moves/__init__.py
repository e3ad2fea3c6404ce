"""Leaving passwords: accounts that move to OAuth, and the way back."""

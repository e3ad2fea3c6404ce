"""Pages that look across domains: the overview, the lists, the account page."""

"""Opening an account, testing that it opens, and saying what to do when it does not."""

"""The database as all use it: transactions, wake-ups, whose turn it is, rows and times."""

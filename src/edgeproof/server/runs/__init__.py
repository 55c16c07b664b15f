"""Runs, whatever is done with them: their SQL, their endings, what a result must hold."""

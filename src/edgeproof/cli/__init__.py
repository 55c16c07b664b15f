"""The command line: one file per command group, parse → ask → print. Only this room exits the process."""

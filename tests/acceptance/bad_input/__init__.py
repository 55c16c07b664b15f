"""What bad input gets from a real system. A package, so that its system stops with its last test."""

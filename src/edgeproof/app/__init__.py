"""Composition roots: the only place where rooms are wired together. The console script starts here."""

from __future__ import annotations


def main() -> None:
    """Entry point of ``edgeproof``."""
    from edgeproof.app.commands import run

    run()

"""The DSN carries every path and secret unharmed, as asyncpg's own parser reads URLs."""

from pathlib import Path
from urllib.parse import parse_qs, unquote, urlsplit

import pytest

from edgeproof.server.postgres import PostgresAddress


@pytest.mark.parametrize("folder", ["/tmp/s", "/a b/c", "/per%20cent+&?#=", "/ü/@:"])
@pytest.mark.parametrize("password", ["plain", "p@ss:w/o%r d?#&+"])
def test_dsn_round_trip(folder: str, password: str) -> None:
    address = PostgresAddress(Path(folder), "edgeproof", password, "postgres", 5432)
    url = urlsplit(address.dsn())
    query = parse_qs(url.query, strict_parsing=True)
    assert url.scheme == "postgresql"
    assert (unquote(url.username or ""), unquote(url.password or "")) == ("edgeproof", password)
    assert (unquote(url.path), query["host"], query["port"]) == ("/postgres", [folder], ["5432"])


def test_the_password_is_not_shown() -> None:
    assert "secret" not in repr(PostgresAddress(Path("/s"), "edgeproof", "secret", "postgres", 5432))

"""The command line closes and secures the server, and quotes its socket folder."""

from pathlib import Path

from edgeproof.server.postgres.settings import cluster_name, server_arguments


def test_closed_and_durable() -> None:
    arguments = server_arguments(Path("/data"), Path('/a "b", c'))
    settings = dict(value.split("=", 1) for value in arguments if "=" in value)
    assert arguments[:2] == ["-D", "/data"]
    assert settings["listen_addresses"] == ""
    assert (settings["fsync"], settings["synchronous_commit"]) == ("on", "on")
    assert settings["unix_socket_directories"] == '"/a ""b"", c"'


def test_each_directory_has_its_name() -> None:
    assert cluster_name(Path("/a")) == cluster_name(Path("/a")) != cluster_name(Path("/b"))

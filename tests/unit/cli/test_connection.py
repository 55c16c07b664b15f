import msgspec
import pytest

from edgeproof.cli.connection import Credentials, connect, connect_pinned, credentials_path
from edgeproof.contract.envelope import PublicKey, SigningKey
from edgeproof.contract.errors import Refused

URL = "http://127.0.0.1:8765"


@pytest.fixture
def known(tmp_path):
    credentials = Credentials(
        url=URL,
        server_key=SigningKey.generate().public.base64,
        admin_token="of-the-admin",
        user_token="of-the-user",
    )
    credentials_path(tmp_path).write_bytes(msgspec.json.encode(credentials))
    return credentials


def test_the_data_folder_says_where_and_as_whom(tmp_path, known):
    found = connect(None, None, tmp_path)
    assert found.server.startswith(f"{URL}#sha256:")
    assert found.token == known.user_token
    assert connect(None, None, tmp_path, admin=True).token == known.admin_token


@pytest.mark.parametrize("named", [URL, f"{URL}/"])
def test_naming_this_machines_own_control_plane_is_like_not_naming_it(tmp_path, known, named):
    assert connect(named, None, tmp_path) == connect(None, None, tmp_path)


def test_another_control_plane_never_gets_this_machines_tokens(tmp_path, known):
    for other in (
        "http://127.0.0.1:8766",
        "https://127.0.0.1:8765",
        f"{URL}#sha256:{'0' * 64}",
        f"{URL}.evil",
    ):
        assert connect(other, None, tmp_path).token is None


def test_a_token_that_is_given_is_used(tmp_path, known):
    assert connect(URL, "mine", tmp_path).token == "mine"
    assert connect(None, "mine", tmp_path).token == "mine"


def test_without_a_folder_and_a_name_it_says_what_to_do(tmp_path):
    with pytest.raises(Refused) as refused:
        connect(None, None, tmp_path)
    assert refused.value.code == "server_unreachable"


@pytest.mark.parametrize("server", [None, URL, f"{URL}/"])
@pytest.mark.parametrize("token", [None, "mine"])
def test_this_machines_own_control_plane_is_pinned_however_it_is_named(tmp_path, known, server, token):
    key = PublicKey.from_base64(known.server_key).fingerprint
    found = connect_pinned(server, token, tmp_path)
    assert (found.server, found.token) == (f"{URL}#{key}", token or known.user_token)


def test_another_control_plane_is_named_with_its_key(tmp_path, known):
    pinned = f"https://control.example#sha256:{'0' * 64}"
    assert connect_pinned(pinned, "mine", tmp_path).server == pinned
    for folder in (tmp_path, tmp_path / "none"):
        with pytest.raises(Refused) as refused:
            connect_pinned("https://control.example", "mine", folder)
        assert refused.value.code == "fingerprint_required"

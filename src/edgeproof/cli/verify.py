"""``edgeproof verify``: reads a folder, asks the lab, prints."""

from __future__ import annotations

from pathlib import Path

import click
import msgspec

from edgeproof.cli import exits
from edgeproof.cli.options import json_option
from edgeproof.cli.printing import echo_lines
from edgeproof.contract.errors import Refused

_MAX_BYTES = 256 << 20


@click.command()
@click.argument("folder", type=click.Path(path_type=Path, exists=True, file_okay=False))
@click.option("--trust", type=click.Path(path_type=Path, exists=True, dir_okay=False),
              help="trust.json with the control plane's public key.")  # fmt: skip
@json_option
def verify(folder: Path, trust: Path | None, as_json: bool) -> int:
    """Check an evidence folder offline: signatures, chain, and the decision recomputed byte for byte.

    Exit 0 when everything holds under the trusted key, 3 when it is consistent but not anchored in one or
    rests on a runner key that the trust document revokes, 1 when something does not hold.
    """
    from edgeproof.lab.verify import load_trust
    from edgeproof.lab.verify import verify as check

    trusted = load_trust(trust.read_bytes()) if trust else None
    verified = check(_read(folder), trusted.key if trusted else None, trusted.revoked if trusted else ())
    withdrawn = [one for one in verified.decisions if one.withdrawn]
    if as_json:
        click.echo(msgspec.json.encode(verified).decode())
    else:
        for one in verified.decisions:
            echo_lines(f"{one.job_id}: {one.decision} (policy {one.policy} sha256:{one.policy_digest})")
            if one.withdrawn:
                echo_lines(f"  review required: {one.withdrawn}")
        echo_lines(
            f"verified: {len(verified.decisions)} decisions, every signature and every number holds"
            if verified.anchored
            else "consistent, but not anchored: give --trust to say whose signature counts"
        )
    return exits.DEPLOYABLE if verified.anchored and not withdrawn else exits.REVIEW


def _read(folder: Path) -> dict[str, bytes]:
    files: dict[str, bytes] = {}
    for path in sorted(folder.iterdir()):
        if path.is_symlink() or not path.is_file():
            raise Refused("evidence_unlisted", f"{path.name} is not a plain file")
        if path.stat().st_size > _MAX_BYTES:
            raise Refused("evidence_unlisted", f"{path.name} is larger than any evidence")
        files[path.name] = path.read_bytes()
    return files

"""Whatever is sent to a live server, it answers within its own description: schemathesis asks, as everybody.

Every route of the description is tried with values that fit it and with values that do not, by each kind of
caller, about things that are there and things that are not. No answer may be a 5xx, have an undocumented
status or media type, or break its schema.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import requests
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from schemathesis.checks import not_a_server_error
from schemathesis.schemas import APIOperation
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
    status_code_conformance,
    unsupported_method,
)

from edgeproof.client import Client, ControlPlaneClient
from edgeproof.contract.envelope import SigningKey
from edgeproof.http.openapi import description

from .running_system import capable, up

pytestmark = pytest.mark.slow

EXAMPLES = 8
CALLERS = ("user", "admin", "runner", "worker", "nobody")
CHECKS = [
    not_a_server_error,
    status_code_conformance,
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
    unsupported_method,
]
SCHEMA = schemathesis.openapi.from_dict(description())
OPERATIONS: dict[str, APIOperation] = {one.ok().label: one.ok() for one in SCHEMA.get_all_operations()}


@dataclass(frozen=True)
class Live:
    """A live server, a token for each kind of caller, and what is there to be asked for."""

    url: str
    tokens: dict[str, str | None]
    there: dict[str, str]
    handed_over: str
    """The job that an external worker may answer."""


@pytest.fixture(scope="module")
def live(initialised: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Live]:
    folder = tmp_path_factory.mktemp("contract")
    model = folder / "model.onnx"
    model.write_bytes(b"a model")

    async def registered(address: str, admin_token: str) -> str:
        async with (
            ControlPlaneClient(address, token=admin_token) as admin,
            ControlPlaneClient(address) as device,
        ):
            await device.register(SigningKey.generate(), capable(), await admin.create_enrolment_token())
            assert device.token is not None
            return device.token

    async def employed(address: str, admin_token: str) -> str:
        async with ControlPlaneClient(address, token=admin_token) as admin:
            return (await admin.create_worker("tester")).token

    with (
        up(folder / "data", "--no-runner") as system,
        Client(system.address, token=system.credentials.user_token) as client,
    ):
        credentials = system.credentials
        digest = client.upload(model).removeprefix("sha256:")
        # An ended one: the stream of its events ends, too.
        job = client.analyze(model, options={"batch": 1})
        job.cancel()
        job.wait()
        tokens = {
            "user": credentials.user_token,
            "admin": credentials.admin_token,
            "runner": asyncio.run(registered(system.address, credentials.admin_token)),
            "worker": asyncio.run(employed(system.address, credentials.admin_token)),
            "nobody": None,
        }
        there = {"job_id": job.job_id, "digest": digest, "run_id": job.view.runs[0].run_id}
        handed_over = client.analyze(model, options={"adapter": "external"}).job_id
        yield Live(system.ready.url, tokens, there, handed_over)


@pytest.mark.parametrize("caller", CALLERS)
@pytest.mark.parametrize("label", OPERATIONS)
def test_it_answers_as_described(live: Live, label: str, caller: str) -> None:
    operation = OPERATIONS[label]
    modes = schemathesis.GenerationMode
    cases = operation.as_strategy(modes.POSITIVE) | operation.as_strategy(modes.NEGATIVE)

    with requests.Session() as session:

        @settings(
            max_examples=EXAMPLES, derandomize=True, deadline=None, database=None,
            phases=[Phase.generate], suppress_health_check=list(HealthCheck),
        )  # fmt: skip
        @given(case=cases, known=st.booleans())
        def ask(case: Any, known: bool) -> None:
            if known:
                there = live.there | ({"job_id": live.handed_over} if caller == "worker" else {})
                case.path_parameters |= {name: there[name] for name in case.path_parameters if name in there}
            # Waiting for work is no answer to look at.
            if isinstance(case.body, dict) and isinstance(case.body.get("wait_seconds"), int | float):
                case.body["wait_seconds"] = 0
            token = live.tokens[caller]
            headers = {} if token is None else {"Authorization": f"Bearer {token}"}
            case.call_and_validate(
                base_url=live.url, session=session, headers=headers, checks=CHECKS, timeout=30
            )

        ask()

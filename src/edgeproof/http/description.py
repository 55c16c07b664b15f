"""What the OpenAPI 3.1 description says beside the handlers: problems, bodies that are not structs."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from litestar.openapi.config import OpenAPIConfig
from litestar.openapi.datastructures import ResponseSpec
from litestar.openapi.spec import (
    Components,
    OpenAPIMediaType,
    Operation,
    RequestBody,
    Schema,
    SecurityScheme,
    Tag,
)
from litestar.openapi.spec.enums import OpenAPIType

import edgeproof
from edgeproof.contract.errors import CODES, Problem
from edgeproof.http.problems import PROBLEM_MEDIA_TYPE

#: Any route can answer these.
COMMON: Final = ("invalid_request", "unavailable")
#: Any route with a JSON body can answer these.
BODY: Final = ("invalid_json", "body_too_deep", "body_too_large", "body_too_slow")
#: Any route that needs a token can answer these.
TOKEN: Final = ("unauthenticated", "forbidden", "key_not_allowed")


def problems(*codes: str) -> dict[int, ResponseSpec]:
    """One documented problem response per status, naming the codes it comes with."""
    by_status: dict[int, list[str]] = {}
    for code in (*COMMON, *codes):
        by_status.setdefault(CODES[code].status, []).append(f"`{code}`")
    return {
        status: ResponseSpec(
            data_container=Problem,
            generate_examples=False,
            description=f"A problem with the code {' or '.join(sorted(set(by_status[status])))}",
            media_type=PROBLEM_MEDIA_TYPE,
        )
        for status in sorted(by_status)
    }


@dataclass
class ArtifactBody(Operation):
    """The request body is the artifact's bytes."""

    def __post_init__(self) -> None:
        content = OpenAPIMediaType(
            schema=Schema(type=OpenAPIType.STRING, content_media_type="application/octet-stream")
        )
        self.request_body = RequestBody(
            content={"application/octet-stream": content},
            description="The bytes whose SHA-256 is in the path",
            required=True,
        )


@dataclass
class EnvelopeBody(Operation):
    """The request body is a DSSE envelope, kept byte for byte."""

    def __post_init__(self) -> None:
        envelope = Schema(
            type=OpenAPIType.OBJECT,
            description="RFC 8785 canonical bytes of a DSSE envelope around an in-toto statement; or a "
            "Sigstore bundle (application/vnd.dev.sigstore.bundle) with such an envelope, signed with a key",
            required=["payload", "payloadType", "signatures"],
            properties={
                "payload": Schema(type=OpenAPIType.STRING, content_encoding="base64"),
                "payloadType": Schema(const="application/vnd.in-toto+json"),
                "signatures": Schema(
                    type=OpenAPIType.ARRAY,
                    min_items=1,
                    max_items=1,
                    items=Schema(
                        type=OpenAPIType.OBJECT,
                        required=["keyid", "sig"],
                        properties={
                            "keyid": Schema(type=OpenAPIType.STRING),
                            "sig": Schema(type=OpenAPIType.STRING, content_encoding="base64"),
                        },
                    ),
                ),
            },
        )
        self.request_body = RequestBody(
            content={"application/json": OpenAPIMediaType(schema=envelope)}, required=True
        )


def openapi_config() -> OpenAPIConfig:
    """The head of the description; it is printed and committed, and not served."""
    return OpenAPIConfig(
        title="Edgeproof control plane",
        version=edgeproof.__version__,
        summary="Jobs, the run queue of runners, and artifacts",
        description=(
            "Errors are `application/problem+json` (RFC 9457) with a stable `code`. "
            "Times are RFC 3339 in UTC. "
            "Unknown fields of a request are ignored. "
            "`openapi/examples` of the repository has an exchange of each operation."
        ),
        components=Components(
            security_schemes={
                "bearer": SecurityScheme(
                    type="http",
                    scheme="bearer",
                    description="The token of an admin, a user, a runner or a worker",
                )
            }
        ),
        security=[{"bearer": []}],
        tags=[
            Tag(name="jobs", description="What users ask for"),
            Tag(name="results", description="Runtime results that are kept, and unsigned comparisons"),
            Tag(
                name="workers", description="A Forge or Runtime that is not ours: worker request and response"
            ),
            Tag(name="queue", description="What runners claim and finish, under a lease"),
            Tag(name="runners", description="Registration and enrolment"),
            Tag(name="audit", description="Who did what, append-only and sealed"),
            Tag(name="operators", description="How the queue stands, and doing failed jobs again"),
            Tag(name="policies", description="What decides, kept by the operator"),
            Tag(name="artifacts", description="Immutable bytes, named by their SHA-256"),
            Tag(name="server", description="The control plane itself"),
        ],
        render_plugins=[],
        use_handler_docstrings=True,
    )

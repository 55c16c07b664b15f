"""``create_app``: the Litestar application around a control plane that is already open.

It starts and stops nothing: whoever opened the control plane closes it, and setting ``plane.stopping``
ends every stream and long poll, without which Granian would never come to its end.
"""

from __future__ import annotations

from dataclasses import replace

from litestar import Litestar
from litestar.datastructures import State
from litestar.openapi.config import OpenAPIConfig

from edgeproof.http import (
    artifacts,
    audit,
    compare,
    direct_uploads,
    fleet,
    health,
    jobs,
    metrics,
    operators,
    policies,
    queue,
    results,
    runners,
    workers,
)
from edgeproof.http.authentication import Authentication
from edgeproof.http.body_guard import AnnouncedLength, BodyGuard, BodyLimits
from edgeproof.http.json_bodies import StrictRequest
from edgeproof.http.problems import EXCEPTION_HANDLERS
from edgeproof.server.plane.control_plane import ControlPlane

HANDLERS = (
    health.get_health,
    health.get_ready,
    metrics.get_metrics,
    jobs.analyze,
    jobs.list_jobs,
    jobs.get_job,
    jobs.cancel_job,
    jobs.complete_job_by_hand,
    jobs.job_events,
    jobs.job_evidence,
    jobs.job_metrics,
    compare.compare_results,
    compare.compare_kept,
    compare.compare_latest,
    results.add_result,
    results.list_results,
    results.get_result,
    results.result_history,
    workers.worker_request,
    workers.worker_response,
    workers.create_worker,
    workers.list_workers,
    workers.revoke_worker,
    runners.register_runner,
    runners.list_runners,
    fleet.show_runner,
    fleet.list_keys,
    fleet.add_key,
    fleet.remove_key,
    fleet.rotate_key,
    audit.list_audit,
    audit.audit_seals,
    runners.create_enrolment_token,
    runners.list_enrolment_tokens,
    runners.revoke_enrolment_token,
    policies.list_policies,
    policies.get_policy,
    policies.add_policy,
    queue.claim,
    queue.heartbeats,
    queue.submits,
    queue.heartbeat,
    queue.submit,
    queue.fail,
    operators.drain,
    operators.quarantine,
    operators.release,
    operators.stats,
    operators.dead,
    operators.requeue,
    artifacts.put_artifact,
    artifacts.get_artifact,
    artifacts.head_artifact,
    direct_uploads.offer_upload,
    direct_uploads.finish_upload,
)


def create_app(plane: ControlPlane, limits: BodyLimits | None = None) -> Litestar:
    """The ASGI application. The control plane's ``max_artifact_bytes`` bounds uploads."""
    bounds = replace(limits or BodyLimits(), artifact_bytes=plane.settings.max_artifact_bytes)
    return assemble(State({"plane": plane}), bounds)


def assemble(state: State, limits: BodyLimits, described: OpenAPIConfig | None = None) -> Litestar:
    """Routes, middleware and error rendering. With ``described`` it also serves its description, on routes
    of Litestar's own that know no problem documents: that is for printing it, and needs no control plane.
    """
    return Litestar(
        route_handlers=list(HANDLERS),
        state=state,
        request_class=StrictRequest,
        request_max_body_size=None,
        middleware=[metrics.Observed(), BodyGuard(limits), Authentication(), AnnouncedLength(limits)],
        exception_handlers=EXCEPTION_HANDLERS,
        openapi_config=described,
        logging_config=None,
        debug=False,
    )

"""A result carries what the device told of itself."""

from __future__ import annotations

from pathlib import Path

import msgspec

from edgeproof.contract.canonical import canonical
from edgeproof.contract.results import RuntimeResult
from edgeproof.domain.device_state import DeviceState
from edgeproof.lab.dossier import assemble
from edgeproof.runtime import result
from edgeproof.testing.evidence import make_evidence


def test_the_devices_state_is_in_the_result_where_the_device_tells_it(tmp_path: Path) -> None:
    made = make_evidence()
    dossier = assemble(made.documents, made.evidence, made.control_plane.public)
    measured = dossier.measurement.predicate
    artifact = tmp_path / "model.onnx"
    artifact.write_bytes(b"model")

    def built(state: DeviceState) -> RuntimeResult:
        facts = result.Facts(
            config=measured.config,
            pairs=dossier.samples.pairs,
            quality=dossier.quality,
            shapes={"input": (1, 3, 8, 8)},
            task="classification",
            threads=1,
            system=measured.baseline.system,
            state=state,
            timestamp=measured.baseline.timestamp,
        )
        return result.build(facts, "baseline", artifact)

    extra = built(DeviceState("15W", "schedutil", "1510.4 MHz")).extra
    assert (extra.power_mode, extra.governor, extra.max_clocks) == ("15W", "schedutil", "1510.4 MHz")
    silent = msgspec.json.decode(canonical(built(DeviceState(None, None, None)).extra))
    assert set(silent) == {
        "runtime_artifact_sha256", "source_model_sha256", "input_mode", "measurement"
    }  # fmt: skip

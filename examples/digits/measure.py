"""Print the table of README.md: size, single-thread latency and accuracy of each candidate, here.

A look at the example, not a proof: one process, sessions interleaved. `edgeproof` does it properly.
Needs onnx, onnxruntime and sympy (`edgeproof[onnxruntime]`); a scratch folder holds what it builds.
"""

import logging
import tempfile
import time
from pathlib import Path
from statistics import median

import numpy as np
import onnxruntime as ort
from onnxruntime.quantization import CalibrationDataReader, QuantFormat, QuantType, quantize_static
from onnxruntime.quantization.shape_inference import quant_pre_process

HERE = Path(__file__).parent
ROUNDS, CALLS, WARM_UP = 20, 50, 10


class Samples(CalibrationDataReader):  # type: ignore[misc]
    def __init__(self, path: Path) -> None:
        with np.load(path, allow_pickle=False) as arrays:
            self._images = iter(arrays["image"])

    def get_next(self) -> dict[str, np.ndarray] | None:
        image = next(self._images, None)
        return None if image is None else {"image": image[None]}


def int8(calibration: Path, built: Path) -> Path:
    prepared = built.with_suffix(".prepared")
    quant_pre_process(HERE / "digits.onnx", prepared)
    quantize_static(
        prepared,
        built,
        Samples(calibration),
        quant_format=QuantFormat.QDQ,
        per_channel=True,
        activation_type=QuantType.QUInt8,
        weight_type=QuantType.QInt8,
    )
    return built


def session(path: Path) -> ort.InferenceSession:
    options = ort.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    return ort.InferenceSession(path, options, providers=["CPUExecutionProvider"])


def main() -> None:
    logging.disable(logging.WARNING)
    with np.load(HERE / "test.npz", allow_pickle=False) as test:
        images, labels = test["image"], test["labels"]
    with tempfile.TemporaryDirectory() as scratch:
        paths = {
            "digits": HERE / "digits.onnx",
            "int8, calibration": int8(HERE / "calibration.npz", Path(scratch, "int8.onnx")),
            "int8, calibration-wrong": int8(HERE / "calibration-wrong.npz", Path(scratch, "wrong.onnx")),
            "digits-deeper": HERE / "digits-deeper.onnx",
        }
        sessions = {name: session(path) for name, path in paths.items()}
        sizes = {name: path.stat().st_size for name, path in paths.items()}
    times: dict[str, list[float]] = {name: [] for name in sessions}
    for round_ in range(ROUNDS):
        for name, model in sessions.items():
            for call in range(WARM_UP + CALLS):
                image = images[None, (round_ * CALLS + call) % len(images)]
                start = time.perf_counter()
                model.run(None, {"image": image})
                if call >= WARM_UP:
                    times[name].append(time.perf_counter() - start)
    print("| model | bytes | median ms | ratio | accuracy % | delta, points |\n|---|---|---|---|---|---|")
    right = {
        name: model.run(None, {"image": images})[0].argmax(1) == labels for name, model in sessions.items()
    }
    for name in sessions:
        latency, accuracy = median(times[name]), 100 * right[name].mean()
        ratio, delta = latency / median(times["digits"]), accuracy - 100 * right["digits"].mean()
        cells = [
            name,
            f"{sizes[name]:,}",
            f"{latency * 1e3:.3f}",
            f"{ratio:.2f}",
            f"{accuracy:.2f}",
            f"{delta:+.2f}",
        ]
        print("|", " | ".join(cells), "|")


if __name__ == "__main__":
    main()

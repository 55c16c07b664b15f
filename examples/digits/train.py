"""Train both digit models and write every data file of this folder. See README.md for how to run it.

Needs PyTorch, scikit-learn and onnx, which the package itself never does. Source of the images:
`sklearn.datasets.load_digits` (UCI "Optical Recognition of Handwritten Digits", test part).
One seed for everything; one thread, because the order of a sum decides the last bits of a weight.
"""

import hashlib
import json
from pathlib import Path

import numpy as np
import onnx
import sklearn
import torch
from data import SIZE, Images, Indices, normalise, random_warp, write
from onnx import TensorProto, helper, numpy_helper
from sklearn.datasets import load_digits
from torch import nn

HERE = Path(__file__).parent
SEED = 20260
HELD_OUT = 600  # originals that only the test set sees
COPIES = 6  # test images per held-out original
CALIBRATION = 200
EPOCHS = 30
BATCH = 64

# Output channels of each 3x3 convolution; "pool" halves the image. Multiples of 16 fill the int8 kernels.
MODELS: dict[str, list[int | str]] = {
    "digits": [32, 64, "pool", 64, 64, 64, "pool", 64],
    "digits-deeper": [32, 32, 32, 64, "pool", 64, 64, 64, 64, "pool", 64],
}


def network(plan: list[int | str]) -> nn.Sequential:
    layers: list[nn.Module] = []
    channels = 1
    for step in plan:
        if isinstance(step, str):
            layers.append(nn.MaxPool2d(2))
            continue
        layers += [nn.Conv2d(channels, step, 3, padding=1, bias=False), nn.BatchNorm2d(step), nn.ReLU()]
        channels = step
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(channels, 10))


def fit(model: nn.Sequential, originals: Images, labels: Indices, rng: np.random.Generator) -> None:
    """A fixed recipe, never tuned on the test set: a fresh warp of every original in every epoch."""
    optimiser = torch.optim.AdamW(model.parameters(), lr=2e-3, weight_decay=1e-2)
    steps = -(-len(originals) // BATCH)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, max_lr=4e-3, total_steps=EPOCHS * steps)
    model.train()
    for epoch in range(EPOCHS):
        order = rng.permutation(len(originals))
        images = torch.from_numpy(normalise(random_warp(originals[order], rng)))
        targets = torch.from_numpy(labels[order])
        total = 0.0
        for start in range(0, len(order), BATCH):
            batch = slice(start, start + BATCH)
            loss = nn.functional.cross_entropy(model(images[batch]), targets[batch], label_smoothing=0.05)
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
            schedule.step()
            total += loss.item()
        print(f"  epoch {epoch + 1:2d}: loss {total / steps:.3f}", flush=True)
    model.eval()


def folded(conv: nn.Conv2d, norm: nn.BatchNorm2d) -> tuple[Images, Images]:
    """The convolution's weight and bias with the batch normalisation after it folded in."""
    factor = norm.weight / torch.sqrt(norm.running_var + norm.eps)
    weight = conv.weight * factor[:, None, None, None]
    bias = norm.bias - norm.running_mean * factor
    return weight.detach().numpy(), bias.detach().numpy()


def export(name: str, model: nn.Sequential) -> onnx.ModelProto:
    """Write the graph node by node: Conv, Relu, MaxPool, GlobalAveragePool, Flatten, Gemm, opset 17."""
    nodes, weights = [], []
    value = "image"
    layers = list(model)
    for index, layer in enumerate(layers):
        output = f"layer{index}"
        if isinstance(layer, nn.Conv2d):
            weight, bias = folded(layer, layers[index + 1])
            weights += [numpy_helper.from_array(weight, f"{output}.weight")]
            weights += [numpy_helper.from_array(bias, f"{output}.bias")]
            inputs = [value, f"{output}.weight", f"{output}.bias"]
            node = helper.make_node("Conv", inputs, [output], output, kernel_shape=[3, 3], pads=[1, 1, 1, 1])
        elif isinstance(layer, nn.BatchNorm2d):
            continue
        elif isinstance(layer, nn.ReLU):
            node = helper.make_node("Relu", [value], [output], output)
        elif isinstance(layer, nn.MaxPool2d):
            node = helper.make_node("MaxPool", [value], [output], output, kernel_shape=[2, 2], strides=[2, 2])
        elif isinstance(layer, nn.AdaptiveAvgPool2d):
            node = helper.make_node("GlobalAveragePool", [value], [output], output)
        elif isinstance(layer, nn.Flatten):
            node = helper.make_node("Flatten", [value], [output], output)
        else:
            output = "logits"
            weights += [numpy_helper.from_array(layer.weight.detach().numpy(), "logits.weight")]
            weights += [numpy_helper.from_array(layer.bias.detach().numpy(), "logits.bias")]
            inputs = [value, "logits.weight", "logits.bias"]
            node = helper.make_node("Gemm", inputs, [output], output, transB=1)
        nodes.append(node)
        value = output
    graph = helper.make_graph(
        nodes,
        name,
        [helper.make_tensor_value_info("image", TensorProto.FLOAT, ["N", 1, SIZE, SIZE])],
        [helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["N", 10])],
        weights,
    )
    opset = [helper.make_opsetid("", 17)]
    exported = helper.make_model(graph, opset_imports=opset, ir_version=8, producer_name="edgeproof-example")
    onnx.checker.check_model(exported, full_check=True)
    onnx.save(exported, HERE / f"{name}.onnx")
    return exported


def split(labels: Indices, rng: np.random.Generator) -> tuple[Indices, Indices]:
    """Indices of the training and of the held-out originals, the latter with equal shares of each digit."""
    by_digit = [rng.permutation(np.flatnonzero(labels == digit)) for digit in range(10)]
    held_out = np.sort(np.concatenate([indices[: HELD_OUT // 10] for indices in by_digit]))
    return np.setdiff1d(np.arange(len(labels)), held_out), held_out


def main() -> None:
    torch.set_num_threads(1)
    torch.use_deterministic_algorithms(True)
    digits = load_digits()
    originals, labels = digits.images.astype(np.float32), digits.target.astype(np.int64)
    # A stream each, so that a change to one part leaves the others as they were.
    streams = [np.random.default_rng(child) for child in np.random.SeedSequence(SEED).spawn(5)]
    train, held_out = split(labels, streams[0])

    groups = np.repeat(held_out, COPIES)
    test = normalise(random_warp(originals[groups], streams[1]))
    write(HERE / "test.npz", image=test, labels=labels[groups], groups=groups)

    calibration = np.sort(streams[2].choice(train, CALIBRATION, replace=False))
    images = normalise(random_warp(originals[calibration], streams[2]))
    write(HERE / "calibration.npz", image=images)
    # The mistake: loader and preprocessing both divide by 255, so every activation's range is far too small.
    write(HERE / "calibration-wrong.npz", image=images / np.float32(255))

    for (name, plan), stream in zip(MODELS.items(), streams[3:], strict=True):
        print(name)
        torch.manual_seed(SEED)
        model = network(plan)
        fit(model, originals[train], labels[train], stream)
        export(name, model)

    files = sorted([*HERE.glob("*.onnx"), *HERE.glob("*.npz")])
    record = {
        "source": "sklearn.datasets.load_digits",
        "seed": SEED,
        "versions": {"torch": torch.__version__.split("+")[0], "scikit-learn": sklearn.__version__},
        "held_out_originals": held_out.tolist(),
        "calibration_originals": calibration.tolist(),
        "sha256": {file.name: hashlib.sha256(file.read_bytes()).hexdigest() for file in files},
    }
    (HERE / "provenance.json").write_text(json.dumps(record) + "\n")


if __name__ == "__main__":
    main()

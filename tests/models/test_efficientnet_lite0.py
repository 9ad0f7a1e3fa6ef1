"""EfficientNet-Lite0: its arithmetic against NumPy, and what its weights recognize."""

import hashlib
import itertools
import os
import pathlib

import keras
import keras_hub
import numpy as np
import pytest
from backend import array, tensor
from numpy.lib.stride_tricks import sliding_window_view

import dropblock_lib as dbl
from dropblock_lib import models
from dropblock_lib.data import downloads, load_dataset
from dropblock_lib.data.letterbox import fit_image
from dropblock_lib.models import efficientnet_lite0 as module
from dropblock_lib.models.efficientnet_lite0 import efficientnet_lite0

pytestmark = pytest.mark.backends

SIZE = 64
# Repeats, kernel, first stride, expansion, channels of each stage: the paper's table.
STAGES = (
    (1, 3, 1, 1, 16),
    (2, 3, 2, 6, 24),
    (2, 5, 2, 6, 40),
    (3, 3, 2, 6, 80),
    (3, 5, 1, 6, 112),
    (4, 5, 2, 6, 192),
    (1, 3, 1, 6, 320),
)


def blocks():
    """(kernel, stride, expansion, channels in, channels out) of each block."""
    before = 32
    for repeats, kernel, stride, expansion, channels in STAGES:
        for index in range(repeats):
            yield kernel, 1 if index else stride, expansion, before, channels
            before = channels


def random_arrays():
    rng = np.random.default_rng(0)
    arrays = {}

    def convolution(name, shape, inputs):
        arrays[f"{name}/kernel"] = rng.normal(0, inputs**-0.5, shape)

    def normalization(name, channels):
        arrays[f"{name}/gamma"] = rng.uniform(0.5, 1.5, channels)
        arrays[f"{name}/beta"] = rng.normal(0.5, 0.5, channels)
        arrays[f"{name}/mean"] = rng.normal(0, 0.1, channels)
        arrays[f"{name}/var"] = rng.uniform(0.5, 1.5, channels)

    convolution("stem_conv", (3, 3, 3, 32), 27)
    normalization("stem_bn", 32)
    for number, (kernel, _, expansion, before, after) in enumerate(blocks()):
        inner = expansion * before
        if expansion > 1:
            convolution(f"b{number}_expand", (1, 1, before, inner), before)
            normalization(f"b{number}_expand_bn", inner)
        convolution(f"b{number}_dw", (kernel, kernel, inner, 1), kernel**2)
        normalization(f"b{number}_dw_bn", inner)
        convolution(f"b{number}_project", (1, 1, inner, after), inner)
        normalization(f"b{number}_project_bn", after)
    return {name: value.astype("float32") for name, value in arrays.items()}


def windows(x, size, stride):
    """TensorFlow's "same" padding: an odd pixel goes to the right and the bottom."""
    pads = []
    for side in x.shape[:2]:
        total = max((-(-side // stride) - 1) * stride + size - side, 0)
        pads.append((total // 2, total - total // 2))
    x = np.pad(x, (*pads, (0, 0)))
    return sliding_window_view(x, (size, size), axis=(0, 1))[::stride, ::stride]


def forward(arrays, image):
    """The network in NumPy, for one image; the map after each block."""

    def normalize(x, name):
        gamma, beta, mean, var = (arrays[f"{name}/{k}"] for k in
                                  ("gamma", "beta", "mean", "var"))  # fmt: skip
        return gamma * (x - mean) / np.sqrt(var + 1e-3) + beta

    def activate(x, name):
        return np.clip(normalize(x, name), 0, 6)

    x = (image.astype("float64") - 127) / 128
    x = np.einsum("hwcij,ijco->hwo", windows(x, 3, 2), arrays["stem_conv/kernel"])
    x = activate(x, "stem_bn")
    maps = []
    for number, (kernel, stride, expansion, before, after) in enumerate(blocks()):
        start, name = x, f"b{number}"
        if expansion > 1:
            x = activate(x @ arrays[f"{name}_expand/kernel"][0, 0], f"{name}_expand_bn")
        depthwise = arrays[f"{name}_dw/kernel"][..., 0]
        x = np.einsum("hwcij,ijc->hwc", windows(x, kernel, stride), depthwise)
        x = activate(x, f"{name}_dw_bn")
        x = normalize(x @ arrays[f"{name}_project/kernel"][0, 0], f"{name}_project_bn")
        if stride == 1 and before == after:
            x = x + start
        maps.append(x)
    return maps


@pytest.fixture(scope="module")
def file(tmp_path_factory):
    path = tmp_path_factory.mktemp("weights") / "random.npz"
    np.savez(path, **random_arrays(), unused=np.zeros(3))
    return path


def test_it_computes_what_numpy_does_from_the_arrays_of_a_file(file):
    model = efficientnet_lite0(SIZE, file, itertools.repeat(None))
    image = np.random.default_rng(1).uniform(0, 255, (SIZE, SIZE, 3))
    found = array(model(tensor(image[None].astype("float32"))))[0]
    expected = forward(random_arrays(), image)
    assert [x.shape[0] for x in expected[:1] + expected[4::5]] == [32, 8, 4, 2, 2][:4]
    np.testing.assert_allclose(found, expected[-1], rtol=1e-3, atol=1e-3)


def test_it_has_the_parameters_of_the_paper_and_no_squeezing():
    model = efficientnet_lite0(SIZE, None, itertools.repeat(None))
    # 4.65 million with the top, which is 1,280 x (320 + 4 + 1,000) + 1,000.
    assert model.count_params() == sum(a.size for a in random_arrays().values())
    names = {type(layer).__name__ for layer in model.layers}
    assert "GlobalAveragePooling2D" not in names and "Dropout" not in names


def test_random_weights_are_a_function_of_the_seed():
    def kernel(seed):
        rng = np.random.default_rng(seed)
        seeds = iter(lambda: int(rng.integers(1000)), None)
        return array(
            efficientnet_lite0(SIZE, None, seeds).get_layer("stem_conv").kernel
        )

    np.testing.assert_array_equal(kernel(1), kernel(1))
    assert not np.array_equal(kernel(1), kernel(2))


def test_a_file_without_an_array_is_named(tmp_path):
    arrays = random_arrays()
    arrays["b3_dw/kernel"] = arrays["b3_dw/kernel"][..., 0]
    np.savez(tmp_path / "wrong.npz", **arrays)
    with pytest.raises(ValueError, match=r"wrong\.npz.*'b3_dw/kernel' of shape"):
        efficientnet_lite0(SIZE, tmp_path / "wrong.npz", itertools.repeat(None))
    with pytest.raises(FileNotFoundError, match=r"`weights`.*nowhere\.npz"):
        efficientnet_lite0(SIZE, tmp_path / "nowhere.npz", itertools.repeat(None))


def test_weights_in_the_data_folder_come_first(monkeypatch, tmp_path, file):
    (tmp_path / "weights").mkdir()
    target = tmp_path / "weights" / module.WEIGHTS
    target.write_bytes(file.read_bytes())
    monkeypatch.setenv("DROPBLOCK_DATA", str(tmp_path))
    monkeypatch.setattr(downloads, "why_unreachable", lambda url: pytest.fail("asked"))
    model = efficientnet_lite0(SIZE, "imagenet", itertools.repeat(None))
    expected = random_arrays()["stem_conv/kernel"]
    np.testing.assert_array_equal(array(model.get_layer("stem_conv").kernel), expected)
    digest = hashlib.sha256(file.read_bytes()).hexdigest()
    assert model.pretrained == {"file": module.WEIGHTS, "sha256": digest}


def test_without_file_and_network_the_error_says_what_to_do(monkeypatch, tmp_path):
    monkeypatch.setenv("DROPBLOCK_DATA", str(tmp_path))
    monkeypatch.setattr(downloads, "why_unreachable", lambda url: "no answer came")
    with pytest.raises(OSError, match=r"DROPBLOCK_DATA.*no answer came.*weights=None"):
        efficientnet_lite0(SIZE, "imagenet", itertools.repeat(None))


def test_kerashub_s_weights_compute_what_kerashub_does(monkeypatch, tmp_path):
    # Its weights come from PyTorch, with symmetric padding and other input scaling.
    made = module._kerashub(SIZE).get_config()
    made |= {"include_stem_padding": True, "stem_conv_padding": "valid"}
    made |= {"batch_norm_epsilon": 1e-5}
    theirs = keras_hub.models.EfficientNetBackbone.from_config(made)
    monkeypatch.delenv("DROPBLOCK_DATA", raising=False)
    monkeypatch.setattr(downloads, "why_unreachable", lambda url: None)
    monkeypatch.setattr(
        keras_hub.models.EfficientNetBackbone, "from_preset", lambda name: theirs
    )
    model = efficientnet_lite0(SIZE, "imagenet", itertools.repeat(None))
    image = np.random.default_rng(1).uniform(0, 255, (1, SIZE, SIZE, 3))
    scaled = (image / 255 - module.MEAN) / module.DEVIATION
    last = theirs.get_layer("block7a_project_bn").output
    expected = type(model)(theirs.input, last)(tensor(scaled.astype("float32")))
    found = model(tensor(image.astype("float32")))
    np.testing.assert_allclose(array(found), array(expected), rtol=1e-3, atol=1e-4)
    assert model.pretrained["file"] == module.PRESET
    assert len(model.pretrained["sha256"]) == 64


# === A detector on it ===


def encoder(model):
    return model.backbone.get_layer("encoder")


def four_dimensional(model):
    return [array(v) for v in model.trainable_variables if len(v.shape) == 4]


def lite(variant="none", **arguments):
    return models.DETECTORS["retinanet_lite0"](
        variant, classes=4, image_size=SIZE, seed=3, **arguments
    )


@pytest.fixture(scope="module")
def small():
    return lite("dropblock-3-0.7")


def test_drop_block_follows_the_last_stages_and_the_pyramid(small):
    names = {layer.name for layer in dbl.find_drop_block_layers(small)}
    expected = {
        f"drop_block{block}_{part}_activation"
        for block in ("6a", "6b", "6c", "6d", "7a")
        for part in ("expand", "dwconv")
    }
    assert names == expected | {"drop_P4", "drop_P5", "drop_P6"}
    maps = {level: value.shape[1:] for level, value in small.backbone.output.items()}
    assert maps == {"P4": (4, 4, 96), "P5": (2, 2, 96), "P6": (1, 1, 96)}


def test_the_light_backbone_has_the_same_initial_weights_in_all_variants(small):
    for a, b in zip(four_dimensional(lite()), four_dimensional(small), strict=True):
        np.testing.assert_array_equal(a, b)


def test_frozen_stages_and_normalizations_do_not_train():
    model = lite()
    # XLA takes minutes to compile what runs once.
    model.compile(jit_compile=keras.backend.backend() == "jax")
    layers = encoder(model).layers
    for layer in layers:
        early = layer.name.startswith(("stem", "block1", "block2", "block3"))
        frozen = early or isinstance(layer, keras.layers.BatchNormalization)
        assert bool(layer.trainable_variables) == (bool(layer.weights) and not frozen)
    before = {layer.name: [array(v) for v in layer.variables] for layer in layers}
    x = np.random.default_rng(0).uniform(0, 255, (2, SIZE, SIZE, 3)).astype("float32")
    boxes = np.array([[[5, 5, 50, 60]]] * 2, "float32")
    model.train_on_batch(x, {"boxes": boxes, "labels": np.zeros((2, 1), "float32")})
    for layer in layers:
        if not layer.trainable_variables:
            for old, new in zip(before[layer.name], layer.variables, strict=True):
                np.testing.assert_array_equal(old, array(new))


def test_a_saved_light_detector_is_loaded_unchanged(small, tmp_path):
    small.save(tmp_path / "detector.keras")
    copy = keras.saving.load_model(tmp_path / "detector.keras")
    x = np.random.default_rng(0).uniform(0, 255, (1, SIZE, SIZE, 3)).astype("float32")
    for name, value in small(tensor(x)).items():
        np.testing.assert_array_equal(array(value), array(copy(tensor(x))[name]))
    trained = [[v.path for v in m.trainable_variables] for m in (small, copy)]
    assert trained[0] == trained[1] and len(trained[0]) > 20


# === What the weights recognize ===

# Categories of COCO, and classes of ImageNet that name the same things.
SAME = {
    "zebra": {340},
    "elephant": {385, 386, 101},
    "bear": {294, 295, 296, 297},
    "pizza": {963},
    "banana": {954},
    "broccoli": {937},
    "laptop": {620, 681},
    "toilet": {861},
    "traffic light": {920},
    "bus": {779, 654, 874},
    "train": {466, 820, 829, 547, 705},
    "airplane": {404, 895, 908},
}


@pytest.mark.skipif(
    not pathlib.Path(
        os.environ.get("DROPBLOCK_DATA", "."), "weights", module.WEIGHTS
    ).is_file(),
    reason="needs $DROPBLOCK_DATA with weights/ and coco2017-mini/",
)
def test_imagenet_s_weights_recognize_objects_on_photographs():
    data = load_dataset("coco2017-mini")
    model = efficientnet_lite0(224, "imagenet", itertools.repeat(None))
    with np.load(downloads.in_data_folder(module.WEIGHTS)) as file:
        top = {name: file[name] for name in file if name.startswith(("head", "fc"))}
    largest = {}
    for split, index in [(s, i) for s in (data.train, data.validation)
                         for i in range(len(s))]:  # fmt: skip
        for box, label in zip(split.boxes[index], split.labels[index], strict=True):
            area = np.prod(box[2:] - box[:2])
            name = data.classes[label]
            if name in SAME and area > largest.get(name, (0,))[0]:
                largest[name] = (area, split, index, box)
    right = 0
    for name, (_, split, index, box) in largest.items():
        left, upper, far, lower = box.astype(int)
        crop = split.image(index)[upper:lower, left:far]
        image, _, _ = fit_image(crop, (), 224)
        x = array(model(tensor(image[None].astype("float32"))))
        x = x @ top["head_conv/kernel"][0, 0]
        x = (x - top["head_bn/mean"]) / np.sqrt(top["head_bn/var"] + 1e-3)
        x = np.clip(top["head_bn/gamma"] * x + top["head_bn/beta"], 0, 6)
        logits = x.mean(axis=(1, 2)) @ top["fc/kernel"] + top["fc/bias"]
        right += int(logits.argmax()) in SAME[name]
    assert len(largest) == len(SAME) and right >= 8

"""RetinaNet: its regularizers, initial weights and argument checks."""

import hashlib
import sys

import keras
import numpy as np
import pytest
from backend import array

import dropblock_lib as dbl
from dropblock_lib import models
from dropblock_lib.data import downloads
from dropblock_lib.models.retinanet import BACKBONES

SIZE = 64


@pytest.fixture(scope="module")
def plain():
    return models.retinanet(classes=4, image_size=SIZE, seed=3)


@pytest.fixture(scope="module")
def dropping():
    return models.retinanet("dropblock-7-0.7", classes=4, image_size=SIZE, seed=3)


def encoder(model):
    return model.backbone.get_layer("encoder")


def kernels(model):
    return [array(v) for v in model.trainable_variables if len(v.shape) == 4]


def test_drop_block_sits_at_the_slides_32_places(plain, dropping):
    assert dbl.find_drop_block_layers(plain) == []
    layers = dbl.find_drop_block_layers(dropping)
    assert len(layers) == 32
    assert {(layer.block_size, layer.keep_prob) for layer in layers} == {(7, 0.7)}
    seeds = [layer.get_config()["seed"] for layer in layers]
    assert len(set(seeds)) == 32


def test_drop_block_may_follow_the_last_stages_and_the_pyramid():
    model = models.retinanet(
        "dropblock-3-0.9",
        classes=4,
        image_size=SIZE,
        where="last-stages-and-pyramid",
        channels=32,
        frozen_stages=2,
    )
    names = [layer.name for layer in dbl.find_drop_block_layers(model)]
    of_stage = {stage: sum(f"conv{stage}_" in n for n in names) for stage in (4, 5)}
    # Three activations in each block.
    assert of_stage == {4: 6 * 3, 5: 3 * 3}
    assert {n for n in names if "conv" not in n} == {f"drop_P{n}" for n in range(3, 8)}
    assert {x.shape[-1] for x in model.backbone.output.values()} == {32}
    trained = {layer.name[:5] for layer in encoder(model).layers
               if layer.trainable_variables}  # fmt: skip
    assert trained == {"conv4", "conv5"}


def test_all_variants_begin_with_the_same_weights(plain, dropping):
    ours, theirs = kernels(plain), kernels(dropping)
    assert len(ours) == len(theirs) > 60
    for a, b in zip(ours, theirs, strict=True):
        np.testing.assert_array_equal(a, b)


def test_no_two_kernels_have_the_same_initial_values(plain):
    first = [kernel.ravel()[:8].tobytes() for kernel in kernels(plain)]
    assert len(set(first)) == len(first)


def test_levels_halve_from_an_eighth_of_the_image(plain):
    shapes = plain.backbone.output
    assert {level: value.shape[1] for level, value in shapes.items()} == {
        "P3": 8,
        "P4": 4,
        "P5": 2,
        "P6": 1,
        "P7": 1,
    }
    for level, name in BACKBONES["resnet50"].levels.items():
        assert encoder(plain).get_layer(name).output.shape[1] == shapes[level].shape[1]


@pytest.mark.parametrize(
    "arguments, named",
    [
        ({"variant": "dropout"}, "variant"),
        ({"classes": 0}, "classes"),
        ({"image_size": 100}, "image_size"),
        ({"image_size": 32}, "image_size"),
        ({"seed": -1}, "seed"),
        ({"levels": (2, 7)}, "levels"),
        ({"levels": (3, 8)}, "levels"),
        ({"levels": 5}, "levels"),
        ({"levels": (3.0, 7.0)}, "levels"),
        ({"levels": np.array([3, 7])}, "levels"),
        ({"weights": 3}, "weights"),
        ({"head_layers": -1}, "head_layers"),
        ({"channels": 0}, "channels"),
        ({"backbone": "resnet18"}, "backbone"),
        ({"frozen_stages": 5}, "frozen_stages"),
        ({"frozen_normalization": 1}, "frozen_normalization"),
        ({"where": "pyramid"}, "where"),
        ({"anchor_size": 0}, "anchor_size"),
    ],
)
def test_a_bad_argument_is_named(arguments, named):
    with pytest.raises(ValueError, match=f"argument `{named}`"):
        models.retinanet(**arguments)


def test_a_misspelled_placement_gets_all_names():
    with pytest.raises(ValueError, match=r"'paper-code'.*, 'last-stages-and-p"):
        models.retinanet(where="last-stages-and-pyramids")


def test_one_class_is_enough():
    # Levels read from a file are a list.
    model = models.retinanet(classes=1, image_size=SIZE, levels=[3, 5])
    found = model.predict(np.zeros((1, SIZE, SIZE, 3), "float32"), verbose=0)
    assert set(np.unique(found["labels"])) <= {-1, 0}


def test_without_a_network_the_error_says_so(monkeypatch, tmp_path):
    monkeypatch.setenv("KERAS_HOME", str(tmp_path))
    monkeypatch.setattr(
        downloads, "why_unreachable", lambda url: "the host did not answer"
    )
    with pytest.raises(OSError, match=r"the host did not answer.*weights=None"):
        models.retinanet(weights="imagenet")


def test_weights_in_the_cache_are_not_downloaded(monkeypatch, tmp_path):
    monkeypatch.setenv("KERAS_HOME", str(tmp_path))
    monkeypatch.setattr(downloads, "_probe", lambda *arguments: pytest.fail("asked"))
    path = tmp_path / "models" / downloads.WEIGHTS
    path.parent.mkdir()
    path.touch()
    assert downloads.find_weights("imagenet") == "imagenet"


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"nowhere\.h5"):
        models.retinanet(weights=str(tmp_path / "nowhere.h5"))


def test_weights_from_a_file_give_the_outputs_of_keras_resnet50(tmp_path):
    trained = keras.applications.ResNet50(
        include_top=False, weights=None, input_shape=(SIZE, SIZE, 3)
    )
    path = tmp_path / "trained.weights.h5"
    trained.save_weights(path)
    model = models.retinanet(
        "dropblock-3-0.9", classes=2, image_size=SIZE, weights=str(path)
    )
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    assert model.pretrained == {"file": path.name, "sha256": digest}
    image = np.random.default_rng(0).uniform(0, 255, (1, SIZE, SIZE, 3))
    expected = trained(keras.applications.resnet.preprocess_input(image.copy()))
    ours = encoder(model)(image)[-1]
    np.testing.assert_allclose(array(ours), array(expected), rtol=1e-3, atol=1e-4)


def test_without_kerashub_the_error_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "keras_hub", None)
    with pytest.raises(ImportError, match=r"dropblock-lib\[detection\]"):
        models.retinanet(image_size=SIZE)

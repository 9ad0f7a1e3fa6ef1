"""Non-maximum suppression, against the greedy algorithm written in NumPy."""

import keras
import keras_hub
import numpy as np
import pytest
from backend import tensor
from boxes import overlap
from keras import ops

from dropblock_lib.detection.nms import PerClassNonMaxSuppression

pytestmark = pytest.mark.backends

SIZE = 64
IMAGES = np.zeros((1, SIZE, SIZE, 3), "float32")


def found(layer, boxes, scores):
    """The detections of one image: a list of (label, score, box), best first."""
    result = layer(tensor([boxes]), tensor([scores]), images=tensor(IMAGES))
    result = {name: ops.convert_to_numpy(value)[0] for name, value in result.items()}
    count = int(result["num_detections"])
    assert (result["labels"][count:] == -1).all()
    assert (result["boxes"][count:] == -1).all()
    return [
        (int(label), float(score), tuple(box))
        for label, score, box in zip(
            result["labels"][:count],
            result["confidence"][:count],
            result["boxes"][:count],
            strict=True,
        )
    ]


def greedy(boxes, scores, threshold=0.05, iou=0.5, most=100):
    """Each detection, best first, removes those of its class that it overlaps."""
    candidates = sorted(
        (
            (float(scores[anchor, label]), label, tuple(boxes[anchor]))
            for anchor, label in np.argwhere(scores > threshold)
        ),
        reverse=True,
    )
    kept = []
    for score, label, box in candidates:
        rivals = [other for other_label, _, other in kept if other_label == label]
        if all(overlap(box, rival) <= iou for rival in rivals):
            kept.append((label, score, box))
    return kept[:most]


@pytest.mark.parametrize("seed", range(4))
def test_it_is_the_greedy_algorithm_within_each_class(seed):
    rng = np.random.default_rng(seed)
    corners = rng.uniform(0, 50, (60, 2))
    boxes = np.concatenate([corners, corners + rng.uniform(4, 14, (60, 2))], axis=1)
    boxes = boxes.astype("float32")
    scores = rng.uniform(0, 0.6, (60, 3)).astype("float32")
    layer = PerClassNonMaxSuppression(from_logits=False)
    ours, plain = found(layer, boxes, scores), greedy(boxes, scores)
    assert len(ours) == len(plain) > 20
    for (label, score, box), (label_2, score_2, box_2) in zip(ours, plain, strict=True):
        assert label == label_2
        assert score == pytest.approx(score_2, rel=1e-5)
        assert box == box_2


def test_objects_of_two_classes_may_share_a_place():
    boxes = [[10, 10, 40, 40], [11, 10, 41, 40]]
    scores = [[0.9, 0.0], [0.0, 0.8]]
    ours = found(PerClassNonMaxSuppression(from_logits=False), boxes, scores)
    assert [label for label, _, _ in ours] == [0, 1]
    # KerasHub's suppresses the second. If that changes, our layer can be removed.
    stock = keras_hub.layers.NonMaxSuppression(
        "xyxy", from_logits=False, confidence_threshold=0.05
    )
    assert [label for label, _, _ in found(stock, boxes, scores)] == [0]


def test_an_anchor_may_detect_two_classes():
    ours = found(
        PerClassNonMaxSuppression(from_logits=False), [[5, 5, 20, 20]], [[0.6, 0.5]]
    )
    assert [label for label, _, _ in ours] == [0, 1]


def test_scores_down_to_a_twentieth_count():
    boxes = [[0, 0, 10, 10], [20, 20, 30, 30], [40, 40, 50, 50]]
    scores = [[0.3], [0.06], [0.04]]
    assert len(found(PerClassNonMaxSuppression(from_logits=False), boxes, scores)) == 2
    stock = keras_hub.layers.NonMaxSuppression("xyxy", from_logits=False)
    assert found(stock, boxes, scores) == []


def test_logits_and_scores_agree():
    boxes = [[0, 0, 10, 10], [20, 20, 30, 30]]
    logits = np.array([[1.0, -2.0], [-1.0, 0.5]], "float32")
    scores = 1 / (1 + np.exp(-logits))
    from_logits = found(PerClassNonMaxSuppression(), boxes, logits)
    from_scores = found(PerClassNonMaxSuppression(from_logits=False), boxes, scores)
    assert [row[0] for row in from_logits] == [row[0] for row in from_scores]
    np.testing.assert_allclose(
        [row[1] for row in from_logits], [row[1] for row in from_scores], rtol=1e-5
    )


def test_boxes_end_at_the_edge_of_the_image():
    boxes = [[-20, 3, 30, SIZE + 50], [30, -np.inf, np.inf, 40]]
    ours = found(PerClassNonMaxSuppression(from_logits=False), boxes, [[0.9], [0.8]])
    assert [box for _, _, box in ours] == [(0, 3, 30, SIZE), (30, 0, SIZE, 40)]


def test_no_more_detections_than_requested():
    boxes = [[7 * i, 0, 7 * i + 6, 6] for i in range(9)]
    scores = [[0.1 * i] for i in range(1, 10)]
    few = PerClassNonMaxSuppression(from_logits=False, max_detections=4)
    assert [round(score, 1) for _, score, _ in found(few, boxes, scores)] == [
        0.9,
        0.8,
        0.7,
        0.6,
    ]


def test_few_candidates_are_padded():
    ours = found(
        PerClassNonMaxSuppression(from_logits=False), [[1, 2, 30, 40]], [[0.9]]
    )
    assert ours == [(0, pytest.approx(0.9), (1, 2, 30, 40))]


def test_a_box_is_kept_if_what_suppresses_it_is_itself_suppressed():
    # Each overlaps the next by two thirds, and the one after that by a third.
    boxes = [[10 * i, 0, 10 * i + 50, 50] for i in range(2)]
    boxes += [[20, 0, 64, 50]]
    scores = [[0.9], [0.8], [0.7]]
    assert overlap(boxes[0], boxes[1]) > 0.5 > overlap(boxes[0], boxes[2])
    assert overlap(boxes[1], boxes[2]) > 0.5
    ours = found(PerClassNonMaxSuppression(from_logits=False), boxes, scores)
    assert [round(score, 1) for _, score, _ in ours] == [0.9, 0.7]


def test_it_survives_serialization():
    layer = PerClassNonMaxSuppression(0.4, 0.2, 50, candidates=200)
    copy = keras.saving.deserialize_keras_object(
        keras.saving.serialize_keras_object(layer)
    )
    assert copy.get_config() == layer.get_config()


@pytest.mark.parametrize(
    "argument, value",
    [
        ("iou_threshold", 5),
        ("confidence_threshold", -0.1),
        ("max_detections", 0),
        ("candidates", 2.0),
        ("from_logits", "no"),
    ],
)
def test_a_bad_argument_is_named(argument, value):
    with pytest.raises(ValueError, match=f"`{argument}`.*Received: {argument}="):
        PerClassNonMaxSuppression(**{argument: value})


def test_another_format_of_boxes_is_rejected():
    with pytest.raises(ValueError, match="`bounding_box_format`"):
        PerClassNonMaxSuppression(bounding_box_format="yxyx")

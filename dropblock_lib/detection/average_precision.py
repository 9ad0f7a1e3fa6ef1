"""COCO's average precision, by COCO's own code."""

import contextlib
import io

import numpy as np

# What pycocotools computes, in its order, and what it is called here.
MEASURES = (
    "AP",
    "AP50",
    "AP75",
    "AP_small",
    "AP_medium",
    "AP_large",
    "AR1",
    "AR10",
    "AR100",
    "AR_small",
    "AR_medium",
    "AR_large",
)


def to_coco(predictions, image_ids, scales, category_ids):
    """What a detector predicts, as COCO's list of results.

    Args:
        predictions: Dict of arrays `boxes` `(images, n, 4)`, left, top, right and
            bottom in pixels of the images as the model saw them, `confidence` and
            `labels` `(images, n)`; what is padded has the label -1.
        image_ids: The id of every image.
        scales: By what factor every image was enlarged for the model.
        category_ids: COCO's id of every label.

    Returns:
        List of dicts `image_id`, `category_id`, `bbox` (left, top, width, height in
        pixels of the stored image) and `score`.
    """
    results = []
    for image, (image_id, scale) in enumerate(zip(image_ids, scales, strict=True)):
        labels = predictions["labels"][image]
        found = np.flatnonzero(labels >= 0)
        boxes = predictions["boxes"][image][found] / scale
        boxes = np.concatenate([boxes[:, :2], boxes[:, 2:] - boxes[:, :2]], axis=1)
        for box, label, score in zip(
            boxes, labels[found], predictions["confidence"][image][found], strict=True
        ):
            results.append(
                {
                    "image_id": int(image_id),
                    "category_id": int(category_ids[int(label)]),
                    "bbox": [round(float(side), 2) for side in box],
                    "score": round(float(score), 5),
                }
            )
    return results


def average_precision(annotations, results):
    """AP and its relatives of detections, over the images of the annotations.

    Args:
        annotations: COCO's JSON as a dict: `images`, `annotations`, `categories`.
            An annotation without `iscrowd` is no crowd; one without `area` has that
            of its box.
        results: From `to_coco`.

    Returns:
        Dict of `MEASURES` -> float in [0, 1], or `None` where there is no object to
        be found: "AP" is the mean over IoU thresholds of .50 to .95, over classes
        and over recall. Small objects have less than 32 x 32 pixels, large ones more
        than 96 x 96.

    Raises:
        ValueError: If a result is of an image that is not in the annotations.

    Reference:

    - [Lin et al., 2014](https://arxiv.org/abs/1405.0312), and the project's page on
      detection evaluation.
    """
    stats = _evaluate(annotations, results).stats
    return {
        name: None if value < 0 else float(value)
        for name, value in zip(MEASURES, stats, strict=True)
    }


def precision_by_recall(annotations, results):
    """The curves below which AP is the area.

    Args:
        annotations: As for `average_precision`.
        results: From `to_coco`.

    Returns:
        Dict of IoU threshold, .50 to .95 -> array `(101,)`: the precision at a recall
        of 0, .01, ..., 1, the mean over the classes of which there are objects. As
        COCO has it, that is the best precision at this recall or a higher one, and 0
        where so many objects are not found. AP is the mean of all. Empty if there
        is no object to be found.

    Raises:
        ValueError: If a result is of an image that is not in the annotations.
    """
    evaluation = _evaluate(annotations, results)
    # (thresholds, recalls, classes), all sizes of objects, up to 100 detections.
    precision = evaluation.eval["precision"][:, :, :, 0, -1]
    present = (precision >= 0).all(axis=(0, 1))
    if not present.any():
        return {}
    thresholds = evaluation.params.iouThrs.round(2).tolist()
    curves = precision[:, :, present].mean(axis=2)
    return dict(zip(thresholds, curves, strict=True))


def _evaluate(annotations, results):
    from pycocotools.coco import COCO
    from pycocotools.cocoeval import COCOeval

    unknown = {result["image_id"] for result in results} - {
        image["id"] for image in annotations["images"]
    }
    if unknown:
        raise ValueError(
            "Invalid value received for argument `results`. Expected images of the "
            f"annotations. Received: image_id {sorted(unknown)[:5]}"
        )
    with contextlib.redirect_stdout(io.StringIO()):
        truth = COCO()
        truth.dataset = {
            "info": {},
            **annotations,
            # Copies, because pycocotools adds to what it is given.
            "annotations": [
                {"area": _area(item), "iscrowd": 0, **item}
                for item in annotations["annotations"]
            ],
        }
        truth.createIndex()
        found = COCO()
        found.dataset = {
            "images": annotations["images"],
            "categories": annotations["categories"],
            "annotations": [
                {**result, "id": number, "area": _area(result), "iscrowd": 0}
                for number, result in enumerate(results, start=1)
            ],
        }
        found.createIndex()
        evaluation = COCOeval(truth, found, "bbox")
        evaluation.evaluate()
        evaluation.accumulate()
        evaluation.summarize()
    return evaluation


def _area(item):
    return item["bbox"][2] * item["bbox"][3]

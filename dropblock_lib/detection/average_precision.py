"""COCO's average precision, computed by pycocotools."""

import collections
import contextlib
import io
import itertools
from collections.abc import Sequence
from typing import Any

import numpy as np

from dropblock_lib.arguments import check_choice, invalid
from dropblock_lib.data.detection_dataset import DetectionSplit

# Our names for what pycocotools computes, in its order.
METRICS = (
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


def to_coco(
    predictions: dict[str, np.ndarray],
    image_ids: Sequence[int],
    scales: Sequence[float] | np.ndarray,
    category_ids: Sequence[int],
) -> list[dict]:
    """Converts a detector's predictions to COCO's list of results.

    Args:
        predictions: Dict of arrays `boxes` `(images, n, 4)`, left, top, right and
            bottom in pixels of the images as the model saw them, and `confidence` and
            `labels` `(images, n)`. Padding has the label -1.
        image_ids: The id of each image.
        scales: The factor by which each image was enlarged for the model.
        category_ids: COCO's id of each label.

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


def average_precision(
    annotations: dict, results: list[dict]
) -> dict[str, float | None]:
    """Computes COCO's average precision (AP) and recall (AR) of detections.

    Args:
        annotations: COCO's JSON as a dict: `images`, `annotations`, `categories`.
            A missing `iscrowd`, or `None`, means 0. A missing `area`, or `None`,
            means the area of the box. The ids of annotations are not used, and may be
            missing.
        results: From `to_coco`.

    Returns:
        Dict of `METRICS` -> float in [0, 1], or `None` if there are no objects to
        find. "AP" is the mean precision over IoU thresholds from 0.50 to 0.95, over
        classes and over recall levels. Small objects have less than 32 x 32 pixels,
        large ones more than 96 x 96.

    Raises:
        ValueError: If an annotation or a result lacks a box, if a result lacks a
            score, if one is for an image or a category that is not listed, or if an
            image or a category is listed twice.
        ImportError: If pycocotools is not installed.

    Reference:

    - [Lin et al., 2014](https://arxiv.org/abs/1405.0312), and the project's page on
      detection evaluation.
    """
    stats = _evaluate(annotations, results).stats
    return {
        name: None if value < 0 else float(value)
        for name, value in zip(METRICS, stats, strict=True)
    }


def precision_by_recall(
    annotations: dict, results: list[dict]
) -> dict[float, np.ndarray]:
    """Computes precision-recall curves; AP is the mean area under them.

    Args:
        annotations: As for `average_precision`.
        results: From `to_coco`.

    Returns:
        Dict of IoU threshold, 0.50 to 0.95 -> array `(101,)`: the precision at a
        recall of 0, 0.01, ..., 1, averaged over the classes that have objects. As in
        COCO, this is the highest precision at that recall or above, and 0 for a recall
        that is not reached. AP is the mean of all values. The dict is empty if there
        are no objects to find.

    Raises:
        ValueError: If an annotation or a result lacks a box, if a result lacks a
            score, if one is for an image or a category that is not listed, or if an
            image or a category is listed twice.
        ImportError: If pycocotools is not installed.
    """
    evaluation = _evaluate(annotations, results)
    # (thresholds, recalls, classes): objects of all sizes, up to 100 detections.
    precision = evaluation.eval["precision"][:, :, :, 0, -1]
    present = (precision >= 0).all(axis=(0, 1))
    if not present.any():
        return {}
    thresholds = evaluation.params.iouThrs.round(2).tolist()
    curves = precision[:, :, present].mean(axis=2)
    return dict(zip(thresholds, curves, strict=True))


def of_category(
    annotations: dict, results: list[dict], name: str
) -> dict[str, float | None]:
    """Computes average precision and recall for one category.

    Args:
        annotations: As for `average_precision`.
        results: From `to_coco`.
        name: Name of the category, such as `"person"`.

    Returns:
        As for `average_precision`.

    Raises:
        ValueError: If there is no such category.
    """
    known = {item["name"]: item["id"] for item in annotations["categories"]}
    category_id = known[check_choice("name", name, known)]

    def only(rows, key="category_id"):
        return [row for row in rows if row[key] == category_id]

    return average_precision(
        {
            **annotations,
            "annotations": only(annotations["annotations"]),
            "categories": only(annotations["categories"], "id"),
        },
        only(results),
    )


def to_supercategories(
    annotations: dict, results: list[dict]
) -> tuple[dict, list[dict]]:
    """Merges categories into their supercategories, such as "cat" into "animal".

    A few hundred images have too few objects of most of COCO's 80 categories to tell
    detectors apart. Where detections of one supercategory overlap by more than half,
    only the one with the highest score is kept, as within a category.

    Args:
        annotations: As for `average_precision`, with a `supercategory` for every
            category.
        results: From `to_coco`.

    Returns:
        `(annotations, results)`, both new, for `average_precision`.

    Raises:
        ValueError: If a category has no supercategory.

    Example:

    >>> average_precision(*to_supercategories(split.annotations, found))["AP50"]
    """
    categories = annotations["categories"]
    missing = [item["name"] for item in categories if not item.get("supercategory")]
    if missing:
        expected = "a supercategory for every category"
        raise invalid("annotations", expected, received=f"none for {missing[:5]}")
    names = sorted({item["supercategory"] for item in categories})
    of_name = {name: number for number, name in enumerate(names, start=1)}
    merged = {item["id"]: of_name[item["supercategory"]] for item in categories}

    def rename(rows):
        return [{**row, "category_id": merged[row["category_id"]]} for row in rows]

    groups = collections.defaultdict(list)
    for row in sorted(rename(results), key=lambda row: -row["score"]):
        groups[row["image_id"], row["category_id"]].append(row)
    return (
        {
            **annotations,
            "annotations": rename(annotations["annotations"]),
            "categories": [{"id": of_name[name], "name": name} for name in names],
        },
        [row for rows in groups.values() for row in _suppress(rows)],
    )


def _suppress(rows):
    """Drops rows that overlap an earlier, kept row by more than half."""
    boxes = np.array([row["bbox"] for row in rows])
    low, high = boxes[:, :2], boxes[:, :2] + boxes[:, 2:]
    sides = np.minimum(high[:, None], high) - np.maximum(low[:, None], low)
    common = np.prod(np.maximum(sides, 0), axis=2)
    areas = np.prod(boxes[:, 2:], axis=1)
    overlaps = common > (areas[:, None] + areas - common) / 2
    kept = []
    for row in range(len(rows)):
        if not overlaps[row, kept].any():
            kept.append(row)
    return [rows[row] for row in kept]


def trivial_results(train: DetectionSplit, split: DetectionSplit) -> list[dict]:
    """Detects without looking at the images, a baseline that detectors must surpass.

    In each image it reports one object of the most common category of the training
    images, with the mean of all training boxes, relative to the image. Without any
    training box, it reports nothing.

    Args:
        train: The `DetectionSplit` to learn from.
        split: The `DetectionSplit` to detect in.

    Returns:
        Detections as `to_coco` returns them.

    Example:

    >>> found = trivial_results(data.train, data.validation)
    >>> average_precision(data.validation.annotations, found)["AP50"]
    """
    if not any(map(len, train.labels)):
        return []
    label = np.bincount(np.concatenate(train.labels)).argmax()
    boxes = [
        own / np.tile(sides[::-1], 2)
        for own, sides in zip(train.boxes, train.sizes, strict=True)
    ]
    left, top, right, bottom = np.concatenate(boxes).mean(axis=0)
    return [
        {
            "image_id": image_id,
            "category_id": list(split.categories)[label],
            "bbox": [
                float(left * width),
                float(top * height),
                float((right - left) * width),
                float((bottom - top) * height),
            ],
            "score": 1.0,
        }
        for image_id, (height, width) in zip(split.ids, split.sizes, strict=True)
    ]


def _evaluate(annotations, results):
    try:
        from pycocotools.coco import COCO
        from pycocotools.cocoeval import COCOeval
    except ImportError as error:
        raise ImportError(
            "Average precision is computed by pycocotools. Install it with "
            '`pip install "dropblock-lib[detection]"`.'
        ) from error

    known = {
        "image_id": _unique_ids(annotations, "images"),
        "category_id": _unique_ids(annotations, "categories"),
    }
    rows = {"annotations": annotations["annotations"], "results": results}
    for (name, items), (key, ids) in itertools.product(rows.items(), known.items()):
        # pycocotools would ignore these rows.
        unknown = [item.get(key) for item in items if item.get(key) not in ids]
        if unknown:
            expected = "images and categories of the annotations"
            raise invalid(name, expected, received=f"{key} {unknown[:5]}")
    objects = [_with_floats("annotations", item) for item in rows["annotations"]]
    results = [_with_floats("results", item) for item in results]

    def as_coco(boxes):
        coco: Any = COCO()
        coco.dataset = {
            "info": {},
            "images": annotations["images"],
            "categories": annotations["categories"],
            "annotations": boxes,
        }
        coco.createIndex()
        return coco

    # pycocotools modifies its arguments, and prints.
    with contextlib.redirect_stdout(io.StringIO()):
        evaluation = COCOeval(
            as_coco(
                [
                    # pycocotools treats a match with id 0 as no match, and requires
                    # unique ids.
                    {**item, **_defaults(item), "id": number}
                    for number, item in enumerate(objects, start=1)
                ]
            ),
            as_coco(
                [
                    {**result, "id": number, "area": _area(result), "iscrowd": 0}
                    for number, result in enumerate(results, start=1)
                ]
            ),
            "bbox",
        )
        evaluation.evaluate()
        evaluation.accumulate()
        evaluation.summarize()
    return evaluation


def _unique_ids(annotations, key):
    counts = collections.Counter(item["id"] for item in annotations[key])
    repeated = [number for number, count in counts.items() if count > 1]
    if repeated:
        expected = f"unique ids of the {key}"
        raise invalid("annotations", expected, received=f"repeated ids {repeated[:5]}")
    return set(counts)


def _with_floats(name, item):
    """Checks the box, and the score of a result, and converts them to floats."""
    shapes = {"bbox": (4,), "score": ()} if name == "results" else {"bbox": (4,)}
    numbers = {}
    for key, shape in shapes.items():
        value = item.get(key)
        try:
            found = np.asarray(value)
        except ValueError:  # a list of lists of different lengths
            found = np.array(None)
        is_number = found.dtype.kind in "fiu" and found.shape == shape
        if not (is_number and np.isfinite(found).all()):
            what = "left, top, width and height" if shape else "a number"
            expected = f"a finite {key}, {what}, in each row"
            raise invalid(name, expected, received=f"{key} {value!r}")
        numbers[key] = found.astype("float64").tolist()
    return {**item, **numbers}


def _defaults(item):
    area = item.get("area")
    return {
        "area": _area(item) if area is None else area,
        "iscrowd": item.get("iscrowd") or 0,
    }


def _area(item):
    return item["bbox"][2] * item["bbox"][3]

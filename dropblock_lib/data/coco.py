"""Reading a folder in the form of COCO, whose files may be anything."""

import contextlib
import dataclasses
import io
import json
import logging
import math
import numbers
import os
import pathlib
import posixpath
import sys

import numpy as np

from dropblock_lib.arguments import invalid, is_whole
from dropblock_lib.data.detection_dataset import DetectionDataset, DetectionSplit

logger = logging.getLogger("dropblock_lib")

INSTALL = 'Install it with `pip install "dropblock-lib[detection]"`.'
ON_BROKEN = ("error", "skip")


def read_coco(folder, train="train2017", validation="val2017", on_broken="error"):
    """Reads COCO 2017, or whatever has its form, from a folder.

    The folder holds `annotations/instances_SPLIT.json` and the images in `SPLIT/`,
    or in folders of it that their `file_name` names. No image is opened here:
    `DetectionSplit.image` does it, and only in memory. Images are RGB as they are
    stored; a rotation in their EXIF data is ignored, as COCO's boxes do. Images
    without boxes are kept.

    Boxes are clipped to their image. What is skipped or clipped by more than a
    pixel is counted in `DetectionSplit.skipped` and logged as a warning: boxes with
    `"no area"`, boxes `"outside"` their image, `"clipped"` boxes and, on request, a
    `"missing image"` along with its boxes.

    Args:
        folder: The folder.
        train: The name of the split to train on.
        validation: The name of the split to evaluate on.
        on_broken: What to do if image files are missing: `"error"` or `"skip"`.

    Returns:
        A `DetectionDataset` with the folder's name.

    Raises:
        ValueError: For a folder or file that does not exist, for a JSON file that
            is not in COCO's form or refers to what it does not have, for missing
            images, and if the splits have different categories; the message names
            the file, and the annotation by its id.
        ImportError: If pycocotools is not installed.

    Example:

    >>> dataset = read_coco("data/coco2017-mini")  # doctest: +SKIP
    >>> dataset.train.image(0).shape, dataset.train.boxes[0].shape  # doctest: +SKIP
    ((342, 512, 3), (2, 4))
    """
    if on_broken not in ON_BROKEN:
        raise invalid("on_broken", f"one of {', '.join(ON_BROKEN)}", on_broken)
    folder = pathlib.Path(folder)
    if not folder.is_dir():
        raise invalid("folder", "an existing directory", os.fspath(folder))
    splits, categories = [], []
    for name in (train, validation):
        path = folder / "annotations" / f"instances_{name}.json"
        content = _read_json(path)
        categories.append(_read_categories(content, path))
        splits.append(_read_split(content, path, folder / name, on_broken))
    if categories[0] != categories[1]:
        differing = sorted(categories[0].items() ^ categories[1].items())
        raise _bad_file(
            path,
            f"the categories of instances_{train}.json",
            f"other ones: {differing[:5]}",
        )
    name = folder.resolve().name
    return DetectionDataset(
        requested=name,
        name=name,
        source=name,
        origin="folder",
        train=splits[0],
        validation=splits[1],
        classes=tuple(categories[0].values()),
        category_ids=tuple(categories[0]),
    )


def _bad_file(path, expected, received):
    return ValueError(
        f"Invalid value received for data file {path}. Expected {expected}. "
        f"Received: {received}"
    )


def _without_outlines(item):
    # Five sixths of COCO's JSON; as Python's numbers they would take gigabytes.
    item.pop("segmentation", None)
    return item


def _read_json(path):
    try:
        with open(path, encoding="utf-8") as file:
            content = json.load(file, object_hook=_without_outlines)
    # Also what is not UTF-8, and what is nested too deep.
    except (OSError, ValueError, RecursionError) as error:
        raise _bad_file(path, "COCO's annotations as JSON", error) from error
    keys = ("images", "annotations", "categories")
    is_coco = isinstance(content, dict) and all(
        isinstance(content.get(key), list)
        and all(isinstance(item, dict) for item in content[key])
        for key in keys
    )
    if not is_coco or not content["images"]:
        received = list(content)[:9] if isinstance(content, dict) else type(content)
        expected = f"an object with lists of objects, {', '.join(keys)}"
        raise _bad_file(path, f"{expected}, and images in it", received)
    for key in keys:
        _check_ids(content[key], key, path)
    return content


def _check_ids(items, key, path):
    seen = set()
    for item in items:
        if not _fits(item.get("id"), at_least=0):
            raise _bad_file(path, f"an integer as id of all {key}", _short(item))
        if item["id"] in seen:
            expected = f"every id once among {key}"
            raise _bad_file(path, expected, f"id {item['id']} again")
        seen.add(item["id"])


def _fits(value, at_least):
    """Whether a value is an integer that 64 bits hold, and large enough."""
    return is_whole(value, at_least) and value < 2**63


def _short(item):
    text = repr(item)
    return text if len(text) <= 200 else f"{text[:200]}..."


def _read_categories(content, path):
    """Names by id, in the order of the ids."""
    names = {item["id"]: item.get("name") for item in content["categories"]}
    right = all(isinstance(name, str) and name for name in names.values())
    if not (names and right and len(set(names.values())) == len(names)):
        raise _bad_file(path, "categories with a name each", _short(names))
    return dict(sorted(names.items()))


def _read_split(content, path, folder, on_broken):
    skipped = {}
    images = _read_images(content, path, folder, on_broken, skipped)
    label_of = {key: label for label, key in enumerate(_read_categories(content, path))}
    sizes_of = {item["id"]: item for item in content["images"]}
    kept = []
    for item in content["annotations"]:
        _check_annotation(item, path, sizes_of, label_of)
        if item["image_id"] in images:
            annotation = _clean(item, images[item["image_id"]], skipped)
            if annotation is not None:
                kept.append(annotation)
    for reason, count in skipped.items():
        logger.warning("%s: %s: %d", path, reason, count)
    if any(item["id"] == 0 for item in kept):
        # To pycocotools' evaluation a match with box 0 is none.
        kept = [{**item, "id": item["id"] + 1} for item in kept]

    annotations = {
        "info": content.get("info", {}),
        "images": list(images.values()),
        "annotations": kept,
        "categories": content["categories"],
    }
    by_image = _index(annotations).imgToAnns
    solid = [[a for a in by_image[key] if not a["iscrowd"]] for key in images]
    return DetectionSplit(
        ids=tuple(images),
        sizes=np.array([(i["height"], i["width"]) for i in images.values()], "int64"),
        boxes=tuple(_corners([a["bbox"] for a in found]) for found in solid),
        labels=tuple(
            np.array([label_of[a["category_id"]] for a in found], "int64")
            for found in solid
        ),
        annotations=annotations,
        read=ImageFiles(folder, images),
        skipped=skipped,
    )


def _index(annotations):
    try:
        from pycocotools.coco import COCO
    except ImportError as error:
        raise ImportError(
            f"Reading COCO's annotations takes pycocotools. {INSTALL}"
        ) from error
    coco = COCO()
    coco.dataset = annotations
    with contextlib.redirect_stdout(io.StringIO()):
        coco.createIndex()
    return coco


def _read_images(content, path, folder, on_broken, skipped):
    """What `annotations` keeps of each image whose file is there, by id."""
    images = {}
    for item in content["images"]:
        sides = [item.get("height"), item.get("width")]
        if not all(_fits(side, at_least=1) for side in sides):
            expected = "a height and a width of every image"
            raise _bad_file(path, expected, f"image {item['id']} of {sides}")
        if not _is_inside(item.get("file_name")):
            expected = "a file_name of every image, inside the folder"
            raise _bad_file(path, expected, _short(item))
        keys = ("id", "file_name", "height", "width")
        images[item["id"]] = {key: item[key] for key in keys}

    present = _files(folder, {image["file_name"] for image in images.values()})
    missing = [
        key for key, image in images.items() if image["file_name"] not in present
    ]
    names = ", ".join(images[key]["file_name"] for key in missing[:3])
    if missing and (on_broken == "error" or len(missing) == len(images)):
        raise ValueError(
            f"Invalid value received for folder {folder}. Expected the "
            f"{len(images)} images that {path} lists. Received: {len(missing)} of "
            f"them are missing: {names}{', ...' if len(missing) > 3 else ''}"
        )
    if missing:
        skipped["missing image"] = len(missing)
        logger.warning("%s: missing: %s, ...", folder, names)
    for key in missing:
        del images[key]
    return images


def _is_inside(name):
    if not (isinstance(name, str) and name):
        return False
    path = pathlib.PurePath(name)
    return not path.is_absolute() and ".." not in path.parts


def _files(folder, names):
    """What lies in the folder and in those of its folders that the names are in."""
    present = set()
    for inner in {posixpath.dirname(name) for name in names}:
        # A listing: over a network, asking for each of 118,287 files takes minutes.
        with contextlib.suppress(OSError):
            files = os.listdir(folder / inner)
            present.update(posixpath.join(inner, name) for name in files)
    return present


def _check_annotation(item, path, images, categories):
    def wrong(expected, received):
        return _bad_file(path, expected, f"annotation {item['id']} with {received}")

    for key, known in (("image_id", images), ("category_id", categories)):
        if not (is_whole(item.get(key), at_least=0) and item[key] in known):
            raise wrong(f"a known {key} in every annotation", f"{key}={item.get(key)}")
    box = item.get("bbox")
    if not (isinstance(box, list) and len(box) == 4 and all(map(_is_finite, box))):
        raise wrong("four finite numbers as bbox", f"bbox={_short(box)}")
    area = item.get("area", 0)
    if not _is_finite(area):
        raise wrong("a finite area", f"area={_short(area)}")
    if item.get("iscrowd", 0) not in (0, 1):
        raise wrong("an iscrowd of 0 or 1", f"iscrowd={_short(item['iscrowd'])}")


def _is_finite(value):
    is_number = isinstance(value, numbers.Real) and not isinstance(value, bool)
    # JSON knows integers that no float holds.
    return is_number and abs(value) <= sys.float_info.max


def _clean(item, image, skipped):
    """An annotation with its box inside its image, or `None` if nothing is left."""

    def count(reason):
        skipped[reason] = skipped.get(reason, 0) + 1

    x, y, width, height = item["bbox"]
    if width <= 0 or height <= 0:
        return count("no area")
    left, right = max(x, 0), min(x + width, image["width"])
    top, bottom = max(y, 0), min(y + height, image["height"])
    if left >= right or top >= bottom:
        return count("outside")
    box = [x, y, width, height]
    if max(left - x, x + width - right, top - y, y + height - bottom) > 0:
        box = [left, top, right - left, bottom - top]
    if max(left - x, x + width - right, top - y, y + height - bottom) > 1:
        count("clipped")
    area = item.get("area", 0)
    return {
        "id": item["id"],
        "image_id": item["image_id"],
        "category_id": item["category_id"],
        "bbox": box,
        # The outline's area, where there is an outline.
        "area": min(area if area > 0 else math.inf, box[2] * box[3]),
        "iscrowd": int(item.get("iscrowd", 0)),
    }


def _corners(boxes):
    boxes = np.array(boxes, "float64").reshape(-1, 4)
    return np.concatenate([boxes[:, :2], boxes[:, :2] + boxes[:, 2:]], 1).astype("f4")


@dataclasses.dataclass(frozen=True, eq=False, repr=False)
class ImageFiles:
    """Reads the image of an id from its file.

    Args:
        folder: The folder of the files.
        images: By id, an image's `file_name`, `height` and `width`.
    """

    folder: pathlib.Path
    images: dict

    def __call__(self, image_id):
        """The image as `uint8` `(H, W, 3)`.

        Raises:
            ValueError: If the file is broken or of another size than stated.
            ImportError: If Pillow is not installed.
        """
        try:
            from PIL import Image
        except ImportError as error:
            raise ImportError(f"Reading images takes Pillow. {INSTALL}") from error
        stated = self.images[image_id]
        path = self.folder / stated["file_name"]
        height, width = stated["height"], stated["width"]
        expected = f"an image of {height} by {width} pixels"
        try:
            with Image.open(path) as image:
                if image.size != (width, height):
                    raise ValueError(f"{image.height} by {image.width} pixels")
                if image.mode.startswith(("I", "F")):
                    # Pillow would cut off what is above 255.
                    raise ValueError(f"pixels of more than 8 bits ({image.mode})")
                # COCO has gray images, and some in colors for print.
                return np.array(image.convert("RGB"))
        # What damaged bytes make of the decoders is not a closed list.
        except Exception as error:
            raise _bad_file(path, expected, error) from error

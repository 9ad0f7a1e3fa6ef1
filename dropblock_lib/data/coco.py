"""Reading and checking a folder in COCO's format."""

import collections
import contextlib
import dataclasses
import json
import logging
import math
import os
import pathlib
import posixpath
import sys
import unicodedata

import numpy as np

from dropblock_lib.arguments import check_choice, invalid, invalid_file, is_whole
from dropblock_lib.data.detection_dataset import DetectionDataset, DetectionSplit

logger = logging.getLogger("dropblock_lib")

# EXIF's tag for how viewers rotate or flip a stored image: 1 (not at all) to 8.
ORIENTATION = 0x0112


def read_coco(
    folder: str | os.PathLike,
    train: str = "train2017",
    validation: str = "val2017",
    on_broken: str = "error",
    annotations: str = "annotations/instances_{split}.json",
    images: str = "{split}",
) -> DetectionDataset:
    """Reads COCO 2017, or any data set in its format, from a folder.

    The folder contains `annotations/instances_SPLIT.json` and the images in `SPLIT/`,
    or in subfolders named in their `file_name`. The arguments `annotations` and
    `images` name other places. Images are not opened here, but by
    `DetectionSplit.image`, one at a time, as RGB. Images without boxes are kept.

    The height and width in the JSON file decide how an image with an EXIF orientation
    is read. If only the rotated image matches them, the image is rotated. If only the
    stored image matches, it is read as stored, like COCO's images. If both match, it is
    read as stored, and a warning is logged.

    Boxes are clipped to their image. What is skipped, or clipped by more than a
    pixel, is counted in `DetectionSplit.skipped` and logged as a warning: boxes with
    `"no area"`, boxes `"outside"` their image, `"clipped"` boxes and, on request, each
    `"missing image"` along with its boxes. A file that is listed more than once is
    reported as a `"repeated image"`: every entry is kept, with its own boxes only.

    Args:
        folder: The folder.
        train: The name of the split to train on.
        validation: The name of the split to evaluate on.
        on_broken: What to do if image files are missing: `"error"` or `"skip"`.
        annotations: Path of the JSON files in the folder, with `{split}` in place of
            the name of the split.
        images: Path in the folder that each `file_name` is relative to, with `{split}`
            if each split has its own.

    Returns:
        A `DetectionDataset` with the folder's name.

    Raises:
        ValueError: If the folder or a file does not exist, a JSON file is not in
            COCO's format or has dangling references, a split has no boxes left or all
            of them are fractions of the image, images are missing, or the splits have
            different categories. The message names the file, and the id of the
            annotation.

    Example:

    >>> dataset = read_coco("data/coco2017-mini")  # doctest: +SKIP
    >>> dataset.train.image(0).shape, dataset.train.boxes[0].shape  # doctest: +SKIP
    ((342, 512, 3), (2, 4))
    """
    check_choice("on_broken", on_broken, ("error", "skip"))
    named = {"train": train, "validation": validation, "images": images}
    for argument, text in named.items():
        if not isinstance(text, str):
            raise invalid(argument, "a string", text)
    if not (isinstance(annotations, str) and "{split}" in annotations):
        expected = "a path with {split} in place of the name of the split"
        raise invalid("annotations", expected, annotations)
    folder = pathlib.Path(folder)
    if not folder.is_dir():
        raise invalid("folder", "an existing directory", os.fspath(folder))
    splits = []
    for name in (train, validation):
        path = folder / annotations.replace("{split}", name)
        place = folder / images.replace("{split}", name)
        splits.append(_read_split(_read_json(path), path, place, on_broken))
    known, other = (split.categories.items() for split in splits)
    if known != other:
        expected = f"the categories of {annotations.replace('{split}', train)}"
        without, added = sorted(known - other)[:5], sorted(other - known)[:5]
        received = f"without {without}, with {added}"
        raise invalid_file(path, expected, received)
    name = folder.resolve().name
    return DetectionDataset(
        requested=name,
        name=name,
        source=name,
        origin="folder",
        train=splits[0],
        validation=splits[1],
    )


def _without_outline(item):
    # Outlines are five sixths of COCO's JSON; as Python objects they take gigabytes.
    item.pop("segmentation", None)
    return item


def _read_json(path):
    try:
        # Some programs on Windows begin a file with a byte order mark.
        with open(path, encoding="utf-8-sig") as file:
            content = json.load(file, object_hook=_without_outline)
    # ValueError covers invalid UTF-8; deep nesting raises RecursionError.
    except (OSError, ValueError, RecursionError) as error:
        raise invalid_file(path, "COCO's annotations as JSON", error) from error
    keys = ("images", "annotations", "categories")
    is_coco = isinstance(content, dict) and all(
        isinstance(content.get(key), list)
        and all(isinstance(item, dict) for item in content[key])
        for key in keys
    )
    if not is_coco or not content["images"]:
        received = list(content)[:9] if isinstance(content, dict) else type(content)
        expected = f"an object with lists of objects, {', '.join(keys)}"
        raise invalid_file(path, f"{expected}, and at least one image", received)
    for key in keys:
        _check_ids(content[key], key, path)
    return content


def _check_ids(items, key, path):
    seen = set()
    for item in items:
        if not _is_int64(item.get("id"), at_least=0):
            raise invalid_file(path, f"integers as ids of the {key}", _short(item))
        if item["id"] in seen:
            expected = f"unique ids of the {key}"
            raise invalid_file(path, expected, f"repeated id {item['id']}")
        seen.add(item["id"])


def _is_int64(value, at_least):
    return is_whole(value, at_least) and value < 2**63


def _short(item):
    text = repr(item)
    return text if len(text) <= 200 else f"{text[:200]}..."


def _read_categories(content, path):
    """Checks the categories, and leaves out a root with the name of a class."""
    categories = content["categories"]
    if not categories:
        raise invalid_file(path, "at least one category", "none, an empty list")
    for item in categories:
        name = item.get("name")
        if name is None or name == "":
            raise invalid_file(path, "a name for every category", _short(item))
        if not isinstance(name, str):
            expected = "a string (text) as the name of every category"
            raise invalid_file(path, expected, _short(item))
    # Roboflow's exports list the project as an unused category, often with the name of
    # a class.
    used = {_hashable(item.get("category_id")) for item in content["annotations"]}
    roots = [
        item
        for item in categories
        if item.get("supercategory") == "none" and item["id"] not in used
    ]
    classes = {item["name"] for item in categories if item not in roots}
    categories = [
        item for item in categories if item not in roots or item["name"] not in classes
    ]
    counts = collections.Counter(item["name"] for item in categories)
    repeated = [item for item in categories if counts[item["name"]] > 1]
    if repeated:
        expected = "unique names of the categories"
        raise invalid_file(path, expected, f"repeated: {_short(repeated)}")
    return categories


def _hashable(value):
    # An annotation's invalid id is reported later, with the annotation.
    return value if isinstance(value, int) else None


def _read_split(content, path, folder, on_broken):
    content = {**content, "categories": _read_categories(content, path)}
    skipped = {}
    images = _read_images(content, path, folder, on_broken, skipped)
    image_ids, category_ids = (
        {item["id"] for item in content[key]} for key in ("images", "categories")
    )
    kept = []
    for item in content["annotations"]:
        _check_annotation(item, path, image_ids, category_ids)
        if item["image_id"] in images:
            annotation = _clean(item, images[item["image_id"]], skipped)
            if annotation is not None:
                kept.append(annotation)
    total = len(content["annotations"])
    for reason, count in skipped.items():
        share = f"{count}" if "image" in reason else f"{count} of {total} boxes"
        if reason == "clipped" and count > total / 2:
            share += ". Expected [left, top, width, height]: are these two corners?"
        logger.warning("%s: %s: %s", path, reason, share)
    _check_boxes(content, kept, images, skipped, path)
    if all(item["iscrowd"] for item in kept):
        text = "%s: no boxes to train on or to detect, only %d crowds"
        logger.warning(text, path, len(kept))
    if any(item["id"] == 0 for item in kept):
        # pycocotools treats a match with id 0 as no match.
        kept = [{**item, "id": item["id"] + 1} for item in kept]
    return DetectionSplit(
        annotations={
            "info": content.get("info", {}),
            "images": list(images.values()),
            "annotations": kept,
            "categories": content["categories"],
        },
        read=ImageFiles(folder, images),
        skipped=skipped,
    )


def _check_boxes(content, kept, images, skipped, path):
    """Rejects boxes that are not in pixels, and a split with no boxes left."""
    boxes = [o["bbox"] for o in content["annotations"] if o["image_id"] in images]
    if not boxes:
        return
    if not kept:
        expected = "at least one box with an area inside its image"
        raise invalid_file(path, expected, f"{len(boxes)} boxes, {skipped}")
    is_larger = any(max(i["height"], i["width"]) > 1 for i in images.values())
    if is_larger and all(max(box) <= 1 for box in boxes):
        expected = "boxes in pixels: left, top, width, height"
        received = f"fractions in all {len(boxes)} boxes, such as {boxes[0]}"
        raise invalid_file(path, expected, received)


def _read_images(content, path, folder, on_broken, skipped):
    """Returns the entry in `annotations` of each image that has a file, by id."""
    images = {}
    for item in content["images"]:
        sides = [item.get("height"), item.get("width")]
        if not all(_is_int64(side, at_least=1) for side in sides):
            expected = "a height and a width for every image, as positive integers"
            raise invalid_file(path, expected, f"image {item['id']} of {sides}")
        if not _is_inside(item.get("file_name")):
            expected = "a file_name for every image, a string, inside the folder"
            raise invalid_file(path, expected, _short(item))
        keys = ("id", "file_name", "height", "width")
        images[item["id"]] = {key: item[key] for key in keys}

    files = _Files(folder)
    missing = []
    for key, image in images.items():
        found = files.find(image["file_name"])
        if found is None:
            missing.append(key)
        else:
            image["file_name"] = found
    names = ", ".join(images[key]["file_name"] for key in missing[:3])
    names += ", ..." if len(missing) > 3 else ""
    if missing and (on_broken == "error" or len(missing) == len(images)):
        raise ValueError(
            f"Invalid value received for folder {folder}. Expected the "
            f"{len(images)} images that {path} lists. Received: {len(missing)} of "
            f"them are missing: {names}"
        )
    if missing:
        skipped["missing image"] = len(missing)
        logger.warning("%s: missing: %s", folder, names)
    for key in missing:
        del images[key]
    # Some scripts list an image once per object, which hides its other objects.
    repeated = len(images) - len({image["file_name"] for image in images.values()})
    if repeated:
        skipped["repeated image"] = repeated
    return images


def _is_inside(name):
    if not (isinstance(name, str) and name):
        return False
    kinds = (pathlib.PurePosixPath, pathlib.PureWindowsPath)
    return not any(
        path.is_absolute() or ".." in path.parts
        for path in (kind(name) for kind in kinds)
    )


class _Files:
    """Finds files in a folder by names that may be spelled differently.

    A name may have other slashes, or another of Unicode's normal forms: macOS
    decomposes accents in the names of files that it unpacks. A name may also differ in
    its case, which macOS and Windows ignore, if there is only one such file.
    """

    def __init__(self, folder):
        self._folder = folder
        self._listings = {}

    def find(self, name):
        """Returns the name as spelled in the folder, or `None`."""
        for spelled in dict.fromkeys((name, name.replace("\\", "/"))):
            found = ""
            for part in posixpath.normpath(spelled).split("/"):
                names, folded = self._list(found)
                composed = unicodedata.normalize("NFC", part)
                actual = names.get(part) or names.get(composed)
                actual = actual or folded.get(composed.casefold())
                if actual is None:
                    break
                found = posixpath.join(found, actual)
            else:
                return found
        return None

    def _list(self, inner):
        # Looking up each of 118,287 files takes minutes on a network drive.
        if inner not in self._listings:
            names = []
            with contextlib.suppress(OSError):
                names = os.listdir(self._folder / inner)
            composed = {unicodedata.normalize("NFC", name): name for name in names}
            folded = {}
            for form, name in composed.items():
                lower = form.casefold()
                folded[lower] = None if lower in folded else name
            # Exact spellings take precedence.
            exact = {name: name for name in names}
            self._listings[inner] = {**composed, **exact}, folded
        return self._listings[inner]


def _check_annotation(item, path, image_ids, category_ids):
    def wrong(expected, received):
        received = f"annotation {item['id']} with {received}"
        return invalid_file(path, expected, received)

    for key, known in (("image_id", image_ids), ("category_id", category_ids)):
        value = item.get(key)
        if not (is_whole(value, at_least=0) and value in known):
            expected = f"a known {key} in every annotation, as an integer"
            raise wrong(expected, f"{key}={_short(value)}")
    box = item.get("bbox")
    if not (isinstance(box, list) and len(box) == 4 and all(map(_is_finite, box))):
        raise wrong("four finite numbers as bbox, no strings", f"bbox={_short(box)}")
    area = item.get("area")
    if not (area is None or _is_finite(area)):
        raise wrong("a finite area, not a string", f"area={_short(area)}")
    if item.get("iscrowd") not in (None, 0, 1):
        expected = "an iscrowd of 0 or 1, as an integer"
        raise wrong(expected, f"iscrowd={_short(item['iscrowd'])}")


def _is_finite(value):
    is_number = isinstance(value, (int, float)) and not isinstance(value, bool)
    # JSON's integers may be too large for a float.
    return is_number and abs(value) <= sys.float_info.max


def _clean(item, image, skipped):
    """Clips an annotation's box to its image; returns `None` if nothing is left."""

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
    excess = max(left - x, x + width - right, top - y, y + height - bottom)
    if excess > 0:
        box = [left, top, right - left, bottom - top]
    if excess > 1:
        count("clipped")
    area = item.get("area") or 0
    return {
        "id": item["id"],
        "image_id": item["image_id"],
        "category_id": item["category_id"],
        "bbox": box,
        # The outline's area, if there is an outline.
        "area": min(area if area > 0 else math.inf, box[2] * box[3]),
        "iscrowd": int(item.get("iscrowd") or 0),
    }


@dataclasses.dataclass(frozen=True, eq=False, repr=False)
class ImageFiles:
    """Reads the image with a given id from its file.

    Args:
        folder: The folder of the files.
        images: By id, an image's `file_name`, `height` and `width`.
    """

    folder: pathlib.Path
    images: dict

    def __call__(self, image_id: int) -> np.ndarray:
        """Reads the image as `uint8` `(H, W, 3)`.

        Raises:
            ValueError: If the file is broken, or not of the size in the annotations.
            ImportError: If Pillow is not installed.
        """
        try:
            from PIL import Image
        except ImportError as error:
            raise ImportError(
                "Reading images requires Pillow. Install it with "
                '`pip install "dropblock-lib[detection]"`.'
            ) from error
        entry = self.images[image_id]
        path = self.folder / entry["file_name"]
        height, width = entry["height"], entry["width"]
        try:
            with Image.open(path) as image:
                # Pillow itself rotates TIFF files when it loads them.
                image.load()
                orientation = image.getexif().get(ORIENTATION, 1)
                if orientation in range(2, 9):
                    image = self._oriented(image, orientation, entry, path)
                if image.size != (width, height):
                    raise ValueError(f"{image.height} by {image.width} pixels")
                if image.mode.startswith(("I", "F")):
                    # Pillow would clip values above 255.
                    raise ValueError(f"pixels of more than 8 bits ({image.mode})")
                # Some of COCO's images are grayscale or CMYK.
                return np.array(image.convert("RGB"))
        # Damaged bytes make the decoders raise all kinds of errors.
        except Exception as error:
            expected = f"an image of {height} by {width} pixels"
            raise invalid_file(path, expected, error) from error

    @staticmethod
    def _oriented(image, orientation, entry, path):
        from PIL import ImageOps

        sides = (entry["width"], entry["height"])
        rotated = ImageOps.exif_transpose(image)
        if sides not in (image.size, rotated.size):
            raise ValueError(
                f"{image.height} by {image.width} pixels, with EXIF orientation "
                f"{orientation}"
            )
        if image.size != rotated.size:
            return image if sides == image.size else rotated
        logger.warning(
            "%s: its EXIF orientation %d is ignored; boxes that were drawn on the "
            "rotated image are misplaced",
            path,
            orientation,
        )
        return image

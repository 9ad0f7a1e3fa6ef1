"""Reading folders in COCO's format, valid and broken ones."""

import copy
import json
import logging
import os
import sys
import unicodedata

import numpy as np
import pytest
from PIL import Image, ImageOps

from dropblock_lib.data import load_dataset
from dropblock_lib.data.coco import read_coco
from dropblock_lib.data.detection_dataset import DetectionDataset

HEIGHT, WIDTH = 40, 60


def annotation(number, image, box, category=7, **more):
    area = box[2] * box[3] if len(box) == 4 else 0
    return {
        "id": number,
        "image_id": image,
        "category_id": category,
        "bbox": box,
        "area": area,
        "iscrowd": 0,
        "segmentation": [[1, 2, 3, 4, 5, 6]],
        **more,
    }


def coco(images, annotations):
    return {
        "info": {"year": 2017},
        "images": [
            {"id": i, "file_name": f"{i:012}.jpg", "height": HEIGHT, "width": WIDTH}
            for i in images
        ],
        "annotations": annotations,
        # Out of order and with gaps, like COCO's.
        "categories": [{"id": 90, "name": "bear"}, {"id": 7, "name": "train"}],
    }


def gradient():
    rows, columns = np.mgrid[:HEIGHT, :WIDTH]
    return np.stack([rows * 6, columns * 4, 200 - rows], axis=-1).astype("uint8")


class Folder:
    """Three images to train on and one to evaluate, which a test may then break."""

    def __init__(self, path):
        self.path = path
        self.train = coco(
            [11, 5, 8],
            [
                annotation(3, 5, [1.5, 2.25, 10, 20.5]),
                annotation(1, 11, [0, 0, 60, 40], 90),
                annotation(4, 5, [30, 4, 8, 9], 90),
            ],
        )
        self.validation = coco([2], [annotation(1, 2, [3, 3, 4, 4])])
        (path / "annotations").mkdir(parents=True)
        for name in ("train2017", "val2017"):
            (path / name).mkdir()
        for image in (11, 5, 8):
            Image.fromarray(gradient()).save(self.image(image), quality=95)
        Image.fromarray(gradient()).save(path / "val2017" / f"{2:012}.jpg")
        self.write()

    @property
    def json(self):
        return self.path / "annotations" / "instances_train2017.json"

    def image(self, number):
        return self.path / "train2017" / f"{number:012}.jpg"

    def write(self):
        self.json.write_text(json.dumps(self.train))
        path = self.path / "annotations" / "instances_val2017.json"
        path.write_text(json.dumps(self.validation))
        return self

    def add(self, *annotations):
        self.train["annotations"] += annotations
        self.write()


@pytest.fixture
def folder(tmp_path):
    return Folder(tmp_path / "mine")


# === Reading ===


def test_boxes_labels_and_ids(folder):
    dataset = read_coco(folder.path)
    train = dataset.train
    assert isinstance(dataset, DetectionDataset)
    assert (dataset.name, dataset.source, dataset.origin) == ("mine", "mine", "folder")
    assert dataset.classes == ("train", "bear")
    assert dataset.category_ids == (7, 90)
    assert (len(train), len(dataset.validation)) == (3, 1)
    assert train.ids == (11, 5, 8)
    assert train.sizes.tolist() == [[HEIGHT, WIDTH]] * 3
    assert [b.dtype for b in train.boxes] == [np.float32] * 3
    assert [b.tolist() for b in train.boxes] == [
        [[0, 0, 60, 40]],
        [[1.5, 2.25, 11.5, 22.75], [30, 4, 38, 13]],
        [],
    ]
    assert [labels.tolist() for labels in train.labels] == [[1], [0, 1], []]
    assert train.boxes[2].shape == (0, 4)
    assert train.labels[2].dtype == np.int64
    assert train.skipped == {}
    assert "3 training and 1 validation images of up to 60 pixels" in str(dataset)


def test_nothing_is_printed(folder, capsys):
    read_coco(folder.path)
    assert capsys.readouterr() == ("", "")


def test_images_are_read_unchanged_when_they_are_requested(folder):
    train = read_coco(folder.path).train
    image = train.image(1)
    assert (image.dtype, image.shape) == (np.uint8, (HEIGHT, WIDTH, 3))
    # JPEG is lossy.
    assert np.abs(image.astype(int) - gradient()).max() < 20
    Image.fromarray(255 - gradient()).save(folder.image(5))
    assert np.abs(train.image(1).astype(int) - (255 - gradient())).max() < 20


def test_crowds_are_evaluated_but_not_learned(folder):
    folder.add(annotation(9, 8, [5, 5, 30, 20], iscrowd=1))
    train = read_coco(folder.path).train
    assert len(train.boxes[2]) == 0
    assert train.skipped == {}
    (crowd,) = (a for a in train.annotations["annotations"] if a["iscrowd"])
    assert (crowd["id"], crowd["bbox"]) == (9, [5, 5, 30, 20])


def test_annotations_can_be_evaluated(folder, capsys):
    """All boxes are found exactly, and a detection in the crowd is ignored."""
    from pycocotools.coco import COCO
    from pycocotools.cocoeval import COCOeval

    # pycocotools would treat a match with this id as no match.
    folder.train["annotations"][0]["id"] = 0
    folder.add(annotation(9, 8, [5, 5, 30, 20], iscrowd=1))
    dataset = read_coco(folder.path)
    truth = COCO()
    truth.dataset = copy.deepcopy(dataset.train.annotations)
    truth.createIndex()
    found = [
        {
            "image_id": image_id,
            "category_id": dataset.category_ids[label],
            "bbox": [left, top, right - left, bottom - top],
            "score": 0.9,
        }
        for image_id, boxes, labels in zip(
            dataset.train.ids, dataset.train.boxes, dataset.train.labels, strict=True
        )
        for (left, top, right, bottom), label in zip(
            boxes.tolist(), labels, strict=True
        )
    ]
    in_crowd = {**found[0], "image_id": 8, "bbox": [6, 6, 5, 5], "category_id": 7}
    evaluation = COCOeval(truth, truth.loadRes([*found, in_crowd]), "bbox")
    evaluation.evaluate()
    evaluation.accumulate()
    evaluation.summarize()
    capsys.readouterr()
    assert evaluation.stats[0] == pytest.approx(1)


def test_outlines_are_not_kept(folder):
    for item in read_coco(folder.path).train.annotations["annotations"]:
        assert "segmentation" not in item


@pytest.mark.parametrize("mode", ["L", "CMYK", "P", "1"])
def test_other_colors_become_rgb(folder, mode):
    picture = Image.fromarray(gradient()).convert(mode)
    kind = "PNG" if mode in ("P", "1") else "JPEG"
    picture.save(folder.image(5), kind, quality=95)
    image = read_coco(folder.path).train.image(1)
    assert (image.dtype, image.shape) == (np.uint8, (HEIGHT, WIDTH, 3))
    expected = np.asarray(picture.convert("RGB"))
    assert np.abs(image.astype(int) - expected).mean() < 5


@pytest.mark.parametrize("mode", ["I;16", "F"])
def test_pixels_of_more_than_8_bits_are_rejected_rather_than_clipped(folder, mode):
    kind, dtype = ("PNG", "uint16") if mode == "I;16" else ("TIFF", "float32")
    pixels = np.full((HEIGHT, WIDTH), 1000, dtype)
    Image.fromarray(pixels).save(folder.image(5), kind)
    with pytest.raises(ValueError, match="more than 8 bits"):
        read_coco(folder.path).train.image(1)


def save_seen(path, seen, orientation):
    """Saves an image that a viewer shows as `seen`."""
    exif = Image.Exif()
    exif[0x0112] = orientation
    # Stored with the inverse orientation applied: 6 and 8 are each other's inverse.
    inverse = Image.Exif()
    inverse[0x0112] = {6: 8, 8: 6}.get(orientation, orientation)
    stored = Image.fromarray(seen)
    stored.info["exif"] = inverse.tobytes()
    stored.getexif()[0x0112] = inverse[0x0112]
    stored = ImageOps.exif_transpose(stored)
    stored.save(path, exif=exif, quality=95)
    return np.asarray(stored)


@pytest.mark.parametrize("orientation", [5, 6, 7, 8])
def test_an_image_annotated_as_seen_is_rotated(folder, caplog, orientation):
    stored = save_seen(folder.image(5), gradient(), orientation)
    assert stored.shape[:2] == (WIDTH, HEIGHT)
    image = read_coco(folder.path).train.image(1)
    assert np.abs(image.astype(int) - gradient()).max() < 20
    assert not caplog.records


@pytest.mark.parametrize("orientation", [0, 1, 5, 6, 7, 8, 9])
def test_an_image_annotated_as_stored_is_not_rotated(folder, caplog, orientation):
    exif = Image.Exif()
    exif[0x0112] = orientation
    Image.fromarray(gradient()).save(folder.image(5), exif=exif, quality=95)
    image = read_coco(folder.path).train.image(1)
    assert np.abs(image.astype(int) - gradient()).max() < 20
    assert not caplog.records


@pytest.mark.parametrize("orientation", [2, 3, 4, 6])
def test_an_ambiguous_orientation_is_reported(folder, caplog, orientation):
    if orientation == 6:
        folder.train["images"][1].update(height=HEIGHT, width=HEIGHT)
        folder.train["annotations"] = [annotation(1, 5, [0, 0, 9, 9])]
        folder.write()
    seen = gradient()[:, : HEIGHT if orientation == 6 else WIDTH]
    stored = save_seen(folder.image(5), seen, orientation)
    image = read_coco(folder.path).train.image(1)
    assert np.abs(image.astype(int) - stored).max() < 20
    (warning,) = (r for r in caplog.records if r.levelname == "WARNING")
    assert f"EXIF orientation {orientation} is ignored" in warning.getMessage()
    assert folder.image(5).name in warning.getMessage()


def test_a_rotated_image_of_another_size_is_rejected(folder):
    save_seen(folder.image(5), gradient()[:, :50], 6)
    with pytest.raises(ValueError, match=r"50 by 40 pixels, with EXIF orientation 6"):
        read_coco(folder.path).train.image(1)


def test_arrays_are_read_only(folder):
    train = read_coco(folder.path).train
    for array in (train.sizes, train.boxes[0], train.labels[0]):
        with pytest.raises(ValueError, match="read-only"):
            array[0] = 0


# === Skipping and logging ===


@pytest.mark.parametrize(
    "box, reason",
    [
        ([5, 5, 0, 4], "no area"),
        ([5, 5, 4, -1], "no area"),
        ([60, 5, 10, 10], "outside"),
        ([5, -20, 10, 20], "outside"),
    ],
)
@pytest.mark.parametrize("crowd", [0, 1])
def test_boxes_without_pixels_in_the_image_are_skipped(
    folder, caplog, box, reason, crowd
):
    folder.add(annotation(20, 8, box, iscrowd=crowd), annotation(21, 8, [1, 1, 2, 2]))
    train = read_coco(folder.path).train
    assert train.boxes[2].tolist() == [[1, 1, 3, 3]]
    assert train.skipped == {reason: 1}
    assert 20 not in {item["id"] for item in train.annotations["annotations"]}
    (warning,) = (r for r in caplog.records if r.levelname == "WARNING")
    expected = f"instances_train2017.json: {reason}: 1 of 5 boxes"
    assert warning.getMessage().endswith(expected)


def test_boxes_partly_outside_are_clipped(folder):
    folder.add(
        annotation(20, 8, [-5, 2, 10, 100]),
        annotation(21, 8, [50.5, 30, 10, 10.75]),
    )
    train = read_coco(folder.path).train
    assert train.boxes[2].tolist() == [[0, 2, 5, 40], [50.5, 30, 60, 40]]
    # The second box is clipped by less than a pixel, which is not counted.
    assert train.skipped == {"clipped": 1}
    clipped = train.annotations["annotations"][-2:]
    assert [item["bbox"] for item in clipped] == [[0, 2, 5, 38], [50.5, 30, 9.5, 10]]
    assert [item["area"] for item in clipped] == [5 * 38, 9.5 * 10]


def test_boxes_of_two_corners_are_suspected(folder, caplog):
    boxes = [[30, 20, 50, 35], [40, 5, 55, 30], [10, 25, 20, 38], [35, 10, 60, 40]]
    folder.add(*(annotation(20 + i, 8, box) for i, box in enumerate(boxes)))
    read_coco(folder.path)
    *_, warning = (r.getMessage() for r in caplog.records if r.levelname == "WARNING")
    assert "clipped: 4 of 7 boxes. Expected [left, top, width, height]" in warning


@pytest.mark.parametrize("field", ["area", "iscrowd"])
def test_null_is_read_like_a_field_that_is_missing(folder, field):
    folder.add(annotation(20, 8, [1, 1, 2, 3], **{field: None}))
    read = read_coco(folder.path).train.annotations["annotations"][-1]
    assert (read["area"], read["iscrowd"]) == (6, 0)


@pytest.mark.parametrize(
    "box, text",
    [
        ([0.1, 0.2, 0.5, 0.5], r"boxes in pixels.*fractions in all 3 boxes.*0\.1"),
        ([0, 0, 1, 1], "boxes in pixels"),
        ([70, 5, 10, 10], "at least one box.*3 boxes.*outside"),
        ([5, 5, 0, 3], "at least one box.*no area"),
    ],
)
def test_a_split_without_a_box_in_pixels_is_rejected(folder, box, text):
    for item in folder.train["annotations"]:
        item["bbox"] = box
    with pytest.raises(ValueError, match=f"instances_train2017.*{text}"):
        read_coco(folder.write().path)


@pytest.mark.parametrize("crowds", [0, 2])
def test_a_split_may_have_no_boxes_to_learn_but_it_is_reported(folder, caplog, crowds):
    crowd = {"iscrowd": 1}
    folder.train["annotations"] = [
        annotation(number, 8, [1, 1, 9, 9], **crowd) for number in range(crowds)
    ]
    assert [len(b) for b in read_coco(folder.write().path).train.boxes] == [0, 0, 0]
    (warning,) = (r for r in caplog.records if r.levelname == "WARNING")
    assert "instances_train2017.json: no boxes to train on" in warning.getMessage()
    assert f"only {crowds} crowds" in warning.getMessage()


@pytest.mark.parametrize("argument", ["train", "validation", "images"])
def test_a_name_must_be_a_string(folder, argument):
    with pytest.raises(
        ValueError, match=f"argument `{argument}`.*Received: {argument}="
    ):
        read_coco(folder.path, **{argument: None})


def test_missing_images_are_rejected_or_skipped(folder, caplog):
    folder.image(5).unlink()
    with pytest.raises(ValueError, match=r"3 images.*1 of them are missing: 0+5\.jpg"):
        read_coco(folder.path)
    with caplog.at_level(logging.WARNING, "dropblock_lib"):
        train = read_coco(folder.path, on_broken="skip").train
    assert train.ids == (11, 8)
    assert train.skipped == {"missing image": 1}
    assert len(train.boxes) == len(train.labels) == len(train.sizes) == 2
    assert [i["id"] for i in train.annotations["images"]] == [11, 8]
    assert {a["image_id"] for a in train.annotations["annotations"]} == {11}
    assert "missing: 000000000005.jpg\n" in caplog.text
    assert "missing image: 1" in caplog.text


def test_a_split_without_any_image_file_is_always_rejected(folder):
    for number in (11, 5, 8):
        folder.image(number).unlink()
    with pytest.raises(ValueError, match=r"3 of them are missing: 0+11.jpg"):
        read_coco(folder.path, on_broken="skip")


def test_images_may_be_in_subfolders(folder):
    """Many tools export them this way, with the folder in `file_name`."""
    for number, inner in ((11, "a"), (5, "a/b")):
        target = folder.path / "train2017" / inner / folder.image(number).name
        target.parent.mkdir(exist_ok=True)
        folder.image(number).rename(target)
        (item,) = (i for i in folder.train["images"] if i["id"] == number)
        item["file_name"] = f"{inner}/{item['file_name']}"
    train = read_coco(folder.write().path).train
    assert [train.image(index).shape for index in range(3)] == [(HEIGHT, WIDTH, 3)] * 3
    (folder.path / "train2017" / "a" / "b" / folder.image(5).name).unlink()
    with pytest.raises(ValueError, match=r"1 of them are missing: a/b/0+5\.jpg"):
        read_coco(folder.path)


@pytest.mark.parametrize(
    "annotations, images",
    [
        # Roboflow, CVAT and Datumaro, FiftyOne, labelme2coco.
        ("{split}/_annotations.coco.json", "{split}"),
        ("annotations/instances_{split}.json", "images/{split}"),
        ("{split}/labels.json", "{split}/data"),
        ("{split}.json", "."),
    ],
)
def test_files_may_be_arranged_as_other_tools_do(tmp_path, annotations, images):
    original = Folder(tmp_path / "mine")
    expected = read_coco(original.path)
    exported = tmp_path / "exported"
    for split in ("train2017", "val2017"):
        source = original.path / "annotations" / f"instances_{split}.json"
        target = exported / annotations.replace("{split}", split)
        target.parent.mkdir(parents=True, exist_ok=True)
        source.rename(target)
        target = exported / images.replace("{split}", split)
        target.mkdir(parents=True, exist_ok=True)
        for path in (original.path / split).iterdir():
            path.rename(target / path.name)
    dataset = read_coco(exported, annotations=annotations, images=images)
    for ours, theirs in (
        (dataset.train, expected.train),
        (dataset.validation, expected.validation),
    ):
        assert ours.annotations == theirs.annotations
        assert ours.image(0).shape == (HEIGHT, WIDTH, 3)


@pytest.mark.parametrize("annotations", ["labels.json", "SPLIT.json", None])
def test_one_file_for_both_splits_is_rejected(folder, annotations):
    with pytest.raises(ValueError, match=r"`annotations`.*\{split\}.*Received"):
        read_coco(folder.path, annotations=annotations)


def test_a_byte_order_mark_is_skipped(folder):
    expected = read_coco(folder.path).train
    folder.json.write_bytes(b"\xef\xbb\xbf" + folder.json.read_bytes())
    assert read_coco(folder.path).train.annotations == expected.annotations


FORMS = [unicodedata.normalize(form, "é/ü.jpg") for form in ("NFC", "NFD")]


@pytest.mark.parametrize(
    "listed, stored",
    [
        FORMS,
        FORMS[::-1],
        ("a\\b.jpg", "a/b.jpg"),
        ("./a//b.jpg", "a/b.jpg"),
        ("a\\b.jpg", "a\\b.jpg"),
        ("A/b.jpg", "a/B.JPG"),
        (FORMS[0].upper(), FORMS[1]),
    ],
)
def test_a_file_name_may_be_spelled_differently(folder, listed, stored):
    path = folder.path / "train2017" / stored
    path.parent.mkdir(exist_ok=True)
    folder.image(5).rename(path)
    folder.train["images"][1]["file_name"] = listed
    train = read_coco(folder.write().path).train
    assert train.image(1).shape == (HEIGHT, WIDTH, 3)
    path.unlink()
    with pytest.raises(ValueError, match="1 of them are missing") as error:
        read_coco(folder.path)
    assert listed in str(error.value)


def test_files_that_differ_in_their_normal_form_are_distinguished(folder):
    composed, decomposed = (form.replace("/", "-") for form in FORMS)
    for image, name, brightness in ((5, composed, 50), (8, decomposed, 200)):
        picture = np.full((HEIGHT, WIDTH, 3), brightness, "uint8")
        Image.fromarray(picture).save(folder.path / "train2017" / name)
        (item,) = (i for i in folder.train["images"] if i["id"] == image)
        item["file_name"] = name
    train = read_coco(folder.write().path).train
    means = [train.image(index).mean() for index in (1, 2)]
    assert means == pytest.approx([50, 200], abs=3)


def test_a_name_in_another_case_must_be_unambiguous(folder):
    folder.image(5).rename(folder.path / "train2017" / "A.jpg")
    folder.image(8).rename(folder.path / "train2017" / "a.JPG")
    images = {item["id"]: item for item in folder.train["images"]}
    images[5]["file_name"], images[8]["file_name"] = "a.JPG", "A.jpg"
    names = [item["file_name"] for item in read_images(folder)]
    assert names[1:] == ["a.JPG", "A.jpg"]
    images[8]["file_name"] = "a.jpg"
    with pytest.raises(ValueError, match=r"1 of them are missing: a\.jpg"):
        read_images(folder)
    # Ambiguous also if one of the two files is in lower case.
    (folder.path / "train2017" / "a.JPG").rename(folder.path / "train2017" / "a.jpg")
    images[5]["file_name"] = "a.JPG"
    with pytest.raises(ValueError, match=r"1 of them are missing: a\.JPG"):
        read_images(folder)


def read_images(folder):
    dataset = read_coco(folder.write().path)
    return list(dataset.train.read.images.values())


def test_a_file_that_is_listed_twice_is_reported(folder, caplog):
    """Some scripts list an image once per object, which splits its objects."""
    folder.train["images"][2]["file_name"] = folder.train["images"][1]["file_name"]
    train = read_coco(folder.write().path).train
    assert (len(train), train.skipped) == (3, {"repeated image": 1})
    (warning,) = (r for r in caplog.records if r.levelname == "WARNING")
    assert "instances_train2017.json: repeated image: 1" in warning.getMessage()


# === Rejecting ===


@pytest.mark.parametrize("broken", ["truncated", "no image", "empty", "size", "gone"])
def test_a_broken_image_is_named_when_it_is_read(folder, broken):
    path = folder.image(5)
    content = path.read_bytes()
    if broken == "size":
        Image.fromarray(gradient()[:, :50]).save(path)
    else:
        halves = {
            "truncated": content[: len(content) // 2],
            "no image": b"GIF",
            "": b"",
        }
        path.write_bytes(halves.get(broken, b""))
    train = read_coco(folder.path).train
    if broken == "gone":
        path.unlink()
    with pytest.raises(ValueError, match=r"data file .*0+5\.jpg.*Received: .") as error:
        train.image(1)
    assert "Expected an image of 40 by 60 pixels" in str(error.value)
    assert train.image(0).shape == (HEIGHT, WIDTH, 3)


@pytest.mark.parametrize(
    "change, text",
    [
        ({"category_id": 3}, "a known category_id.*category_id=3"),
        ({"category_id": None}, "a known category_id"),
        ({"category_id": [7]}, "a known category_id"),
        ({"image_id": 12}, "a known image_id.*image_id=12"),
        ({"image_id": True}, "a known image_id"),
        ({"bbox": [1, 2, 3]}, r"four finite numbers.*\[1, 2, 3\]"),
        ({"bbox": [1, 2, 3, float("nan")]}, "four finite numbers.*nan"),
        ({"bbox": [1, float("inf"), 3, 4]}, "four finite numbers.*inf"),
        ({"bbox": [1, 2, "3", 4]}, "four finite numbers"),
        ({"bbox": None}, "four finite numbers.*None"),
        ({"bbox": [1, 2, 3, 10**400]}, "four finite numbers.*1000"),
        ({"image_id": "8"}, "a known image_id.*as an integer.*image_id='8'"),
        ({"image_id": 8.0}, r"a known image_id.*as an integer.*image_id=8\.0"),
        ({"category_id": "7"}, "a known category_id.*as an integer.*category_id='7'"),
        ({"bbox": ["1", "1", "2", "2"]}, r"four finite numbers.*no strings.*\['1',"),
        ({"bbox": "[1, 1, 2, 2]"}, r"four finite numbers.*no strings.*bbox='\[1"),
        ({"area": "4"}, "a finite area.*not a string.*area='4'"),
        ({"iscrowd": "0"}, "an iscrowd of 0 or 1.*as an integer.*iscrowd='0'"),
        ({"area": float("nan")}, "a finite area.*nan"),
        ({"area": 10**400}, "a finite area.*1000"),
        ({"iscrowd": 2}, "an iscrowd of 0 or 1.*2"),
    ],
)
def test_an_invalid_annotation_is_named(folder, change, text):
    folder.add({**annotation(77, 8, [1, 1, 2, 2]), **change})
    expected = f"instances_train2017.json.*Expected {text.split('.*')[0]}"
    with pytest.raises(ValueError, match=expected) as error:
        read_coco(folder.path)
    assert "annotation 77 with" in str(error.value)
    with pytest.raises(ValueError, match=text):
        read_coco(folder.path)


@pytest.mark.parametrize("key, number", [("images", 5), ("annotations", 3)])
def test_an_id_that_occurs_twice_is_rejected(folder, key, number):
    (item,) = (i for i in folder.train[key] if i["id"] == number)
    folder.train[key].append(dict(item))
    folder.write()
    text = f"unique ids of the {key}.*Received: repeated id {number}"
    with pytest.raises(ValueError, match=text):
        read_coco(folder.path)


@pytest.mark.parametrize(
    "content",
    [
        "",
        "{",
        "\0\1",
        "[]",
        "3",
        "{}",
        '{"images": [], "annotations": [], "categories": []}',
        '{"images": [3], "annotations": [], "categories": []}',
        '{"images": {"id": 1}, "annotations": [], "categories": []}',
        '{"images": [{"file_name": "a.jpg"}], "annotations": [], "categories": []}',
        "[" * 100_000,
    ],
)
def test_a_file_in_another_format_is_rejected(folder, content):
    folder.json.write_text(content)
    with pytest.raises(
        ValueError, match=r"data file .*instances_train2017\.json\. Exp"
    ):
        read_coco(folder.path)


@pytest.mark.parametrize(
    "key, value",
    [
        ("height", 0),
        ("width", 3.5),
        ("height", None),
        ("width", 2**63),
        ("file_name", 3),
        ("file_name", ""),
        ("file_name", "../000000000005.jpg"),
        ("file_name", "/images/000000000005.jpg"),
        ("file_name", "..\\000000000005.jpg"),
        ("file_name", "C:\\images\\000000000005.jpg"),
    ],
)
def test_an_image_without_size_or_name_is_named(folder, key, value):
    folder.train["images"][1][key] = value
    with pytest.raises(ValueError, match=f"train2017.json.*Expected a .*{key}.* 5"):
        read_coco(folder.write().path)


@pytest.mark.parametrize("value", ["60", 60.0])
def test_an_error_about_the_type_of_a_side_shows_the_value(folder, value):
    folder.train["images"][1]["width"] = value
    text = rf"a width for every image, as positive integers.*\[40, {value!r}\]"
    with pytest.raises(ValueError, match=text):
        read_coco(folder.write().path)


@pytest.mark.parametrize("key", ["images", "annotations", "categories"])
@pytest.mark.parametrize("value", ["5", 5.0])
def test_an_error_about_the_type_of_an_id_shows_the_value(folder, key, value):
    folder.train[key][0]["id"] = value
    text = f"integers as ids of the {key}.*'id': {value!r}"
    with pytest.raises(ValueError, match=text):
        read_coco(folder.write().path)


@pytest.mark.parametrize("key", ["images", "annotations", "categories"])
def test_an_id_of_more_than_64_bits_is_rejected(folder, key):
    folder.train[key][0]["id"] = 2**63
    with pytest.raises(ValueError, match=f"integers as ids of the {key}.*{2**63}"):
        read_coco(folder.write().path)


@pytest.mark.parametrize(
    "categories, text",
    [
        ([], "at least one category.*none"),
        ([{"id": 7}], "a name for every category.*'id': 7"),
        ([{"id": 7, "name": ""}], "a name for every category.*'id': 7"),
        ([{"id": 7, "name": None}], "a name for every category.*'id': 7"),
        ([{"id": 7, "name": 3}], r"a string \(text\) as the name.*'name': 3"),
        (
            [{"id": 7, "name": "cat"}, {"id": 90, "name": "cat"}],
            "unique names.*repeated.*'id': 7.*'id': 90",
        ),
    ],
)
def test_each_problem_with_categories_is_named(folder, categories, text):
    folder.train["categories"] = categories
    with pytest.raises(ValueError, match=f"instances_train2017.*Expected {text}"):
        read_coco(folder.write().path)


def as_roboflow(folder, *more):
    root = {"id": 0, "name": "train", "supercategory": "none"}
    for content in (folder.train, folder.validation):
        classes = [{**c, "supercategory": "train"} for c in content["categories"]]
        content["categories"] = [root, *more, *classes]
    return folder.write()


def test_two_unused_roots_of_one_name_are_rejected(folder):
    other = {"id": 1, "name": "sea", "supercategory": "none"}
    as_roboflow(folder, other, {**other, "id": 2})
    with pytest.raises(ValueError, match=r"unique names.*repeated.*'sea'"):
        read_coco(folder.path)


def test_an_unused_root_with_the_name_of_a_class_is_left_out(folder):
    expected = read_coco(folder.path)
    dataset = read_coco(as_roboflow(folder).path)
    assert dataset.classes == ("train", "bear")
    assert dataset.category_ids == (7, 90)
    for ours, theirs in zip(dataset.train.labels, expected.train.labels, strict=True):
        assert ours.tolist() == theirs.tolist()


def test_a_used_root_with_the_name_of_a_class_is_rejected(folder):
    as_roboflow(folder).add(annotation(30, 8, [1, 1, 9, 9], category=0))
    with pytest.raises(ValueError, match=r"unique names.*repeated"):
        read_coco(folder.path)


def test_splits_with_different_categories_are_rejected(folder):
    folder.validation["categories"][0]["name"] = "wolf"
    with pytest.raises(ValueError, match=r"instances_val2017.*categories.*wolf"):
        read_coco(folder.write().path)


def test_different_categories_are_named_by_split(folder):
    folder.validation["categories"] = [
        {"id": 7, "name": "train"},
        {"id": 9, "name": "wolf"},
        {"id": 90, "name": "hare"},
    ]
    text = (
        r"instances_train2017\.json\. Received: without \[\(90, 'bear'\)\], "
        r"with \[\(9, 'wolf'\), \(90, 'hare'\)\]"
    )
    with pytest.raises(ValueError, match=text):
        read_coco(folder.write().path)


def test_missing_folders_and_splits_are_named(folder, tmp_path):
    with pytest.raises(ValueError, match=r"`folder`.*existing directory.*absent"):
        read_coco(tmp_path / "absent")
    with pytest.raises(ValueError, match=r"data file .*instances_test2017\.json"):
        read_coco(folder.path, validation="test2017")
    with pytest.raises(ValueError, match=r"`on_broken`.*Received: on_broken='ignore'"):
        read_coco(folder.path, on_broken="ignore")


def test_without_pillow_the_message_says_what_to_install(folder, monkeypatch):
    train = read_coco(folder.path).train
    monkeypatch.setitem(sys.modules, "PIL", None)
    with pytest.raises(ImportError, match=r"Pillow.*dropblock-lib\[detection\]"):
        train.image(0)


# === Parts of a split ===


def test_a_smaller_part_is_contained_in_a_larger_one(tmp_path):
    folder = Folder(tmp_path / "many")
    numbers = list(range(100, 140))
    boxes = [annotation(n, n, [n - 100, 1, 2, 3]) for n in numbers]
    folder.train = coco(numbers, boxes)
    for number in numbers:
        os.link(folder.path / "train2017" / f"{11:012}.jpg", folder.image(number))
    train = read_coco(folder.write().path).train
    ten, twenty = train.take(10), train.take(20)
    assert twenty.ids[:10] == ten.ids
    assert len(set(twenty.ids)) == 20
    # A random part, not the beginning.
    assert ten.ids != train.ids[:10]
    assert train.take(10).ids == ten.ids
    assert [n - 100 for n in ten.ids] == [boxes[0, 0] for boxes in ten.boxes]
    assert [item["id"] for item in ten.annotations["images"]] == list(ten.ids)
    assert {a["image_id"] for a in ten.annotations["annotations"]} == set(ten.ids)
    assert len(ten.annotations["categories"]) == 2
    assert ten.image(3).shape == (HEIGHT, WIDTH, 3)
    assert set(train.take(40).ids) == set(train.ids)
    assert train.take(None) is train


@pytest.mark.parametrize("count", [0, -1, 4, 1.0, True, "2"])
def test_a_bad_number_of_images_is_rejected(folder, count):
    with pytest.raises(ValueError, match=r"`count`.*from 1 to 3.*Received: count="):
        read_coco(folder.path).train.take(count)


# === By name ===


@pytest.mark.parametrize("name", ["coco2017-mini", "coco2017"])
def test_a_folder_in_data_dir_is_read(tmp_path, monkeypatch, name):
    Folder(tmp_path / name)
    dataset = load_dataset(name, data_dir=tmp_path)
    assert (dataset.requested, dataset.name) == (name, name)
    assert (dataset.source, dataset.origin) == (name, "data_dir")
    assert not dataset.is_stand_in
    monkeypatch.setenv("DROPBLOCK_DATA", str(tmp_path))
    assert load_dataset(name).origin == "DROPBLOCK_DATA"


def test_the_stand_in_says_that_it_is_one(tmp_path, caplog):
    dataset = load_dataset("coco2017-mini", data_dir=tmp_path)
    assert (dataset.requested, dataset.name) == ("coco2017-mini", "scenes")
    assert (dataset.source, dataset.origin) == ("scenes", "stand-in")
    assert dataset.is_stand_in and dataset.label == "scenes-for-coco2017-mini"
    assert "standing in for coco2017-mini" in str(dataset)
    warnings = [r.getMessage() for r in caplog.records if r.levelname == "WARNING"]
    assert any("coco2017-mini; it is not downloaded" in text for text in warnings)
    assert any(str(dataset) in text for text in warnings)


def test_a_broken_folder_never_leads_to_the_stand_in(tmp_path):
    (tmp_path / "coco2017").write_text("")
    with pytest.raises(ValueError, match="coco2017"):
        load_dataset("coco2017", data_dir=tmp_path)
    Folder(tmp_path / "coco2017-mini").json.unlink()
    with pytest.raises(ValueError, match="instances_train2017"):
        load_dataset("coco2017-mini", data_dir=tmp_path)


REAL_DATA = os.environ.get("DROPBLOCK_DATA")


def test_the_real_images():
    if not REAL_DATA or not os.path.exists(os.path.join(REAL_DATA, "coco2017-mini")):
        pytest.skip(f"no coco2017-mini: DROPBLOCK_DATA={REAL_DATA!r}")
    dataset = load_dataset("coco2017-mini", data_dir=REAL_DATA)
    assert (len(dataset.train), len(dataset.validation)) == (500, 166)
    assert len(dataset.classes) == 80
    crowds = [a for a in dataset.train.annotations["annotations"] if a["iscrowd"]]
    assert sum(map(len, dataset.train.boxes)) + len(crowds) == 4190
    assert dataset.validation.image(5).shape == (*dataset.validation.sizes[5], 3)

"""Counts how many of a detector's anchors are assigned to each class.

    DROPBLOCK_DATA=... python -m benchmarks.anchor_classes --dataset coco2017-mini

Writes `anchor_classes-BACKEND.json`, one row per class. The counts give the class loss
of a detector that ignores the image, which the book compares with recorded losses. With
the file, readers of the book do not need the photographs.
"""

from benchmarks import options
from dropblock_lib import load_dataset
from dropblock_lib.detection.anchors import count_assigned
from dropblock_lib.experiments.records.benchmark import make_benchmark, write_benchmark
from dropblock_lib.models import DETECTORS


def main(arguments=None):
    parser = options.parser("Anchors of the validation images, by class.")
    parser.add_argument("--dataset", default="coco2017-mini")
    parser.add_argument("--network", choices=DETECTORS, default="retinanet_light")
    parser.add_argument("--image-size", type=options.positive, default=96)
    chosen = parser.parse_args(arguments)
    data = load_dataset(chosen.dataset)
    if data.is_stand_in and not chosen.smoke:
        raise SystemExit(f"{chosen.dataset} is not available: {data}")
    split = data.validation.take(4) if chosen.smoke else data.validation
    model = DETECTORS[chosen.network](
        "none", len(data.classes), image_size=chosen.image_size
    )
    counts, anchors = count_assigned(model, split)
    rows = [
        {"class": name, "anchors": int(count)}
        for name, count in zip(data.classes, counts, strict=True)
    ]
    settings = {
        "dataset": data.source,
        "split": "validation",
        "images": len(split),
        "network": chosen.network,
        "image_size": chosen.image_size,
        "asked": anchors,
        "smoke": chosen.smoke,
    }
    document = make_benchmark("anchor_classes", rows, settings, {}, {})
    print(write_benchmark(document, chosen.output))


if __name__ == "__main__":
    main()

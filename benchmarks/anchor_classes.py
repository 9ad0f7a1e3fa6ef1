"""What a data set asks of a detector's anchors: how many are to find which class.

    DROPBLOCK_DATA=... python benchmarks/anchor_classes.py --dataset coco2017-mini

Writes `anchor_classes-BACKEND.json`, a row a class. It says what a detector's class
loss would be if it looked at no image; the book holds the records' losses against it,
also where the photographs are not at hand.
"""

import options

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
        raise SystemExit(f"{chosen.dataset} could not be had: {data}")
    split = data.validation.take(4) if chosen.smoke else data.validation
    model = DETECTORS[chosen.network](
        "none", len(data.classes), image_size=chosen.image_size
    )
    of_classes, anchors = count_assigned(model, split)
    rows = [
        {"class": name, "anchors": int(count)}
        for name, count in zip(data.classes, of_classes, strict=True)
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

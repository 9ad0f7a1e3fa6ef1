"""The explorer's texts, shared by the script and the still picture.

Names in braces are placeholders.
"""

TEXTS = {
    "method": {
        "dropout": "Dropout",
        "spatial": "SpatialDropout",
        "dropblock": "DropBlock",
    },
    "step": {
        "map": "Map",
        "seeds": "Seeds",
        "blocks": "Blocks",
        "drop": "Drop",
        "scale": "Scale",
    },
    "gamma": {"paper": "paper", "exact": "exact"},
    "picture": {
        "star": "a star",
        "digit": "a digit",
        "numbers": "the slides' numbers",
        "ones": "all ones",
    },
    "legend": {
        "kept": "kept",
        "dropped": "dropped",
        "seed": "seed",
        "valid": "valid seed region",
    },
    "explain": {
        "map": "A, the feature map, before anything is dropped.",
        "seeds": (
            "One random number for each of the {places} places where a block fits, "
            "in each of {masks} masks. A place whose number is below gamma becomes a "
            "seed. Seeds: {seeds}."
        ),
        "blocks": (
            "Every seed becomes a block of {kh} x {kw}. All blocks together make the "
            "keep mask M. Of {units} units, {kept} are kept."
        ),
        "drop": "A x M: units under a block become zero, and the rest stay the same.",
        "scale": (
            "Kept units are multiplied by units / kept = {units} / {kept}, so that "
            "the next layer sees sums of the usual size."
        ),
        "nothing": "No unit is kept, so there is nothing to scale: every unit is zero.",
    },
    "readouts": {
        "gamma": ["gamma", "chance of a seed"],
        "nominal": ["nominal", "requested rate"],
        "expected": ["expected", "rate on average"],
        "realized": ["realized", "rate of this mask"],
        "scale": ["scale", "of kept units"],
    },
    "code": {
        "dropout": "keras.layers.Dropout({rate})",
        "dropout-shared": (
            "keras.layers.Dropout({rate}, noise_shape=(None, None, None, 1))"
        ),
        "spatial": "keras.layers.SpatialDropout2D({rate})",
        "spatial-shared": "keras.layers.Dropout({rate}, noise_shape=(None, 1, 1, 1))",
        "dropblock": "dbl.DropBlock2D({block_size}, keep_prob={keep_prob}{rule})",
        "dropblock-shared": (
            "dbl.DropBlock2D({block_size}, keep_prob={keep_prob}{rule}, "
            "per_channel=False)"
        ),
    },
    "map": (
        "Channel {number} of {channels}, {height} x {width} units. "
        "The arrow keys move over them."
    ),
    "controls": {
        "marks": "show seeds",
        "per_channel": "a mask for each channel",
        "picture": "picture",
        "presets": "start from",
        "noise": "New noise",
        "call": "in Keras:",
    },
    "point": "Point at a unit to see why it is kept or dropped.",
    "unit": "Row {row}, column {column}: {drawn}; {value} becomes {result}.",
    "noise": "noise {noise}, {seed}",
    "outside": "no place for a seed",
    "status": "{realized} dropped, gamma {gamma}, scale {scale}.",
    "still": (
        "{method} on a map of {height} x {width} with blocks of {kh} x {kw} and "
        "keep_prob {keep_prob}. Gamma is {gamma}. Dropped: {nominal} nominally, "
        "{expected} on average, {realized} by this mask. Kept units are scaled by "
        "{scale}."
    ),
}

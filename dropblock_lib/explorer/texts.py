"""The explorer's texts, shared by the script and the still picture.

Names in braces are placeholders.
"""

TEXTS = {
    "method": {
        "dropout": "Dropout",
        "dropblock": "DropBlock",
        "spatial": "SpatialDropout",
    },
    "tries": {
        "dropout": "Dropout hides 20%: can you still see the cat?",
        "dropblock": "DropBlock hides the same 20%",
        "spatial": "A block as large as the map: SpatialDropout",
    },
    "try": "Try this",
    "step": {
        "map": "Map",
        "seeds": "Seeds",
        "blocks": "Blocks",
        "drop": "Drop",
        "scale": "Scale",
    },
    # Dropout and SpatialDropout have neither seeds nor blocks.
    "other_step": {"seeds": "Draw", "blocks": "Mask"},
    "gamma": {"paper": "paper", "exact": "exact"},
    "picture": {
        "cat": "a photograph",
        "star": "a star",
        "digit": "a digit",
        "numbers": "the slides' numbers",
        "ones": "all ones",
    },
    "legend": {
        "kept": "kept, from small to large",
        "dropped": "dropped",
        "seed": "seed",
        "valid": "valid seed region",
    },
    "explain": {
        "map": "A, the feature map, before anything is dropped.",
        "seeds": {
            "dropblock": (
                "Gray shows random numbers: in each mask, one for each of {places} "
                "places where a block fits. A number below gamma makes a seed. "
                "Seeds: {seeds}."
            ),
            "dropout": (
                "Gray shows random numbers, one for each of {units} units. A unit "
                "whose number is below {gamma} is dropped."
            ),
            "spatial": (
                "Gray shows random numbers, one for each mask. A mask whose number is "
                "below {gamma} drops everything. Masks: {masks}."
            ),
        },
        "blocks": {
            "dropblock": (
                "Every seed becomes a block of {kh} x {kw}. All blocks together make "
                "the keep mask M. Of {units} units, {kept} are kept."
            ),
            "dropout": "The keep mask M. Of {units} units, {kept} are kept.",
            "spatial": (
                "The keep mask M is 0 or 1 everywhere in a channel. Masks: {masks}. "
                "Masks of zeros: {seeds}."
            ),
        },
        "drop": {
            "dropblock": (
                "A x M: units inside a block become zero. The rest stay the same."
            ),
            "dropout": "A x M: each unit is dropped or kept by itself.",
            "spatial": "A x M: a channel is dropped or kept as a whole.",
        },
        "scale": {
            "dropblock": (
                "Kept units are multiplied by units / kept = {units} / {kept}, so that "
                "the next layer sees sums of the usual size."
            ),
            "dropout": (
                "Kept units are multiplied by 1 / keep_prob = {scale}, whatever share "
                "this mask kept. DropBlock divides by the share that was kept."
            ),
            "spatial": (
                "Kept channels are multiplied by 1 / keep_prob = {scale}, whatever "
                "share this mask kept. DropBlock divides by the share that was kept."
            ),
        },
        "nothing": "No unit is kept, so there is nothing to scale: every unit is zero.",
    },
    "readouts": {
        "gamma": ["gamma", "chance of a seed"],
        "nominal": ["nominal", "requested rate"],
        "expected": ["expected", "rate on average"],
        "realized": ["realized", "rate of this mask"],
        "scale": ["scale", "of kept units"],
    },
    "chance": {
        "dropout": "chance of each unit",
        "dropblock": "chance of a seed",
        "spatial": "chance of a channel",
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
        "{name}: channel {number} of {channels}, {height} x {width} units. "
        "The arrow keys move from unit to unit."
    ),
    "controls": {
        "more": "More controls",
        "marks": "show seeds",
        "per_channel": "a mask for each channel",
        "compare": "all three methods",
        "picture": "picture",
        "presets": "start from",
        "noise": "New noise",
        "call": "in Keras:",
        "link": "Copy a link to this",
        "linked": "Copied",
        "address": "See the address bar",
    },
    "credit": "Photograph: Chelsea by Stefan van der Walt (CC0), from scikit-image.",
    "share": "{realized} dropped",
    "point": "Point at a unit to see why it is kept or dropped.",
    "unit": "{name}, row {row}, column {column}: {why} {value} becomes {result}.",
    "why": {
        "seed": "dropped, because it is a seed: {noise} is below gamma.",
        "dropblock": (
            "dropped, because it is inside the block of the seed at row {seed_row}, "
            "column {seed_column}{others}."
        ),
        "others": "; other blocks that cover it: {number}",
        "dropblock-kept": "kept, because no block covers it.",
        "dropout": "dropped, because its random number {noise} is below {gamma}.",
        "dropout-kept": "kept, because its random number {noise} is not below {gamma}.",
        "spatial": (
            "dropped with its channel, whose random number {noise} is below {gamma}."
        ),
        "spatial-kept": (
            "kept with its channel, whose random number {noise} is not below {gamma}."
        ),
    },
    "status": "{realized} dropped, gamma {gamma}, scale {scale}.",
    "still": (
        "{method} on a map of {height} x {width} with blocks of {kh} x {kw} and "
        "keep_prob {keep_prob}. Gamma is {gamma}. Dropped: {nominal} nominally, "
        "{expected} on average, {realized} by this mask. The last step multiplies kept "
        "units by {scale}."
    ),
    "still_dropout": (
        "{method} on a map of {height} x {width} with keep_prob {keep_prob}. Dropped: "
        "{nominal} on average, {realized} by this mask. The last step multiplies kept "
        "units by {scale}."
    ),
}

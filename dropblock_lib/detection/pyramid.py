"""The feature pyramid, as a functional model."""

from collections.abc import Callable, Iterable

import keras

from dropblock_lib.arguments import check_integer, invalid


def build_pyramid(
    encoder: keras.Model,
    levels: dict[str, str],
    lowest: int,
    highest: int,
    channels: int = 256,
    *,
    drop: Callable[[str], keras.Layer | None] | None = None,
    seeds: Iterable[int | None] | None = None,
) -> keras.Model:
    """Builds the feature pyramid of RetinaNet on some layers of an encoder.

    Each map of the encoder is projected to `channels`, and the enlarged sum of the next
    coarser level is added to it. A 3x3 convolution of this sum is the pyramid's map.
    Levels beyond the encoder's coarsest are convolutions of stride 2. A map of level
    `n` is `2**n` times smaller than the image.

    Args:
        encoder: A functional `keras.Model` with one input, an image.
        levels: Dict of level -> name of the encoder's layer whose output to use, such
            as `{"P3": "conv3_block4_out"}`.
        lowest: The finest level of the pyramid.
        highest: The coarsest level of the pyramid, at least `lowest`.
        channels: Number of channels of every map.
        drop: Function that takes a name and returns a regularizer to put after a map
            of the pyramid, or `None`.
        seeds: Iterator of random seeds for the kernels, or of `None`.

    Returns:
        A functional `keras.Model` from an image to a dict of level -> map.

    Raises:
        ValueError: If an argument is not as described, `levels` lacks a level that the
            pyramid needs, or the encoder lacks one of the layers.

    Reference:

    - [Lin et al., 2017](https://arxiv.org/abs/1612.03144).
    """
    lowest = check_integer("lowest", lowest)
    highest = check_integer("highest", highest, lowest)
    given = [n for n in range(1, 100) if f"P{n}" in levels]
    if len(given) < len(levels) or lowest not in given:
        expected = f"a dict with keys such as 'P3', and with 'P{lowest}'"
        raise invalid("levels", expected, levels)
    known = {layer.name for layer in encoder.layers}
    missing = [name for name in levels.values() if name not in known]
    if missing:
        raise invalid("levels", f"layers of model '{encoder.name}'", missing)
    top = min(highest, max(given))
    numbers = range(lowest, top + 1)
    absent = [f"P{n}" for n in numbers if n not in given]
    if absent:
        raise invalid("levels", f"a layer for each level up to P{top}", levels)
    trunk = keras.Model(
        encoder.inputs,
        [encoder.get_layer(levels[f"P{n}"]).output for n in numbers],
        name="encoder",
    )
    seeds = iter(()) if seeds is None else iter(seeds)

    def convolution(size, name, **options):
        start = keras.initializers.GlorotUniform(seed=next(seeds, None))
        return keras.layers.Conv2D(
            channels,
            size,
            padding="same",
            kernel_initializer=start,
            name=name,
            **options,
        )

    lateral = {n: convolution(1, f"lateral_P{n}") for n in numbers}
    output = {n: convolution(3, f"output_P{n}") for n in numbers}
    coarser = {
        n: convolution(3, f"coarser_P{n}", strides=2)
        for n in range(top + 1, highest + 1)
    }

    inputs = keras.Input(encoder.input_shape[1:], name="inputs")
    found = dict(zip(numbers, keras.tree.flatten(trunk(inputs)), strict=True))
    last, sums, maps = found[top], {}, {}
    for n in reversed(numbers):
        sums[n] = lateral[n](found[n])
        if n < top:
            larger = keras.layers.UpSampling2D(name=f"enlarged_P{n + 1}")(sums[n + 1])
            sums[n] = keras.layers.Add(name=f"sum_P{n}")([sums[n], larger])
    for n in range(lowest, highest + 1):
        if n > top + 1:
            last = keras.layers.ReLU(name=f"relu_P{n - 1}")(last)
        maps[n] = output[n](sums[n]) if n <= top else coarser[n](last)
        last = maps[n] if n > top else last
    for n, x in maps.items():
        layer = drop(f"drop_P{n}") if drop else None
        maps[n] = x if layer is None else layer(x)
    return keras.Model(inputs, {f"P{n}": x for n, x in maps.items()}, name="backbone")

"""Draws the picture of the README: `python book/three_ways.py`.

The photograph is china.jpg of scikit-learn's samples: (c) Daniel Büchele, under
CC BY 2.0, https://www.flickr.com/photos/danielbuechele/6061409035/.
"""

import io
import sys
from pathlib import Path

import numpy as np
from PIL import Image
from sklearn.datasets import load_sample_image

from dropblock_lib import plots

PICTURE = Path(__file__).parent / "_static" / "three-ways.png"
# Left, top, right and bottom of the pavilion, in pixels of the photograph.
PAVILION = (48, 20, 370, 342)
SIDE = 68


def draw():
    """Returns the picture as the bytes of a PNG file."""
    photograph = Image.fromarray(load_sample_image("china.jpg"))
    pavilion = photograph.resize((SIDE, SIDE), Image.Resampling.BOX, PAVILION)
    figure = plots.three_ways(np.asarray(pavilion) / 255, block_size=11, seed=4)
    drawn = io.BytesIO()
    figure.savefig(drawn, format="png", dpi=110)
    # 255 colors suffice, and make the file a third as large.
    small = io.BytesIO()
    Image.open(drawn).convert("RGB").quantize(255).save(small, "png", optimize=True)
    return small.getvalue()


if __name__ == "__main__":
    sys.exit(PICTURE.write_bytes(draw()) == 0)

"""The explorer's pictures, and the feature maps computed from them.

A picture is a dictionary: `rows`, strings with one base-36 digit per pixel; `unit`,
the value of the digit 1; and `edges`, whether the channels after the first show its
edges, as a first convolution would, or copies of it. explorer.js reads the same
dictionaries and computes the same maps.
"""

import numpy as np

DIGITS = "0123456789abcdefghijklmnopqrstuvwxyz"
# Offset of the two samples whose difference is an edge, as a fraction of the picture.
REACH = 0.06
DIRECTIONS = 7


def star(side=32, samples=4, outer=0.48, inner=0.2):
    """A five-pointed star, antialiased with `samples` x `samples` samples per pixel."""
    at = (np.arange(side * samples) + 0.5) / (side * samples) - 0.5
    x, y = np.meshgrid(at, at)
    tip = np.pi / 5
    angle = np.abs((np.arctan2(x, -y) + tip) % (2 * tip) - tip)
    # The line from a tip to the next notch, in polar coordinates.
    edge = outer * inner * np.sin(tip)
    edge /= inner * np.sin(tip) * np.cos(angle) + (
        outer - inner * np.cos(tip)
    ) * np.sin(angle)
    inside = (np.hypot(x, y) <= edge).reshape(side, samples, side, samples)
    return inside.mean((1, 3))


def encode(image, levels):
    """The rows of a picture, from an array in [0, 1] and a number of levels."""
    steps = np.rint(np.asarray(image) * levels).astype(int)
    return ["".join(DIGITS[step] for step in row) for row in steps]


# Chelsea, photographed by Stefan van der Walt (CC0), from scikit-image's data: the
# square (88, 4, 384, 300) in gray, 48 x 48 pixels, brightened to 36 levels.
CAT = [
    "uvtttqmokkmigeigijknpl3iohcg6dabomooopooppqrsrpo",
    "tutspmkomnojjligmkloqn19nnbcfed0flklnnoprsrsrqpq",
    "tqqoloplmkgiljlllknponcjrj9ehed5gjhglppqsrsrpppq",
    "olnnnpnjkhilmkmljjhhlrjhsndiedfjdjhgjorutrqpqqql",
    "kmqsnlgjkmpljkfblljlmm99mqoibbclihhhhlqttspopqlh",
    "jnqmjkhlnmnifhfinnmoooliilskgflongkhijoptsqmmpkj",
    "oqqljjlppihijhglnpnplhprhdsiehjph6kkklprsromlpnk",
    "plmnlmonlhgikjghlpqphclto6nhaier9clhmprsrqomnspk",
    "onkknlookhhiiefgmpopgfkttfjnhkgp9mslpsrosrnmqtnk",
    "qpmlooqplljkokgilorpghlsvhbohojm8qripqtoquqospji",
    "ljjpnprnpupjppghoprpfgouxicqhhnm9stikotpmssqnihf",
    "sqopppqqsusqqpqkoprodgrvwmdrheoqervkkptsopurjihf",
    "kppoprtuvusqppptqrsmdmuwvokpkjrtjpwniousqpsroonm",
    "5cehmpsqka8a68cfnstoemuutsrnlqtwprwsgpuurprrrrsr",
    "ejlopooe04gfc1000jtpkptssttrotuwutwuinusqqrrtuvv",
    "hjorvvuf4onlia0020hqqssrppssstsuvtuujpuuttrqtvww",
    "njnpuvwcbqmqd010a90jrssrposrsuuvtpssnststvwttvww",
    "rmjoruxecpln0001eg04rtsspoporvuuspqtohea6isvttuv",
    "sqjlosxm6pmi0007fj00puttpnpopvuurqto00af49nttqrs",
    "pqolmnuv9jnj600aik30kvutqpnnqvuuqsp320ckeallnprs",
    "ookglgkvo5opg5cioc90fvvvpqnnquusqte010clierpquvv",
    "pmmiiigkunalpopqd620cuwwsrpnpuvrsqb100dokiwwvxzz",
    "rooljllhhsrc9b9000009svwtrpppttnrpd800hsdnxwvyzz",
    "upnomikjilpuoe88be717owwtrqpossntphg7frhavxvsuwx",
    "tsllnmmkmlkmtwwvtoc72lwusrrqqrqoumdmlne0oyvpmprr",
    "qqnfkpnlmmklkostrjed5hqrsqrrssrosh65616owtmjlnnl",
    "mkhefghmknknnllmnliea8inqprsstvoncnnkpuwqkilllll",
    "edcdiihkllmkmnnnlmjfb8hlnprssuxrj9lvvtsnjljkkjjj",
    "feghkkkmkijllmnooomjddkknprrswytlciqmlnmlklmkiii",
    "pomljjihfelkjjorqoljgecgkmpqsxxuoeinklmlllmnljii",
    "rqppnmpnkjllonloonlhic8bhmmoqvxuoghomllljlnmljik",
    "ppnqrrsrqponpomponnijigacimoptxrkdhnmjkjmrsqomnp",
    "mopprssssrtsropoooolmkebbgknptxtibhlljhiptwvtsuv",
    "imqqrrsssstusqpnnprrpkhcaejmorxtidijlklpquxyyyyz",
    "kmqrstuuuuspqqqrodkpomic9eimoptqjekjlnrrpruxzzzz",
    "ighlqstttuuspknjlmppopha99bgkpqokenlkrrpoopswyzz",
    "mkgjpstutvxxvoqjgiirsui0249achjfcglfirqoonjkqvxy",
    "rqnikprstvusuvvusmipruvj16bdcbc96kojkrsqqpkjosuw",
    "rqnjdfnrvvspoonmoorstvxwl100aa88kskimrrrsrpqsrrt",
    "tsrqomoqtvvutqnkkjjosvwwvj04866jutopsusrrqqssqno",
    "uuuusojhpstrqrropqrstuuvvr7753jssojlorrqpopqqpnl",
    "wvusqqqrporrpnlklmprttstttd00hssqnklrsrpmmooprsq",
    "vutuuuspnrrsqppmmnnnnononog0epponmlmprrpnlmqtwws",
    "vvvvutrqsqrqpqomlllmmlllljbblmmkkklopppompsvxyxu",
    "xxvvustuqsrqrqppnljiijhhifdhkkkjkloqqnmoruxyzyxv",
    "wwvuuuurtsrrrqppoomlkjiihiijmoooopppqoptvxyzyyxu",
    "wwvvvututrrrrqqppoomnnlllmmnpqqqooonpsvyyyyyyxws",
    "wwwvuuuussrsqrqpqpoooolmnoppqqponmmosvxyzzyyyxvr",
]

PICTURES = {
    "cat": {"rows": CAT, "unit": 1 / 35, "edges": True},
    "star": {"rows": encode(star(), 15), "unit": 1 / 15, "edges": True},
    # Number 13 of scikit-learn's digits.
    "digit": {
        "rows": [
            "029fe930",
            "04d89g80",
            "0006ef30",
            "000be200",
            "0002fb00",
            "00002f40",
            "0156dg60",
            "02ccdb00",
        ],
        "unit": 1 / 16,
        "edges": True,
    },
    # The feature map of the slides' example.
    "numbers": {
        "rows": ["65891", "89993", "81215", "35249", "15751"],
        "unit": 1,
        "edges": False,
    },
    "ones": {"rows": ["1"], "unit": 1, "edges": False},
}


def decode(picture):
    """The picture as an array (rows, columns)."""
    digits = [[DIGITS.index(digit) for digit in row] for row in picture["rows"]]
    return np.array(digits) * picture["unit"]


def sample(image, v, u):
    """Bilinear samples of an image at v, u in [0, 1]."""
    rows, columns = image.shape
    y = np.clip(v * rows - 0.5, 0, rows - 1)
    x = np.clip(u * columns - 0.5, 0, columns - 1)
    top, left = np.floor(y).astype(int), np.floor(x).astype(int)
    bottom, right = np.minimum(top + 1, rows - 1), np.minimum(left + 1, columns - 1)
    down, across = y - top, x - left
    upper = image[top, left] * (1 - across) + image[top, right] * across
    lower = image[bottom, left] * (1 - across) + image[bottom, right] * across
    return upper * (1 - down) + lower * down


def feature_map(picture, height, width, channels):
    """The feature map of a picture.

    Args:
        picture: One of `PICTURES`.
        height: Height of the map in units.
        width: Width of the map in units.
        channels: Number of channels.

    Returns:
        Float array (channels, height, width). The first channel is the picture; the
        others are its edges in different directions, or copies of it.
    """
    image = decode(picture)
    v = ((np.arange(height) + 0.5) / height)[:, None]
    u = ((np.arange(width) + 0.5) / width)[None, :]
    maps = [sample(image, v, u)]
    for channel in range(1, channels):
        if not picture["edges"]:
            maps.append(maps[0])
            continue
        angle = 2 * np.pi * (channel - 1) / DIRECTIONS
        dv, du = REACH * np.sin(angle), REACH * np.cos(angle)
        maps.append(
            np.maximum(sample(image, v + dv, u + du) - sample(image, v - dv, u - du), 0)
        )
    return np.stack(maps)

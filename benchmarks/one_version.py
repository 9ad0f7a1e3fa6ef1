"""Times the layer of one version on request, in a process of `benchmarks.versions`."""

import sys
import time
from types import SimpleNamespace


def main(folder, shape, block_size, keep_prob):
    """Answers each line on standard input with the seconds that one call takes."""
    # Set before `dropblock_lib` is imported, which must be that of `folder`.
    sys.path.insert(0, folder)
    import dropblock_lib as dbl
    from benchmarks.forward_backward import prepare

    layer = dbl.DropBlock2D(int(block_size), float(keep_prob))
    contestant = SimpleNamespace(call=layer, channels_first=False)
    call, _ = prepare(contestant, tuple(map(int, shape.split("x"))))
    for _ in range(3):
        call()
    for _ in sys.stdin:
        start = time.perf_counter()
        call()
        print(time.perf_counter() - start, flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])

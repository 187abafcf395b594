"""The streams of real images that come with retain, to try it on, delivered as a user's images would arrive.

To add one, write its file beside this one and list it here, in `Stream` of `flows/cli/options.py`, and in a file
`params-<stream>.yaml` of the workspace's template.
"""

from pathlib import Path
from typing import Literal

from dataset.streams.delivery import StreamDelivery
from dataset.streams.digits import digit_nights, digits
from dataset.streams.digits_on_canvas import canvas_nights
from dataset.streams.fashion_mnist import fashion_mnist, fashion_nights

StreamName = Literal["digits", "digits-on-canvas", "fashion-mnist"]


def deliveries(stream: StreamName, root: Path | None, test_share: float) -> tuple[StreamDelivery, ...]:
    """The nights of a stream, in order. `root`: folder with Fashion-MNIST's four files; None downloads them."""
    if stream == "digits":
        return digit_nights(digits(), test_share)
    if stream == "digits-on-canvas":
        return canvas_nights(test_share)
    return fashion_nights(fashion_mnist(root))

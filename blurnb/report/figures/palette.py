"""One look for every figure: a colour for each blur family, and a light card that reads the same on a dark page.

The colours start from Okabe & Ito's blue and vermilion; the others were chosen for the largest distance between any
two as seen with normal, red-blind and green-blind eyes, at 3:1 or more against the card. Every family also has a
marker of its own, so that no reading hangs on colour alone.
"""

import io
from pathlib import Path

import matplotlib as mpl
import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import to_hex, to_rgb
from matplotlib.figure import Figure

from blurnb import labels

STYLE = mpl.rc_params_from_file(Path(__file__).with_name("book.mplstyle"), use_default_template=False)
CARD, INK, QUIET = (STYLE[key] for key in ("figure.facecolor", "text.color", "axes.edgecolor"))

# Tested together, with some to spare: a family takes what stands at its place in `labels.FAMILIES`.
TESTED = (
    "#4a4a50", "#0072b2", "#c27092", "#d55e00", "#07884a", "#572a00", "#5a6cfc", "#001296", "#ea1242",
)  # fmt: skip
MARKERS = ("P", "o", "s", "D", "^", "v", "X", "p", "h")

# A page column on a phone is about 360 pixels: at this width 9 points are still 9 pixels there.
WIDTH = 5.2


class Card(Figure):
    """A Matplotlib figure that pyplot does not know: it leaks no state, and a notebook shows it once."""

    def _repr_png_(self) -> bytes:
        page = io.BytesIO()
        self.savefig(page, format="png", dpi=self.dpi)
        return page.getvalue()


def styled(function):
    """Run `function` under the style of the book, leaving the caller's Matplotlib settings alone."""
    return mpl.rc_context(STYLE)(function)


def card(height: float, width: float = WIDTH) -> Card:
    """An empty figure, sizes in inches."""
    figure = Card(figsize=(width, height), layout="constrained")
    FigureCanvasAgg(figure)
    figure.get_layout_engine().set(h_pad=0.06, w_pad=0.06)
    return figure


def family_colour(family: str) -> str:
    """The colour of a family, a key of `labels.FAMILIES`."""
    return TESTED[list(labels.FAMILIES).index(family)]


def colour(blur: str) -> str:
    """Colour of the family of a blur label."""
    return family_colour(labels.family(blur))


def marker(blur: str) -> str:
    """Marker of the family of a blur label."""
    return MARKERS[list(labels.FAMILIES).index(labels.family(blur))]


def tint(ink: str, strength: float) -> str:
    """The colour `ink` thinned towards the card; strength 1 leaves it. Opaque, so that lines below do not show."""
    top, ground = np.array(to_rgb(ink)), np.array(to_rgb(CARD))
    return to_hex(strength * top + (1 - strength) * ground)


def luminance(ink) -> float:
    """Relative luminance of a colour, 0 to 1 (WCAG 2.1)."""
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in to_rgb(ink)]
    return float(np.dot(linear, (0.2126, 0.7152, 0.0722)))

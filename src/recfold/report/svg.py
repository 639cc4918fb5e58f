"""A matplotlib figure as inline SVG: the same bytes for the same figure, no ids that clash, nothing to fetch."""

import io
import warnings
from xml.etree import ElementTree

from matplotlib.figure import Figure

from recfold.report.format import printable
from recfold.report.markup import Html

_DROPPED = frozenset({"metadata", "style", "title"})


def inline_svg(name: str, title: str, figure: Figure) -> Html:
    """The figure as an `<svg>` element for an HTML page.

    matplotlib numbers its ids from one in each figure and writes a page-wide style; here each id carries the name of
    the plot, and the style is left to the page.

    Args:
        name: of the plot, different for each plot of a page; letters, digits and '-'.
        title: what a screen reader says.
    """
    buffer = io.BytesIO()
    with warnings.catch_warnings():
        # Text stays text: the reader's browser has the glyphs that matplotlib's own font lacks.
        warnings.filterwarnings("ignore", message="Glyph .* missing from")
        figure.savefig(buffer, format="svg", metadata={"Date": None, "Creator": None, "Format": None, "Type": None})
    root = ElementTree.fromstring(buffer.getvalue())
    for node in root.iter():
        _plain(node, name)
        for child in [child for child in node if _local(child.tag) in _DROPPED]:
            node.remove(child)
    # The page decides how wide a plot is; the view box keeps its shape.
    for attribute in ("width", "height", "version"):
        root.attrib.pop(attribute, None)
    root.attrib.update({"role": "img", "aria-label": printable(title)})
    return Html(ElementTree.tostring(root, encoding="unicode"))


def _local(name: str) -> str:
    return name.rpartition("}")[2]


def _plain(node: ElementTree.Element, name: str) -> None:
    """Drop XML namespaces (HTML knows what an svg is) and put the plot's name before each id and reference to one."""
    node.tag = _local(node.tag)
    for key, value in list(node.attrib.items()):
        del node.attrib[key]
        plain = _local(key)
        if plain == "id":
            value = f"{name}-{value}"
        elif plain == "href" and value.startswith("#"):
            value = f"#{name}-{value[1:]}"
        else:
            value = value.replace("url(#", f"url(#{name}-")
        node.attrib[plain] = value

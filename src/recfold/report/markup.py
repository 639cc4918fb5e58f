"""HTML as values: text is escaped unless it is `Html` already, so that a name from a log cannot become markup."""

import html
from collections.abc import Iterable, Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Html:
    """Markup that is safe to put into a page as it is; made by `element`, `join` and the plots only."""

    markup: str


Content = Html | str
VOID = frozenset({"br", "hr", "meta"})


def safe(content: Content) -> str:
    """The markup of `content`: text escaped, `Html` as it is.

    >>> safe("a < b"), safe(Html("<b>a</b>"))
    ('a &lt; b', '<b>a</b>')
    """
    return content.markup if isinstance(content, Html) else html.escape(content, quote=True)


def join(*parts: Content) -> Html:
    """Several contents one after the other."""
    return Html("".join(safe(part) for part in parts))


def element(name: str, *children: Content, **attributes: str) -> Html:
    """One element; `class_` and `aria_label` are written `class` and `aria-label`.

    >>> element("p", "1 < 2 ", element("b", "bold"), class_="note").markup
    '<p class="note">1 &lt; 2 <b>bold</b></p>'
    """
    written = "".join(
        f' {key.rstrip("_").replace("_", "-")}="{html.escape(value, quote=True)}"' for key, value in attributes.items()
    )
    opening = f"<{name}{written}>"
    return Html(opening if name in VOID else f"{opening}{join(*children).markup}</{name}>")


@dataclass(frozen=True)
class Column:
    """A column of a table: its title, whether it holds numbers, and what it means (shown on hover)."""

    title: str
    numeric: bool = False
    meaning: str | None = None


def table(caption: str, columns: Sequence[Column], rows: Iterable[Sequence[Content]]) -> Html:
    """A table in a box that scrolls by itself, so that the page never does sideways; the first column heads its row."""
    head = element("tr", *(_heading(column) for column in columns))
    body = [element("tr", *_cells(columns, row)) for row in rows]
    inner = element("table", element("caption", caption), element("thead", head), element("tbody", *body))
    return element("div", inner, class_="scroll", role="region", aria_label=caption, tabindex="0")


def _heading(column: Column) -> Html:
    attributes = {"scope": "col"} | ({"class_": "number"} if column.numeric else {})
    return element("th", column.title, **attributes, **({"title": column.meaning} if column.meaning else {}))


def _cells(columns: Sequence[Column], row: Sequence[Content]) -> list[Html]:
    pairs = list(zip(columns, row, strict=True))
    head = [element("th", content, scope="row") for _, content in pairs[:1]]
    return head + [element("td", content, **({"class_": "number"} if c.numeric else {})) for c, content in pairs[1:]]


def figure(plot: Html, caption: Content) -> Html:
    """A plot and what it shows."""
    return element("figure", element("div", plot, class_="plot"), element("figcaption", caption))


def details(summary: Content, *children: Content) -> Html:
    """A part that opens on a click."""
    return element("details", element("summary", summary), *children)


def note(text: str) -> Html:
    """One line on something that is not there."""
    return element("p", text, class_="note")


def paragraph(*parts: Content) -> Html:
    return element("p", *parts)


def code(text: str) -> Html:
    return element("code", text)

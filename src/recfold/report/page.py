"""The page around the sections: head, style, contents. Everything is inside the one file."""

from collections.abc import Sequence
from dataclasses import dataclass

from recfold.report.markup import Html, element, join, safe

STYLE = """
:root { color-scheme: light; --ink: #1f2328; --soft: #57606a; --line: #d8dee4; --back: #ffffff; --tint: #f6f8fa;
  --accent: #0a5a9c; }
* { box-sizing: border-box; }
body { margin: 0; background: var(--back); color: var(--ink); overflow-wrap: break-word;
  font: 16px/1.55 system-ui, -apple-system, "Segoe UI", Roboto, "Helvetica Neue", "Noto Sans", Arial, sans-serif; }
main, header, nav, footer { max-width: 66rem; margin: 0 auto; padding: 0 1.25rem; }
header { padding-top: 2.5rem; }
h1 { font-size: 1.75rem; line-height: 1.25; margin: 0 0 .4rem; font-weight: 650; letter-spacing: -.01em; }
h2 { font-size: 1.25rem; margin: 3rem 0 .6rem; padding-top: .9rem; font-weight: 650;
  border-top: 1px solid var(--line); }
h3 { font-size: 1rem; margin: 1.8rem 0 .4rem; font-weight: 650; }
p { margin: .5rem 0; max-width: 44rem; }
.equation { max-width: none; }
.lead { font-size: 1.05rem; color: var(--soft); }
a { color: var(--accent); }
nav { margin-top: 1.2rem; font-size: .9rem; }
nav a { margin-right: 1.1rem; text-decoration: none; white-space: nowrap; }
nav a:hover { text-decoration: underline; }
.cards { display: grid; grid-template-columns: repeat(auto-fill, minmax(14rem, 1fr)); margin: 1.4rem 0; padding: 1px; }
.card { margin: -.5px; padding: .8rem 1rem; border: 1px solid var(--line); }
.card .name { font-size: .82rem; color: var(--soft); }
.card .value { font-size: 1.45rem; font-weight: 600; line-height: 1.3; font-variant-numeric: tabular-nums; }
.card .aside { font-size: .82rem; color: var(--soft); }
.plots { display: grid; grid-template-columns: repeat(auto-fill, minmax(min(100%, 25rem), 1fr)); gap: 0 1.5rem;
  align-items: start; }
figure { margin: 1rem 0; min-width: 0; }
figure .plot { overflow-x: auto; }
figure svg { display: block; width: 100%; height: auto; min-width: 19rem; }
.wide figure svg { min-width: 48rem; }
figure svg * { stroke-linejoin: round; stroke-linecap: butt; }
figure svg text { font-family: inherit !important; }
figcaption { font-size: .87rem; color: var(--soft); margin-top: .35rem; max-width: 44rem; }
.scroll { overflow: auto; max-height: 27rem; margin: .8rem 0; border: 1px solid var(--line); border-radius: 6px; }
table { border-collapse: collapse; width: 100%; font-size: .88rem; font-variant-numeric: tabular-nums; }
caption { text-align: left; padding: .55rem .75rem; font-size: .82rem; color: var(--soft); }
th, td { text-align: left; padding: .34rem .65rem; border-top: 1px solid var(--line); vertical-align: top;
  font-weight: 400; min-width: 4.5rem; }
thead th { position: sticky; top: 0; background: var(--tint); font-weight: 600; white-space: nowrap; }
th[title] { text-decoration: underline dotted #8c959f; text-underline-offset: 3px; cursor: help; }
tbody th { max-width: 22rem; }
.number { text-align: right; white-space: nowrap; }
tr:hover > * { background: var(--tint); }
code, pre { font-family: ui-monospace, SFMono-Regular, Menlo, Consolas, monospace; font-size: .85em; }
code { background: var(--tint); padding: .1em .3em; border-radius: 4px; }
pre { background: var(--tint); border: 1px solid var(--line); border-radius: 6px; padding: .8rem 1rem; overflow-x: auto;
  line-height: 1.5; }
pre code { padding: 0; background: none; font-size: 1em; }
details { margin: .8rem 0; }
summary { cursor: pointer; color: var(--accent); }
dl { display: grid; grid-template-columns: max-content 1fr; gap: .2rem 1rem; font-size: .88rem; margin: .6rem 0; }
dt { font-weight: 600; } dd { margin: 0; color: var(--soft); }
.note { color: var(--soft); border-left: 3px solid var(--line); padding-left: .8rem; }
.wrong { color: #a40e26; font-weight: 600; }
:focus-visible { outline: 2px solid var(--accent); outline-offset: 2px; }
footer { color: var(--soft); font-size: .85rem; padding-top: 1rem; padding-bottom: 3rem; margin-top: 3rem; }
@media (max-width: 34rem) {
  h1 { font-size: 1.4rem; } .card .value { font-size: 1.2rem; }
  .cards { grid-template-columns: repeat(2, 1fr); }
}
@media print { nav { display: none; } .scroll { max-height: none; overflow: visible; } }
"""


@dataclass(frozen=True)
class Section:
    """One part of the page; `anchor` is its id."""

    anchor: str
    title: str
    content: Html


def page(title: str, head: Html, sections: Sequence[Section], foot: str) -> str:
    """The whole document."""
    links = (element("a", section.title, href=f"#{section.anchor}") for section in sections)
    body = join(
        element("header", element("h1", title), head),
        element("nav", *links, aria_label="Contents"),
        element("main", *(_section(section) for section in sections)),
        element("footer", foot),
    )
    return (
        '<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{safe(title)}</title>\n<style>{STYLE}</style>\n</head>\n<body>\n{body.markup}\n</body>\n</html>\n"
    )


def _section(section: Section) -> Html:
    return element("section", element("h2", section.title), section.content, id=section.anchor)

import pytest

from recfold.report.markup import Column, Html, details, element, join, safe, table


@pytest.mark.parametrize("text", ["<script>alert(1)</script>", 'a" onload="x', "a' b", "&amp;", "]]>", "<!--"])
def test_text_never_becomes_markup(text):
    written = element("td", text, title=text).markup
    inner = written.removeprefix("<td ").removesuffix("</td>")
    assert "<" not in inner
    assert inner.count('"') == 2


def test_html_is_not_escaped_twice():
    assert safe(join("a & b ", element("b", "c & d"))) == "a &amp; b <b>c &amp; d</b>"


def test_a_void_element_is_not_closed():
    assert element("br").markup == "<br>"


def test_table_marks_numbers_and_heads_rows():
    written = table("All", [Column("name"), Column("n", numeric=True, meaning="how many")], [("<a>", "1")]).markup
    assert '<th scope="row">&lt;a&gt;</th><td class="number">1</td>' in written
    assert '<th scope="col" class="number" title="how many">n</th>' in written
    assert 'tabindex="0"' in written


def test_a_row_of_the_wrong_length_is_a_programmers_error():
    with pytest.raises(ValueError):
        table("All", [Column("a"), Column("b")], [("only one",)])


def test_details_opens_on_a_click():
    assert details("more", Html("<p>x</p>")).markup == "<details><summary>more</summary><p>x</p></details>"

"""A page shows every text as it is, in HTML and in Markdown."""

import html
import re
import shlex

import pytest

from fashionreg.studies.page import (
    Answer,
    Code,
    Facts,
    Items,
    Link,
    Picture,
    Section,
    Table,
    Text,
    Warnings,
    to_html,
    to_markdown,
)

NASTY = "</p><script>alert(1)</script> {{ 7 * 7 }} {% raw %} \"&lt;' <!--"

EVERYTHING = [
    Text(NASTY),
    Section(
        NASTY,
        [
            Text(NASTY, hint=True),
            Warnings([NASTY]),
            Items([NASTY], strong=True),
            Code(NASTY),
            Answer(NASTY),
            Facts([(NASTY, NASTY)]),
            Facts([(NASTY, NASTY)], terms=True),
            Link(NASTY, NASTY),
            Table(NASTY, ["a", NASTY], [["b", NASTY], [NASTY, "c"]]),
            Picture("figures/a.png", b"<svg/>", NASTY, NASTY),
            Section("inner", [Text(NASTY)]),
        ],
    ),
]


def test_every_text_of_every_block_is_escaped():
    page = to_html(NASTY, NASTY, EVERYTHING)
    assert "<script" not in page
    assert "49" not in page
    assert html.unescape(page.replace("<wbr>", "")).count(NASTY) == 25
    assert page.count("<h2>") + page.count("<h2 ") == page.count("<h3>") == 1


def test_no_text_holds_what_a_terminal_obeys():
    codes = {code for code in [*range(32), *range(127, 160)] if chr(code) not in "\n\t"}
    nasty = "a\u00a0é\U0001f600" + "".join(map(chr, codes))
    blocks = [Text(nasty), Code(nasty), Table(nasty, [nasty], [[nasty]]), Picture("a.png", b"", nasty, nasty)]
    for page in (to_html(nasty, nasty, blocks), to_markdown(nasty, nasty, blocks)):
        assert not codes & set(map(ord, page))
        # the space that a line is not broken at, and letters and signs of all scripts, are text
        assert "é\U0001f600" in page
        assert "\\x1b" in page


def test_sections_are_linked_in_order():
    page = to_html("title", "", [Text("before"), Section("one", []), Section("two", [Section("inner", [])])])
    assert re.findall(r'<a href="#(s\d)">(.*?)</a>', page) == [("s1", "one"), ("s2", "two")]
    assert re.findall(r'<section id="(s\d)">\s*<h2>(.*?)</h2>', page) == [("s1", "one"), ("s2", "two")]
    assert 'class="lead"' not in page


def test_names_of_options_may_be_broken():
    page = to_html("t", "", [Table("c", ["option"], [["model.init_args<b>"], ["weight_decay=0.0001"]])])
    assert "model.<wbr>init_<wbr>args&lt;b&gt;" in page
    # a value stays whole, and the name before it too, if it is not long
    assert ">weight_decay=<wbr>0.0001<" in page


@pytest.mark.parametrize("text", ["plain", "a ``` b", "```\n# heading\n```", "`````", "~~~\n````\n", "a\nb", ""])
def test_a_code_block_cannot_be_left_by_its_text(text):
    lines = to_markdown("t", "", [Code(shlex.join(["fashionreg", text])), Text("after")]).splitlines()[2:]
    fence = lines[0]
    assert re.fullmatch("`{3,}", fence)
    # a block ends at a line of at least as many backticks as it begins with
    end = next(number for number, line in enumerate(lines[1:], 1) if re.fullmatch(f" {{0,3}}{fence}`*\\s*", line))
    assert "\n".join(lines[1:end]) == shlex.join(["fashionreg", text]).removesuffix("\n")
    assert lines[end + 1 :] == ["", "after"]

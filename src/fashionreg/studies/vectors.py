"""Figures as SVG: values that appear under the pointer, and a form that can stand within a page."""

import re

from markupsafe import Markup

#: An artist whose id begins so shows the rest of its id under the pointer.
HOVER = "shown: "


def with_titles(svg: bytes) -> bytes:
    r"""Return an SVG file of matplotlib with a `<title>` in each group whose id begins with `HOVER`.

    >>> with_titles(b'<g id="shown: bn: 81.5%"><path/></g>')
    b'<g><title>bn: 81.5%</title><path/></g>'
    >>> with_titles(b"<g id='shown: \"bn\": 81.5%'><path/></g>")
    b'<g><title>"bn": 81.5%</title><path/></g>'
    """
    # matplotlib puts an id that has a double quote in single ones
    return re.sub(f"""<g id=(["']){HOVER}(.*?)\\1>""".encode(), rb"<g><title>\2</title>", svg)


def inline(svg: bytes, name: str) -> Markup:
    """Return an SVG file of matplotlib as an element of an HTML page.

    Comments and metadata are left out. Ids begin with the name, as those of several figures meet in one page. Black is
    the colour of the page's text and white that of its ground, which are others in dark mode.
    """
    text = re.sub(r"<!--.*?-->|<\?xml.*?\?>|<!DOCTYPE.*?>|<metadata>.*?</metadata>", "", svg.decode(), flags=re.DOTALL)
    text = re.sub(r'(\bid="|href="#|url\(#)', rf"\1{name}-", text)
    text = text.replace("#000000", "currentColor").replace("#ffffff", "var(--paper)")
    return Markup(re.sub(r"\s*\n\s*", "\n", text).strip())

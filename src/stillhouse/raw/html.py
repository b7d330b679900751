"""HTML as text: of a web page its main part without menus and footers, of a fragment every visible word, in Markdown.

    html_to_text("<body><nav>Home</nav><article><h1>Copper</h1><p>It wears thin ...</p></article></body>")
    # "# Copper\\n\\nIt wears thin ..."
    html_to_text("I loved it.<br>The end was bad.")           # "I loved it.\\nThe end was bad."

trafilatura (Barbaresi 2021, extra ``html``) finds the main part of a page. It is made for pages and drops text from
fragments, such as a review with a few tags in it; those have no menus to remove, so all their text is taken. The
same happens when it finds no main part: visible text never becomes nothing. Nothing is fetched.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import cache

from stillhouse.errors import StillhouseError

_PAGE = re.compile(r"<(?:!doctype|html|head|body|main|article|nav|footer)\b", re.IGNORECASE)
_SPACE = re.compile(r"[ \t\r\n\f]+")
_BLANK_LINES = re.compile(r"\n{3,}")
_INVISIBLE = frozenset(("noscript", "script", "style", "template", "title"))
_PARAGRAPH = re.compile("article|blockquote|dl|figure|h[1-6r]|main|ol|p|pre|section|table|ul")
_LINE = re.compile("address|caption|dd|details|div|dt|figcaption|footer|form|header|li|nav|option|summary|tr")
_MARKS = {"li": "- ", "td": "| ", "th": "| "} | {f"h{level}": "#" * level + " " for level in range(1, 7)}


def html_to_text(html: str) -> str:
    """The text with headings, lists, tables and code in Markdown; links lose their address.

    Raises :class:`StillhouseError` when trafilatura is not installed. Broken markup never raises.
    """
    extract = _extractor()
    main = extract(html) if _PAGE.search(html) else None
    text = main if main and main.strip() else _visible_text(html)
    text = "\n".join(map(str.rstrip, text.split("\n")))
    return _BLANK_LINES.sub("\n\n", text).strip("\n")


@cache
def _extractor() -> Callable[[str], str | None]:
    try:
        from trafilatura import extract
    except ImportError as error:
        raise StillhouseError(
            f"HTML needs packages that are not installed: {error}",
            where="HTML to text",
            fix="pip install 'stillhouse[html]'",
        ) from error

    def main_text(html: str) -> str | None:
        found: str | None = extract(html, output_format="markdown", include_comments=False)
        return found

    return main_text


def _visible_text(html: str) -> str:
    """All text but that of scripts and the like; elements that stand on their own get their own lines."""
    from lxml import etree  # type: ignore[import-untyped]  # comes with trafilatura

    parser = etree.HTMLParser(encoding="utf-8", huge_tree=True, remove_comments=True, remove_pis=True)
    root = etree.fromstring(html.replace("\0", "").encode("utf-8", "replace"), parser)
    if root is None:
        return ""
    out = _Lines()
    walk = etree.iterwalk(root, events=("start", "end"))
    for event, element in walk:
        tag = element.tag
        if event == "end":
            if tag not in _INVISIBLE:
                out.close(tag)
            out.text(element.tail)
        elif tag in _INVISIBLE:
            walk.skip_subtree()
        else:
            out.open(tag)
            out.text(element.text)
    return "".join(out.parts) if out.visible else ""


class _Lines:
    """Text under construction."""

    def __init__(self) -> None:
        self.parts: list[str] = []
        self.visible = False  # whether there is more than marks and white space
        self._preformatted = 0

    def open(self, tag: str) -> None:
        self._break(tag)
        if tag in _MARKS:
            self.parts.append(_MARKS[tag])
        elif tag == "br":
            self.parts.append("\n")
        elif tag == "pre":
            self.parts.append("```\n")
            self._preformatted += 1
        elif tag == "code" and not self._preformatted:
            self.parts.append("`")

    def close(self, tag: str) -> None:
        if tag == "pre":
            self._preformatted -= 1
            self.parts.append("```" if self._at_start() else "\n```")
        elif tag == "code" and not self._preformatted:
            self.parts.append("`")
        elif tag in ("td", "th"):
            self.parts.append(" ")
        self._break(tag)

    def text(self, text: str | None) -> None:
        if not text:
            return
        if not self._preformatted:
            text = _SPACE.sub(" ", text)
            if self._at_start():
                text = text.lstrip(" ")
        elif self.parts[-1] == "```\n":
            text = text.removeprefix("\n")  # HTML does not count it
        if text:  # an empty part would hide that a line starts here
            self.visible |= not text.isspace()
            self.parts.append(text)

    def _break(self, tag: str) -> None:
        if _PARAGRAPH.fullmatch(tag):
            self.parts.append("\n\n")
        elif _LINE.fullmatch(tag) and not self._at_start():
            self.parts.append("\n")

    def _at_start(self) -> bool:
        return not self.parts or self.parts[-1].endswith("\n")

"""HTML that escapes by default: only what :func:`element` made is markup, every other string is text.

element("p", "a < b", class_="note")              # <p class="note">a &lt; b</p>
element("td", user_text, dir="auto")

Nothing here knows what a report is.
"""

from __future__ import annotations

import html
import re
from collections.abc import Iterable

_MINUS = re.compile(r"(?<![\w-])-(?=\d)")  # the sign of a number; within words and dates it is a hyphen
_VOID = frozenset({"br", "col", "hr", "meta"})
# what no HTML document may hold: control characters but tab and line feed, lone surrogates, non-characters
_FORBIDDEN = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\ud800-\udfff\ufdd0-\ufdef\ufffe\uffff]")


class Html(str):
    """Markup, escaped already."""

    __slots__ = ()


Child = str | Iterable["str | None"] | None


def escaped(text: str) -> Html:
    """``text`` as markup that shows just that text; characters that HTML cannot hold are shown as U+FFFD."""
    if isinstance(text, Html):
        return text
    lines = text.replace("\r\n", "\n").replace("\r", "\n")
    return Html(html.escape(_FORBIDDEN.sub("\ufffd", lines), quote=True))


def joined(*children: Child) -> Html:
    """Children in a row. ``None`` is nothing, an iterable is its members."""
    parts: list[str] = []
    for child in children:
        if child is None:
            continue
        parts += [escaped(child)] if isinstance(child, str) else [escaped(one) for one in child if one is not None]
    return Html("".join(parts))


def element(name: str, /, *children: Child, **attributes: str | float | bool | None) -> Html:
    """One element. ``class_`` is class, ``aria_label`` aria-label; ``None`` and ``False`` leave an attribute out."""
    said = "".join(
        f" {key.rstrip('_').replace('_', '-')}" + ("" if value is True else f'="{escaped(str(value))}"')
        for key, value in attributes.items()
        if value is not None and value is not False
    )
    if name in _VOID:
        return Html(f"<{name}{said}>")
    return Html(f"<{name}{said}>{joined(*children)}</{name}>")


def prose(text: str) -> Html:
    """A sentence of the house, in which backticks stand around code."""
    parts = text.split("`")
    if len(parts) % 2 == 0:  # one of them has no partner
        return escaped(_MINUS.sub("−", text))
    return joined(element("code", part) if place % 2 else _MINUS.sub("−", part) for place, part in enumerate(parts))


def hidden(text: str) -> Html:
    """For whoever listens, not for whoever looks."""
    return element("span", text, class_="heard")


def details(summary: Child, *children: Child, class_: str | None = None, open_: bool = False) -> Html:
    """What can be unfolded; print shows it unfolded."""
    return element("details", element("summary", summary), *children, class_=class_, open_=open_)

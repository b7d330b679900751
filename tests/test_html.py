"""A page's main text comes out with its structure, its furniture does not, and no visible word turns into nothing."""

from __future__ import annotations

import html as entities
import re
import socket
import subprocess
import sys

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from examples import examples
from stillhouse.errors import StillhouseError
from stillhouse.raw import html
from stillhouse.raw.html import html_to_text

PAGE = """<!DOCTYPE html><html><head><title>Pot still care</title><style>p { color: red }</style>
<script>var secret = "tracking code";</script></head><body>
<nav><ul><li><a href="/">Home</a></li><li><a href="/shop">Shop all products</a></li></ul></nav>
<div class="cookie-banner" id="cookie-consent">We use cookies to improve your visit. <button>Accept all</button></div>
<main><article><h1>Caring for a pot still</h1>
<p>Copper reacts with sulfur &amp; keeps the spirit clean, but it wears thin over the years &mdash; look after it.
A still that is cleaned every week lasts four times as long as one that is not.</p>
<h2>What you need</h2>
<ul><li>A soft brush with a long handle</li><li>Citric acid, two spoons per liter</li></ul>
<ol><li>Empty the still</li><li>Rinse it twice</li></ol>
<h2>Temperatures</h2>
<table><tr><th>Cut</th><th>Degrees</th></tr><tr><td>Heads</td><td>78</td></tr><tr><td>Hearts</td><td>82</td></tr></table>
<p>The following program reads the thermometer every second and <code>stops</code> when the heart has run. It was
written for small stills with one sensor, see <a href="https://example.org/x">the manual</a>.</p>
<pre><code>def cut(temperature):
    if temperature &lt; 80:
        return "heads"
    return "hearts"
</code></pre></article></main>
<aside><h3>Related</h3><p>Ten gins you must try this summer</p></aside>
<footer><p>Copyright 2026 Example Distillers. All rights reserved.</p></footer></body></html>"""


def test_headings_lists_tables_and_code_are_kept_as_markdown() -> None:
    text = html_to_text(PAGE)
    assert text.startswith("# Caring for a pot still\n\nCopper reacts with sulfur & keeps the spirit clean")
    assert "## What you need\n\n- A soft brush with a long handle\n- Citric acid, two spoons per liter\n" in text
    assert "1. Empty the still\n2. Rinse it twice\n" in text
    assert "| Cut | Degrees |\n|---|---|\n| Heads | 78 |\n| Hearts | 82 |\n" in text
    assert (
        '```\ndef cut(temperature):\n    if temperature < 80:\n        return "heads"\n    return "hearts"\n```' in text
    )
    assert "`stops`" in text and "the manual" in text


@pytest.mark.parametrize(
    "gone", ["Home", "Shop all", "cookies", "Accept", "Ten gins", "Copyright", "secret", "color", "<"]
)
def test_what_is_not_the_page_itself_is_removed(gone: str) -> None:
    assert gone not in html_to_text(PAGE).replace("temperature < 80", "")


@pytest.mark.parametrize(
    ("page", "text"),
    [
        ("<p>Reset my password</p>", "Reset my password"),
        ("just text, no tags", "just text, no tags"),
        ("AT&amp;T caf&eacute; &#128512; &lt;b&gt;", "AT&T café 😀 <b>"),
        ("<h2>Only</h2><ul><li>a</li><li>b</li></ul>", "## Only\n\n- a\n- b"),
        ("<table><tr><td>a</td><td>b</td></tr></table>", "| a | b"),
        ("<pre>x = 1\n  y = 2</pre>", "```\nx = 1\n  y = 2\n```"),
        ("<pre><code>\nx = 1\n</code></pre>run <code>x</code>", "```\nx = 1\n```\n\nrun `x`"),
        ("<div>one</div>two<p>three", "one\ntwo\n\nthree"),
        ("<head><title>t</title><p>body", "body"),
        ("<p>a\x00b \ud83d</p>", "ab ?"),
        ("<!-- hidden --><p>text</p><script>x()</script><style>y</style>", "text"),
        ("1 < 2 and 3 > 2", "1 < 2 and 3 > 2"),
        ('<?xml version="1.0" encoding="iso-8859-1"?><p>Grüße</p>', "Grüße"),
        ("<nav>Home About</nav>", "Home About"),
    ],
)
def test_small_pages_keep_every_visible_word(page: str, text: str) -> None:
    assert html_to_text(page) == text


def test_line_breaks_separate_words() -> None:
    for page in ("one<br>two<br/>three", "<p>one<br>two<br>three</p>", "<body><p>one<br>two<br>three</p></body>"):
        assert [line for line in html_to_text(page).split("\n") if line] == ["one", "two", "three"]


@pytest.mark.parametrize(
    "page",
    [
        "",
        "  \n ",
        "<div></div>",
        "<script>x()</script>",
        "<head><title>t</title></head>",
        "<!-- -->",
        "<pre></pre>",
        "<ul><li>",
    ],
)
def test_a_page_without_visible_text_is_empty(page: str) -> None:
    assert html_to_text(page) == ""


@pytest.mark.parametrize(
    "page",
    [
        "<div><p>alpha <b>beta<p>gamma</div></span><table><tr><td>delta",
        "<p>alpha</p></p></div><<p>beta</<p>gamma<p title='>delta",
        "<style>alpha</style><svg><p>x</svg> alpha beta gamma delta",
        "alpha <noscript>beta</noscript> gamma <script>if (a < b) { '</p>' }</script> delta",
    ],
)
def test_broken_markup_still_gives_its_text(page: str) -> None:
    text = html_to_text(page)
    assert "alpha" in text and "gamma" in text


TAGS = (
    "<p>|</p>|<div>|</div>|<b>|</b>|<br>|<ul>|<li>|</ul>|<table>|<tr>|<td>|</table>|<pre>|</pre>|<h1>|</h1>|<svg>|</svg>"
    "|<script>x</script>|<style>y</style>|<!--|<!--c-->|&amp;|&lt;|&#x41;|<|>|</|<![CDATA[|<?php|\x00|\ud83d"
)
fragments = st.lists(st.sampled_from(TAGS.split("|")) | st.text(max_size=8), max_size=25).map("".join)


@examples(0.8)
@given(fragments)
@example("<b>" * 20_000 + "deep")
@example("<!--" * 20_000)
@example("<a " * 20_000)
def test_no_markup_makes_it_fail(page: str) -> None:
    html_to_text(page)


@examples(0.4)
@given(
    st.lists(st.text("abcdefgh", min_size=1, max_size=9), min_size=1, max_size=30),
    st.sampled_from(["p", "div", "li", "td", "h3", "b", "pre", "svg"]),
)
def test_text_between_tags_never_becomes_nothing(words: list[str], tag: str) -> None:
    page = "".join(f"<{tag}>{entities.escape(word)}</{tag}> " for word in words)
    assert set(re.findall("[a-h]+", html_to_text(page))) == set(words)
    assert html_to_text(f"<html><body>{page}</body></html>")


def test_nothing_is_fetched(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise AssertionError("a connection was opened")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    monkeypatch.setattr(socket, "getaddrinfo", refuse)
    page = '<base href="https://example.org"><img src="https://example.org/a.png"><iframe src="https://example.org">'
    assert "Copper" in html_to_text(page + PAGE)


def test_without_trafilatura_the_error_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "trafilatura", None)
    html._extractor.cache_clear()
    with pytest.raises(StillhouseError) as raised:
        html_to_text("<p>text</p>")
    assert raised.value.problems[0].fix == "pip install 'stillhouse[html]'"
    html._extractor.cache_clear()


def test_trafilatura_is_imported_only_when_a_page_comes() -> None:
    code = "import sys, stillhouse.raw.html; assert 'trafilatura' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)

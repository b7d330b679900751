"""Spans of a text that must not be shown: settling those that overlap, and redaction.

    spans = complete(text, lambda text: [*find_credentials(text), *find_personal(text)])
    redact("write to a@b.com", [Span(9, 16, "email")])         # "write to <EMAIL>"

``complete`` is what makes redaction idempotent: a placeholder ends a word where none ended before, so that what was
part of a longer run may now stand alone and be found. Such remainders are taken into the spans before the first cut.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

# kinds that only a name, a header or an address tells; whatever has a format of its own is more specific
_GENERAL = frozenset({"named-secret", "authorization", "url-key", "url-password"})

# rounds of finding what the last one laid bare; one is rare, and only a text made for it has more, one per finding
_PATIENCE = 8


@dataclass(frozen=True, order=True)
class Span:
    """Characters ``start`` to ``end`` (exclusive) of a text, and what they are."""

    start: int
    end: int
    kind: str


def placeholder(kind: str) -> str:
    """What a redacted span becomes: ``<GITHUB_TOKEN>`` for the kind ``github-token``."""
    return f"<{kind.upper().replace('-', '_')}>"


def settle(spans: Iterable[Span]) -> list[Span]:
    """Sorted, disjoint spans over exactly the same characters, whatever the order of ``spans``.

    Spans that share a character become one over all of theirs: to keep only the longest would leave the end of the
    other in the text. The kind is that of the longest; of equals, one with a format of its own; then the alphabet.
    """
    groups: list[list[Span]] = []
    reach = -1
    for span in sorted(spans):
        if span.start < reach:
            groups[-1].append(span)
        else:
            groups.append([span])
        reach = max(reach, span.end)
    return [
        Span(group[0].start, max(span.end for span in group), min(group, key=_rank).kind)
        if len(group) > 1
        else group[0]
        for group in groups
    ]


def _rank(span: Span) -> tuple[int, bool, str]:
    return span.start - span.end, span.kind in _GENERAL, span.kind


def redact(text: str, spans: Iterable[Span]) -> str:
    """The text with every span replaced by its placeholder; no character outside the spans is touched."""
    pieces, place = [], 0
    for span in settle(spans):
        pieces += [text[place : span.start], placeholder(span.kind)]
        place = span.end
    return "".join([*pieces, text[place:]])


def complete(text: str, find: Callable[[str], Iterable[Span]]) -> list[Span]:
    """Settled spans after whose redaction ``find`` finds nothing more; clean texts cost one call of ``find``."""
    spans = settle(find(text))
    rounds = 0
    while spans:
        again = [_original(span, spans) for span in find(redact(text, spans))]
        if rounds >= _PATIENCE:
            again = [_whole_line(text, span) for span in again]
        more = settle([*spans, *again])
        if more == spans:
            break
        spans, rounds = more, rounds + 1
    return spans


def _whole_line(text: str, span: Span) -> Span:
    end = text.find("\n", span.end)
    return Span(text.rfind("\n", 0, span.start) + 1, len(text) if end < 0 else end, span.kind)


def _original(span: Span, redacted: Sequence[Span]) -> Span:
    """A span of the redacted text as one of the original; it takes in every placeholder that it reaches into."""
    start, end, shift = -1, -1, 0
    for one in redacted:
        length = len(placeholder(one.kind))
        first = one.start + shift  # where its placeholder begins in the redacted text
        if start < 0 and span.start < first + length:
            start = min(span.start - shift, one.start)
        if end < 0 and span.end <= first + length:
            end = span.end - shift if span.end <= first else one.end
        shift += length - (one.end - one.start)
    return Span(start if start >= 0 else span.start - shift, end if end >= 0 else span.end - shift, span.kind)

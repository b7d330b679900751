"""What the teacher thinks of each token of its answers, or of given ones: made into sequences, stored once, linked.

sequences, failures = sequences_of(teacher.tokenizer, rows, answers, context=teacher.context())
stored = store_distributions(teacher.model, header, sequences, root=answers.parent / "distributions", draft=draft)
stored.documents, stored.tokens, stored.new

Distributions lie beside the answer store, a folder for each header and set of sequences. A set that shares documents
with an earlier one takes over their rows, so that no model is asked twice about the same tokens.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

from stillhouse.errors import StillhouseError
from stillhouse.ferment.distributions import capture_distributions
from stillhouse.ferment.writing import Tick, Unanswered
from stillhouse.signals import Header, TextAnswer, TokenDist, TokenDistWriter
from stillhouse.signals.token_dist import FOLDER
from stillhouse.store import digest_of, place
from stillhouse.teachers.sequences import TokenSequence, asked, conversation, plain, said, shortened
from stillhouse.teachers.templates import ChatTemplate, Message, RowError


@dataclass(frozen=True)
class Stored:
    """documents: those with distributions. tokens, bytes: of all that is stored. new: tokens asked about this time.
    failures: documents that the model gave no numbers about."""

    documents: frozenset[str]
    tokens: int
    bytes: int
    new: int
    failures: tuple[Unanswered, ...]


def sequences_of(
    tokenizer: Any,
    rows: Sequence[Mapping[str, Any]],
    answers: Sequence[TextAnswer] | None,
    *,
    context: int,
    system: str = "",
    turns: Literal["all", "last"] = "all",
) -> tuple[dict[str, TokenSequence], list[Unanswered]]:
    """What the teacher reads, by the key its distributions are stored under; and documents that it cannot read.

    answers: of the teacher, or ``None`` where those in the documents are learned. context: the most tokens it takes;
    what goes beyond is cut off at the end. system: put before conversations that have no system message.
    """
    template = ChatTemplate(tokenizer) if answers is not None or any(row["messages"] for row in rows) else None
    found: dict[str, TokenSequence] = {}
    failures: list[Unanswered] = []

    def add(key: str, document: str, make: Callable[[], TokenSequence]) -> None:
        try:
            found[key] = shortened(make(), context)
        except RowError as error:
            failures.append(Unanswered(document, str(error)))

    if answers is not None and template is not None:
        by_id = {row["id"]: row for row in rows}
        for answer in answers:
            if answer.answer.strip() or answer.reasoning:
                before = asked(by_id[answer.id], system)
                add(answer.key, answer.id, lambda a=answer, b=before: _answered(template, b, a))  # type: ignore[misc]
        return found, failures
    for row in rows:
        messages = row["messages"]
        if messages and template is not None:
            add(row["id"], row["id"], lambda m=messages: conversation(template, m, turns=turns))  # type: ignore[misc]
        else:
            add(row["id"], row["id"], lambda text=row["text"]: plain(tokenizer, text))  # type: ignore[misc]
    return found, failures


def _answered(template: ChatTemplate, before: tuple[Message, ...], answer: TextAnswer) -> TokenSequence:
    last = {"role": "assistant", "content": said(answer, template.opens_reasoning)}
    return conversation(template, (*before, last), turns="last", finished=answer.finish_reason == "stop")


def store_distributions(
    model: Any,
    header: Header,
    sequences: Mapping[str, TokenSequence],
    *,
    root: Path,
    draft: Path,
    progress: Tick | None = None,
) -> Stored:
    """The model's distributions about every sequence from its first learned place on, linked below ``draft``.

    root: where they are kept, and where those of other sets are looked for. Raises :class:`StillhouseError` when the
    header is not about this model.
    """
    ids = digest_of([[key, list(one.ids), one.start] for key, one in sorted(sequences.items())])
    folder = root / digest_of([header.as_json(), ids])[:32]
    with TokenDistWriter(folder, header) as writer:
        _take_over(root, folder, sequences, writer)
        captured = capture_distributions(
            model,
            [(key, one.ids) for key, one in sequences.items()],
            writer=writer,
            start={key: one.start for key, one in sequences.items()},
            progress=progress,
        )
    found = TokenDist.open(folder)
    _link(folder / FOLDER, draft / FOLDER)
    size = sum(path.stat().st_size for path in (draft / FOLDER).rglob("*") if path.is_file())
    failures = tuple(Unanswered(key.partition("#")[0], reason) for key, reason in captured.failures)
    documents = frozenset(key.partition("#")[0] for key in found.ids)
    return Stored(documents, found.tokens(), size, captured.tokens, failures)


def _take_over(root: Path, folder: Path, sequences: Mapping[str, TokenSequence], writer: TokenDistWriter) -> None:
    """Rows that another set of the same header has of the same tokens."""
    for other in sorted(root.glob("*")):
        missing = [key for key in sequences if key not in writer]
        if not missing or other == folder:
            continue
        try:
            stored = TokenDist.open(other, expect=asdict(writer.header))
        except StillhouseError:
            continue  # of another teacher, or torn: a miss
        for key in missing:
            one = sequences[key]
            blob = stored.blob(key, one.ids, one.start)
            if blob is not None:
                writer.add(key, one.ids, one.start, blob)


def _link(source: Path, target: Path) -> None:
    """The store's files in the draft: linked where the disk can, so that nothing lies there twice."""
    target.mkdir(parents=True, exist_ok=True)
    for path in sorted(source.glob("*.arrow")):
        place(path, target / path.name)

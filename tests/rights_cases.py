"""The cases of ``rights_cases.md``, read and asked: used by the tests and by the bench."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from stillhouse.rights import Claim, Judgement, Subject, Table, Use, by_name, judge

FILE = Path(__file__).with_name("rights_cases.md")
TOUCHES = {"api": ("outputs",), "weights": ("logits", "outputs"), "base": ("init",), "data": ("data",)}


@dataclass(frozen=True)
class Case:
    """One row: what is asked, and what is expected."""

    what: str
    channel: str
    student: str
    release: str
    commercial: bool
    verdict: str
    duties: tuple[str, ...]
    clause: str

    @property
    def use(self) -> Use:
        """The use that is asked for."""
        return Use(self.student, self.release, self.commercial)  # type: ignore[arg-type]

    @property
    def subject(self) -> Subject:
        """What is asked about."""
        touches = TOUCHES[self.channel]
        if self.channel == "data":
            return Subject("data", "rows", "rows.csv", touches, (Claim(self.what, "recipe"),))  # type: ignore[arg-type]
        role = "base" if self.channel == "base" else "teacher"
        return by_name(self.what, table=Table.load(), role=role, touches=touches)  # type: ignore[arg-type]

    def ask(self) -> Judgement:
        """What the built-in table says."""
        return judge(self.subject, self.use, table=Table.load())

    def answer(self) -> tuple[str, tuple[str, ...], str]:
        """Verdict, duties and clause, in the form of the file."""
        judgement = self.ask()
        kinds = tuple(sorted(duty.duty.kind for duty in judgement.duties))
        return judgement.verdict.words, kinds, judgement.deciding.clause

    @property
    def expected(self) -> tuple[str, tuple[str, ...], str]:
        """The same, as the file has it."""
        return self.verdict, self.duties, self.clause


def read_cases() -> list[Case]:
    """Every row of every table in the file."""
    cases = []
    for line in FILE.read_text("utf-8").splitlines():
        cells = [cell.strip() for cell in line.strip("|").split("|")]
        if line.startswith("|") and cells[0] not in ("what", "---"):
            what, channel, student, release, commercial, verdict, duties, clause = cells
            kinds = tuple(sorted(kind.strip() for kind in duties.split(",") if kind.strip()))
            cases.append(Case(what, channel, student, release, commercial == "yes", verdict, kinds, clause))
    return cases

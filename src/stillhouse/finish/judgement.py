"""What the first step of stage 4 leaves for the second: figures, findings and gates, as files.

Judgement(rows=rows, summary=summary, shipped=shipped, warnings=found, findings=[], gates=gates).write(draft)
judged = read_judgement(Path("4-judge"))
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from stillhouse.finish.audit.findings import Finding, as_row
from stillhouse.finish.evaluate import Row
from stillhouse.finish.gates import Gate
from stillhouse.store import reached, write_json

ARTIFACTS = "artifacts"  # the folder of all that may be bottled
EVALUATION, AUDIT, GATES, SAMPLES = "evaluation.json", "audit.json", "gates.json", "samples.jsonl"
SCHEMA = 2  # of evaluation.json; 1 had no `shipped` and no `warnings`


@dataclass(frozen=True)
class Judgement:
    """rows, summary: the evaluation. shipped: the artifact that the bottle will hold. warnings: in plain words.
    samples: prompts with the answers of all models."""

    rows: Sequence[Row]
    summary: Mapping[str, Any]
    shipped: Mapping[str, Any]
    warnings: Sequence[str]
    findings: Sequence[Finding]
    gates: Sequence[Gate]
    samples: Sequence[Mapping[str, Any]] = field(default=())

    def write(self, folder: Path) -> None:
        """Leave it in ``folder``; the evaluation last."""
        write_json(folder / AUDIT, {"schema": 1, "findings": [as_row(one) for one in self.findings]})
        write_json(folder / GATES, {"schema": 1, "gates": [asdict(gate) for gate in self.gates]})
        if self.samples:
            with (folder / SAMPLES).open("w", encoding="utf-8") as stream:
                stream.writelines(json.dumps(one, ensure_ascii=False) + "\n" for one in self.samples)
        write_json(
            folder / EVALUATION,
            {
                "schema": SCHEMA,
                "rows": [asdict(row) for row in self.rows],
                "summary": dict(self.summary),
                "shipped": dict(self.shipped),
                "warnings": list(self.warnings),
            },
        )
        reached("judged")


def read_judgement(folder: Path) -> Judgement:
    """What is sealed in ``folder``."""

    def load(name: str) -> dict[str, Any]:
        found: dict[str, Any] = json.loads((folder / name).read_text("utf-8"))
        return found

    evaluation, samples = load(EVALUATION), folder / SAMPLES
    return Judgement(
        rows=[Row(**row) for row in evaluation["rows"]],
        summary=evaluation["summary"],
        shipped=evaluation["shipped"],
        warnings=evaluation["warnings"],
        findings=[Finding(**row) for row in load(AUDIT)["findings"]],
        gates=[Gate(**row) for row in load(GATES)["gates"]],
        samples=[json.loads(line) for line in samples.read_text("utf-8").split("\n") if line]
        if samples.exists()
        else (),
    )

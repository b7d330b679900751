"""The papers that go into a bottle before it is sealed: bill of materials, provenance, benchmark results.

    write_papers(bottle, label, manifests=manifests, events=ledger.entries(), parameters=public, metrics=metrics)

Every file of the model, the label and the card must be there already: the provenance names all of them.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from stillhouse.errors import Problem, StillhouseError
from stillhouse.finish.provenance.bom import Fairness, Metric, bill_of_materials
from stillhouse.finish.provenance.contents import digests_of, survey
from stillhouse.finish.provenance.eval_results import Benchmark, write_eval_results
from stillhouse.finish.provenance.parameters import PublicParameters
from stillhouse.finish.provenance.record import RunRecord
from stillhouse.finish.provenance.statement import provenance
from stillhouse.finish.provenance.sums import CHECKSUMS
from stillhouse.store import SIGNATURE, Manifest, digest_of_file, write_json

BOM = "bom.cdx.json"
PROVENANCE = "provenance.json"


def write_papers(
    bottle: Path,
    label: Mapping[str, Any],
    *,
    manifests: Mapping[str, Manifest],
    events: Iterable[Mapping[str, Any]],
    parameters: PublicParameters,
    recipe_sha256: str | None = None,
    metrics: Sequence[Metric] = (),
    fairness: Sequence[Fairness] = (),
    benchmarks: Sequence[Benchmark] = (),
) -> None:
    """Write the papers into ``bottle``.

    manifests: of the sealed steps, by step. events: the ledger. recipe_sha256: of the recipe with every default.
    metrics, fairness: of what ships, as far as they are known. Raises :class:`StillhouseError` where a file
    of the bottle cannot be read. A seal that is there is taken off.
    """
    for name in (BOM, PROVENANCE, CHECKSUMS, SIGNATURE):  # of what was here before
        (bottle / name).unlink(missing_ok=True)
    record = RunRecord.of(label, manifests, events)
    write_eval_results(bottle, benchmarks)
    digests, unread = digests_of(survey(bottle).files)
    if unread:
        raise StillhouseError.several([Problem(one, str(bottle), "run again") for one in unread])
    bill = bill_of_materials(
        label,
        record,
        files=digests,
        config=_config(bottle),
        metrics=metrics,
        fairness=fairness,
    )
    write_json(bottle / BOM, bill)
    digests[BOM] = digest_of_file(bottle / BOM)
    write_json(bottle / PROVENANCE, provenance(digests, record, parameters, recipe_sha256=recipe_sha256))


def _config(bottle: Path) -> dict[str, Any]:
    """The model's own configuration, where it has one; a static model has none."""
    try:
        config = json.loads((bottle / "config.json").read_text("utf-8"))
    except (OSError, ValueError):
        return {}
    return config if isinstance(config, dict) else {}

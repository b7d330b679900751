"""Provenance: an in-toto statement with a SLSA v1 predicate, of which run made which files out of what.

    value = provenance(digests, record, parameters, recipe_sha256=...)

Subject: every file of the bottle that was there before. External parameters: the recipe as far as it may be told.
Resolved dependencies: teachers, base, data and the recipe with digests, libraries with versions. By-products: the files
that the steps sealed, so that whoever has the run folder can hold it against the bottle.

Sources: https://github.com/in-toto/attestation (spec v1, ResourceDescriptor), https://slsa.dev/spec/v1.0/provenance.
Names of types are identifiers and lead nowhere. A run on the maker's own machine is SLSA build level 1: it says what
was done, and nobody but the bottle's signer vouches for it. `stillhouseFiles` is the SHA-256 of a canonical JSON list
of (path, SHA-256) pairs: one digest for a set of files.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any
from urllib.parse import quote

from stillhouse.finish.provenance.bundle import STATEMENT_TYPE
from stillhouse.finish.provenance.contents import in_order
from stillhouse.finish.provenance.parameters import PublicParameters
from stillhouse.finish.provenance.record import Material, RunRecord, Step, zulu

PREDICATE_TYPE = "https://slsa.dev/provenance/v1"
BUILD_TYPE = "https://stillhouse/run/v1"
BUILDER = "https://stillhouse/builder/local/v1"


def provenance(
    digests: Mapping[str, str], record: RunRecord, parameters: PublicParameters, *, recipe_sha256: str | None
) -> dict[str, Any]:
    """The statement as a JSON value. digests: SHA-256 of the bottle's files. recipe_sha256: of the filled-in recipe."""
    program, _, version = record.producer.partition(" ")
    metadata = {
        "invocationId": record.run,
        "startedOn": zulu(record.began) if record.began else None,
    }
    return {
        "_type": STATEMENT_TYPE,
        "subject": [{"name": name, "digest": {"sha256": digests[name]}} for name in in_order(digests)],
        "predicateType": PREDICATE_TYPE,
        "predicate": {
            "buildDefinition": {
                "buildType": BUILD_TYPE,
                "externalParameters": {"recipe": parameters.values, "withheld": parameters.withheld},
                "internalParameters": {"steps": {step.name: _step(step) for step in record.steps}},
                "resolvedDependencies": [
                    *([{"name": "recipe", "digest": {"sha256": recipe_sha256}}] if recipe_sha256 else []),
                    *(_material(one) for one in record.materials),
                    *(
                        {"name": name, "uri": f"pkg:pypi/{name.lower()}@{quote(number, safe='')}"}
                        for name, number in record.libraries.items()
                    ),
                ],
            },
            "runDetails": {
                "builder": {"id": BUILDER, "version": {program: version}},
                "metadata": {key: value for key, value in metadata.items() if value},
                "byproducts": [
                    {"name": f"{step.folder}/{name}", "digest": {"sha256": digest}}
                    for step in record.steps
                    for name, digest in step.files.items()
                ],
            },
        },
    }


def _material(one: Material) -> dict[str, Any]:
    """A resource descriptor; one of digest and uri it must have."""
    uri = one.purl or (None if one.sha256 else f"stillhouse:{one.role}/{quote(one.address)}")
    told = {"role": one.role, "address": one.address, "version": one.version, "licenses": " and ".join(one.licenses)}
    return {
        "name": one.name,
        **({"uri": uri} if uri else {}),
        **({"digest": {"stillhouseFiles": one.sha256}} if one.sha256 else {}),
        "annotations": {key: value for key, value in told.items() if value},
    }


def _step(step: Step) -> dict[str, Any]:
    return {
        "fingerprint": step.fingerprint,
        "version": step.version,
        "run": step.run,
        **({"started": zulu(step.started)} if step.started else {}),
        "sealed": zulu(step.sealed),
        "rows": step.rows,
        "inputs": step.inputs,
    }

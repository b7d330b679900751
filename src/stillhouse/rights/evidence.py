"""What is known of a subject's terms, and where it was read.

What its files say (a license text, the model card, a GGUF header, the package that brought them) comes before its
name; what the recipe declares is judged beside it, and the worse of the two wins. So a renamed folder is judged by its
text, and a declaration can add a duty but not remove one.

    subject = gather("teacher", "teacher", "models/llama", table=table, files=files, declared=None)
"""

from __future__ import annotations

import re
from functools import lru_cache
from pathlib import Path, PurePosixPath
from typing import Any

import yaml

from stillhouse.addresses import Files, HubAddress, PackageAddress, parse
from stillhouse.rights.terms import Table, Touch
from stillhouse.rights.verdict import OWNED, Claim, Role, Subject

_LICENSE_FILE = re.compile(r"(licen[cs]e|copying|terms)([._-].*)?(\.txt|\.md|\.rst)?$", re.I)
_NO_LICENSE = re.compile(r"\.(py|json|yaml|yml|safetensors|gguf|bin|onnx)$", re.I)
SELF = "self:"  # a server of one's own has no terms beside its model's
_LONGEST_TEXT = 400_000  # bytes; no license is longer


def gather(
    role: Role,
    name: str,
    address: str,
    *,
    table: Table,
    files: Files | None,
    touches: tuple[Touch, ...],
    declared: str | None = None,
    license_file: Files | None = None,
    owner: str | None = None,
    attribution: str | None = None,
    rows: tuple[Claim, ...] | None = None,
    service: str | None = None,
) -> Subject:
    """The subject with every claim that can be found.

    files: what the address holds, or ``None`` when it is not here yet. declared, license_file, owner, attribution:
    what the recipe says. rows: the licenses that its rows state one by one; then nothing else speaks for them.
    service: ``provider:model`` of something that is asked and never here; its name is all there is.
    """
    claims: list[Claim] = list(rows or ())
    if owner is not None:
        claims.append(Claim(OWNED, "recipe", note=owner))
    if declared is not None:
        claims.append(Claim(declared, "recipe"))
    if license_file is not None:
        claims += [_of_text(path, table, "license file that the recipe names") for path in license_file.files]
    found = _from_files(files, role, table) if files is not None and rows is None else []
    claims += found
    if role != "data" and not found:
        claims += _from_names([service] if service else _names_of(address), table)
    identity = None
    if files is not None:
        identity = files.facts.get("commit") or files.facts.get("version") or files.digest[:16]
    here = files is not None or service is not None
    return Subject(role, name, address, touches, tuple(dict.fromkeys(claims)), here, identity, attribution)


def by_name(name: str, *, table: Table, role: Role = "teacher", touches: tuple[Touch, ...] = ("outputs",)) -> Subject:
    """A model (``org/model``) or service (``provider:model``) of which only the name is known."""
    return Subject(role, name, name, touches, tuple(_from_names([name], table)), here=":" in name)


def license_texts(files: Files | None) -> list[Path]:
    """The license texts among the files and in what their package says of itself."""
    if files is None:
        return []
    around = [*files.files, *(files.origin.rglob("*") if files.origin else [])]
    return sorted(
        path
        for path in dict.fromkeys(around)
        if path.is_file() and _LICENSE_FILE.match(path.name) and not _NO_LICENSE.search(path.name)
    )


def notice_texts(files: Files | None) -> list[Path]:
    """NOTICE files among the files and in what their package says of itself."""
    if files is None:
        return []
    around = [*files.files, *(files.origin.rglob("*") if files.origin else [])]
    return sorted(
        path for path in dict.fromkeys(around) if path.is_file() and path.stem.casefold() in ("notice", "notices")
    )


def _from_files(files: Files, role: Role, table: Table) -> list[Claim]:
    own = [path for path in license_texts(files) if path in files.files]
    card = _card_of(files)
    claims = [_of_text(path, table, f"license text {path.name}") for path in own]
    if not claims and card:
        claims += _declared_by(card, "model card", table)
    header = {} if claims else _gguf_of(files)
    if header:
        claims += _declared_by(header, "GGUF header", table)
    if not claims and files.facts.get("license"):
        # a package's license covers its makers' work: their model, but not other people's texts inside it
        claims.append(Claim(files.facts["license"], "package metadata", assured=role != "data"))
    if role != "data" and claims:
        claims += _ancestors(card or header, table)
    return claims


def _of_text(path: Path, table: Table, evidence: str) -> Claim:
    text = path.read_bytes()[:_LONGEST_TEXT].decode("utf-8", errors="replace")
    found = table.by_text(text)
    if found.match == "same":
        return Claim(found.terms, evidence)
    how = f"begins like {found.terms} but goes on otherwise" if found.match == "altered" else "is not one that was read"
    return Claim(None, evidence, note=f"the {evidence} {how} (start {found.start!r}, sha256 {found.sha256})")


def _declared_by(said: dict[str, Any], evidence: str, table: Table) -> list[Claim]:
    """``license``, or ``license_name`` where the first says that it is another one."""
    stated = said.get("license")
    if isinstance(stated, str) and stated.casefold() == "other":
        stated = said.get("license_name") or stated
    values = stated if isinstance(stated, list) else [stated]
    return [Claim(value, evidence) for value in values if isinstance(value, str) and value.strip()]


def _ancestors(said: dict[str, Any], table: Table) -> list[Claim]:
    """The models that this one was made from, where their names are known: their terms come with it."""
    stated = said.get("base_model") or []
    names = [name for name in (stated if isinstance(stated, list) else [stated]) if isinstance(name, str)]
    return [
        Claim(terms, f"name of the model it was made from, {name}")
        for name in names
        for family in table.by_name(name)
        for terms in family.terms
    ]


def _from_names(names: list[str], table: Table) -> list[Claim]:
    claims = []
    for name in names:
        for family in table.by_name(name):
            claims += [Claim(terms, f"name {name}", note=family.note) for terms in family.terms]
            if family.also_model:
                claims += _of_hosted_model(name, table)
        if name.startswith(SELF):
            claims += _of_hosted_model(name, table)
    return claims


def _of_hosted_model(name: str, table: Table) -> list[Claim]:
    model = name.partition(":")[2]
    return _from_names([model], table) or [Claim(model, "name of the model behind the endpoint")]


def _names_of(address: str) -> list[str]:
    parsed = parse(address)
    if isinstance(parsed, HubAddress):
        return [parsed.repo]
    if isinstance(parsed, PackageAddress):
        return [parsed.name, PurePosixPath(parsed.pattern[-1]).name]
    return [part for part in PurePosixPath(parsed.text.replace("\\", "/")).parts[-2:] if part not in ("/", "..", ".")]


def _card_of(files: Files) -> dict[str, Any]:
    card = next((path for path in files.files if path.name == "README.md"), None)
    if card is None:
        return {}
    text = card.read_text("utf-8", errors="replace")
    if not text.startswith("---"):
        return {}
    try:
        front = yaml.safe_load(text.split("---", 2)[1])
    except (yaml.YAMLError, IndexError):
        return {}
    return front if isinstance(front, dict) else {}


def _gguf_of(files: Files) -> dict[str, Any]:
    path = next((path for path in files.files if path.suffix == ".gguf"), None)
    if path is None:
        return {}
    facts = path.stat()
    return dict(_gguf_header(path, facts.st_size, facts.st_mtime_ns))


@lru_cache(maxsize=16)
def _gguf_header(path: Path, size: int, changed: int) -> tuple[tuple[str, Any], ...]:
    """``license``, ``license_name`` and ``base_model`` of a GGUF file's header; nothing where it cannot be read."""
    try:
        from gguf import GGUFReader

        fields = GGUFReader(path).fields
    except Exception:  # whatever is wrong with the file is said by whoever loads it
        return ()

    def text(key: str) -> str | None:
        entry = fields.get(key)
        value = entry.contents() if entry is not None else None
        return value if isinstance(value, str) else None

    bases = [
        text(f"general.base_model.{index}.repo_url") or text(f"general.base_model.{index}.name") for index in range(8)
    ]
    names = ["/".join(base.rstrip("/").split("/")[-2:]) if "://" in base else base for base in bases if base]
    return (
        ("license", text("general.license")),
        ("license_name", text("general.license.name")),
        ("base_model", names),
    )

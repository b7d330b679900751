"""What is known of a subject's terms, and where it was read.

What its files say (a license text, the model card, a GGUF header, the package that brought them) comes before its
name; a text that nobody knows hides nothing of the rest. What the recipe declares is judged beside it, and the worst
wins: a renamed folder is judged by its text, and a declaration can add a duty but not remove one.

    subject = gather("teacher", "teacher", "models/llama", table=table, files=files, touches=("logits", "outputs"))
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path, PurePosixPath
from typing import Any

import yaml

from stillhouse.addresses import Files, HubAddress, ObjectAddress, PackageAddress, parse
from stillhouse.rights.subjects import Claim, Role, Subject
from stillhouse.rights.terms import Table, Touch

_LICENSE_FILE = re.compile(r"(.*licen[cs]e.*|copying.*|terms[ _-]of[ _-](use|service).*)", re.I)
_NOTICE_FILE = re.compile(r"notices?", re.I)
_TEXT_SUFFIXES = ("", ".txt", ".md", ".rst")
_SELF = "self"  # a server of one's own has no terms beside its model's
_LONGEST_TEXT = 400_000  # bytes; no license is longer


@dataclass(frozen=True)
class Service:
    """A model that is asked and never here. provider: whose terms the recipe says rule; host: of the endpoint."""

    provider: str | None
    host: str
    model: str


@dataclass(frozen=True)
class Declared:
    """What the recipe says of a subject. license_texts: files of the license text that it names; pending: such a file
    has still to be fetched. generated_by: models that wrote the data."""

    license: str | None = None
    license_texts: tuple[Path, ...] = ()
    owner: str | None = None
    attribution: str | None = None
    generated_by: tuple[str, ...] = ()
    pending: bool = False


def gather(
    role: Role,
    name: str,
    address: str,
    *,
    table: Table,
    touches: tuple[Touch, ...],
    files: Files | None = None,
    declared: Declared | None = None,
    rows: tuple[Claim, ...] = (),
    service: Service | None = None,
) -> Subject:
    """The subject with every claim that can be found.

    files: what the address holds, or ``None`` when it is not here yet. rows: what its rows state one by one.
    """
    said = declared or Declared()
    claims = [*rows, *_declared(said, table)]
    if service is not None:
        claims += _of_service(service, said, table)
    elif files is not None:
        found, settled = _from_files(files, role, table, by_row=bool(rows))
        claims += found
        if role != "data" and not settled:
            claims += _from_names(_names_of(address), table)
    elif role != "data":
        claims += _from_names(_names_of(address), table)
    for generator in said.generated_by:
        claims += _of_generator(generator, table)
    identity = None
    if files is not None:
        identity = files.facts.get("commit") or files.facts.get("version") or files.digest[:16]
    here = (files is not None or service is not None) and not said.pending
    return Subject(role, name, address, touches, tuple(dict.fromkeys(claims)), here, identity, said.attribution)


def by_name(name: str, *, table: Table, role: Role = "teacher", touches: tuple[Touch, ...] | None = None) -> Subject:
    """A model (``org/model``, with or without ``hf:`` and a revision) or a service (``provider:model``), by its name.

    touches: outputs of a service, and the logits too of a model whose weights are had.
    """
    if name.startswith("hf:"):
        parsed = parse(name if "@" in name else f"{name}@main")
        name = parsed.repo if isinstance(parsed, HubAddress) else name
    provider, is_service, model = name.partition(":")
    taken: tuple[Touch, ...] = touches or (("outputs",) if is_service else ("logits", "outputs"))
    if not is_service:
        return Subject(role, name, name, taken, tuple(_from_names([name], table)), here=False)
    return gather(role, name, name, table=table, touches=taken, service=Service(provider, provider, model))


def license_texts(files: Files | None) -> list[Path]:
    """The license texts beside the files, and in what their package says of itself."""
    return _beside(files, _LICENSE_FILE)


def notice_texts(files: Files | None) -> list[Path]:
    """NOTICE files beside the files, and in what their package says of itself."""
    return _beside(files, _NOTICE_FILE)


def copyright_lines(texts: Iterable[str]) -> list[str]:
    """The lines that name who holds the rights, each once."""
    lines = (line.strip(" #*/>-") for text in texts for line in text.splitlines())
    named = re.compile(r"copyright\s*(\(c\)|©|\d{4})", re.I)
    return list(dict.fromkeys(line for line in lines if named.match(line) and "[yyyy]" not in line))


def _beside(files: Files | None, wanted: re.Pattern[str]) -> list[Path]:
    if files is None:
        return []
    # whatever the pattern of the address leaves out: a license lies in the folder, or above it in the same tree
    folders = {path.parent for path in files.files} | {files.root}
    around = [path for folder in sorted(folders) for path in (folder.iterdir() if folder.is_dir() else [])]
    around += files.origin.rglob("*") if files.origin else []
    return sorted(
        path
        for path in dict.fromkeys(around)
        if path.suffix.casefold() in _TEXT_SUFFIXES and wanted.fullmatch(path.stem or path.name) and path.is_file()
    )


def _declared(said: Declared, table: Table) -> list[Claim]:
    claims = []
    if said.owner is not None:
        claims.append(Claim(None, "recipe", note=said.owner, kind="owned", declared=True))
    if said.license is not None:
        claims.append(Claim(said.license, "recipe", declared=True))
    known = table.by_id(said.license) if said.license else None
    for path in said.license_texts:
        claim = _of_text(path, table, "license file that the recipe names")[0]
        # where no text of the declared document was ever read, the one that is named stands for it
        stands = claim.terms is None and known is not None and not known[1].texts.get(known[0])
        if not stands or not path.read_bytes().strip():
            claims.append(Claim(claim.terms, claim.evidence, note=claim.note, declared=True))
    return claims


def _from_files(files: Files, role: Role, table: Table, *, by_row: bool) -> tuple[list[Claim], bool]:
    """What the files say, and whether that settles it, so that the name need not be asked.

    Of data only the texts among its own files count: a folder's license speaks for a project, not for every file.
    """
    beside = license_texts(files)
    own = [path for path in beside if path in files.files] if role == "data" else beside
    packaged = [path for path in own if files.origin and files.origin in path.parents]
    texts = [claim for path in own if path not in packaged for claim in _of_text(path, table, f"text {path.name}")]
    known = [claim for claim in texts if claim.terms is not None and not claim.note]
    card, header = _card_of(files, role), _gguf_of(files)
    claims = list(texts)
    if len(known) < len(texts) or not texts:  # a text that nobody knows hides nothing
        claims += _stated_by(card, "model card") or _stated_by(header, "GGUF header")
    if not claims and not by_row:
        claims += _of_package(files, role, packaged, table)
    settled = bool(claims) and all(claim.terms is not None for claim in claims)
    if role != "data":
        made_from = _ancestors(card or header, table)
        if made_from and not claims:
            claims.append(Claim(None, "model card", note="no license of its own is stated, only what it was made from"))
        claims += made_from
    return claims, settled


def _of_package(files: Files, role: Role, texts: Sequence[Path], table: Table) -> list[Claim]:
    """A package's license covers its makers' work: their model, but not other people's texts inside it."""
    assured = role != "data"
    for path in texts:
        (claim, *rest) = _of_text(path, table, f"package's {path.name}")
        if not rest and claim.terms is not None:
            return [Claim(claim.terms, claim.evidence, assured=assured)]
    stated = files.facts.get("license")
    return [Claim(stated, "package metadata", assured=assured)] if stated else []


def _of_text(path: Path, table: Table, evidence: str) -> list[Claim]:
    """One claim for a text that was read; for one that differs, what it begins like as well."""
    found = table.by_text(path.read_bytes()[:_LONGEST_TEXT].decode("utf-8", errors="replace"))
    if found.match == "same":
        return [Claim(found.terms, evidence)]
    known_as = f"(start {found.start!r}, sha256 {found.sha256})"
    if found.match == "none":
        return [Claim(None, evidence, note=f"the {evidence} is not one that was read {known_as}")]
    note = f"the {evidence} begins like {found.terms} and goes on otherwise {known_as}"
    return [Claim(None, evidence, note=note), Claim(found.terms, evidence, note=note)]


def _stated_by(said: dict[str, Any], evidence: str) -> list[Claim]:
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
    return [claim for name in names for claim in _from_names([name], table, f"name of what it was made from, {name}")]


def _from_names(names: Iterable[str], table: Table, evidence: str | None = None) -> list[Claim]:
    return [
        Claim(terms, evidence or f"name {name}", note=family.note, trust=family.trust, read=family.read)
        for name in names
        for family in table.by_name(name)
        for terms in family.terms
    ]


def _of_service(service: Service, said: Declared, table: Table) -> list[Claim]:
    """The terms of the provider that the recipe names, and of the host whatever it names, and of a hosted model."""
    by_host, provider = f"{service.host}:{service.model}", service.provider or service.host
    claims = _from_names([by_host], table)
    hosting = [family for family in table.by_name(by_host) if family.also_model]
    if provider == _SELF:
        if not claims:
            owned = said.owner is not None or said.license is not None
            return _of_hosted(service.model, table, nobody_knows=not owned)
    elif provider != service.host:
        claims += _from_names([f"{provider}:{service.model}"], table)
        hosting += [family for family in table.by_name(f"{provider}:{service.model}") if family.also_model]
    if hosting:
        claims += _of_hosted(service.model, table, nobody_knows=True)
    if not claims:
        note = f"the terms of {provider} are not in the terms table"
        claims = [Claim(None, f"name {provider}", note=note)]
    return claims


def _of_hosted(model: str, table: Table, *, nobody_knows: bool) -> list[Claim]:
    """The model behind a host: its weights' license, or, where it is nobody's weights, its maker's own terms."""
    found = _from_names([model], table) or _from_names([model.replace("/", ":", 1)], table)
    if found or not nobody_knows:
        return found
    return [Claim(None, f"name {model}", note=f"the model {model} behind the endpoint is not in the terms table")]


def _of_generator(name: str, table: Table) -> list[Claim]:
    """The terms of a model that wrote the data: its outputs are what the student learns from."""
    evidence = f"name of the model that wrote it, {name}"
    found = _from_names([name], table, evidence)
    if not found:
        found = [Claim(None, evidence, note=f"the model {name} that wrote it is not in the terms table")]
    return [
        Claim(one.terms, one.evidence, note=one.note, trust=one.trust, read=one.read, touches=("outputs",))
        for one in found
    ]


def _names_of(address: str) -> list[str]:
    parsed = parse(address)
    if isinstance(parsed, HubAddress):
        return [parsed.repo]
    if isinstance(parsed, PackageAddress):
        return [parsed.name, PurePosixPath(parsed.pattern[-1]).name]
    # an object's options are no part of its name
    path = parsed.key if isinstance(parsed, ObjectAddress) else parsed.text
    parts = [part for part in PurePosixPath(path.replace("\\", "/")).parts if part not in ("/", "..", ".")]
    # a folder may be called as its repository is, org and model; a file lies in such a folder
    pairs = [f"{first}/{second}" for first, second in zip(parts[-3:], parts[-2:], strict=False)]
    return [*parts[-1:], *(parts[-2:-1] if PurePosixPath(path).suffix else []), *pairs]


def _card_of(files: Files, role: Role) -> dict[str, Any]:
    folders = sorted({path.parent for path in files.files} | {files.root}, key=lambda folder: len(folder.parts))
    cards = [folder / "README.md" for folder in folders if (folder / "README.md").is_file()]
    card = next((path for path in cards if role != "data" or path in files.files), None)
    if card is None:
        return {}
    front = re.match(r"---[ \t]*\r?\n(.*?)^---[ \t]*$", card.read_text("utf-8", errors="replace"), re.S | re.M)
    if front is None:
        return {}
    try:
        found = yaml.safe_load(front[1])
    except yaml.YAMLError:
        return {}
    return found if isinstance(found, dict) else {}


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

"""Where a license is read: the recipe first, then the model's card, then the package that brought the files.

subject = read_license("teacher", "teacher", "pypi:…", declared=None, files=files)
"""

from __future__ import annotations

import yaml

from stillhouse.addresses import Files
from stillhouse.rights.verdict import Role, Subject


def read_license(role: Role, name: str, address: str, *, declared: str | None, files: Files | None) -> Subject:
    """The subject with the best evidence of its license; without any, ``license`` is ``None``.

    declared: what the recipe says. files: what the address holds, or ``None`` when it is not here yet.
    """
    if declared is not None:
        return Subject(role, name, address, declared, "recipe")
    if files is None:
        return Subject(role, name, address, None, "nowhere: the files are not here yet")
    card = _from_card(files)
    if card is not None:
        return Subject(role, name, address, card, "model card")
    package = files.facts.get("license")
    if package:
        # a package's license covers its makers' work: their model, but not other people's texts inside it
        return Subject(role, name, address, package, "package metadata", assured=role != "data")
    return Subject(role, name, address, None, "nowhere")


def _from_card(files: Files) -> str | None:
    card = next((path for path in files.files if path.name == "README.md"), None)
    if card is None:
        return None
    text = card.read_text("utf-8", errors="replace")
    if not text.startswith("---"):
        return None
    try:
        front = yaml.safe_load(text.split("---", 2)[1])
    except yaml.YAMLError:
        return None
    license_id = front.get("license") if isinstance(front, dict) else None
    return license_id if isinstance(license_id, str) else None

"""What a recipe says of the rights in a model or in data, and the kinds of values that several sections share."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from stillhouse.recipe.fields import Section, result

Name = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$")]
Seed = Annotated[int, Field(ge=0, lt=2**31)]
Share = Annotated[float, Field(ge=0.0, le=1.0)]


class Licensed(Section):
    """What you know of the rights in a model. What its files say is judged beside it; the worse of both wins."""

    license: Annotated[str | None, result("SPDX id of its license, when you know it", enters="finish")] = None
    license_file: Annotated[
        str | None,
        result("Address of its license text, where it does not lie beside it", enters="finish", address=True),
    ] = None
    owner: Annotated[str | None, result("Who owns it, where it is your own", enters="finish", min_length=1)] = None
    attribution: Annotated[
        str | None, result("Whom to name, where its license asks for it", enters="finish", min_length=1)
    ] = None

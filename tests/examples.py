"""How many examples a property is tried on: a multiple of what the profile gives, so that a search grows with all.

@examples(0.3)                 # a slow one: 30 where a landing tries 100
@given(st.text())
"""

from __future__ import annotations

from hypothesis import settings


def examples(times: float) -> settings:
    """The settings of the loaded profile with ``times`` as many examples."""
    return settings(max_examples=round(times * settings().max_examples))

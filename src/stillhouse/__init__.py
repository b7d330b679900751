"""stillhouse distills large models into small ones and labels what comes out.

import stillhouse
recipe = stillhouse.load_recipe(Path("recipes/quickstart.yaml"))
print(stillhouse.check(recipe, base=Path("recipes")).steps)
finished = stillhouse.execute(recipe, base=Path("recipes"))
print(stillhouse.open_bottle(finished.bottle).predict(["a fine film"]))
"""

from __future__ import annotations

from importlib import import_module
from importlib.metadata import version
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from stillhouse.errors import StillhouseError
    from stillhouse.execute import Finished, run
    from stillhouse.execute import stage_summaries as show
    from stillhouse.plan import make_plan as check
    from stillhouse.recipe import Recipe, load_recipe
    from stillhouse.recipe.rights import explain_model as explain_rights
    from stillhouse.recipe.template import write_recipe as new
    from stillhouse.use import open_bottle, taste
    from stillhouse.use import predict_file as predict
    from stillhouse.use import verify_bottle as verify

__version__ = version("stillhouse")

# loaded on first use, so that `import stillhouse` and `--help` stay fast
_NAMES = {
    "Finished": ("stillhouse.execute", "Finished"),
    "Recipe": ("stillhouse.recipe", "Recipe"),
    "StillhouseError": ("stillhouse.errors", "StillhouseError"),
    "check": ("stillhouse.plan", "make_plan"),
    "explain_rights": ("stillhouse.recipe.rights", "explain_model"),
    "new": ("stillhouse.recipe.template", "write_recipe"),
    "predict": ("stillhouse.use", "predict_file"),
    "show": ("stillhouse.execute", "stage_summaries"),
    "taste": ("stillhouse.use", "taste"),
    "load_recipe": ("stillhouse.recipe", "load_recipe"),
    "open_bottle": ("stillhouse.use", "open_bottle"),
    "run": ("stillhouse.execute", "run"),
    "verify": ("stillhouse.use", "verify_bottle"),
}

__all__ = [
    "Finished",
    "Recipe",
    "StillhouseError",
    "check",
    "explain_rights",
    "load_recipe",
    "new",
    "open_bottle",
    "predict",
    "run",
    "show",
    "taste",
    "verify",
]


def __getattr__(name: str) -> Any:
    if name not in _NAMES:
        raise AttributeError(f"module 'stillhouse' has no attribute {name!r}")
    module, attribute = _NAMES[name]
    return getattr(import_module(module), attribute)

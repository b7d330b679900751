"""The typed recipe: what is asked for, checked before anything runs.

recipe = load_recipe(Path("recipe.yaml"), overrides=["distill.train.epochs=2"])
"""

from stillhouse.recipe.load import load_recipe, parse_recipe
from stillhouse.recipe.model import Recipe

__all__ = ["Recipe", "load_recipe", "parse_recipe"]

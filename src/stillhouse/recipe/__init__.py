"""The typed recipe: what is asked for, checked before anything runs.

recipe = load_recipe(Path("recipe.yaml"), overrides=["distill.train.epochs=2"])      # Classification(…)
"""

from stillhouse.recipe.classification import Classification
from stillhouse.recipe.generation import Generation
from stillhouse.recipe.load import despite_override, load_recipe, parse_recipe
from stillhouse.recipe.model import Recipe

__all__ = ["Classification", "Generation", "Recipe", "despite_override", "load_recipe", "parse_recipe"]

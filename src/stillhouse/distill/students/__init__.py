"""Ways to make a student before any training: layers kept from an encoder, or random weights."""

from stillhouse.distill.students.from_config import from_config
from stillhouse.distill.students.keep_layers import check_base, keep_layers

__all__ = ["check_base", "from_config", "keep_layers"]

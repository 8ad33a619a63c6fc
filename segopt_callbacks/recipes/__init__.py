"""One knob: a goal -> the callbacks that reach it."""

from segopt_callbacks.recipes.callbacks import goal_formats, recipe
from segopt_callbacks.recipes.goals import GOALS, KEPT, Recipe

__all__ = ["GOALS", "KEPT", "Recipe", "goal_formats", "recipe"]

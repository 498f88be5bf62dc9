"""How smooth a finished film is: its steps, jumps, duplicates, flicker and loop seam."""

from .analysis import Smoothness, analyse
from .plot import draw_steps

__all__ = ["Smoothness", "analyse", "draw_steps"]

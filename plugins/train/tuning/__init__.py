"""Tuning a finished model on one's own pictures: a LoRA, or all of its weights."""

"""Textual inversion: a word learned from a few pictures, with the model left as it is."""

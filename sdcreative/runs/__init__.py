"""Runs that survive: a folder per render, and finished frames under names that say what they are.

A frame's name is a digest of all that it is made from (``keys``), so that a store of frames
(``store``) serves every run: rendering a preset again takes what is there, and changing one
keyframe leaves the others' frames as good as they were.
"""

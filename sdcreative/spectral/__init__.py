"""Mel spectrograms and the sound they stand for: pure mathematics, no files and no model.

Magnitudes are those of samples on the scale of 16 bits, as in Riffusion's pictures.
"""

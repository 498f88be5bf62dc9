"""Listening to a sound file: beats, onsets, bands and loudness, frame by frame."""

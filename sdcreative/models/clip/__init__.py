"""Pairs of a picture tower and a text tower, which say how well a picture fits a text."""

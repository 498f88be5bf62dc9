"""Models written to disk: as a single file in the original layout, or as a diffusers folder."""

"""Single checkpoint files in the layout of the original repositories of Stable Diffusion."""

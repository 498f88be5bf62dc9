"""A film before it is rendered: stills of its keyframes, and its settings over the frames."""

"""A film of a spectrogram as it scrolls by."""

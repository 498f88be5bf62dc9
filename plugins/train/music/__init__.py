"""A composer of short clips with exact captions, and the sound font that plays them."""

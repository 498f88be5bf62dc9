"""Pictures of spectrograms to music in files: stitched, decoded, levelled, encoded, shown."""

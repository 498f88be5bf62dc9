"""Models that compute on the processor: what makes them faster and leaves their numbers alone."""

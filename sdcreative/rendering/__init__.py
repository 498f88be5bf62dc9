"""From the shots of a timeline to finished pictures, in batches."""

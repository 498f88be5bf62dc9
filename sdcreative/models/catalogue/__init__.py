"""What models and add-ons there are, and what each is, without loading any."""

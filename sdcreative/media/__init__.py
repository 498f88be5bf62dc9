"""Pictures and films to files and back; knows no model."""

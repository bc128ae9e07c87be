"""Sounds from the physics of strings, pipes, bars, membranes and machines."""

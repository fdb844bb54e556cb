"""A running member, and the supervisor of several."""

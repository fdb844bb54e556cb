"""Values and pure helpers that every floor shares."""

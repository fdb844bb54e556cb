"""A test kit: what the tests of the farm are made of, for those who build on it too."""

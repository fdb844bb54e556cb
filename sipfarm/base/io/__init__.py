"""What asks the machine: its clock, its randomness, its standard error."""

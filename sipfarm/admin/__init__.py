"""The HTTP face of a member: what is shown of it, and the commands it takes."""

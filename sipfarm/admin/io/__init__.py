"""HTTP: the server of the admin API and what asks it."""

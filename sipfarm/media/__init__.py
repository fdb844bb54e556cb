"""Session descriptions, offer and answer, and what the media plane is asked for."""

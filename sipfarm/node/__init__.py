"""The composition root: what signaling, media, cluster and pbx are to one another in a member."""

"""Calls as programs see them: legs, calls, the tasks that run them, and the stock applications."""

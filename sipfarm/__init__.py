"""A SIP farm: several equal members act as one telephone system."""

__version__ = "0.1.0"

"""The stock policy, but trusted sources may call names of a carrier, wherever DNS says it is."""

from typing import Final

from sipfarm.signaling.policy import stock_policy
from sipfarm.signaling.routing import Decision, Forward, Inquiry, Step, Target

CARRIER: Final = "carrier.test"


def carrier_policy(inquiry: Inquiry) -> Decision:
    """A policy as a provider would write it."""
    uri = inquiry.request_uri
    if inquiry.trusted and uri.host.endswith(CARRIER) and not inquiry.request.to_tag:
        return Forward((Step((Target(uri.text),)),))
    return stock_policy(inquiry)

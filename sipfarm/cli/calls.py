"""`sipfarm calls`: the calls of a farm."""

from sipfarm.admin.views import CallView
from sipfarm.cli.admin_options import LIMIT_OF_ALL, AskedFarm, LimitOfAll, asks_farm

COLUMNS = ("member", "kind", "state", "caller", "callee", "s", "packets", "call-id")


@asks_farm
def calls(farm: AskedFarm, limit: LimitOfAll = LIMIT_OF_ALL) -> None:
    """Show the calls of a farm, the longest first."""
    found = farm.client().pages("/api/v1/calls", {"farm": "1"}, list[CallView], limit)
    found.sort(key=lambda call: call.started)
    farm.show("Calls", COLUMNS, found, _row)


def _row(call: CallView) -> tuple[object, ...]:
    packets = [f"{media.a.packets_in}/{media.b.packets_in}" for media in call.media]
    return (
        call.member,
        call.task or call.kind,
        call.state,
        call.caller,
        call.callee,
        f"{call.seconds:.0f}",
        " ".join(packets),
        call.call_id,
    )

"""`sipfarm calls`: the calls of a farm."""

from sipfarm.admin.views import CallView
from sipfarm.cli.admin_options import (
    LIMIT_OF_ALL,
    AdminUrl,
    AsJson,
    ConfigFile,
    LimitOfAll,
    Token,
    client_of,
    print_json,
    print_table,
)

COLUMNS = ("member", "kind", "state", "caller", "callee", "s", "packets", "call-id")


def calls(
    admin: AdminUrl = "",
    token: Token = "",
    config: ConfigFile = None,
    limit: LimitOfAll = LIMIT_OF_ALL,
    json: AsJson = False,
) -> None:
    """Show the calls of a farm, the longest first."""
    client = client_of(admin, token, config)
    found = client.pages("/api/v1/calls", {"farm": "1"}, list[CallView], limit)
    found.sort(key=lambda call: call.started)
    if json:
        print_json(found)
    else:
        print_table("Calls", COLUMNS, (_row(call) for call in found))


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

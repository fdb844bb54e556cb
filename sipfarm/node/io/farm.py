"""A farm of several members on this machine, from what the operator asked for to its end."""

from collections.abc import Callable
from contextlib import AsyncExitStack
from pathlib import Path

import msgspec
from structlog.typing import FilteringBoundLogger

from sipfarm.admin.io.server import serving
from sipfarm.base.net import HostPort, Listen, Transport
from sipfarm.cluster.io.provision import apply
from sipfarm.cluster.io.store import Store, open_store
from sipfarm.config import Config
from sipfarm.node import demo_domain
from sipfarm.node.farm_plan import share_out, stock_config, with_admin, with_listen
from sipfarm.node.io.farm_directory import FarmDirectory, farm_directory
from sipfarm.node.io.farm_port import farm_api
from sipfarm.node.io.free_ports import free_port, listening, refuse_taken
from sipfarm.node.io.supervisor import SupervisedMember, Supervisor, SupervisorSettings


class FarmRequest(msgspec.Struct, frozen=True, kw_only=True):
    """What the operator asked for; with a template, an address that is None is the template's."""

    template: Config | None
    members: int
    listen: HostPort | None
    admin: HostPort | None
    data: Path
    restart: bool = True
    options: tuple[str, ...] = ()


async def run_farm(
    request: FarmRequest, tell: Callable[[str], None], log: FilteringBoundLogger
) -> None:
    """Run a farm until it is told to stop; StartError says why it cannot."""
    async with AsyncExitStack() as stack:
        directory = stack.enter_context(farm_directory(request.data))
        config = _whole(request, directory)
        refuse_taken(config.sip.listen)
        farm_port = listening(config.admin.listen)
        stack.callback(farm_port.close)
        bus_host = config.bus.listen.host
        bus_ports = [free_port(bus_host) for _ in range(request.members)]
        members = share_out(config, request.members, bus_ports)
        own = [
            address for member in members for address in (member.admin.listen, member.bus.listen)
        ]
        refuse_taken([Listen(Transport.TCP, address) for address in own])
        store = await stack.enter_async_context(
            open_store(config.farm.store, farm=config.farm.name)
        )
        demo = request.template is None and await _has_demo_domain(store)
        supervisor = Supervisor(
            [
                SupervisedMember(member.member.name, file, member.admin.listen)
                for member, file in zip(members, directory.write_members(members), strict=True)
            ],
            SupervisorSettings(
                restart=request.restart,
                options=request.options,
                drain_s=config.member.drain_deadline_s,
            ),
            log,
        )

        await stack.enter_async_context(
            serving(farm_api(supervisor, config.admin.token), farm_port)
        )

        def ready() -> None:
            for line in _ready_lines(config, request.members, demo):
                tell(line)

        await supervisor.run(ready)


def _whole(request: FarmRequest, directory: FarmDirectory) -> Config:
    """The template with what the command line says instead, or the stock farm; no port is 0."""
    listen, admin = request.listen, request.admin
    if listen is not None and not listen.port:
        listen = listen.with_port(free_port(listen.host))
    if request.template is None:
        assert listen is not None
        assert admin is not None
        config = stock_config(listen, admin, directory.store, directory.secret())
    else:
        config = request.template if listen is None else with_listen(request.template, listen)
    admin = admin or config.admin.listen
    if not admin.port:
        admin = admin.with_port(free_port(admin.host, request.members + 1))
    return with_admin(config, admin)


async def _has_demo_domain(store: Store) -> bool:
    """Make the demo domain in an empty store; whether its accounts still have their passwords."""
    if not await store.domains():
        await apply(demo_domain.DEMO, store)
    for account in demo_domain.ACCOUNTS:
        stored = await store.account(demo_domain.DOMAIN, account.name)
        if not demo_domain.is_demo_account(stored, account):
            return False
    return True


def _ready_lines(config: Config, members: int, demo: bool) -> list[str]:
    listens = config.sip.listen
    address = str(config.sip.advertise or (listens[0].address if listens else "nowhere"))
    transports = ", ".join(dict.fromkeys(listen.transport.value for listen in listens))
    lines = [
        f"ready sip:{address} ({transports}), members {members}, admin http://{config.admin.listen}"
    ]
    return [*lines, *demo_domain.lines(address)] if demo else lines

"""The transaction users of a member, built from its config."""

from typing import Final

import msgspec

from sipfarm.base.net import Listen
from sipfarm.base.secrets import FarmKeys, farm_keys
from sipfarm.cluster.io.store import Store
from sipfarm.config import Config
from sipfarm.native import ExpressLane, NameAddr, OwnAddresses, Uri
from sipfarm.node.forwarding import Forwarding
from sipfarm.node.inheritance import Inheritance
from sipfarm.node.task_calls import TaskCalls
from sipfarm.pbx.apps.echo import echo
from sipfarm.pbx.task import KnownTask, TaskTable
from sipfarm.signaling.authentication import TrustedSources
from sipfarm.signaling.digest import Digest, DigestSettings
from sipfarm.signaling.location import Locations
from sipfarm.signaling.lookup_cache import CacheSettings
from sipfarm.signaling.message import Syntax
from sipfarm.signaling.recollection import Others
from sipfarm.signaling.registrar import Registrar, RegistrarSettings
from sipfarm.signaling.registration import Registration
from sipfarm.signaling.router import Router
from sipfarm.signaling.routing import PolicySettings, RoutingParts
from sipfarm.signaling.routing_loader import load_policy
from sipfarm.signaling.tenants import Tenants

SYNTAX: Final = Syntax(Uri.parse, NameAddr.parse)
TASKS: Final[TaskTable] = {"echo": KnownTask(echo, resumes=True)}
NAMES_LIFETIME_MS: Final = 600_000
"""How long what is known of names is good while nothing tells of a change. Each turn of the
registry reads the revision of the names, so no message can be lost that would tell; what is left is
a change in a Redis Cluster that broke off before its revision.
"""


class Deciders(msgspec.Struct, frozen=True):
    """What decides on requests, and the caches it decides by."""

    registration: Registration
    router: Router
    tenants: Tenants
    locations: Locations
    lane: ExpressLane | None
    """Where the store writes bindings by a native thread."""


class Users(msgspec.Struct, frozen=True):
    """Everybody that the dispatcher hands events to."""

    registration: Registration
    router: Router
    bindings: Store
    locations: Locations
    forwarding: Forwarding
    task_calls: TaskCalls
    tasks: TaskTable
    inheritance: Inheritance


def keys_of(config: Config) -> tuple[FarmKeys, ...]:
    """The keys of the farm's secret, then those of the previous one while it is being changed."""
    secrets = (config.farm.secret, config.farm.secret_previous)
    return tuple([farm_keys(secret) for secret in secrets if secret])


def deciders(
    config: Config, store: Store, others: Others, number: int, listens: list[Listen]
) -> Deciders:
    """Registrar and router over the store, and over what others remember while it is away. Raises
    StartError for a policy that cannot be loaded.
    """
    tenants = Tenants(store, CacheSettings(lifetime_ms=NAMES_LIFETIME_MS), others)
    locations = Locations(store, CacheSettings(), others)
    own = own_addresses(config, listens)
    digest = Digest(
        DigestSettings(
            algorithms=config.sip.digest,
            bind_nonce_to="host" if config.sip.reply_via == "receiver" else "port",
        ),
        tuple([keys.nonce for keys in keys_of(config)]),
        number,
        own,
    )
    trusted = TrustedSources(tuple([str(network) for network in config.sip.trusted]))
    registrar = Registrar(RegistrarSettings(), own)
    writer = store.binding_writer
    lane = None
    if writer is not None:
        bound_to_receiver = config.sip.reply_via == "receiver"
        lane = registrar.express_lane(digest.guard, writer, bound_to_receiver=bound_to_receiver)
    parts = RoutingParts(
        tenants=tenants,
        locations=locations,
        digest=digest,
        trusted=trusted,
        own=own,
        syntax=SYNTAX,
        settings=PolicySettings(tasks=frozenset(TASKS), media=config.media.mode),
    )
    return Deciders(
        Registration(registrar, digest, trusted, (tenants, locations), own, lane),
        Router(parts, load_policy(config.sip.routing)),
        tenants,
        locations,
        lane,
    )


def own_addresses(config: Config, listens: list[Listen]) -> OwnAddresses:
    """Where the farm is reached, as far as this member knows."""
    addresses = [listen.address for listen in listens]
    if config.sip.advertise is not None:
        addresses.append(config.sip.advertise)
    return OwnAddresses(
        {address.bracketed_host.lower() for address in addresses},
        {address.port for address in addresses},
    )

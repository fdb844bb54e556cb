"""The stock routing policy: accounts call accounts, numbers and tasks of the farm's domains.

A provider's own policy may call `stock_policy` for what it does not decide itself.
"""

from collections.abc import Iterable
from typing import Final

from sipfarm.base.records import Account, Application, Binding, Domain
from sipfarm.signaling.digest import Verdict
from sipfarm.signaling.headers import option_tags
from sipfarm.signaling.message import UriView, canonical_host
from sipfarm.signaling.registrar import SUPPORTED
from sipfarm.signaling.registration import aor_of, user_of
from sipfarm.signaling.reply import Reply, unsupported
from sipfarm.signaling.routing import (
    Answer,
    ChallengeCaller,
    Decision,
    Forward,
    HandToTask,
    Inquiry,
    PolicySettings,
    Reject,
    Step,
    Target,
)

METHODS: Final = (
    "INVITE, ACK, CANCEL, BYE, OPTIONS, REGISTER, PRACK, UPDATE, INFO, REFER, SUBSCRIBE, NOTIFY,"
    " MESSAGE"
)
TASK_METHODS: Final = "INVITE, ACK, CANCEL, BYE, OPTIONS, PRACK, UPDATE, INFO"
STOCK_TASKS: Final = ("echo", "music", "voicemail", "attendant")
CONFERENCE: Final = "conference"
ANONYMOUS_HOST: Final = "anonymous.invalid"  # RFC 3323 §4.1.1.3

# They live in a dialog only; one that no known dialog claims is answered like RFC 3261 §12.2.2.
_DIALOG_METHODS: Final = frozenset({"BYE", "PRACK", "UPDATE", "INFO", "ACK", "CANCEL"})
_DIALOG_FORMING: Final = frozenset({"INVITE", "SUBSCRIBE", "REFER", "NOTIFY"})
# An identity that only a trusted source may assert (RFC 3325 §7, §9.1).
_ASSERTIONS: Final = ("P-Asserted-Identity", "P-Preferred-Identity")
_ASSERTIONS_AND_CREDENTIALS: Final = (*_ASSERTIONS, "Proxy-Authorization")


def stock_policy(inquiry: Inquiry) -> Decision:
    """Check the request, find out who sends it, then where it goes (RFC 3261 §16.3 to §16.5)."""
    request, uri, lookups = inquiry.request, inquiry.request_uri, inquiry.lookups
    refusal = _unroutable(inquiry)
    if refusal is not None:
        return refusal
    caller = inquiry.caller
    if caller is None:
        return Reject(400, "Malformed From")
    home = lookups.domain_of(caller.uri)
    user = user_of(uri.aor()) if uri.scheme != "tel" else uri.aor()[4:]
    domain = lookups.domain_of(uri) if uri.scheme != "tel" else home
    ours = domain is not None or lookups.is_farm(uri)
    if ours and not user and request.method == "OPTIONS":
        return _options(inquiry)
    if not inquiry.trusted:
        refusal = _unproven(inquiry, caller.uri, home, domain)
        if refusal is not None:
            return refusal
    if domain is None:
        return Reject(404) if ours else _outside(inquiry)
    addressee = lookups.addressee(domain.name, user)
    if isinstance(addressee, Account):
        return _to_account(inquiry, addressee)
    if isinstance(addressee, Application) and addressee.task:
        return _to_task(inquiry, HandToTask(addressee.task, domain.name, srtp=domain.srtp))
    return _to_stock(inquiry, domain, addressee.name if addressee else user)


def _unroutable(inquiry: Inquiry) -> Reject | None:
    """What no route can be found for, or only one that the sender chose (no open relay)."""
    request, uri = inquiry.request, inquiry.request_uri
    if request.method in _DIALOG_METHODS:
        return Reject(481)
    if request.method == "REGISTER":
        return Reject(403, "Not A Registrar For This")
    if uri.scheme not in ("sip", "sips", "tel"):
        return Reject(416)
    if "?" in uri.text.rpartition("@")[2]:
        return Reject(400, "Request-URI With Headers")  # RFC 3261 §19.1.1
    unknown = option_tags(request, "Proxy-Require")
    if unknown:
        reply = unsupported(unknown)
        return Reject(reply.status, reply.reason, reply.headers)
    route = inquiry.route()
    if route is None:
        return Reject(400, "Malformed Route")
    for hop in route:
        if not inquiry.lookups.leads_here(hop.uri):
            return Reject(403, "Foreign Route")
    if "maddr" in uri.params:
        return Reject(403, "Request-URI With maddr")
    return None


def _unproven(
    inquiry: Inquiry, caller: UriView, home: Domain | None, domain: Domain | None
) -> Decision | None:
    """The challenge or refusal for a caller who has not proven to be the account in From.

    An anonymous From (RFC 3323) is proven in the domain that is called.
    """
    realm = home or domain
    if realm is None:
        return _outside(inquiry)
    identity = inquiry.identity(realm.name)
    if identity.verdict is Verdict.MALFORMED:
        return Reject(400, "Malformed Proxy-Authorization")
    account = identity.account
    if account is None:
        return ChallengeCaller(realm.name)
    if home is None:
        anonymous = canonical_host(caller.host) == ANONYMOUS_HOST
        return None if anonymous else Reject(403, "From Is Not Yours")
    user = user_of(caller.aor())
    if user == account.name or user in account.aliases or user in account.numbers:
        return None
    return Reject(403, "From Is Not Yours")


def _outside(inquiry: Inquiry) -> Decision:
    """A request for a domain that is not the farm's."""
    host = canonical_host(inquiry.request_uri.host)
    if host not in inquiry.settings.foreign_domains or inquiry.caller is None:
        return Reject(481) if inquiry.request.to_tag else Reject(403, "Relaying Denied")
    home = inquiry.lookups.domain_of(inquiry.caller.uri)
    if not inquiry.trusted and (home is None or inquiry.identity(home.name).account is None):
        return Reject(403, "Relaying Denied")
    return _forward(inquiry, (Step((Target(inquiry.request_uri.text),)),))


def _options(inquiry: Inquiry) -> Decision:
    """OPTIONS to the farm or a domain itself (RFC 3261 §11.2)."""
    unknown = [tag for tag in option_tags(inquiry.request, "Require") if tag not in SUPPORTED]
    if unknown:
        return Answer(unsupported(unknown))
    return Answer(
        Reply(
            200,
            "",
            (
                ("Allow", METHODS),
                ("Accept", "application/sdp"),
                ("Accept-Encoding", "identity"),
                ("Accept-Language", "en"),
                ("Supported", ", ".join(SUPPORTED)),
            ),
        )
    )


def _to_stock(inquiry: Inquiry, domain: Domain, name: str) -> Decision:
    """An address that every domain has, where the farm has the task (DESIGN §6)."""
    task = name.lower()
    arguments: tuple[str, ...] = ()
    if task.startswith("conference-") and len(task) > len("conference-"):
        task, arguments = CONFERENCE, (task.removeprefix("conference-"),)
    elif task not in STOCK_TASKS:
        return Reject(404)
    if task not in inquiry.settings.tasks:
        return Reject(404)
    return _to_task(inquiry, HandToTask(task, domain.name, arguments, domain.srtp))


def _to_task(inquiry: Inquiry, decision: HandToTask) -> Decision:
    method = inquiry.request.method
    if method == "INVITE":
        return decision
    if method == "OPTIONS":
        return Answer(Reply(200, "", (("Allow", TASK_METHODS), ("Accept", "application/sdp"))))
    return Reject(405, "", (("Allow", TASK_METHODS),))


def _to_account(inquiry: Inquiry, account: Account) -> Decision:
    wall_ms = inquiry.lookups.wall_ms
    bindings = [
        binding
        for binding in inquiry.lookups.bindings(aor_of(account))
        if binding.expires_at_wall_ms > wall_ms
    ]
    if inquiry.request_uri.scheme == "sips":  # RFC 3261 §16.5: security is kept to the end
        bindings = [binding for binding in bindings if binding.contact.startswith("sips:")]
    if not bindings:
        return Reject(480)
    return _forward(
        inquiry, steps_of(bindings, inquiry.settings, invite=inquiry.request.method == "INVITE")
    )


def steps_of(
    bindings: list[Binding], settings: PolicySettings, *, invite: bool
) -> tuple[Step, ...]:
    """Bindings as a fork: equal q in parallel, lower q in later steps (RFC 3261 §16.6).

    Two flows of one phone are one target (RFC 5626 §5.3). A request that is no INVITE goes to all
    at once, since it has no time for steps (RFC 4320).
    """
    if len(bindings) == 1:
        return (Step((_target(bindings[0]),), settings.last_timeout_ms if invite else 0),)
    groups: dict[int, list[Target]] = {}
    for target in targets_of(bindings)[: settings.branches_max]:
        groups.setdefault(target.q if invite else 0, []).append(target)
    steps = [Step(tuple(targets), settings.no_answer_timeout_ms) for targets in groups.values()]
    steps[-1] = Step(steps[-1].targets, settings.last_timeout_ms if invite else 0)
    return tuple(steps)


def targets_of(bindings: Iterable[Binding]) -> list[Target]:
    """A target for each phone, highest q first; further flows of a phone are its `others`."""
    phones: dict[str, list[Binding]] = {}
    for binding in sorted(bindings, key=_by_q_and_age):
        phones.setdefault(binding.instance_id or binding.contact_key, []).append(binding)
    return [
        _target(flows[0], tuple([_target(binding) for binding in flows[1:]]))
        for flows in phones.values()
    ]


def _by_q_and_age(binding: Binding) -> tuple[int, int]:
    return (-binding.q, -binding.expires_at_wall_ms)


def _target(binding: Binding, others: tuple[Target, ...] = ()) -> Target:
    return Target(
        binding.contact,
        binding.path,
        binding.received,
        binding.flow,
        binding.q,
        others,
        binding.aor,
    )


def _forward(inquiry: Inquiry, steps: tuple[Step, ...]) -> Forward:
    method = inquiry.request.method
    remove: tuple[str, ...] = ()
    if not inquiry.trusted:
        # A line for another proxy's realm goes on to it (RFC 3261 §22.3).
        own_line_only = len(inquiry.request.headers("Proxy-Authorization")) == 1
        remove = _ASSERTIONS_AND_CREDENTIALS if own_line_only else _ASSERTIONS
    return Forward(
        steps,
        inquiry.settings.media if method == "INVITE" else "direct",
        method in _DIALOG_FORMING,
        remove,
    )

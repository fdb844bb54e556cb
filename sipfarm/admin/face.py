"""What the admin API needs of the member that it belongs to."""

from collections.abc import Sequence
from typing import Protocol

from sipfarm.admin.bodies import AccountBody, ApplicationBody, DomainBody, RolesBody
from sipfarm.admin.pages import Page
from sipfarm.admin.views import (
    AccountView,
    ApplicationView,
    BanView,
    CallView,
    ChangeView,
    DomainView,
    MemberView,
    RegistrationView,
)
from sipfarm.base.errors import SipfarmError


class NotThere(SipfarmError):
    """What was asked for is not there: 404."""


class NotReached(SipfarmError):
    """A member that would have to answer does not: 503."""


class Conflicts(SipfarmError):
    """What is there already, or depends on it, does not let it be: 409."""


class Unfit(SipfarmError):
    """What was asked for cannot be, and why: 422."""


class NamesFace(Protocol):
    """The domains of the farm and the names in them; the same through each member.

    A change has been made in the store when it returns; `revision` tells the members that heed it.
    With `new`, Conflicts where it is there already. Raises NotThere, Conflicts, Unfit, or
    CapacityError of the store.
    """

    async def domains(self) -> Sequence[DomainView]: ...
    async def domain(self, name: str) -> DomainView: ...
    async def put_domain(self, name: str, body: DomainBody, *, new: bool) -> ChangeView: ...
    async def remove_domain(self, name: str) -> ChangeView:
        """With all that is in it."""
        ...

    async def accounts(self, domain: str, limit: int) -> Sequence[AccountView]: ...
    async def account(self, domain: str, name: str) -> AccountView: ...
    async def put_account(
        self, domain: str, name: str, body: AccountBody, *, new: bool
    ) -> ChangeView: ...
    async def remove_account(self, domain: str, name: str) -> ChangeView:
        """With its bindings."""
        ...

    async def applications(self, domain: str) -> Sequence[ApplicationView]: ...
    async def application(self, domain: str, name: str) -> ApplicationView: ...
    async def put_application(
        self, domain: str, name: str, body: ApplicationBody, *, new: bool
    ) -> ChangeView: ...
    async def remove_application(self, domain: str, name: str) -> ChangeView: ...


class MemberFace(Protocol):
    """A member, seen from outside. Raises NotThere, NotReached, or CapacityError of the store."""

    @property
    def is_ready(self) -> bool:
        """Whether it takes new work."""
        ...

    @property
    def names(self) -> NamesFace: ...

    def member(self) -> MemberView:
        """This member."""
        ...

    def calls(self, limit: int, after: str) -> Page[CallView]:
        """This member's calls behind a cursor. Raises BadCursor."""
        ...

    def metrics(self) -> bytes:
        """Prometheus text."""
        ...

    async def members(self) -> Sequence[MemberView]:
        """All members of the farm, by name."""
        ...

    async def farm_calls(self, limit: int, after: str) -> Page[CallView]:
        """The calls of all members that answer. Raises BadCursor."""
        ...

    def bans(self) -> Sequence[BanView]:
        """The sources that this member has banned."""
        ...

    def unban(self, address: str) -> Sequence[BanView]:
        """End this member's ban of an address: what it was; nothing where there was none."""
        ...

    async def farm_bans(self) -> Sequence[BanView]:
        """The bans of all members that answer."""
        ...

    async def farm_unban(self, address: str) -> Sequence[BanView]: ...

    async def registrations(
        self, domain: str | None, limit: int, after: str
    ) -> Page[RegistrationView]:
        """The live bindings of the farm's accounts, from the store. Raises BadCursor."""
        ...

    async def drain(self, name: str) -> MemberView:
        """Let a member take no new work."""
        ...

    async def undrain(self, name: str) -> MemberView:
        """Let it take new work again."""
        ...

    async def set_roles(self, name: str, body: RolesBody) -> MemberView:
        """Let a member be something else. Conflicts where it is the last with a role, or cannot
        bind the farm's addresses; Unfit where nothing can be just that.
        """
        ...

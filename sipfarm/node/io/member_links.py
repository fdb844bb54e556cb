"""Asking other members over their admin API."""

import asyncio
from collections.abc import Callable, Iterable, Mapping
from typing import Final, TypeVar
from urllib.parse import quote, urlencode

from sipfarm.admin.bodies import Body
from sipfarm.admin.face import Conflicts, NotReached, NotThere, Unfit
from sipfarm.admin.io.client import AdminClient, Refused, asking
from sipfarm.admin.pages import Page
from sipfarm.admin.views import BanView, CallView, MemberView
from sipfarm.base.errors import SipfarmError
from sipfarm.base.secrets import Secret

T = TypeVar("T")
ANSWER_S: Final = 1.0
SWITCHED_S: Final = 4.0
"""Other roles are had when sockets have been read out."""
REFUSALS: Final[Mapping[int, type[SipfarmError]]] = {409: Conflicts, 422: Unfit}


class MemberLinks:
    """The members share the token of this one."""

    def __init__(self, token: Secret | None) -> None:
        self._token = token

    async def members(self, admins: Iterable[str]) -> list[MemberView | None]:
        """What each says of itself; nothing where it does not answer."""
        return await self._ask_all(admins, lambda at: at.get("/api/v1/member", MemberView))

    async def calls(self, admin: str, limit: int, after: str) -> Page[CallView] | None:
        """A page of its calls; nothing where it does not answer."""
        target = f"/api/v1/calls?{urlencode({'limit': limit, 'after': after})}"
        (page,) = await self._ask_all([admin], lambda at: at.page(target, list[CallView]))
        return page

    async def bans(self, admins: Iterable[str]) -> list[list[BanView] | None]:
        return await self._ask_all(admins, lambda at: at.get("/api/v1/bans", list[BanView]))

    async def unban(self, admins: Iterable[str], address: str) -> list[list[BanView] | None]:
        """What each has ended; nothing where it had none, or does not answer."""
        target = f"/api/v1/bans/{quote(address, safe='')}/lift"
        return await self._ask_all(admins, lambda at: at.post(target, list[BanView]))

    async def command(
        self, admin: str, name: str, act: str, body: Body | None = None
    ) -> MemberView:
        """`drain`, `undrain` or (with a body) `roles`. Raises NotReached, Conflicts, Unfit."""
        at = self._client(admin, ANSWER_S if body is None else SWITCHED_S)
        target = f"/api/v1/members/{name}/{act}"
        try:
            return await asking(lambda: at.post(target, MemberView, body))
        except Refused as error:
            kind = REFUSALS.get(error.status)
            if kind is not None:
                raise kind(str(error)) from error
            raise NotReached(f"member {name}: {error}") from error

    def _client(self, admin: str, answer_s: float = ANSWER_S) -> AdminClient:
        return AdminClient(admin, self._token, answer_s)

    async def _ask_all(
        self, admins: Iterable[str], ask: Callable[[AdminClient], T]
    ) -> list[T | None]:
        async def one(admin: str) -> T | None:
            client = self._client(admin)
            try:
                return await asking(lambda: ask(client))
            except (NotReached, NotThere, Refused):
                return None

        return await asyncio.gather(*[one(admin) for admin in admins])

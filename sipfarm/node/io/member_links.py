"""Asking other members over their admin API."""

import asyncio
from collections.abc import Callable, Iterable
from typing import Final, TypeVar
from urllib.parse import quote

from sipfarm.admin.face import NotReached, NotThere
from sipfarm.admin.io.client import AdminClient, Refused, asking
from sipfarm.admin.views import BanView, CallView, MemberView
from sipfarm.base.secrets import Secret

T = TypeVar("T")
ANSWER_S: Final = 1.0


class MemberLinks:
    """The members share the token of this one."""

    def __init__(self, token: Secret | None) -> None:
        self._token = token

    async def members(self, admins: Iterable[str]) -> list[MemberView | None]:
        """What each says of itself; nothing where it does not answer."""
        return await self._ask_all(admins, lambda at: at.get("/api/v1/member", MemberView))

    async def calls(self, admins: Iterable[str], limit: int) -> list[list[CallView] | None]:
        target = f"/api/v1/calls?limit={limit}"
        return await self._ask_all(admins, lambda at: at.get(target, list[CallView]))

    async def bans(self, admins: Iterable[str]) -> list[list[BanView] | None]:
        return await self._ask_all(admins, lambda at: at.get("/api/v1/bans", list[BanView]))

    async def unban(self, admins: Iterable[str], address: str) -> list[list[BanView] | None]:
        """What each has ended; nothing where it had none, or does not answer."""
        target = f"/api/v1/bans/{quote(address, safe='')}/lift"
        return await self._ask_all(admins, lambda at: at.post(target, list[BanView]))

    async def command(self, admin: str, name: str, act: str) -> MemberView:
        """`drain` or `undrain` a member. Raises NotReached."""
        at = self._client(admin)
        try:
            return await asking(lambda: at.post(f"/api/v1/members/{name}/{act}", MemberView))
        except Refused as error:
            raise NotReached(f"member {name}: {error}") from error

    def _client(self, admin: str) -> AdminClient:
        return AdminClient(admin, self._token, ANSWER_S)

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

"""`sipfarm check-config`: what is wrong in a config or provisioning file, with the line."""

import tomllib
from pathlib import Path
from typing import Annotated

import typer

from sipfarm import config, provisioning
from sipfarm.base.io.files import read_text
from sipfarm.signaling.io.tls import Pair, server_context
from sipfarm.signaling.routing_loader import load_policy


def check_config(
    file: Annotated[Path, typer.Argument(help="member.toml or provision.toml", show_default=False)],
) -> None:
    """Say what is wrong in a config file, with the line; exit 0 if nothing is.

    The files and the routing function that it names are tried too.
    """
    if _is_provisioning(file):
        domains = provisioning.load(file).domains
        accounts = sum(len(domain.accounts) for domain in domains)
        print(f"{file}: well; {len(domains)} domains, {accounts} accounts")
        return
    member = config.load(file)
    load_policy(member.sip.routing)
    if member.sip.certificate is not None and member.sip.key is not None:
        server_context(Pair(member.sip.certificate, member.sip.key))
    listens = ", ".join(str(listen) for listen in member.sip.listen) or "nowhere"
    print(f'{file}: well; member "{member.member.name}" of "{member.farm.name}", SIP on {listens}')


def _is_provisioning(file: Path) -> bool:
    try:
        return "domain" in tomllib.loads(read_text(file))
    except tomllib.TOMLDecodeError:
        return False

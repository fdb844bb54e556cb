"""The domain of a farm that has none yet, so that two softphones can call at once."""

from typing import Final

from sipfarm.base.records import Account
from sipfarm.base.secrets import Secret
from sipfarm.cluster.provision import account_of
from sipfarm.provisioning import (
    ProvisionAccount,
    ProvisionApplication,
    ProvisionDomain,
    ProvisionFile,
)

DOMAIN: Final = "example.test"
ECHO_NUMBER: Final = "600"


def demo_account(name: str, number: str) -> ProvisionAccount:
    """An account whose password anybody can guess."""
    return ProvisionAccount(name=name, password=Secret(f"{name}-secret"), numbers=(number,))


ACCOUNTS: Final = (
    demo_account("alice", "1001"),
    demo_account("bob", "1002"),
    demo_account("carol", "1003"),
)
DEMO: Final = ProvisionFile(
    (
        ProvisionDomain(
            name=DOMAIN,
            accounts=ACCOUNTS,
            applications=(ProvisionApplication(name="echo", numbers=(ECHO_NUMBER,)),),
        ),
    )
)


def is_demo_account(stored: Account | None, account: ProvisionAccount) -> bool:
    """Whether what is stored still has the password of the demo."""
    expected = account_of(DOMAIN, account)
    return stored is not None and stored.ha1_sha256 == expected.ha1_sha256


def lines(listen: str) -> tuple[str, ...]:
    """What a newcomer sets a softphone to, and dials."""
    alice, bob = ACCOUNTS[:2]
    return (
        *(
            f"account {account.name}@{DOMAIN}  password {account.password.reveal()}"
            f"  number {account.numbers[0]}  proxy {listen}"
            for account in (alice, bob)
        ),
        f"dial {bob.numbers[0]} from alice, {alice.numbers[0]} from bob, "
        f"echo (or {ECHO_NUMBER}) to hear yourself",
    )

"""What a provisioning file means to the store: domains with digest HA1s in place of passwords."""

import hashlib

import msgspec

from sipfarm.base.records import Account, Application, Domain
from sipfarm.provisioning import ProvisionAccount, ProvisionDomain


class DomainContents(msgspec.Struct, frozen=True):
    """A domain and the names in it."""

    domain: Domain
    accounts: tuple[Account, ...]
    applications: tuple[Application, ...]


def contents_of(provisioned: ProvisionDomain) -> DomainContents:
    """The records of a domain of a file."""
    name = provisioned.name
    return DomainContents(
        Domain(
            name,
            certificate=None if provisioned.certificate is None else str(provisioned.certificate),
            key=None if provisioned.key is None else str(provisioned.key),
            media_address=provisioned.media_address,
            srtp=provisioned.srtp,
        ),
        tuple(account_of(name, account) for account in provisioned.accounts),
        tuple(
            Application(name, application.name, application.task, application.numbers)
            for application in provisioned.applications
        ),
    )


def account_of(domain: str, account: ProvisionAccount) -> Account:
    """The record of an account; its password goes no further than this."""
    ha1_md5, ha1_sha256 = ha1(account.name, domain, account.password.reveal())
    return Account(
        domain,
        account.name,
        ha1_md5=ha1_md5,
        ha1_sha256=ha1_sha256,
        aliases=account.aliases,
        numbers=account.numbers,
        voicemail=account.voicemail,
    )


def ha1(user: str, realm: str, password: str) -> tuple[str, str]:
    """H(user:realm:password) in hexadecimal for MD5 and SHA-256 (RFC 7616 §3.4.2, RFC 8760 §2)."""
    text = f"{user}:{realm}:{password}".encode()
    md5 = hashlib.md5(text, usedforsecurity=False).hexdigest()
    return md5, hashlib.sha256(text).hexdigest()

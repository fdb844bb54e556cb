"""`sipfarm phone`: a scriptable softphone that tells what it heard."""

import asyncio
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final

import msgspec
import typer

from sipfarm.phone.outcome import CallOutcome, ExitStatus
from sipfarm.phone.protocol import CODECS, CODECS_OFFERED, TRANSPORTS, PhoneSettings

if TYPE_CHECKING:
    from sipfarm.phone.io.script import Script

CODE_NUMBER_MAX: Final = 0xFFFF
NO_NUMPY: Final = "numpy is not installed: pip install sipfarm[phone]"


def phone(
    aor: Annotated[str, typer.Argument(help="who the phone is, such as sip:alice@example.test")],
    password: Annotated[
        str, typer.Option(envvar="SIPFARM_PHONE_PASSWORD", help="digest password")
    ] = "",
    server: Annotated[
        str, typer.Option(help="host:port of the registrar and outbound proxy")
    ] = "127.0.0.1:5060",
    direct: Annotated[
        bool, typer.Option(help="no server: calls go straight to their URI, nothing registers")
    ] = False,
    register: Annotated[bool, typer.Option(help="register before anything else")] = True,
    transport: Annotated[str, typer.Option(help=", ".join(TRANSPORTS))] = "udp",
    bind: Annotated[str, typer.Option(help="local address")] = "",
    port: Annotated[int, typer.Option(help="local SIP port; 0: any", min=0, max=65_535)] = 0,
    ca_file: Annotated[str, typer.Option(help="verify a TLS server against this file")] = "",
    auth_user: Annotated[str, typer.Option(help="digest user, if not the AOR's")] = "",
    expires: Annotated[int, typer.Option(help="seconds a registration lasts", min=1)] = 300,
    call: Annotated[str, typer.Option(help="URI to call; without it the phone waits")] = "",
    answer: Annotated[bool, typer.Option(help="answer calls that come in")] = False,
    calls: Annotated[int, typer.Option(help="leave after this many incoming calls", min=0)] = 0,
    wait: Annotated[
        float | None, typer.Option(help="seconds to wait for a call before leaving", min=0.0)
    ] = None,
    play: Annotated[Path | None, typer.Option(help="16-bit mono wav to play")] = None,
    loop: Annotated[bool, typer.Option(help="play it over and over")] = False,
    code: Annotated[
        int | None,
        typer.Option(help="play the tone code of this call number", min=0, max=CODE_NUMBER_MAX),
    ] = None,
    record: Annotated[Path | None, typer.Option(help="wav file to record into")] = None,
    seconds: Annotated[
        float | None,
        typer.Option(
            "--seconds", "--hangup-after", help="hang up after this long (own calls: 10)", min=0.0
        ),
    ] = None,
    codec: Annotated[
        list[str] | None, typer.Option(help=f"offer only these, best first: {', '.join(CODECS)}")
    ] = None,
    hold_after: Annotated[float | None, typer.Option(help="hold after this long", min=0.0)] = None,
    hold_for: Annotated[float, typer.Option(help="seconds on hold", min=0.0)] = 2.0,
    dtmf: Annotated[str, typer.Option(help="digits to send (RFC 4733)")] = "",
    dtmf_after: Annotated[float, typer.Option(help="send them after this long", min=0.0)] = 0.5,
    log: Annotated[str, typer.Option(help="file for pjsua2's log with all SIP messages")] = "",
    json: Annotated[
        bool, typer.Option("--json", help="nothing but the JSON, not even on stderr")
    ] = False,
) -> None:
    """Register a softphone, place a call or wait for calls, and tell what was heard.

    Each call ends in one JSON object on stdout. Exit status: 0 audio was heard, 1 the phone could
    not run, 2 wrong command line, 3 not registered, 4 the call was not taken, 5 nothing was heard.
    """
    try:
        from sipfarm.phone.io.script import FOREVER_S, Script
    except ImportError:
        typer.echo(NO_NUMPY, err=True)
        raise typer.Exit(ExitStatus.BROKEN) from None
    settings = PhoneSettings(
        aor=_checked_aor(aor),
        password=password,
        auth_user=auth_user,
        server="" if direct else server,
        transport=transport,
        bind=bind,
        port=port,
        codecs=tuple(codec) if codec else CODECS_OFFERED,
        expires_s=expires,
        ca_file=ca_file,
        log_file=log,
    )
    script = Script(
        settings=settings,
        register=register and not direct,
        call=call,
        answer=answer,
        calls_max=calls,
        wait_s=FOREVER_S if wait is None else wait,
        play=play,
        loop=loop,
        code=code,
        record=record,
        seconds=seconds if seconds is not None else 10.0 if call else FOREVER_S,
        hold_after_s=hold_after,
        hold_for_s=hold_for,
        dtmf=dtmf,
        dtmf_after_s=dtmf_after,
    )
    try:
        status = asyncio.run(_play(script, quiet=json))
    except KeyboardInterrupt:
        status = ExitStatus.HEARD
    raise typer.Exit(status)


async def _play(script: "Script", quiet: bool) -> ExitStatus:
    """Run the script; the first call that went wrong decides the exit status."""
    from sipfarm.phone.io.script import run

    def told(sentence: str) -> None:
        if not quiet:
            typer.echo(sentence, err=True)

    status = ExitStatus.HEARD
    async for outcome in run(script, told):
        _print(outcome, quiet)
        status = status or outcome.exit_status
    return status


def _print(outcome: CallOutcome, quiet: bool) -> None:
    sys.stdout.write(msgspec.json.encode(outcome).decode() + "\n")
    sys.stdout.flush()
    if outcome.error and not quiet:
        typer.echo(outcome.error, err=True)


def _checked_aor(aor: str) -> str:
    scheme, _, rest = aor.partition(":")
    user, _, domain = rest.rpartition("@")
    if scheme not in ("sip", "sips") or not user or not domain:
        raise typer.BadParameter(f"{aor} is no address such as sip:alice@example.test.")
    return aor

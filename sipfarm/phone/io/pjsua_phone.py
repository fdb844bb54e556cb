"""The softphone: pjsua2 with one account, driven from one thread.

Everything runs in the thread that calls `poll`: pjsua2 has no worker thread here, so its callbacks
never come from a thread Python does not know. The sound device is the null device; its clock is
pjsua2's own native thread and calls no Python.
"""

import os
from collections.abc import Generator
from contextlib import contextmanager
from typing import Final, assert_never

import pjsua2 as pj

from sipfarm.phone.io.pjsua_call import PjsuaCall
from sipfarm.phone.protocol import (
    CALLS_MAX,
    CODECS,
    SRTP_USES,
    TRANSPORTS,
    Answer,
    AnyCommand,
    AnyEvent,
    Call,
    Dtmf,
    Failed,
    Hangup,
    Hold,
    Incoming,
    Open,
    Opened,
    PhoneSettings,
    Quit,
    Register,
    Registered,
    Report,
    Resume,
)

CLOCK_RATE_HZ: Final = 16_000
ENDED_CALLS_MAX: Final = 1_000
RECORDING_CLOSES_MS: Final = 2_000
INCOMING_NUMBERS_FROM: Final = 1_000_000
"""Incoming calls are numbered from here, so that they never meet a number chosen by the driver."""
KINDS: Final = {
    "udp": pj.PJSIP_TRANSPORT_UDP,
    "tcp": pj.PJSIP_TRANSPORT_TCP,
    "tls": pj.PJSIP_TRANSPORT_TLS,
}
SRTP_USES_OF: Final = {
    "off": pj.PJMEDIA_SRTP_DISABLED,
    "optional": pj.PJMEDIA_SRTP_OPTIONAL,
    "mandatory": pj.PJMEDIA_SRTP_MANDATORY,
}


class PjsuaPhone:
    """One softphone; one per process, since pjsua2 is one per process."""

    def __init__(self) -> None:
        self._events: list[AnyEvent] = []
        self._endpoint: pj.Endpoint | None = None
        self._account: _Account | None = None
        self._calls: dict[int, PjsuaCall] = {}
        self._ended: dict[int, PjsuaCall] = {}
        self._reports: list[tuple[PjsuaCall, int]] = []
        self._incoming = INCOMING_NUMBERS_FROM

    def poll(self, timeout_ms: int) -> list[AnyEvent]:
        """Let pjsua2 work for up to this long; returns what happened."""
        if self._endpoint is not None:
            self._endpoint.libHandleEvents(timeout_ms)
        self._shelve_ended()
        self._report_due(timeout_ms)
        events, self._events = self._events, []
        return events

    def command(self, command: AnyCommand) -> None:
        """Carry out a command; what comes of it is in the next `poll`."""
        number = getattr(command, "call", 0)
        try:
            self._perform(command)
        except pj.Error as error:
            self._fail(command, number, f"pjsua2: {error.reason or error.title}.")
        except ValueError as error:
            self._fail(command, number, str(error))

    def busy(self) -> bool:
        """Whether a call is up or a registration stands."""
        registered = self._account is not None and self._account.getInfo().regIsActive
        return bool(self._calls) or registered

    def close(self) -> None:
        """Free pjsua2; files are complete after this."""
        self._calls.clear()
        self._ended.clear()
        self._reports.clear()
        if self._account is not None:
            self._account.shutdown()
            self._account = None
        if self._endpoint is not None:
            self._endpoint.libDestroy(pj.PJSUA_DESTROY_NO_RX_MSG)
            self._endpoint = None

    def _perform(self, command: AnyCommand) -> None:
        match command:
            case Open():
                self._open(command.settings)
            case Register():
                self._register(command.expires_s)
            case Call():
                self._place(command)
            case Answer():
                call = self._call(command.call)
                call.use_files(command.play, command.record, command.loop)
                call.answer(_parameters(command.status))
            case Hangup():
                ended = self._ended.get(command.call)  # both ends may hang up at once
                if ended is None:
                    self._call(command.call).hangup(_parameters(command.status))
                else:
                    ended.tell_state()
            case Hold():
                self._call(command.call).setHold(pj.CallOpParam(True))
            case Resume():
                parameters = pj.CallOpParam(True)
                parameters.opt.flag |= pj.PJSUA_CALL_UNHOLD
                parameters.opt.videoCount = 0
                self._call(command.call).reinvite(parameters)
            case Dtmf():
                self._call(command.call).dialDtmf(command.digits)
            case Report():
                ended = self._ended.get(command.call)
                call = ended if ended is not None else self._call(command.call)
                self._reports.append((call, RECORDING_CLOSES_MS))
            case Quit():
                self._leave()
            case _:
                assert_never(command)

    def _open(self, settings: PhoneSettings) -> None:
        if self._endpoint is not None:
            raise ValueError("The phone is open already.")
        if settings.transport not in TRANSPORTS:
            raise ValueError(
                f"The transport {settings.transport} is unknown; there are {', '.join(TRANSPORTS)}."
            )
        if settings.srtp not in SRTP_USES:
            raise ValueError(f"SRTP is {settings.srtp}; allowed are {', '.join(SRTP_USES)}.")
        if settings.server.startswith("[") or ":" in settings.bind:
            raise ValueError("The pjsua2 wheel is built without IPv6; use an IPv4 address.")
        with _quiet_stdout():
            self._endpoint = pj.Endpoint()
            self._endpoint.libCreate()
            self._endpoint.libInit(_endpoint_config(settings))
        self._endpoint.audDevManager().setNullDev()
        _choose_codecs(self._endpoint, settings.codecs)
        transport = pj.TransportConfig()
        transport.port = settings.port
        transport.boundAddress = local_address(settings)
        if settings.ca_file:
            transport.tlsConfig.CaListFile = settings.ca_file
            transport.tlsConfig.verifyServer = True
        transport_id = self._endpoint.transportCreate(KINDS[settings.transport], transport)
        self._endpoint.libStart()
        self._account = _Account(self)
        self._account.create(_account_config(settings, transport_id))
        address = self._endpoint.transportGetInfo(transport_id).localName
        self._events.append(Opened(address=address))

    def _register(self, expires_s: int) -> None:
        account = self._opened_account()
        if not account.config.regConfig.registrarUri:
            raise ValueError("The phone has no server to register at.")
        if expires_s == 0:
            account.setRegistration(False)
            return
        account.config.regConfig.timeoutSec = expires_s
        account.modify(account.config)
        account.setRegistration(True)

    def _place(self, command: Call) -> None:
        account = self._opened_account()
        if not 0 < command.call < INCOMING_NUMBERS_FROM:
            raise ValueError(f"A call's number is 1 to {INCOMING_NUMBERS_FROM - 1}.")
        if command.call in self._calls or command.call in self._ended:
            raise ValueError(f"There is a call {command.call} already.")
        if len(self._calls) >= CALLS_MAX:
            raise ValueError(f"The phone has {CALLS_MAX} calls, which is all it takes.")
        call = PjsuaCall(account, command.call, self.tell)
        call.use_files(command.play, command.record, command.loop)
        parameters = pj.CallOpParam(True)
        parameters.opt.videoCount = 0
        self._calls[command.call] = call
        try:
            call.makeCall(command.to, parameters)
        except pj.Error:
            self._calls.pop(command.call, None)
            raise

    def ring(self, pjsua_id: int) -> None:
        """Take an incoming call and let it ring, or answer 486 when there are too many."""
        account = self._opened_account()
        self._incoming += 1
        call = PjsuaCall(account, self._incoming, self.tell, pjsua_id)
        self._calls[call.number] = call
        if len(self._calls) > CALLS_MAX:
            call.hangup(_parameters(486))
            return
        call.answer(_parameters(180))
        info = call.getInfo()
        self._events.append(
            Incoming(
                call=call.number,
                caller=info.remoteUri,
                callee=info.localUri,
                call_id=info.callIdString,
            )
        )

    def tell(self, event: AnyEvent) -> None:
        """Note what happened for the next `poll`."""
        self._events.append(event)

    def _leave(self) -> None:
        for call in tuple(self._calls.values()):
            try:
                call.hangup(_parameters(603))
            except pj.Error:
                self._calls.pop(call.number, None)
        if self._account is not None and self._account.getInfo().regIsActive:
            self._account.setRegistration(False)

    def _shelve_ended(self) -> None:
        """Move ended calls aside; out of pjsua2's callbacks, where a call may be let go."""
        for number, call in tuple(self._calls.items()):
            if call.state == "disconnected":
                self._ended[number] = self._calls.pop(number)
        while len(self._ended) > ENDED_CALLS_MAX:
            del self._ended[next(iter(self._ended))]

    def _report_due(self, passed_ms: int) -> None:
        """Give the reports that were asked for, once their recordings are complete."""
        waiting: list[tuple[PjsuaCall, int]] = []
        for call, patience_ms in self._reports[:CALLS_MAX]:
            if patience_ms > 0 and not call.recording_complete():
                waiting.append((call, patience_ms - passed_ms))
            else:
                self._events.append(call.reported())
        self._reports = waiting + self._reports[CALLS_MAX:]

    def _call(self, number: int) -> PjsuaCall:
        call = self._calls.get(number)
        if call is None:
            raise ValueError(f"There is no call {number}.")
        return call

    def _opened_account(self) -> "_Account":
        if self._account is None:
            raise ValueError("The phone is not open.")
        return self._account

    def _fail(self, command: AnyCommand, number: int, sentence: str) -> None:
        name = type(command).__name__.lower()
        self._events.append(Failed(do=name, call=number, sentence=sentence))


class _Account(pj.Account):
    """The phone's account; hands on what pjsua2 tells of it."""

    def __init__(self, phone: PjsuaPhone) -> None:
        super().__init__()
        self._phone = phone
        self.config = pj.AccountConfig()

    def create(self, config: pj.AccountConfig) -> None:
        self.config = config
        super().create(config)

    def onRegState(self, prm: pj.OnRegStateParam) -> None:
        active = prm.code // 100 == 2 and prm.expiration > 0
        self._phone.tell(Registered(active=active, status=prm.code, reason=prm.reason))

    def onIncomingCall(self, prm: pj.OnIncomingCallParam) -> None:
        try:
            self._phone.ring(prm.callId)
        except pj.Error as error:
            self._phone.tell(Failed(do="ring", call=0, sentence=f"pjsua2: {error.reason}."))


def local_address(settings: PhoneSettings) -> str:
    """The address to bind: a server on loopback is reached from there (RFC 3261 §18.1.1)."""
    if settings.bind:
        return settings.bind
    return "127.0.0.1" if settings.server.startswith(("127.", "localhost")) else ""


def _endpoint_config(settings: PhoneSettings) -> pj.EpConfig:
    config = pj.EpConfig()
    config.uaConfig.threadCnt = 0
    config.uaConfig.mainThreadOnly = True
    config.uaConfig.maxCalls = CALLS_MAX
    config.uaConfig.userAgent = "sipfarm phone"
    config.medConfig.threadCnt = 0
    config.medConfig.hasIoqueue = False
    config.medConfig.clockRate = CLOCK_RATE_HZ
    config.medConfig.noVad = True
    config.medConfig.ecTailLen = 0
    config.medConfig.sndAutoCloseTime = -1
    config.logConfig.consoleLevel = 0
    config.logConfig.level = 5 if settings.log_file else 0
    config.logConfig.msgLogging = 1 if settings.log_file else 0
    config.logConfig.filename = settings.log_file
    return config


def _account_config(settings: PhoneSettings, transport_id: int) -> pj.AccountConfig:
    config = pj.AccountConfig()
    config.idUri = settings.aor
    scheme, _, rest = settings.aor.partition(":")
    user, _, domain = rest.rpartition("@")
    config.sipConfig.transportId = transport_id
    config.regConfig.registerOnAdd = False
    config.regConfig.timeoutSec = settings.expires_s
    if settings.server:
        config.regConfig.registrarUri = f"{scheme}:{domain}"
        proxy = f"<sip:{settings.server};transport={settings.transport};lr>"
        config.sipConfig.proxies.append(proxy)
    if settings.password:
        name = settings.auth_user or user
        config.sipConfig.authCreds.append(
            pj.AuthCredInfo("digest", "*", name, pj.PJSIP_CRED_DATA_PLAIN_PASSWD, settings.password)
        )
    config.mediaConfig.srtpUse = SRTP_USES_OF[settings.srtp]
    config.mediaConfig.srtpOpt.keyings.append(pj.PJMEDIA_SRTP_KEYING_SDES)
    for name in settings.srtp_suites:
        crypto = pj.SrtpCrypto()
        crypto.name = name
        config.mediaConfig.srtpOpt.cryptos.append(crypto)
    config.mediaConfig.srtpSecureSignaling = 0  # keys go over whatever the call goes over
    config.mediaConfig.transportConfig.port = 0
    config.mediaConfig.transportConfig.boundAddress = local_address(settings)
    return config


def _choose_codecs(endpoint: pj.Endpoint, wanted: tuple[str, ...]) -> None:
    """Offer what is wanted, best first, and nothing else."""
    offered = {codec.codecId: codec for codec in endpoint.codecEnum2()}
    for codec_id in offered:
        endpoint.codecSetPriority(codec_id, 0)
    for rank, name in enumerate(wanted):
        matches = [one for one in offered if one.lower().startswith(name.lower())]
        if not matches or not name:
            raise ValueError(f"The codec {name} is unknown; there are {', '.join(CODECS)}.")
        for codec_id in matches:
            endpoint.codecSetPriority(codec_id, max(1, 250 - rank))


def _parameters(status: int) -> pj.CallOpParam:
    parameters = pj.CallOpParam(True)
    parameters.opt.videoCount = 0
    parameters.statusCode = status
    return parameters


@contextmanager
def _quiet_stdout() -> Generator[None]:
    """pjsua2 prints some lines before its log can be told not to; they go nowhere."""
    kept = os.dup(1)
    nowhere = os.open(os.devnull, os.O_WRONLY)
    try:
        os.dup2(nowhere, 1)
        yield
    finally:
        os.dup2(kept, 1)
        os.close(nowhere)
        os.close(kept)

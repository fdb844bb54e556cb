# The part of pjsua2's Python face that sipfarm uses (the wheel brings no types).

from collections.abc import Sequence

PJSIP_TRANSPORT_UDP: int
PJSIP_TRANSPORT_TCP: int
PJSIP_TRANSPORT_TLS: int
PJMEDIA_SRTP_DISABLED: int
PJMEDIA_SRTP_OPTIONAL: int
PJMEDIA_SRTP_MANDATORY: int
PJMEDIA_SRTP_KEYING_SDES: int
PJSIP_CRED_DATA_PLAIN_PASSWD: int
PJSIP_INV_STATE_CALLING: int
PJSIP_INV_STATE_INCOMING: int
PJSIP_INV_STATE_EARLY: int
PJSIP_INV_STATE_CONNECTING: int
PJSIP_INV_STATE_CONFIRMED: int
PJSIP_INV_STATE_DISCONNECTED: int
PJMEDIA_TYPE_AUDIO: int
PJMEDIA_FILE_NO_LOOP: int
PJSUA_CALL_MEDIA_NONE: int
PJSUA_CALL_MEDIA_ACTIVE: int
PJSUA_CALL_MEDIA_LOCAL_HOLD: int
PJSUA_CALL_MEDIA_REMOTE_HOLD: int
PJSUA_CALL_MEDIA_ERROR: int
PJSUA_CALL_UNHOLD: int
PJSUA_DESTROY_NO_RX_MSG: int

class Error(Exception):
    status: int
    title: str
    reason: str
    def info(self, multi_line: bool = ...) -> str: ...

class LogConfig:
    msgLogging: int
    level: int
    consoleLevel: int
    filename: str

class UaConfig:
    maxCalls: int
    threadCnt: int
    mainThreadOnly: bool
    userAgent: str

class MediaConfig:
    clockRate: int
    audioFramePtime: int
    hasIoqueue: bool
    threadCnt: int
    quality: int
    noVad: bool
    ecTailLen: int
    sndAutoCloseTime: int

class EpConfig:
    uaConfig: UaConfig
    logConfig: LogConfig
    medConfig: MediaConfig

class TlsConfig:
    CaListFile: str
    verifyServer: bool

class TransportConfig:
    port: int
    boundAddress: str
    tlsConfig: TlsConfig

class TransportInfo:
    localName: str

class CodecInfo:
    codecId: str
    priority: int

class AudDevManager:
    def setNullDev(self) -> None: ...

class Endpoint:
    def libCreate(self) -> None: ...
    def libInit(self, config: EpConfig) -> None: ...
    def libStart(self) -> None: ...
    def libDestroy(self, flags: int = ...) -> None: ...
    def libHandleEvents(self, timeout_ms: int) -> int: ...
    def audDevManager(self) -> AudDevManager: ...
    def codecEnum2(self) -> Sequence[CodecInfo]: ...
    def codecSetPriority(self, codec_id: str, priority: int) -> None: ...
    def transportCreate(self, kind: int, config: TransportConfig) -> int: ...
    def transportGetInfo(self, transport_id: int) -> TransportInfo: ...

class AuthCredInfo:
    def __init__(
        self, scheme: str, realm: str, user_name: str, data_type: int, data: str
    ) -> None: ...

class StringVector(list[str]): ...
class AuthCredInfoVector(list[AuthCredInfo]): ...

class AccountRegConfig:
    registrarUri: str
    registerOnAdd: bool
    timeoutSec: int
    retryIntervalSec: int

class AccountSipConfig:
    authCreds: AuthCredInfoVector
    proxies: StringVector
    transportId: int

class IntVector(list[int]): ...

class SrtpCrypto:
    name: str

class SrtpCryptoVector(list[SrtpCrypto]): ...

class SrtpOpt:
    keyings: IntVector
    cryptos: SrtpCryptoVector

class AccountMediaConfig:
    transportConfig: TransportConfig
    lockCodecEnabled: bool
    srtpUse: int
    srtpSecureSignaling: int
    srtpOpt: SrtpOpt

class AccountNatConfig:
    contactRewriteUse: int

class AccountConfig:
    idUri: str
    regConfig: AccountRegConfig
    sipConfig: AccountSipConfig
    mediaConfig: AccountMediaConfig
    natConfig: AccountNatConfig

class AccountInfo:
    regIsActive: bool
    regStatus: int
    regExpiresSec: int

class OnRegStateParam:
    code: int
    reason: str
    status: int
    expiration: int

class OnIncomingCallParam:
    callId: int

class Account:
    def __init__(self) -> None: ...
    def create(self, config: AccountConfig) -> None: ...
    def modify(self, config: AccountConfig) -> None: ...
    def shutdown(self) -> None: ...
    def setRegistration(self, renew: bool) -> None: ...
    def getInfo(self) -> AccountInfo: ...
    def onRegState(self, prm: OnRegStateParam) -> None: ...
    def onIncomingCall(self, prm: OnIncomingCallParam) -> None: ...

class CallSetting:
    flag: int
    audioCount: int
    videoCount: int

class CallOpParam:
    opt: CallSetting
    statusCode: int
    reason: str
    def __init__(self, use_default_call_setting: bool = ...) -> None: ...

class CallMediaInfo:
    index: int
    type: int
    status: int

class TimeVal:
    sec: int
    msec: int

class CallInfo:
    callIdString: str
    localUri: str
    remoteUri: str
    state: int
    lastStatusCode: int
    lastReason: str
    media: Sequence[CallMediaInfo]
    connectDuration: TimeVal

class RtcpStreamStat:
    pkt: int
    bytes: int
    discard: int
    loss: int
    reorder: int
    dup: int
    jitterUsec: MathStat

class MathStat:
    n: int
    max: int
    min: int
    last: int
    mean: int

class RtcpStat:
    txStat: RtcpStreamStat
    rxStat: RtcpStreamStat

class StreamStat:
    rtcp: RtcpStat

class StreamInfo:
    codecName: str
    codecClockRate: int
    remoteRtpAddress: str

class OnCallStateParam: ...
class OnCallMediaStateParam: ...

class OnDtmfDigitParam:
    digit: str

class OnStreamDestroyedParam:
    streamIdx: int

class AudioMedia:
    def startTransmit(self, sink: AudioMedia) -> None: ...
    def stopTransmit(self, sink: AudioMedia) -> None: ...

class AudioMediaPlayer(AudioMedia):
    def __init__(self) -> None: ...
    def createPlayer(self, file_name: str, options: int = ...) -> None: ...

class AudioMediaRecorder(AudioMedia):
    def __init__(self) -> None: ...
    def createRecorder(self, file_name: str) -> None: ...

class Call:
    def __init__(self, account: Account, call_id: int = ...) -> None: ...
    def getInfo(self) -> CallInfo: ...
    def getAudioMedia(self, index: int) -> AudioMedia: ...
    def getStreamInfo(self, index: int) -> StreamInfo: ...
    def getStreamStat(self, index: int) -> StreamStat: ...
    def makeCall(self, destination: str, prm: CallOpParam) -> None: ...
    def answer(self, prm: CallOpParam) -> None: ...
    def hangup(self, prm: CallOpParam) -> None: ...
    def setHold(self, prm: CallOpParam) -> None: ...
    def reinvite(self, prm: CallOpParam) -> None: ...
    def dialDtmf(self, digits: str) -> None: ...
    def onCallState(self, prm: OnCallStateParam) -> None: ...
    def onCallMediaState(self, prm: OnCallMediaStateParam) -> None: ...
    def onDtmfDigit(self, prm: OnDtmfDigitParam) -> None: ...
    def onStreamDestroyed(self, prm: OnStreamDestroyedParam) -> None: ...

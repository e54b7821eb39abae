"""The live server's messages, parsed and built without any IO: `/ws`, the `control` channel, WHIP and WHEP.

Every number and name that comes from outside is checked here, once; what passes is safe to hand to an avatar.
"""

from __future__ import annotations

import hmac
import json
import math
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from narrate_stream.errors import NarrateError
from narrate_stream.ops.grading import MAX_EXPOSURE, MAX_TURN, MAX_WARMTH
from narrate_stream.ops.lighting import PRESETS

MAX_SDP = 64 * 1024  # bytes; a browser's offer is 4 to 8 KiB
MAX_MESSAGE = MAX_SDP + 4096
MAX_CONTROL = 4096
MAX_ANGLE = 60.0
GRADE = {"exposure": MAX_EXPOSURE, "warmth": MAX_WARMTH, "turn": MAX_TURN}  # and how far each goes to both sides
STARTING = ("light", *GRADE, "view", "background", "style", "idle")  # controls that an offer may carry in its options
LIGHTS = ("original", *PRESETS, "webcam")
_NAME = re.compile(r"[a-z][a-z0-9_-]{0,31}")
_UPLOAD = re.compile(r"upload:[1-9][0-9]{0,5}")
_COLOUR = re.compile(r"#[0-9a-fA-F]{6}")


class SignalingError(NarrateError):
    """A message the server refuses: `code` for programs, the sentence for people, `status` for HTTP."""

    def __init__(self, code: str, message: str, status: int = 400) -> None:
        super().__init__(message)
        self.code, self.status = code, status

    def message(self) -> dict[str, str]:
        """The error as it goes over `/ws`."""
        return {"type": "error", "code": self.code, "message": str(self)}


@dataclass(frozen=True)
class Offer:
    """A client wants a session."""

    sdp: str
    token: str | None = None
    options: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Candidate:
    """A client's ICE candidate; an empty `candidate` ends them."""

    candidate: str
    mid: str | None
    line: int | None


def parse_message(text: str | bytes | None) -> Offer | Candidate:
    """One `/ws` message. Raises SignalingError (`too-large`, `bad-message`)."""
    message = _json_object(text, MAX_MESSAGE, "message")
    kind = message.get("type")
    if kind == "offer":
        sdp, token, options = message.get("sdp"), message.get("token"), message.get("options") or {}
        if not isinstance(sdp, str) or not isinstance(token, (str, type(None))) or not isinstance(options, dict):
            raise SignalingError(
                "bad-message", "an offer needs a string 'sdp'; 'token' is a string, 'options' an object"
            )
        check_sdp_size(sdp)
        return Offer(sdp, token, options)
    if kind == "candidate":
        inner = message.get("candidate")
        return parse_candidate(inner if isinstance(inner, dict) else message)
    raise SignalingError("bad-message", "the message type must be 'offer' or 'candidate'")


def parse_candidate(message: dict[str, Any]) -> Candidate:
    """A candidate in the browser's own shape, `RTCIceCandidate.toJSON()`."""
    text, mid, line = message.get("candidate"), message.get("sdpMid"), message.get("sdpMLineIndex")
    if not isinstance(text or "", str) or not isinstance(mid, (str, type(None))) or type(line) not in (int, type(None)):
        raise SignalingError("bad-message", "a candidate needs the strings 'candidate' and 'sdpMid'")
    return Candidate(text or "", mid, line)


def parse_fragment(text: str) -> tuple[str | None, list[Candidate]]:
    """A trickle-ice-sdpfrag (RFC 8840): its ice-ufrag and its candidates."""
    check_sdp_size(text)
    ufrag, mid, found = None, None, []
    for line in text.splitlines():
        key, _, value = line.strip().partition(":")
        if key == "a=ice-ufrag":
            ufrag = value
        elif key == "a=mid":
            mid = value
        elif key == "a=candidate":
            found.append(Candidate("candidate:" + value, mid or "0", None))
    return ufrag, found


def check_sdp_size(sdp: str) -> None:
    """Raises SignalingError `too-large` above 64 KiB: parsing a huge one would hold up every frame."""
    if len(sdp) > MAX_SDP:
        raise SignalingError("too-large", f"the offer is larger than {MAX_SDP // 1024} KiB", 413)


def parse_options(options: dict[str, Any], models: Sequence[str]) -> dict[str, Any]:
    """What an offer may choose: `model`, `size` (pixels, even) and the controls to begin with; the rest is ignored."""
    model = options.get("model")
    if model is not None and model not in models:
        raise SignalingError("bad-option", f"the model must be one of {', '.join(models)}", 404)
    size = options.get("size")
    if size is not None and (type(size) is not int or not 64 <= size <= 2048 or size % 2):
        raise SignalingError("bad-option", "the size must be an even number of pixels from 64 to 2048")
    start = {key: options[key] for key in STARTING if key in options}
    chosen = {key: value for key, value in (("model", model), ("size", size)) if value is not None}
    return chosen | (parse_control(json.dumps(start)) if start else {})


def parse_control(text: str | bytes) -> dict[str, Any]:
    """One `control` message: only known keys, only sound values. Raises SignalingError with what is wrong.

    A light is a name, `sun:` or `upload:N`, a map that this session sent: files are for the command line, a remote page
    must not make the server open one.
    """
    message = _json_object(text, MAX_CONTROL, "control message")
    if not message:
        raise SignalingError("bad-control", "the control message is empty")
    checks = {
        "light": _light,
        "view": _view,
        "background": _background,
        "style": _name,
        "idle": _flag,
        "calibrate": _true,
        **_GRADERS,
    }
    unknown = [key for key in message if key not in checks]
    if unknown:
        raise SignalingError("bad-control", f"unknown control '{str(unknown[0])[:32]}'")
    return {key: checks[key](value) for key, value in message.items()}


def _json_object(text: str | bytes | None, limit: int, what: str) -> dict[str, Any]:
    if not text or len(text) > limit:
        raise SignalingError(
            "too-large" if text else "bad-message", f"the {what} is empty or larger than {limit} bytes"
        )
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):
        raise SignalingError("bad-message", f"the {what} is not JSON") from None
    if not isinstance(value, dict):
        raise SignalingError("bad-message", f"the {what} is not a JSON object")
    return value


def _number(value: Any, low: float, high: float, what: str) -> float:
    try:
        number = float(value)
    except (TypeError, ValueError, OverflowError):
        number = math.nan
    if isinstance(value, bool) or not low <= number <= high:
        raise SignalingError("bad-control", f"{what} must be a number from {low:g} to {high:g}")
    return number


def _name(value: Any) -> str:
    if not isinstance(value, str) or not _NAME.fullmatch(value):
        raise SignalingError("bad-control", "a light, style or background is a short lower-case name")
    return value


def _light(value: Any) -> str:
    if isinstance(value, str) and _UPLOAD.fullmatch(value):
        return value
    if not isinstance(value, str) or not value.startswith("sun:"):
        return _name(value)
    parts = value[4:].split(",")
    if len(parts) not in (2, 3):
        raise SignalingError("bad-control", "a sun is written sun:AZ,EL or sun:AZ,EL,GAIN")
    ranges = ((-180.0, 180.0, "azimuth"), (-90.0, 90.0, "elevation"), (0.0, 16.0, "gain"))
    numbers = [_number(part, *limit) for part, limit in zip(parts, ranges, strict=False)]
    return "sun:" + ",".join(f"{n:g}" for n in numbers)


def _view(value: Any) -> dict[str, float]:
    if not isinstance(value, dict):
        raise SignalingError("bad-control", "a view is an object with yaw and pitch in degrees")
    return {key: _number(value.get(key, 0), -MAX_ANGLE, MAX_ANGLE, key) for key in ("yaw", "pitch")}


def _grader(key: str, limit: float) -> Callable[[Any], float]:
    return lambda value: _number(value, -limit, limit, key)


_GRADERS = {key: _grader(key, limit) for key, limit in GRADE.items()}


def _background(value: Any) -> str:
    return value.lower() if isinstance(value, str) and _COLOUR.fullmatch(value) else _name(value)


def _flag(value: Any) -> bool:
    if not isinstance(value, bool):
        raise SignalingError("bad-control", "idle is true or false")
    return value


def _true(value: Any) -> bool:
    if value is not True:
        raise SignalingError("bad-control", "calibrate takes only true")
    return True


def token_matches(expected: str | None, given: str | None) -> bool:
    """Whether the token opens the server; takes the same time for every wrong one."""
    return expected is None or hmac.compare_digest(expected.encode(), (given or "").encode("utf-8", "replace"))


def bearer(header: str | None) -> str | None:
    """The token of an `Authorization: Bearer TOKEN` header."""
    scheme, _, token = (header or "").partition(" ")
    return token.strip() if scheme.lower() == "bearer" else None


def ice_server(url: str) -> dict[str, str]:
    """`stun:HOST`, `turn:HOST` or `turn:USER:PASSWORD@HOST` as a browser's RTCIceServer. Raises SignalingError."""
    match = re.fullmatch(r"(stuns?|turns?):(?:([^:@]+):([^@]+)@)?([^@\s]+)", url)
    if not match:
        raise SignalingError("bad-option", f"{url!r} is not an ICE server such as stun:HOST or turn:USER:PASSWORD@HOST")
    scheme, user, password, host = match.groups()
    return {"urls": f"{scheme}:{host}"} | ({"username": user, "credential": password} if user else {})

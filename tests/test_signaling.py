from __future__ import annotations

import json
import random

import pytest

from narrate_stream.signaling import (
    MAX_SDP,
    Candidate,
    Offer,
    SignalingError,
    bearer,
    ice_server,
    parse_control,
    parse_fragment,
    parse_message,
    parse_options,
    token_matches,
)


def test_an_offer() -> None:
    text = json.dumps({"type": "offer", "sdp": "v=0", "token": "t", "options": {"model": "a"}})
    assert parse_message(text) == Offer("v=0", "t", {"model": "a"})
    assert parse_message('{"type": "offer", "sdp": "v=0"}') == Offer("v=0")


def test_candidates_in_both_shapes() -> None:
    inner = {"candidate": "candidate:1 1 udp 1 10.0.0.1 9 typ host", "sdpMid": "0", "sdpMLineIndex": 0}
    wanted = Candidate(inner["candidate"], "0", 0)
    assert parse_message(json.dumps({"type": "candidate", "candidate": inner})) == wanted
    assert parse_message(json.dumps({"type": "candidate"} | inner)) == wanted
    assert parse_message('{"type": "candidate", "candidate": null}') == Candidate("", None, None)


@pytest.mark.parametrize(
    "text",
    [
        *(None, "", "nonsense", "[]", "3", '"offer"', "{}", '{"type": "answer"}', '{"type": ["offer"]}', "[" * 5000),
        *('{"type": "offer"}', '{"type": "offer", "sdp": 3}', '{"type": "offer", "sdp": "", "token": 1}'),
        *('{"type": "offer", "sdp": "", "options": []} x', '{"type": "offer", "sdp": "", "options": [1]}'),
        *('{"type": "candidate", "candidate": 3}', '{"type": "candidate", "candidate": "c", "sdpMLineIndex": "0"}'),
        b"\xff\xfe{}",
    ],
)
def test_a_bad_message_has_one_error_type(text: str | bytes | None) -> None:
    with pytest.raises(SignalingError) as caught:
        parse_message(text)
    assert caught.value.message()["type"] == "error"
    assert caught.value.code in ("bad-message", "too-large")


def test_a_large_offer_is_refused() -> None:
    with pytest.raises(SignalingError, match="larger") as caught:
        parse_message(json.dumps({"type": "offer", "sdp": "x" * (MAX_SDP + 1)}))
    assert caught.value.code == "too-large"


@pytest.mark.parametrize(
    ("given", "wanted"),
    [
        ({"light": "rembrandt"}, {"light": "rembrandt"}),
        ({"light": "sun:-40,35"}, {"light": "sun:-40,35"}),
        ({"light": "sun:-40.5,35,1.25"}, {"light": "sun:-40.5,35,1.25"}),
        ({"view": {"yaw": 20, "pitch": -5.5}}, {"view": {"yaw": 20.0, "pitch": -5.5}}),
        ({"view": {}}, {"view": {"yaw": 0.0, "pitch": 0.0}}),
        ({"background": "#00FF7f"}, {"background": "#00ff7f"}),
        ({"background": "blur", "style": "oil"}, {"background": "blur", "style": "oil"}),
        ({"calibrate": True}, {"calibrate": True}),
        ({"exposure": -1.5, "warmth": 40, "turn": 270}, {"exposure": -1.5, "warmth": 40.0, "turn": 270.0}),
        ({"light": "upload:3", "background": "environment"}, {"light": "upload:3", "background": "environment"}),
        ({"idle": False}, {"idle": False}),
    ],
)
def test_controls(given: dict[str, object], wanted: dict[str, object]) -> None:
    assert parse_control(json.dumps(given)) == wanted


@pytest.mark.parametrize(
    "given",
    [
        *(
            {},
            {"light": 3},
            {"light": "/etc/passwd"},
            {"light": "sky.hdr@30"},
            {"light": "image:me.jpg"},
            {"light": ""},
        ),
        *(
            {"light": "upload:"},
            {"light": "upload:0"},
            {"light": "upload:../x"},
            {"light": "upload:1.hdr"},
            {"light": "C:sky.exr"},
            {"background": "wall.png"},
        ),
        *(
            {"exposure": 4.1},
            {"exposure": None},
            {"warmth": "warm"},
            {"warmth": True},
            {"turn": 361},
            {"turn": [3]},
        ),
        *(
            {"light": "sun:"},
            {"light": "sun:nan,0"},
            {"light": "sun:0,inf"},
            {"light": "sun:1,2,3,4"},
            {"light": "sun:0,91"},
        ),
        *(
            {"view": 3},
            {"view": {"yaw": "left"}},
            {"view": {"yaw": 61}},
            {"view": {"yaw": True}},
            {"view": {"pitch": None}},
        ),
        *(
            {"background": "#12"},
            {"background": {}},
            {"calibrate": 1},
            {"idle": 1},
            {"idle": "on"},
            {"calibrate": False},
            {"reboot": True},
            {"style": "a b"},
        ),
    ],
)
def test_refused_controls(given: dict[str, object]) -> None:
    with pytest.raises(SignalingError):
        parse_control(json.dumps(given))


def test_nan_that_json_lets_through() -> None:
    with pytest.raises(SignalingError):
        parse_control('{"view": {"yaw": NaN}}')
    with pytest.raises(SignalingError):
        parse_control('{"view": {"yaw": 1e999}}')
    with pytest.raises(SignalingError, match="exposure must be a number from -4 to 4"):
        parse_control('{"exposure": NaN}')


def test_mutated_messages_raise_nothing_else() -> None:
    rng = random.Random(3)
    good = json.dumps(
        {"light": "sun:10,20,1", "view": {"yaw": 3, "pitch": 4}, "calibrate": True, "background": "#aabbcc"}
    )
    refused = taken = 0
    for _ in range(3000):
        text = list(good)
        for _ in range(rng.randint(1, 6)):
            text[rng.randrange(len(text))] = chr(
                rng.choice([0, 34, 44, 48, 57, 58, 91, 92, 93, 123, 125, 0xD800, 0x1F600])
            )
        try:
            parse_control("".join(text))
            taken += 1
        except SignalingError:
            refused += 1
    assert refused > 1000  # most mutations are caught, and nothing but SignalingError came out
    assert taken + refused == 3000


def test_options() -> None:
    assert parse_options({}, []) == {}
    assert parse_options({"model": "a", "light": "rim", "colour": 3}, ["a"]) == {"model": "a", "light": "rim"}
    assert parse_options({"light": "rim", "exposure": "1.5", "turn": -90}, []) == {
        "light": "rim",
        "exposure": 1.5,
        "turn": -90.0,
    }
    assert parse_options({"size": 256, "view": {"yaw": 5}}, []) == {"size": 256, "view": {"yaw": 5.0, "pitch": 0.0}}
    for size in (0, 63, 257, 1e3, True, "256", 4096):
        with pytest.raises(SignalingError, match="size"):
            parse_options({"size": size}, [])
    with pytest.raises(SignalingError, match="model"):
        parse_options({"model": "../secret"}, ["a"])
    with pytest.raises(SignalingError, match="model"):
        parse_options({"model": ["a"]}, ["a"])


def test_fragment() -> None:
    text = "a=ice-ufrag:abcd\r\na=ice-pwd:x\r\nm=video 9 RTP/AVP 0\r\na=mid:1\r\n"
    text += "a=candidate:1 1 udp 1 10.0.0.1 9 typ host\r\n"
    ufrag, candidates = parse_fragment(text)
    assert ufrag == "abcd"
    assert candidates == [Candidate("candidate:1 1 udp 1 10.0.0.1 9 typ host", "1", None)]


def test_tokens() -> None:
    assert token_matches(None, None)
    assert token_matches("sésame", "sésame")
    assert not token_matches("sesame", None)
    assert not token_matches("sesame", "\ud800")
    assert bearer("Bearer abc") == "abc"
    assert bearer("bearer  abc ") == "abc"
    assert bearer("Basic abc") is None
    assert bearer(None) is None


def test_ice_servers() -> None:
    assert ice_server("stun:a.example:3478") == {"urls": "stun:a.example:3478"}
    turn = {"urls": "turn:b.example?transport=tcp", "username": "u", "credential": "p"}
    assert ice_server("turn:u:p@b.example?transport=tcp") == turn
    for bad in ("http://a", "stun:", "turn:u@b", ""):
        with pytest.raises(SignalingError):
            ice_server(bad)

"""scan/frames.py: what goes over the socket comes out the same, in any pieces."""

from hypothesis import given
from hypothesis import strategies as st

from gateway.scan.frames import REQUEST, FrameReader, pack, pack_request, pack_verdict, unpack_request, unpack_verdict
from gateway.types import AuthResult, Contribution, Prediction
from tests.builders import envelope, verdict


@given(st.lists(st.binary(max_size=200), max_size=5), st.integers(1, 50))
def test_frames_survive_any_pieces(payloads: list[bytes], size: int) -> None:
    stream = b"".join(pack(REQUEST, index, payload) for index, payload in enumerate(payloads))
    reader = FrameReader()
    frames = [frame for start in range(0, len(stream), size) for frame in reader.feed(stream[start : start + size])]
    assert [(frame.sequence, frame.payload) for frame in frames] == list(enumerate(payloads))


@given(st.binary(max_size=300), st.text(max_size=20), st.lists(st.sampled_from(["rules", "parse"]), max_size=2))
def test_request(content: bytes, helo_text: str, skip: list[str]) -> None:
    said = envelope("a@darban.test", "b@darban.test", reverse_path=helo_text, is_smtputf8=True)
    assert unpack_request(pack_request(said, content, tuple(skip))) == (said, content, tuple(skip))


def test_verdict() -> None:
    one = verdict(
        3.5,
        auth=(
            AuthResult(
                "dkim",
                "pass",
                "example.org",
                "s1",
                "@example.org",
                reason="valid",
                is_aligned=True,
                properties=(("header.b", "x"),),
            ),
        ),
        prediction=Prediction(0.9, "m", (Contribution("word", 1.0),)),
        incomplete=("dns: spf",),
        stages=(("parse", 0.1),),
    )
    assert unpack_verdict(pack_verdict(one)) == one

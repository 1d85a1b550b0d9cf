"""What is wrong with a configuration is said in one line, before anything is started."""

from __future__ import annotations

from pathlib import Path

import pytest
from cryptography.hazmat.primitives import serialization as form

from gateway.app.check import check_settings
from gateway.app.compose import make_sealer
from gateway.config.settings import Arc, Settings
from gateway.errors import ConfigError
from tests.dkim_keys import ed25519_key, rsa_key


@pytest.mark.parametrize(
    ("content", "mode", "words"),
    [
        (None, 0, "No such file"),
        ("", 0o600, "is empty; write a long random word"),
        ("word", 0o644, "others may read or change it; chmod 600 or 640"),
    ],
)
@pytest.mark.parametrize("option", ["token_file", "learn_token_file"])
def test_a_token_that_cannot_be_used_is_told_in_one_line(
    tmp_path: Path, option: str, content: str | None, mode: int, words: str
) -> None:
    path = tmp_path / "token"
    if content is not None:
        path.write_text(content)
        path.chmod(mode)
    with pytest.raises(ConfigError, match=rf"\[http\] {option}: {path}: .*{words}"):
        check_settings(Settings.model_validate({"http": {option: str(path)}}))


def sealing(path: Path, content: bytes, mode: int = 0o600) -> Settings:
    path.write_bytes(content)
    path.chmod(mode)
    return Settings(arc=Arc(seal=True, domain="darban.test", selector="s1", key=str(path)))


def pem(key: object) -> bytes:
    return key.private_bytes(form.Encoding.PEM, form.PrivateFormat.PKCS8, form.NoEncryption())  # type: ignore[attr-defined]


def test_a_sealer_of_a_key_file(tmp_path: Path) -> None:
    assert make_sealer(Settings()) is None
    for mode in (0o600, 0o400, 0o640):
        assert make_sealer(sealing(tmp_path / "arc.pem", pem(rsa_key(1024)), mode)) is not None
        (tmp_path / "arc.pem").chmod(0o600)
    assert make_sealer(sealing(tmp_path / "arc.pem", pem(ed25519_key()))) is not None


@pytest.mark.parametrize(
    ("content", "mode", "said"),
    [
        (b"", 0o600, "this is no private key in PEM form"),
        (b"-----BEGIN", 0o600, "this is no private key in PEM form"),
        (pem(rsa_key(1024)), 0o644, "others may read or change it; chmod 600 or 640"),
        (pem(rsa_key(1024)), 0o660, "others may read or change it"),
    ],
)
def test_a_key_that_will_not_do_is_said_at_the_start(tmp_path: Path, content: bytes, mode: int, said: str) -> None:
    path = tmp_path / "arc.pem"
    with pytest.raises(ConfigError) as caught:
        check_settings(sealing(path, content, mode))
    assert str(caught.value).startswith(f"[arc] key: {path}: {said}")
    assert "\n" not in str(caught.value)


def test_a_key_that_is_not_there(tmp_path: Path) -> None:
    settings = Settings(arc=Arc(seal=True, domain="darban.test", selector="s1", key=str(tmp_path)))
    with pytest.raises(ConfigError, match=r"^\[arc\] key: .*: Is a directory$"):
        make_sealer(settings)

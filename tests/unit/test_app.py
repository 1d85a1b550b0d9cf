"""app.py: what a serving installation loads."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest
from cryptography.hazmat.primitives import serialization as form

from gateway.app import check_settings, demo_command, keep_rows, make_sealer
from gateway.config.settings import Arc, Settings
from gateway.errors import ConfigError, StoreError
from gateway.types import DmarcRow, LogRow, Summary
from tests.dkim_keys import ed25519_key, rsa_key

SERVING = """
import sys
from pathlib import Path
from gateway.app import load_pipeline
from gateway.config.load import load_settings
import gateway.web.pages, gateway.listeners.smtp, gateway.service, gateway.supervisor
load_pipeline(load_settings(None), Path("var/cache"), offline=True)()
print(*sorted({"sklearn", "scipy", "pandas", "joblib", "checkdmarc"} & set(sys.modules)))
"""


def test_serving_loads_nothing_of_training() -> None:
    done = subprocess.run([sys.executable, "-c", SERVING], capture_output=True, text=True, check=True)
    assert done.stdout.split() == []


@pytest.mark.parametrize(
    ("program", "config", "typed"),
    [
        (".venv/bin/darban", None, ".venv/bin/darban demo"),
        ("/usr/bin/darban", Path("/etc/darban.toml"), "/usr/bin/darban demo --config /etc/darban.toml"),
        ("/x/gateway/__main__.py", None, "darban demo"),
    ],
)
def test_the_greeting_names_a_command_that_is_there(program: str, config: Path | None, typed: str) -> None:
    assert demo_command(program, config) == typed


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


async def test_rows_wait_for_a_message_log_that_is_down(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gateway.app._LOG_AGAIN_S", 0.0)
    kept: list[object] = []
    faults = [StoreError("disk full"), StoreError("locked")]

    def append(rows: Sequence[LogRow]) -> None:
        if faults:
            raise faults.pop()
        kept.extend(rows)

    def refuse(rows: Sequence[DmarcRow]) -> None:
        raise StoreError("down")

    row = LogRow(
        "Q1", 0.0, "192.0.2.1", "h", "a@example.org", "you@darban.test", Summary(), "accept", "250 2.0.0 ok", 0.0
    )
    await keep_rows([row], append, refuse)
    assert kept == [row]

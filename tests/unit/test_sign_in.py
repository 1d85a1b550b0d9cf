"""sign_in.py: who is let in, who waits, and that the same is done for every name."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from gateway.config.settings import Domain, Ldap, Oidc, RoleGroup, Settings
from gateway.config.settings import SignIn as SignInSettings
from gateway.errors import ConfigError, SignInError
from gateway.net.ldap import Entry
from gateway.policy.totp import PERIOD_S, code_at
from gateway.sign_in import Entrance, SignIn, make_sign_in
from gateway.stores.accounts import SqlAccounts
from gateway.stores.engine import make_engine
from gateway.types import Account
from tests.database import migrated
from tests.fakes import FakeClock

IP, OTHER = "192.0.2.1", "192.0.2.2"
SECRET = "GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ"
SETTINGS = Settings(
    domain=(Domain(name="darban.test", next_hop="maildir:x"), Domain(name="*.example.ir", next_hop="maildir:x")),
    sign_in=SignInSettings(ldap=Ldap(group=(RoleGroup(name="admins", role="domain_admin", domains=("darban.test",)),))),
)


@dataclass
class FakeDirectory:
    entries: dict[tuple[str, str], Entry] = field(default_factory=dict)
    asked: list[str] = field(default_factory=list)
    is_down: bool = False

    def authenticate(self, name: str, password: str) -> Entry | None:
        self.asked.append(name)
        if self.is_down:
            raise SignInError("directory: no")
        return self.entries.get((name, password))


@pytest.fixture
def accounts(tmp_path: Path) -> Iterator[SqlAccounts]:
    url = f"sqlite:///{tmp_path}/darban.db"
    migrated(url)
    engine = make_engine(url)
    made = SqlAccounts(engine)
    made.create("sara", "a long password")
    yield made
    engine.dispose()


def test_a_password_of_ours(accounts: SqlAccounts) -> None:
    door = SignIn(accounts, SETTINGS)
    assert door.by_password("sara", "a long password", IP) == Entrance(Account("sara", "owner"))
    assert accounts.record("sara").signed_in_at
    for name, password in (("sara", "wrong"), ("nobody", "a long password"), ("", ""), ("sara\0", "x")):
        assert door.by_password(name, password, IP) == Entrance()


def test_a_disabled_account_is_like_none(accounts: SqlAccounts) -> None:
    accounts.create("reza", "a long password", "reviewer")
    accounts.disable("reza", True)
    assert SignIn(accounts, SETTINGS).by_password("reza", "a long password", IP) == Entrance()


def test_every_name_costs_a_hash(accounts: SqlAccounts, monkeypatch: pytest.MonkeyPatch) -> None:
    accounts.create("gone", "a long password", "reviewer")
    accounts.disable("gone", True)
    accounts.add(Account("new", "reviewer"))
    verified: list[str] = []

    class Counting:
        def verify(self, hashed: str, password: str) -> bool:
            verified.append(hashed)
            return False

    monkeypatch.setattr(accounts, "_hasher", Counting())
    for name in ("sara", "gone", "new", "nobody"):
        assert SignIn(accounts, SETTINGS).by_password(name, "x", IP) == Entrance()
    assert len(verified) == 4 and all(one.startswith("$argon2id$") for one in verified)


def test_a_name_waits_wherever_it_is_tried_from(accounts: SqlAccounts) -> None:
    door = SignIn(accounts, SETTINGS)
    for name in ("sara", "nobody"):  # alike
        tries = [door.by_password(name, "wrong", f"192.0.2.{number}").waits for number in range(5)]
        assert tries == [False] * 4 + [True]
        assert door.by_password(name, "a long password", OTHER) == Entrance()
        assert accounts.wait_s(f"name:{name}", 5)
    assert not any(door.by_password(" SARA", "wrong", f"192.0.2.{number}").waits for number in range(5))


def test_an_address_waits_whatever_it_tries(accounts: SqlAccounts, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(accounts, "is_password", lambda name, password: password == "a long password")
    door = SignIn(accounts, SETTINGS)
    tries = [door.by_password(f"name {number}", "wrong", IP).waits for number in range(20)]
    assert tries == [False] * 19 + [True]
    assert door.by_password("sara", "a long password", IP).who is None
    assert door.by_password("sara", "a long password", OTHER).who


def test_a_success_is_forgiven(accounts: SqlAccounts) -> None:
    door = SignIn(accounts, SETTINGS)
    for _ in range(3):
        for _ in range(4):
            assert not door.by_password("sara", "wrong", IP).waits
        assert door.by_password("sara", "a long password", IP).who


def test_the_second_step(accounts: SqlAccounts) -> None:
    clock = FakeClock(1_800_000_000.0)
    door = SignIn(accounts, SETTINGS, clock=clock.now)
    accounts.set_code("sara", SECRET, ["aaaabbbbcccc"])

    def token() -> str:
        found = door.by_password("sara", "a long password", IP)
        assert found.who is None and found.code_token
        return found.code_token

    code = code_at(SECRET, int(clock.now() // PERIOD_S))
    first = token()
    assert door.by_code(first, "000000", IP) == Entrance(code_token=first)
    assert door.by_code(first, code, IP).who == Account("sara", "owner")
    assert door.by_code(first, code, IP) == Entrance()  # spent
    again = token()
    assert door.by_code(again, code, IP) == Entrance(code_token=again)  # somebody read it over her shoulder
    clock.advance(PERIOD_S)
    assert door.by_code(again, code_at(SECRET, int(clock.now() // PERIOD_S)), IP).who
    last = token()
    assert door.by_code(last, "AAAA-bbbb-cccc", IP).who
    assert door.by_code(token(), "aaaa-bbbb-cccc", IP).who is None
    assert door.by_code("made up", "000000", IP) == Entrance()


def test_codes_are_not_guessed_with_the_password_in_hand(accounts: SqlAccounts) -> None:
    door = SignIn(accounts, SETTINGS)
    accounts.set_code("sara", SECRET, ())
    tries = []
    for number in range(6):  # the right password in between forgives nothing
        found = door.by_password("sara", "a long password", IP)
        if found.code_token:
            tries.append(door.by_code(found.code_token, f"{number:06d}", IP).waits)
    assert tries == [False] * 4 + [True]
    assert door.by_password("sara", "a long password", IP) == Entrance()


def test_a_disabled_account_has_no_second_step(accounts: SqlAccounts) -> None:
    accounts.create("mina", "a long password")
    door = SignIn(accounts, SETTINGS)
    accounts.set_code("sara", SECRET, ["aaaabbbbcccc"])
    found = door.by_password("sara", "a long password", IP)
    accounts.disable("sara", True)
    assert door.by_code(found.code_token, "aaaabbbbcccc", IP).who is None


def test_people_of_a_directory(accounts: SqlAccounts) -> None:
    directory = FakeDirectory(
        {
            ("Mina", "x"): Entry("uid=mina", "mina", ("mina@elsewhere.example",), ("CN=Admins,dc=example",)),
            ("reza", "x"): Entry("uid=reza", "reza", ("reza@mail.example.ir", "reza@elsewhere.example"), ()),
            ("guest", "x"): Entry("uid=guest", "guest", ("guest@elsewhere.example",), ("cn=guests",)),
            ("Sara", "x"): Entry("uid=sara", "sara", ("sara@darban.test",), ()),
        }
    )
    door = SignIn(accounts, SETTINGS, directory=directory)
    assert door.by_password("Mina", "x", IP).who == Account("mina", "domain_admin", ("darban.test",))
    assert door.by_password("reza", "x", IP).who == Account("reza", "recipient", (), ("reza@mail.example.ir",))
    assert door.by_password("guest", "x", IP).who is None
    assert door.by_password("Sara", "x", IP).who is None  # ours, and stays ours
    accounts.disable("mina", True)
    assert door.by_password("Mina", "x", IP).who is None


def test_what_is_known_here_is_not_asked_there(accounts: SqlAccounts) -> None:
    directory = FakeDirectory()
    door = SignIn(accounts, SETTINGS, directory=directory)
    assert door.by_password("sara", "a long password", IP).who
    assert directory.asked == []
    door.by_password("sara", "wrong", IP)  # as long as for anybody else, without her name or password
    assert len(directory.asked) == 1 and directory.asked[0] != "sara"
    door.by_password("nobody", "wrong", IP)
    assert directory.asked[1] == "nobody"
    door.by_password("x" * 101, "wrong", IP)
    door.by_password("a\nb", "wrong", IP)
    assert len(directory.asked) == 2


def test_a_silent_directory_locks_nobody_out(accounts: SqlAccounts) -> None:
    door = SignIn(accounts, SETTINGS, directory=FakeDirectory(is_down=True))
    for _ in range(30):
        assert door.by_password("mina", "x", IP) == Entrance()
    assert door.by_password("sara", "a long password", IP).who


@pytest.mark.parametrize(
    ("address", "is_so"),
    [
        ("reza@darban.test", True),
        (" Reza@Darban.Test ", True),
        ("reza@mail.example.ir", True),
        ("reza@example.ir", False),
        ("reza@elsewhere.example", False),
        ("reza", False),
        ("", False),
        ("a@b@darban.test", False),
        ("sara@darban.test", False),  # an owner's name
        ("gone@darban.test", False),  # disabled
        ("known@darban.test", True),
        ("taken@darban.test", False),  # a recipient of another address
    ],
)
def test_links_for_recipients(accounts: SqlAccounts, address: str, is_so: bool) -> None:
    accounts.create("sara@darban.test", "a long password")
    accounts.add(Account("gone@darban.test", "recipient", (), ("gone@darban.test",)), "link")
    accounts.disable("gone@darban.test", True)
    accounts.add(Account("known@darban.test", "recipient", (), ("known@darban.test", "k@darban.test")))
    accounts.add(Account("taken@darban.test", "recipient", (), ("k@darban.test",)))
    door = SignIn(accounts, SETTINGS)
    token = door.link_for(address)
    assert (token is not None) == is_so
    if token is None:
        return
    found = address.strip().lower()
    assert door.by_link(token, IP).who == Account(found, "recipient", (), (found,))
    assert door.by_link(token, IP) == Entrance()
    if found == "known@darban.test":
        assert accounts.record(found).account.addresses == ("known@darban.test", "k@darban.test")


def test_a_link_does_not_pass_the_second_step(accounts: SqlAccounts) -> None:
    door = SignIn(accounts, SETTINGS)
    accounts.add(Account("known@darban.test", "recipient", (), ("known@darban.test",)))
    accounts.set_code("known@darban.test", SECRET, ())
    found = door.by_link(door.link_for("known@darban.test"), IP)
    assert found.who is None and found.code_token


def test_no_issuer_no_way(accounts: SqlAccounts) -> None:
    door = SignIn(accounts, SETTINGS)
    assert door.by_issuer("a.b.c", "a", "code", "", IP) == Entrance()
    with pytest.raises(SignInError):
        door.ask_issuer()


def test_a_secret_that_others_read(accounts: SqlAccounts, tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.write_text("x")
    secret.chmod(0o644)
    oidc = Oidc(issuer="https://id.example.ir", client_id="darban", client_secret_file=str(secret))
    with pytest.raises(ConfigError, match="chmod"):
        make_sign_in(Settings(sign_in=SignInSettings(oidc=oidc)), accounts)
    secret.chmod(0o600)
    assert make_sign_in(Settings(sign_in=SignInSettings(oidc=oidc)), accounts).issuer.label == "id.example.ir"

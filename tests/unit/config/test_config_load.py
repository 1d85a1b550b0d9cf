"""config/load.py: what is right is read, what is wrong is one line."""

from pathlib import Path

import pytest

from gateway.app.compose import domain_policies
from gateway.config.load import describe, load_settings, state_dir
from gateway.errors import ConfigError

HOP = 'next_hop = "smtp://127.0.0.1:25"'


BOX = 'users = ["sara"]\npassword_file = "pw"'


def write(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "darban.toml"
    path.write_text(text)
    return path


def test_without_a_file_everything_is_on_loopback(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    settings = load_settings(None)
    assert (settings.smtp.listen, settings.web.listen, settings.metrics.listen) == (
        ("127.0.0.1:2525",), "127.0.0.1:8025", "127.0.0.1:9125",
    )  # fmt: skip
    assert settings.domain[0].next_hop == f"maildir:{tmp_path}/var/maildir"
    assert state_dir(settings) == tmp_path / "var"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ('[smtp]\nmax_mesage_size = "3 MiB"', r"\[smtp\] max_mesage_size: unknown; did you mean max_message_size\?"),
        ('[smtp]\nmax_message_size = "3 XiB"', "not a size"),
        ('hostnme = "a"', "did you mean hostname"),
        ("zzz = 1", "zzz: unknown; remove it"),
        ('[[domain]]\nname = "a b"\n' + HOP, "'a b' is not a domain name"),
        (f'[[domain]]\nname = "a.test"\n{HOP}\n[[domain]]\nname = "A.test"\n{HOP}', "twice"),
        (f'[[domain]]\nname = "a.test"\n{HOP}\ntag_at = 9', "tag_at <= quarantine_at <= reject_at"),
        ('[[domain]]\nname = "a.test"\nnext_hop = "ftp://x"', "next_hop"),
        ('[smtp]\ntls_certificate = "a.pem"', "go together"),
        ('[rules]\npaths = ["nowhere"]', "nowhere does not exist"),
        ('[arc]\nseal = true', r"\[arc\] domain: is missing; sealing needs domain, selector and key"),
        ('[arc]\nseal = true\ndomain = "a.test"\nselector = "s1"', r"\[arc\] key: is missing"),
        ('[arc]\nseal = true\ndomain = "a.test"\nselector = "s1"\nkey = "arc.pem"', r"\[arc\] key: .*arc.pem does not exist"),
        ('[arc]\ntrusted_sealers = ["lists example"]', r"\[arc\] 'lists example' is not a domain name"),
        ('[arc]\ntrusted_sealers = ["[192.0.2.1]"]', "is not a domain name"),
        ('[arc]\ntrusted_sealer = []', "did you mean trusted_sealers"),
        ('[storage]\ndatabase = "mysql://x"', "sqlite:///PATH or postgresql"),
        ('[storage]\nblobs = "s3://b"', r'\[storage\] blobs: write file:///PATH, or "database"'),
        ('[storage]\nblobs = "database"', r"blobs: in the database only where that is postgresql"),
        ('[storage]\nblobs = "database"\ndatabase = "postgresql://x"', r"\[storage\] state: is missing; name a folder"),
        ('[storage]\nredis = "localhost:6379"', r"\[storage\] redis: write redis://HOST:PORT/0, rediss://... or unix:///PATH"),
        ('[storage]\nredis_password_file = "pyproject.toml"', "pyproject.toml does not exist"),
        ('[storage]\nredis_password_file = "darban.toml"', "redis_password_file: no redis is named"),
        ('[web\n', "not TOML"),
        ('[web]\nlisten = "nonsense"', r"\[web\] listen: 'nonsense' is not host:port"),
        ('[smtp]\nlisten = ["127.0.0.1:99999"]', "a port from 1 to 65535"),
        ('[milter]\nlisten = "unix:run/milter"', r"\[milter\] listen: 'unix:run/milter' is not unix:/path"),
        (f'[milter]\nlisten = "unix:/{"x" * 100}"', "an absolute path of 100 bytes or less"),
        ('[milter]\nlisten = "nonsense"', r"\[milter\] listen: 'nonsense' is not host:port"),
        ('[milter]\nquarantine = "hold"', r"\[milter\] quarantine: Input should be 'darban' or 'mta'"),
        ('[milter]\nown_networks = ["x"]', r"\[milter.own_networks\] 0: 'x' is not a network"),
        ('[smtp]\nlisten = "127.0.0.1:2525"', r"\[smtp\] listen: write a list"),
        ('[[domain]]\nname = "a.test"\nnext_hop = "http://x"', "next_hop: write smtp://host:port"),
        ('[[domain]]\nname = "a.test"\nnext_hop = []', "next_hop: write smtp://host:port"),
        ('[[domain]]\nname = "a.test"\nnext_hop = ["smtp://a:25", "ftp://b"]', "next_hop: write smtp://host:port"),
        ('[[domain]]\nname = "a.test"\nnext_hop = ["smtp://a:25", "maildir:b"]', "write it alone"),
        ('[[domain]]\nname = "a.test"\nnext_hop = "smtp://a:25?tls=maybe"', "tls=maybe: write one of"),
        ('[[domain]]\nname = "a.test"\nnext_hop = "smtp://a:25?tls=verify&ca=no.pem"', r"smtp://a:25: /.*no.pem does not exist"),
        (f'[[domain]]\nname = "a.test"\n{HOP}\n[[domain.route]]\naddress = "b"\nnext_hop = "x"', "next_hop: write smtp"),
        (f'[[domain]]\nname = "a.test"\n{HOP}\n[[domain.route]]\naddress = "b"\n{HOP}\nadres = "b"', "adres: unknown; did you mean address"),
        ('[identity]\npartners = ["a b"]', r"\[identity\] partners: 'a b' is not a domain name"),
        ('[identity]\nshorteners = [""]', r"\[identity\] shorteners: '' is not a domain name"),
        ('[[identity.person]]\nname = "Sara Rahimi"', "address: is missing"),
        ('[[identity.person]]\nname = "Sara Rahimi"\naddress = "sara"', "write name@domain"),
        ('[[identity.person]]\nname = "Sara Rahimi"\naddress = "sara@a..b"', r"Sara Rahimi: address: 'a..b' is not"),
        ('[[identity.person]]\nname = "Sara Rahimi"\naddress = "s@a.test"\nalso = ["x y"]', "also: 'x y' is not"),
        (f'[[learning.imap]]\nserver = "imap.test"\n{BOX}', r"\[learning.imap.0\] server: 'imap.test' is not host:port"),
        (f'[[learning.imap]]\nserver = "imap.test:143"\ntls = "none"\n{BOX}', "shows the password to the network"),
        (f'[[learning.imap]]\nserver = "imap.test:993"\njunk = "INBOX"\n{BOX}', "junk is one of the folders"),
        ('[sign_in.oidc]\nissuer = "https://id.test"', "go together"),
        ('[sign_in.oidc]\nissuer = "http://id.test"\nclient_id = "x"\nclient_secret_file = "x"', "must be https"),
        ('[[sign_in.oidc.group]]\nname = "x"\nrole = "domain_admin"', "admins of no domain"),
        ('[[sign_in.ldap.group]]\nname = "x"\nrole = "recipient"', "recipients need no group"),
        ('[[sign_in.ldap.group]]\nname = "x"\nrole = "auditor"\ndomains = ["a b"]', r"group\]\] x: 'a b' is no domain name"),
        ('[sign_in.ldap]\nserver = "ldap.test:389"', "write bind_dn, or search_base"),
        ('[sign_in.ldap]\nserver = "ldap.test:389"\ntls = "none"\nsearch_base = "x"', "shows passwords to the network"),
        ('[sign_in.ldap]\nserver = "ldap.test:389"\nbind_dn = "uid=x"', "{name} in it"),
        ('[sign_in.ldap]\nserver = "ldap.test:389"\nsearch_base = "x"\nsearch_dn = "x"', "go together"),
        ('[sign_in.ldap]\nserver = "ldap.test:389"\nsearch_base = "x"\nca = "ca.pem"', "ca.pem does not exist"),
        ('[web]\nurl = "darban.example.ir"', r"\[web\] url"),
        ('[web]\ntrusted_proxies = ["x"]', "is not a network"),
        (f'[[learning.imap]]\nserver = "imap.test:993"\n{BOX}', r"\[\[learning.imap\]\] password_file: .*pw does not exist"),
    ],
)  # fmt: skip
def test_faults_are_one_line(tmp_path: Path, text: str, said: str) -> None:
    with pytest.raises(ConfigError, match=said) as caught:
        load_settings(write(tmp_path, text))
    assert "\n" not in str(caught.value)
    assert str(caught.value).startswith("darban.toml: ")


def test_who_is_who_is_read_as_it_is_compared(tmp_path: Path) -> None:
    text = """
    [identity]
    partners = ["Supplier.Example", "مثال.ایران"]
    freemail = ["Post.example."]
    [[identity.person]]
    name = "سارا رحیمی"
    address = "S.Rahimi@Example.ir"
    also = ["Sara@Gmail.com", "@Family.example", "home.example"]
    """
    identity = load_settings(write(tmp_path, text)).identity
    assert identity.partners == ("supplier.example", "xn--mgbh0fb.xn--mgba3a4f16a")
    assert identity.freemail == ("post.example",)
    assert identity.person[0].address == "s.rahimi@example.ir"
    assert identity.person[0].also == ("sara@gmail.com", "@family.example", "@home.example")
    shown = {(table, key): value for table, key, value, _, _ in describe(load_settings(write(tmp_path, text)))}
    assert shown["[identity.person]", "address"] == "s.rahimi@example.ir"
    assert shown["identity", "freemail"] == ("post.example",)


def test_domains_become_a_labels_and_paths_absolute(tmp_path: Path) -> None:
    settings = load_settings(
        write(
            tmp_path, '[[domain]]\nname = "مثال.ایران"\nnext_hop = "maildir:mail"\n[storage]\nblobs = "file:////srv/b"'
        )
    )
    assert settings.domain[0].name == "xn--mgbh0fb.xn--mgba3a4f16a"
    assert settings.domain[0].next_hop == f"maildir:{tmp_path}/mail"
    assert settings.storage.blobs == "file:///srv/b"


def test_sealers_become_a_labels(tmp_path: Path) -> None:
    (tmp_path / "arc.pem").write_text("a key")
    text = (
        '[arc]\ntrusted_sealers = ["Lists.Example.", "مثال.ایران"]\nkey = "arc.pem"\ndomain = "A.test"\nselector = "S1"'
    )
    found = load_settings(write(tmp_path, text)).arc
    assert found.trusted_sealers == ("lists.example", "xn--mgbh0fb.xn--mgba3a4f16a")
    assert (found.seal, found.domain, found.selector, found.key) == (False, "a.test", "s1", f"{tmp_path}/arc.pem")


def test_groups_domains_become_a_labels(tmp_path: Path) -> None:
    path = tmp_path / "darban.toml"
    path.write_text('[[sign_in.ldap.group]]\nname = "x"\nrole = "auditor"\ndomains = ["Example.IR", "*.دربان.ایران"]\n')
    (group,) = load_settings(path).sign_in.ldap.group
    assert group.domains[0] == "example.ir" and group.domains[1].startswith("*.xn--")


def test_missing_file() -> None:
    with pytest.raises(ConfigError, match="No such file"):
        load_settings(Path("/nonexistent/darban.toml"))


def test_passwords_are_not_shown(tmp_path: Path) -> None:
    text = '[storage]\ndatabase = "postgresql://u:secret@db/x"\nredis = "rediss://:secret@cache:6380/1"'
    settings = load_settings(write(tmp_path, text))
    shown = {(table, key): value for table, key, value, _, _ in describe(settings)}
    assert shown["storage", "database"] == "postgresql://u:***@db/x"
    assert shown["storage", "redis"] == "rediss://:***@cache:6380/1"
    assert ("[domain]", "name") in shown
    assert ("", "hostname") in shown


def test_next_hops_in_order_and_routes(tmp_path: Path) -> None:
    text = """
    [[domain]]
    name = "a.test"
    next_hop = ["smtp://a:25|smtp://b:25", "smtp://c:25?cert=c.pem"]
    [[domain.route]]
    address = "sales-*"
    next_hop = "maildir:sales"
    """
    (tmp_path / "c.pem").touch()
    settings = load_settings(write(tmp_path, text))
    assert settings.domain[0].next_hop == ("smtp://a:25|smtp://b:25", f"smtp://c:25?cert={tmp_path}/c.pem")
    assert settings.domain[0].route[0].next_hop == f"maildir:{tmp_path}/sales"
    (policy,) = domain_policies(settings)
    assert policy.routes == (("sales-*", f"maildir:{tmp_path}/sales"),)
    shown = {(table, key): value for table, key, value, _, _ in describe(settings)}
    assert shown["[domain.route]", "address"] == "sales-*"

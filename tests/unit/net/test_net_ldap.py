"""net/ldap.py: a name stays a value, whatever stands in it. The rest needs a directory (tests/e2e/test_ldap.py)."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sansldap import FilterEquality, LDAPFilter

from gateway.config.settings import Ldap
from gateway.errors import ConfigError
from gateway.net.ldap import LdapDirectory, escape_dn, escape_filter


@given(st.text(max_size=60))
def test_a_value_within_a_filter(name: str) -> None:
    found = LDAPFilter.from_string(f"(uid={escape_filter(name)})")
    assert found == FilterEquality("uid", name.encode()) or not name


@given(st.text(max_size=60))
def test_a_value_within_a_dn(name: str) -> None:
    assert not set(escape_dn(name)) & set(',+"<>;= #*()\0')


def test_an_empty_name_or_password_is_not_sent() -> None:
    directory = LdapDirectory(Ldap(server="127.0.0.1:1", tls="none", bind_dn="uid={name}"))
    assert directory.authenticate("sara", "") is None
    assert directory.authenticate("", "x") is None


def test_a_file_that_is_no_certificate(tmp_path) -> None:
    (tmp_path / "ca.pem").write_text("x")
    with pytest.raises(ConfigError, match="write a PEM file"):
        LdapDirectory(Ldap(server="localhost:636", ca=str(tmp_path / "ca.pem"), search_base="dc=x"))

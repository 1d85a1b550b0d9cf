"""Who is who."""

from __future__ import annotations

import pytest

from gateway.auth.identity import Person, make_identity

SARA = Person("Sara Rahimi", "s.rahimi@example.ir", ("sara@gmail.com", "@family.example"), "finance")
NIMA = Person("Nima Karimi", "nima@supplier.example")
OLGA = Person("Olga Petrova", "olga@gmail.com")
WHO = make_identity(
    own=["mail.example.ir", "*.lab.example.org"],
    partners=["supplier.example", "mail.example.ir"],
    freemail=["gmail.com"],
    people=[SARA, NIMA, OLGA],
)


@pytest.mark.parametrize(
    ("domain", "is_own", "is_below"),
    [
        ("mail.example.ir", True, True),
        ("x.mail.example.ir", True, True),
        ("example.ir", True, False),
        ("lab.example.org", True, True),
        ("a.lab.example.org", True, True),
        ("example.org", True, False),
        ("supplier.example", False, False),
        ("", False, False),
    ],
)
def test_what_is_ours(domain: str, is_own: bool, is_below: bool):
    assert WHO.is_own(domain) is is_own
    assert WHO.is_below_own(domain) is is_below


def test_what_is_ours_is_no_partners():
    assert WHO.partners == {"supplier.example"}
    assert WHO.is_partner("mail.supplier.example")
    assert not WHO.is_partner("example.ir")


@pytest.mark.parametrize(
    ("person", "address", "may"),
    [
        (SARA, "S.Rahimi@example.ir", True),
        (SARA, "other@mail.example.ir", True),  # ours: authentication judges it
        (SARA, "Sara@Gmail.com", True),
        (SARA, "sara2@gmail.com", False),
        (SARA, "anything@family.example", True),
        (SARA, "sara@x.family.example", False),
        (NIMA, "n.karimi@de.supplier.example", True),
        (NIMA, "nima@gmail.com", False),
        (OLGA, "olga@gmail.com", True),
        (OLGA, "olga2@gmail.com", False),  # her home is everybody's
        (SARA, "", False),
    ],
)
def test_who_may_write_in_a_name(person: Person, address: str, may: bool):
    assert WHO.may_write_as(person, address) is may


def test_people_are_shown_with_their_office():
    assert SARA.shown == "Sara Rahimi (finance), s.rahimi@example.ir"
    assert NIMA.shown == "Nima Karimi, nima@supplier.example"


def test_short_and_common_names_are_not_looked_for_in_mailboxes():
    assert make_identity(own=["pars.ir", "global.ir", "darban.test"]).names == {"darban"}


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("Darban Support", ("darban", True)),
        ("پشتیبانی دربان", ("دربان", True)),
        ("Friends of DARBAN", ("darban", False)),
        ("Dispatch at Darban", ("darban", True)),  # named among the people
        ("Support", ("", True)),
        ("Darbandi Support", ("", True)),
        ("دربند پشتیبانی", ("", True)),
        ("", ("", False)),
    ],
)
def test_our_name_among_words(text: str, found: tuple[str, bool]):
    who = make_identity(own=["darban.ir"], people=[Person("Dispatch", "dispatch@darban.ir")])
    assert who.find_own_name(text) == found


def test_a_name_of_two_words_and_words_of_offices_beside_a_persons():
    who = make_identity(own=["novin-system.co.ir"], people=[SARA])
    assert who.find_own_name("Novin System Support") == ("novinsystem", True)
    assert who.find_own_name("نوین سیستم") == ("نوینسیستم", False)
    assert who.people.find("Sara Rahimi Finance Office") == (SARA,)
    assert who.people.find("Sara Rahimi NovinSystem") == (SARA,)


def test_a_company_of_the_familys_name_hides_nobody():
    assert make_identity(own=["rahimi.ir"], people=[SARA]).people.find("Sara Rahimi") == (SARA,)


def test_nobody():
    assert make_identity().find_own_name("Darban Support") == ("", False)

    nobody = make_identity()
    assert not nobody.lookalikes
    assert nobody.people.find("Sara Rahimi") == ()
    assert not nobody.is_own("example.ir")
    assert not nobody.is_below_own("example.ir")

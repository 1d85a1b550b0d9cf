"""Names of people: which spellings are one, and which are not."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.mail.person_name import Names, agree, fold_latin, fold_persian, is_disguised, spellings

FIRST = "Ali Amir Davoud Ehsan Fatemeh Hassan Hossein Iman Maryam Mohammad Nima Omid Reza Sara Yousef Zahra".split()
LAST = (
    "Ahmadi Akbari Amini Esmaeili Ghasemi Hamidi Hashemi Hosseini Jafari Karimi Kazemi Moradi Mousavi Najafi Norouzi "
    "Rahimi Rahmani Rezaei Rostami Sadeghi Salehi Yousefi"
).split()


def _is_found(name: str, shown: str) -> bool:
    return Names([(name, "x")]).find(shown) == ("x",)


@pytest.mark.parametrize(
    ("name", "shown"),
    [
        ("Sara Rahimi", "sara rahimi"),
        ("Sara Rahimi", "Rahimi, Sara"),
        ("Sara Rahimi", "RAHIMI Sara"),
        ("Sara Rahimi", "Dr. Sara Rahimi"),
        ("Sara Rahimi", "Sara Rahimi, PhD"),
        ("Sara Rahimi", "Sara M. Rahimi"),
        ("Sara Rahimi", "Sarah Raheemi"),
        ("Sara Rahimi", "Sara Rahimi (Finance)"),
        ("Sara Rahimi", "Sara Rahimi - Finance, Example Ltd"),
        ("Sara Rahimi", "Office | Sara Rahimi"),
        ("Sara Rahimi", "Sara Rahimi via Docs"),
        ("Sara Rahimi", "سارا رحیمی"),
        ("Sara Rahimi", "SaraRahimi"),
        ("Sara Rahimi", "sararahimi"),
        ("Hossein Noori", "hosseinnoori"),
        ("Sara Rahimi", "Sara_Rahimi"),
        ("Sara Rahimi", "sara.rahimi"),
        ("سارا رحیمی", "سارارحیمی"),
        ("Sara Rahimi", "خانم دکتر سارا رحیمی"),
        ("Sara Rahimi", "سارا رحيمي"),
        ("Sara Rahimi", "سارا رحیمی (Sara Rahimi)"),
        ("Sara Rahimi", "Sаrа Rаhimi"),
        ("Sara Rahimi", "Sa\u200bra Ra\u00adhimi"),
        ("Sara Rahimi", "Ｓａｒａ Ｒａｈｉｍｉ"),
        ("سارا رحیمی", "Sara Rahimi"),
        ("مهندس علیرضا محمدی", "Ali Reza Mohammadi"),
        ("علیرضا محمدی", "Alireza Mohamadi"),
        ("علیرضا محمدی", "علی‌رضا محمّدی"),
        ("Mohammad Hosseini", "Muhammad Husseini"),
        ("Mohammad Hosseini", "Mohammed Hoseiny"),
        ("Mohammad Hosseini", "سید محمد حسینی"),
        ("Hossein Rezaei", "Hosein Rezaee"),
        ("Hossein Rezaei", "حسین رضایی"),
        ("Hossein Rezaei", "حسین رضائی"),
        ("Davoud Ghorbani", "داود قربانی"),
        ("Davoud Ghorbani", "Davood Qorbani"),
        ("Fatemeh Nouri", "فاطمه نوری"),
        ("Fatemeh Nouri", "Fateme Noori"),
        ("Ehsan Esmaeili", "احسان اسماعیلی"),
        ("Khosrow Shahbazi", "خسرو شهبازی"),
        ("Jürgen Müller", "Juergen Mueller"),
        ("Jürgen Müller", "Jurgen Muller"),
        ("Seán O'Brien", "Sean OBrien"),
    ],
)
def test_one_name(name: str, shown: str):
    assert _is_found(name, shown)


@pytest.mark.parametrize(
    ("name", "shown"),
    [
        ("Sara Rahimi", "Samira Rahimi"),
        ("Sara Rahimi", "Sara Rahmani"),
        ("Sara Rahimi", "Sara Karimi"),
        ("Sara Rahimi", "Soraya Rahimi"),
        ("Sara Rahimi", "Sara"),
        ("Sara Rahimi", "Rahimi"),
        ("Sara Rahimi", "S. Rahimi"),
        ("Sara Rahimi", "Sara Rahimi Nejad"),
        ("Sara Rahimi", "سارا رحمانی"),
        ("Sara Rahimi", "سمیرا رحیمی"),
        ("Sara Rahimi", ""),
        ("Ali Ahmadi", "Ali Hamidi"),
        ("Ali Ahmadi", "علی حمیدی"),
        ("Hossein Rezaei", "Hassan Rezaei"),
        ("Hossein Rezaei", "حسن رضایی"),
        ("Mohammad Hosseini", "Mahmoud Hosseini"),
        ("Mohammad Hosseini", "محمود حسینی"),
        ("Mohammad Hosseini", "Mohammad Reza Hosseini"),
        ("محمد حسینی", "محمد رضا حسینی"),
        ("Jim Smith", "Jan Smith"),
        ("Accounting", "Accounting"),  # one word is everybody's
        ("Dr. Sara", "Dr. Sara"),
    ],
)
def test_other_names(name: str, shown: str):
    assert not _is_found(name, shown)


def test_an_employers_name_may_stand_beside_a_persons():
    names = Names([("Sara Rahimi", 1)], ignored=["example"])
    assert names.find("Sara Rahimi Example") == (1,)
    assert names.find("Example Sara Rahimi") == (1,)


def test_a_configured_name_is_taken_whole():
    assert Names([("Sara Rahimi via Room Office", 1)]).find("Nima Karimi - Room Office") == ()


def test_namesakes_are_all_found():
    assert Names([("Sara Rahimi", 1), ("سارا رحیمی", 2), ("Sara Karimi", 3)]).find("Sara Rahimi") == (1, 2)


def test_of_many_common_names_each_finds_itself_alone():
    every = [f"{first} {last}" for first in FIRST for last in LAST]
    names = Names([(name, name) for name in every])
    assert [name for name in every if names.find(name) != (name,)] == []


@pytest.mark.parametrize(
    ("latin", "persian", "is_same"),
    [
        ("Reza", "رضا", True),
        ("Saeed", "سعید", True),
        ("Saeid", "سعید", True),
        ("Yasaman", "یاسمن", True),
        ("Omid", "امید", True),
        ("Iman", "ایمان", True),
        ("Mousavi", "موسوی", True),
        ("Nowruzi", "نوروزی", True),
        ("Tehrani", "تهرانی", True),
        ("Zadeh", "زاده", True),
        ("Khajeh", "خواجه", True),
        ("Shirazi", "شیرازی", True),
        ("Nima", "نادره", False),
        ("Rahim", "رحمان", False),
        ("Ahmad", "حامد", False),
        ("", "آ", False),
    ],
)
def test_across_the_scripts(latin: str, persian: str, is_same: bool):
    assert agree(fold_latin(latin.lower()), fold_persian(persian)) is is_same


@pytest.mark.parametrize(
    ("name", "is_so"),
    [
        ("Sаra", True),  # Cyrillic a
        ("Sa\u200bra", True),
        ("Sara", False),
        ("سارا", False),
        ("علی\u200cرضا", False),
        ("Müller", False),
        ("Анна Иванова", False),
        ("علی (Ali\u200e)", False),
    ],
)
def test_disguise(name: str, is_so: bool):
    assert is_disguised(name) is is_so


_LETTERS = st.sampled_from("abdehikmnorsuyzSAاآبپترسشعغفقکگلمنوهیيك ،,.-()|\u200c\u200b\u0301")


@given(st.text(max_size=300) | st.text(_LETTERS, max_size=60))
def test_any_text_is_read_and_finds_itself(text: str):
    for one in spellings(text):
        assert 1 <= len(one.words) <= 6
    names = Names([(text, 1)])
    if next(iter(spellings(text, are_parts_names=False)), None) is not None:
        assert names.find(text[:200]) == (1,)
    assert names.find("") == ()


@given(st.text(st.sampled_from("aiohvbdrxmn"), max_size=40), st.text(st.sampled_from("AWY'hvbdrxmn"), max_size=40))
def test_any_two_spellings_are_compared(latin: str, persian: str):
    assert agree(latin, persian) in (True, False)


def test_what_is_remembered_is_bounded():
    names = Names([("Sara Rahimi", 1)])
    for number in range(5000):
        names.find(f"Sara Rahimi {number}")
    assert names.find.cache_info().currsize <= 4096

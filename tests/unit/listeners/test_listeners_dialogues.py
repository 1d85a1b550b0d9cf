"""The listener holds every dialogue of tests/cases/dialogues."""

from __future__ import annotations

import pytest

from tests.smtp_dialogue import Dialogue, hold, load_dialogues

DIALOGUES = load_dialogues()


@pytest.mark.parametrize("dialogue", DIALOGUES, ids=lambda one: one.id)
async def test_dialogue(dialogue: Dialogue) -> None:
    await hold(dialogue)


def test_there_are_dialogues() -> None:
    assert len(DIALOGUES) > 20

"""The models' rooms are loaded when first used."""

import subprocess
import sys

import pytest

from stlearnkit import models


def test_baselines_need_no_torch():
    code = "import sys; from stlearnkit.models import baselines; print(*sys.modules)"
    loaded = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    ).stdout.split()
    assert "stlearnkit.models.baselines" in loaded
    assert "torch" not in loaded


def test_unknown_room_lists_the_rooms():
    with pytest.raises(
        AttributeError,
        match=r"no room 'rnn'\. Rooms: asign, attention, baselines, cnn, kriging, prop",
    ):
        models.rnn  # noqa: B018
    assert set(models.__all__) <= set(dir(models))

"""The words, keys and errors that every other room uses."""

import pytest

from stlearnkit import conventions


def test_frames_of_one_section_differ_by_their_unit():
    assert conventions.frame_px("C2") == "C2/px"
    assert conventions.frame_um("C2") == "C2/um"


@pytest.mark.parametrize("error", [conventions.SectionError, conventions.FrameError])
def test_errors_are_caught_as_value_errors(error):
    with pytest.raises(ValueError, match="what is wrong"):
        raise error("what is wrong")


def test_axis_words_are_single_words_with_a_meaning():
    for word, meaning in conventions.AXES.items():
        assert word.isalpha()
        assert word.islower()
        assert meaning


def test_keys_are_those_of_scanpy_and_squidpy():
    assert conventions.COUNTS == "counts"
    assert conventions.SPATIAL == "spatial"

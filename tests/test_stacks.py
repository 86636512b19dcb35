"""Stacks: places in the common frame, and every refusal."""

import numpy as np
import pytest
import toys

from stlearnkit.conventions import FrameError
from stlearnkit.geometry import Affine2D
from stlearnkit.stacks import Stack


def test_stack_maps_spots_to_the_reference():
    sections = (toys.section("A"), toys.section("B"))
    maps = (
        Affine2D.identity("A/um", "block/um"),
        Affine2D.rigid(0, (10.0, -5.0), source="B/um", target="block/um"),
    )
    stack = Stack(sections, (0.0, 48.0), maps)
    assert stack.reference == "block/um"
    first, second = stack.coords_3d_um()
    np.testing.assert_allclose(first[0], [120, 100, 0])
    np.testing.assert_allclose(second[0], [130, 95, 48])


@pytest.mark.parametrize(
    ("z_um", "frames", "error", "message"),
    [
        ((0.0,), [("A", "r"), ("B", "r")], ValueError, "2 sections, 1 heights in z_um"),
        (
            (5.0, 5.0),
            [("A", "r"), ("B", "r")],
            ValueError,
            "strictly increasing heights",
        ),
        (
            (0.0, 1.0),
            [("B", "r"), ("A", "r")],
            FrameError,
            "map of section 'A' starts from frame 'B/um', expected 'A/um'",
        ),
        (
            (0.0, 1.0),
            [("A", "r"), ("B", "q")],
            FrameError,
            "map of section 'B' ends in 'q', that of the first section in 'r'",
        ),
    ],
)
def test_refused_stacks(z_um, frames, error, message):
    maps = tuple(Affine2D.identity(f"{name}/um", target) for name, target in frames)
    with pytest.raises(error, match=message):
        Stack((toys.section("A"), toys.section("B")), z_um, maps)


def test_empty_stack_is_refused():
    with pytest.raises(ValueError, match="sections is empty"):
        Stack((), (), ())

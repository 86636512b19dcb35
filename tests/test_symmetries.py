"""The eight symmetries: pictures and places move together."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from stlearnkit.patches import extract
from stlearnkit.slides import Slide
from stlearnkit.symmetries import SYMMETRIES, Symmetry

# Rows of the picture: (0, 0) black, 1 to its right, 2 below it, 3 opposite.
CORNERS = torch.tensor([[0, 1], [2, 3]])


@pytest.mark.parametrize(
    ("symmetry", "expected"),
    [
        (Symmetry(mirrored=False, quarter_turns=0), [[0, 1], [2, 3]]),
        (Symmetry(mirrored=False, quarter_turns=1), [[1, 3], [0, 2]]),
        (Symmetry(mirrored=False, quarter_turns=2), [[3, 2], [1, 0]]),
        (Symmetry(mirrored=True, quarter_turns=0), [[1, 0], [3, 2]]),
        (Symmetry(mirrored=True, quarter_turns=1), [[0, 2], [1, 3]]),
    ],
)
def test_pictures_by_hand(symmetry, expected):
    assert symmetry.of_images(CORNERS).tolist() == expected


def test_the_eight_are_all_there_is_and_the_first_changes_nothing():
    seen = {tuple(s.of_images(CORNERS).flatten().tolist()) for s in SYMMETRIES}
    assert len(seen) == len(SYMMETRIES) == 8
    assert SYMMETRIES[0].of_images(CORNERS).equal(CORNERS)


@pytest.mark.parametrize("symmetry", SYMMETRIES)
def test_a_turned_slide_has_turned_patches_at_turned_places(symmetry):
    """The law that matters: cut then turn is the same as turn then cut."""
    pixels = np.random.default_rng(0).integers(0, 256, (60, 60, 3)).astype(np.uint8)
    centres = np.array([[14.0, 20.0], [40.0, 30.0]])
    cut = torch.from_numpy(extract(Slide.from_array(pixels, mpp=1.0), centres, 8.0))
    turned = symmetry.of_images(torch.from_numpy(pixels).permute(2, 0, 1))
    turned_slide = Slide.from_array(turned.permute(1, 2, 0).numpy(), mpp=1.0)
    places = symmetry.of_points(torch.from_numpy(centres), torch.full((2,), 30.0))
    again = torch.from_numpy(extract(turned_slide, places.double().numpy(), 8.0))
    expected = symmetry.of_images(cut.permute(0, 3, 1, 2)).int()
    assert (again.permute(0, 3, 1, 2).int() - expected).abs().max() <= 1  # rounding


@given(
    st.sampled_from(SYMMETRIES),
    st.lists(st.tuples(*2 * [st.integers(-50, 50)]), min_size=2, max_size=6),
)
def test_places_keep_their_distances_and_their_centre(symmetry, places):
    points = torch.tensor(places, dtype=torch.float64)
    centre = points.mean(dim=0)
    moved = symmetry.of_points(points, centre)
    assert torch.allclose(torch.cdist(points, points), torch.cdist(moved, moved))
    assert torch.allclose(moved.mean(dim=0), centre)

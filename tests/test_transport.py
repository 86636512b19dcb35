"""Alignment by expression: known turns, what a start does, and every refusal."""

import numpy as np
import pytest

from stlearnkit import datasets, synthetic
from stlearnkit.conventions import FrameError, RegistrationError, SectionError
from stlearnkit.expression import log_normalised, top_genes
from stlearnkit.geometry import Affine2D
from stlearnkit.landmarks import matched_pcc
from stlearnkit.registration import align
from stlearnkit.registration.transport import _rigid, by_expression
from stlearnkit.sections import Section
from stlearnkit.slides import Slide

GENES = [f"GENE{number}" for number in range(30)]
GLASS = Slide.from_array(np.full((900, 900, 3), 255, np.uint8), mpp=10.0)


def section(name: str, places_um: np.ndarray, counts: np.ndarray) -> Section:
    spots = [f"{number}x1" for number in range(len(counts))]
    return Section.build(
        counts, GENES, spots, places_um / 10, name=name, patient="P", slide=GLASS
    )


def pair(to_fixed: Affine2D, *, seed: int = 0) -> tuple[Section, Section]:
    """A section, and the same spots in another order, moved away by the map."""
    random = np.random.default_rng(seed)
    places = random.uniform(3500, 5500, (60, 2))
    counts = random.poisson(np.exp(random.normal(2, 1, (60, len(GENES)))))
    order = random.permutation(60)
    fixed = section("F", places, counts)
    return fixed, section("M", to_fixed.inverse()(places)[order], counts[order])


def turn(degrees: float, *, mirrored: bool = False) -> Affine2D:
    """A turn about the middle of the slide, and a shift."""
    map_ = Affine2D.rigid(
        degrees, (200.0, -90.0), source="m", target="F/um", center=(4500, 4500)
    )
    flip = np.array(
        [[-1.0 if mirrored else 1, 0, 9000.0 * mirrored], [0, 1, 0], [0, 0, 1]]
    )
    return map_ @ Affine2D(flip, "M/um", "m")


@pytest.mark.parametrize("alpha", [0.0, 0.1, 0.5, 0.9])
@pytest.mark.parametrize("degrees", [0.0, 40.0, -170.0])
def test_the_same_spots_are_found_whatever_the_turn(degrees, alpha):
    fixed, moving = pair(turn(degrees))
    found = by_expression(fixed, moving, alpha=alpha)
    np.testing.assert_allclose(found.matrix, turn(degrees).matrix, atol=1e-6)
    assert (found.source, found.target) == ("M/um", "F/um")


def test_handedness_is_that_of_the_start():
    truth = turn(40, mirrored=True)
    fixed, moving = pair(truth)
    found = by_expression(fixed, moving, truth)
    np.testing.assert_allclose(found.matrix, truth.matrix, atol=1e-6)
    assert not by_expression(fixed, moving).parts.mirrored


def test_map_is_rigid_from_an_affine_start():
    truth = turn(10)
    fixed, moving = pair(truth)
    start = truth @ Affine2D(np.diag([1.05, 0.95, 1.0]), "M/um", "M/um")
    parts = by_expression(fixed, moving, start).parts
    np.testing.assert_allclose([parts.scale_x, parts.scale_y], 1.0)
    np.testing.assert_allclose([parts.shear, parts.angle_deg], [0.0, 10.0], atol=1e-6)


def test_pairs_out_of_reach_of_the_start_are_none():
    truth = turn(5)
    fixed, moving = pair(truth)
    # Three spots that are far apart exchange their counts: alike is now far away.
    ends = np.argsort(moving.coords_um[:, 0])[[0, 20, -1]]
    counts = moving.adata.layers["counts"].toarray()
    counts[ends] = counts[np.roll(ends, 1)]
    fooled = section("M", moving.coords_um, counts)
    free = by_expression(fixed, fooled, alpha=0.0)
    held = by_expression(fixed, fooled, truth, alpha=0.0)
    places = moving.coords_um
    off = [np.abs(found(places) - truth(places)).max() for found in (free, held)]
    assert off[0] > 20 * max(off[1], 1.0)


def test_level_and_depth_of_a_section_do_not_matter():
    fixed, moving = pair(turn(25))
    counts = moving.adata.layers["counts"].toarray() * 3
    deeper = section("M", moving.coords_um, counts)
    np.testing.assert_allclose(
        by_expression(fixed, deeper).matrix, turn(25).matrix, atol=1e-6
    )


def test_genes_may_be_chosen():
    fixed, moving = pair(turn(25))
    counts = moving.adata.layers["counts"].toarray()
    counts[:, 15:] = counts[::-1, 15:]  # the second half misleads
    mixed = section("M", moving.coords_um, counts)
    found = by_expression(fixed, mixed, alpha=0.1, genes=GENES[:15])
    # Other genes change the library size, so values differ a little, the plan does not.
    np.testing.assert_allclose(found.matrix, turn(25).matrix, atol=1e-6)


def test_weighted_turn_by_hand():
    points = np.array([[0.0, 0.0], [2.0, 0.0]])
    images = np.array([[5.0, 5.0], [5.0, 7.0], [100.0, 0.0]])
    plan = np.array([[0.3, 0.0], [0.0, 0.3], [0.0, 0.0]])  # the third weighs nothing
    matrix = _rigid(plan, points, images, False)
    np.testing.assert_allclose(matrix, [[0, -1, 5], [1, 0, 5], [0, 0, 1]], atol=1e-12)


def test_plan_that_goes_everywhere_is_refused():
    places = np.array([[0.0, 0.0], [2.0, 0.0], [0.0, 2.0]])
    with pytest.raises(RegistrationError, match="says nothing about the turn"):
        _rigid(np.full((3, 3), 1 / 9), places, places, False)


@pytest.mark.parametrize("alpha", [0.5, 0.9])
def test_sections_of_a_made_up_block_come_within_a_spot_of_the_truth(alpha):
    block = synthetic.stack(2, n_spots=180, mpp=2.0)
    fixed, moving = block.stack.sections
    truth = block.to_reference[0].inverse() @ block.to_reference[1]
    found = by_expression(fixed, moving, alpha=alpha)
    apart = np.linalg.norm(found(moving.coords_um) - truth(moving.coords_um), axis=1)
    assert apart.mean() < 50


@pytest.mark.real_data
def test_neighbours_lie_as_by_their_images():
    fixed, moving = datasets.her2st("C2"), datasets.her2st("C3")
    panel = top_genes([fixed, moving], 500).genes
    image = align(fixed, moving).transform
    found = by_expression(fixed, moving, image, genes=panel[::2])
    places = moving.coords_um
    assert np.linalg.norm(found(places) - image(places), axis=1).mean() < 100
    assert abs(found.parts.angle_deg - image.parts.angle_deg) < 3
    ours, theirs = (log_normalised(one, panel[1::2]) for one in (fixed, moving))

    def agreement(placed):
        return matched_pcc(ours, fixed.coords_um, theirs, placed, within=141.0).median

    assert agreement(found(places)) > agreement(places) + 0.03


@pytest.mark.parametrize("alpha", [-0.1, 1.0, 1.5, float("nan")])
def test_alpha_out_of_range_is_refused(alpha):
    with pytest.raises(ValueError, match=r"alpha is .*, expected 0 or more and below"):
        by_expression(*pair(turn(0)), alpha=alpha)


def test_no_component_is_refused():
    with pytest.raises(ValueError, match="n_components is 0, expected 1 or more"):
        by_expression(*pair(turn(0)), n_components=0)


@pytest.mark.parametrize("within_um", [0.0, -1.0, float("nan")])
def test_no_reach_is_refused(within_um):
    with pytest.raises(ValueError, match=r"within_um is .*, expected a distance above"):
        by_expression(*pair(turn(0)), within_um=within_um)


def test_start_between_other_frames_is_refused():
    fixed, moving = pair(turn(0))
    with pytest.raises(FrameError, match="start leads from 'F/um' to 'M/um'"):
        by_expression(fixed, moving, turn(0).inverse())


def test_too_few_spots_are_refused():
    fixed, moving = pair(turn(0))
    with pytest.raises(SectionError, match=r"'M' has 2 spot\(s\) at 2 place\(s\)"):
        by_expression(fixed, moving.subset(np.arange(60) < 2))


def test_spots_in_one_place_are_refused():
    fixed, moving = pair(turn(0))
    moving.adata.obsm["spatial"][:] = 450.0
    with pytest.raises(SectionError, match=r"'M' has 60 spot\(s\) at 1 place\(s\)"):
        by_expression(fixed, moving)


def test_expression_that_is_the_same_everywhere_is_refused():
    places = np.random.default_rng(0).uniform(3000, 6000, (9, 2))
    same = np.tile(np.arange(1, 31), (9, 1))
    with pytest.raises(RegistrationError, match="none of 30 genes differs"):
        by_expression(section("F", places, same), section("M", places, same))


def test_start_that_leads_away_is_refused():
    fixed, moving = pair(turn(0))
    away = Affine2D.rigid(0, (9000.0, 0.0), source="F/um", target="F/um") @ turn(0)
    with pytest.raises(RegistrationError, match="0% of section 'M' finds partners"):
        by_expression(fixed, moving, away)


def test_sections_without_common_genes_are_refused():
    fixed, moving = pair(turn(0))
    moving.adata.var_names = [f"ENSG{number}" for number in range(30)]
    with pytest.raises(ValueError, match="share no gene"):
        by_expression(fixed, moving)


def test_gene_that_was_not_measured_is_refused():
    with pytest.raises(KeyError, match="1 of 2 genes are not in section 'F'"):
        by_expression(*pair(turn(0)), genes=["GENE1", "XX"])

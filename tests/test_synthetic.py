"""Synthetic tissue: it is what it says it is, and says the truth about itself."""

import numpy as np
import pandas as pd
import pytest
from scipy import ndimage
from scipy.spatial import cKDTree
from skimage.color import rgb2hed

from stlearnkit import synthetic
from stlearnkit._synthetic import transcripts
from stlearnkit.geometry import Affine2D
from stlearnkit.stains import RUIFROK
from stlearnkit.synthetic import DISPERSION, REGIONS, Handling, Warp

BACKGROUND, TUMOUR, STROMA, FAT, IMMUNE = range(5)


@pytest.fixture(scope="module")
def simulated():
    return synthetic.section(n_spots=40, n_genes=120, seed=3)


@pytest.fixture(scope="module")
def same_height():
    """Two sections so close that they show the same tissue, the second mistreated."""
    rough = Handling(
        rotation_deg=20, shift_um=50, mirrored=True, deformation_um=60, stain_shift=0.1
    )
    return synthetic.stack(2, n_spots=40, n_genes=6, spacing_um=1e-6, handling=rough)


def pixels(simulated):
    return simulated.section.slide.levels[0]


def grey(simulated):
    return pixels(simulated).mean(axis=2)


def look_up(image, points_px):
    columns, rows = np.floor(points_px).astype(int).T
    return image[rows, columns]


def inside(image, points_px):
    height, width = image.shape[:2]
    return ((points_px >= 0) & (points_px < [width, height])).all(axis=1)


# --- the section -----------------------------------------------------------------


def test_section_has_what_was_asked_for(simulated):
    section = simulated.section
    section.validate()
    assert (section.n_spots, section.n_genes, section.mpp) == (40, 120, 1.0)
    assert (section.name, section.patient) == ("S1", "SIM")
    assert section.slide.width == section.slide.height


@pytest.mark.parametrize("n_spots", [1, 2, 5, 23])
def test_number_of_spots_is_exact(n_spots):
    small = synthetic.section(n_spots=n_spots, n_genes=6, mpp=2.0)
    assert small.section.n_spots == n_spots


def test_spots_lie_on_a_grid_of_200_um(simulated):
    section = simulated.section
    obs = section.adata.obs
    step = section.coords_um - 100
    np.testing.assert_allclose(step, 200 * obs[["array_col", "array_row"]].to_numpy())
    assert (obs["in_tissue"] == 1).all()


def test_mpp_scales_pixels_and_leaves_the_tissue():
    coarse = synthetic.section(n_spots=4, n_genes=6, mpp=2.0, seed=1)
    fine = synthetic.section(n_spots=4, n_genes=6, mpp=0.5, seed=1)
    assert fine.section.slide.width == 4 * coarse.section.slide.width
    np.testing.assert_allclose(fine.section.coords_um, coarse.section.coords_um)
    np.testing.assert_allclose(
        fine.nuclei[["x_px", "y_px"]], 4 * coarse.nuclei[["x_px", "y_px"]]
    )
    np.testing.assert_array_equal(fine.regions[2::4, 2::4], coarse.regions)


def test_same_seed_same_bytes_other_seed_other_tissue():
    first, again, other = (
        synthetic.section(n_spots=6, n_genes=12, mpp=2.0, seed=seed)
        for seed in (5, 5, 6)
    )
    assert pixels(first).tobytes() == pixels(again).tobytes()
    genes = list(first.section.adata.var_names)
    assert np.array_equal(first.section.counts(genes), again.section.counts(genes))
    pd.testing.assert_frame_equal(first.nuclei, again.nuclei)
    assert (first.regions != other.regions).mean() > 0.1
    # The biology stays: a model trained on one tissue can be tested on another.
    pd.testing.assert_frame_equal(first.programmes, other.programmes)


def test_section_is_the_first_of_the_stack():
    alone = synthetic.section(n_spots=6, n_genes=6, mpp=2.0, seed=2)
    clean = Handling(stain_shift=0)
    stack = synthetic.stack(
        4, n_spots=6, n_genes=6, mpp=2.0, seed=2, handling=clean, spacing_um=70
    )
    assert np.array_equal(pixels(alone), pixels(stack.simulated[0]))
    np.testing.assert_array_equal(alone.mean_counts, stack.simulated[0].mean_counts)


# --- regions and nuclei -----------------------------------------------------------


def test_every_region_is_there_in_a_usual_share(simulated):
    tissue = simulated.regions[simulated.regions != BACKGROUND]
    shares = np.bincount(tissue, minlength=5) / len(tissue)
    assert 0.25 < shares[TUMOUR] < 0.5
    assert 0.3 < shares[STROMA] < 0.6
    assert 0.05 < shares[FAT] < 0.2
    assert 0.03 < shares[IMMUNE] < 0.13


def test_shares_are_those_of_the_disc_of_a_spot(simulated):
    assert list(simulated.shares) == list(REGIONS)
    np.testing.assert_allclose(simulated.shares.sum(axis=1), 1)
    for spot in (0, 17, 39):
        column, row = np.floor(simulated.section.coords_px[spot]).astype(int)
        square = simulated.regions[row - 50 : row + 51, column - 50 : column + 51]
        away = np.hypot(*np.mgrid[-50:51, -50:51])
        expected = [(square[away <= 50] == region).mean() for region in range(5)]
        np.testing.assert_allclose(simulated.shares.iloc[spot], expected)


def test_nuclei_centres_lie_in_their_labels(simulated):
    labels = simulated.nuclei_labels()
    centres = simulated.nuclei[["x_px", "y_px"]].to_numpy()
    assert labels.max() == len(centres) > 1000
    np.testing.assert_array_equal(
        look_up(labels, centres), np.arange(1, len(centres) + 1)
    )


def test_a_label_is_the_ellipse_of_its_nucleus(simulated):
    labels = simulated.nuclei_labels()
    area = np.bincount(labels.ravel())[1:]
    expected = np.pi * simulated.nuclei["major_px"] * simulated.nuclei["minor_px"]
    # Neighbours may hide a part of it, and pixels are coarse; in the mean it fits.
    assert area.sum() == pytest.approx(expected.sum(), rel=0.05)
    assert np.corrcoef(area, expected)[0, 1] > 0.95
    heavy = expected.idxmax()  # its second moments give back its direction
    rows, columns = np.nonzero(labels == heavy + 1)
    axes = np.linalg.eigh(np.cov(columns, rows))[1]
    angle = simulated.nuclei["angle_rad"][heavy]
    assert abs(axes[:, 1] @ [np.cos(angle), np.sin(angle)]) > 0.9


def test_nuclei_suit_the_region(simulated):
    region = look_up(simulated.regions, simulated.nuclei[["x_px", "y_px"]].to_numpy())
    assert not (region == BACKGROUND).any()
    area = np.bincount(simulated.regions.ravel())
    per_mm2 = np.bincount(region, minlength=5) / area * 1e6
    assert per_mm2[IMMUNE] > 1.5 * per_mm2[TUMOUR] > 3 * per_mm2[STROMA]
    assert per_mm2[STROMA] > per_mm2[FAT]
    size = simulated.nuclei.groupby("kind")["major_px"].median()
    assert size["stroma"] > size["tumour"] > size["immune"]


# --- the image --------------------------------------------------------------------


def test_image_is_dark_in_nuclei_and_light_on_glass_and_in_fat(simulated):
    light, labels = grey(simulated), simulated.nuclei_labels()
    glass = light[simulated.regions == BACKGROUND]
    assert np.median(glass) > 230
    assert np.median(light[labels > 0]) < 110
    cytoplasm = light[(labels == 0) & (simulated.regions == TUMOUR)]
    assert np.median(cytoplasm) > 150
    assert np.median(light[simulated.regions == FAT]) > 220
    centres = look_up(light, simulated.nuclei[["x_px", "y_px"]].to_numpy())
    assert (centres < 150).mean() > 0.98


def test_haematoxylin_of_the_slide_finds_the_nuclei(simulated):
    haematoxylin = rgb2hed(pixels(simulated))[..., 0]
    inside_nuclei = simulated.nuclei_labels() > 0
    assert haematoxylin[inside_nuclei].mean() > 2 * haematoxylin[~inside_nuclei].mean()


def test_image_obeys_beer_and_lambert(simulated):
    """Light is absorbed along the two stains and nothing else."""
    density = -np.log((pixels(simulated) + 1e-6) / [243.0, 239.0, 238.0])
    density = density[density.min(axis=2) > 0.05]
    coefficients = density @ np.linalg.pinv(simulated.stains)
    left = density - coefficients @ simulated.stains
    assert np.abs(left).mean() < 0.02
    assert np.quantile(coefficients, 0.001) > -0.05


def test_stain_shift_changes_colours_and_not_tissue():
    plain = synthetic.section(n_spots=4, n_genes=6, mpp=2.0)
    shifted = synthetic.section(n_spots=4, n_genes=6, mpp=2.0, stain_shift=0.3)
    np.testing.assert_array_equal(plain.regions, shifted.regions)
    np.testing.assert_array_equal(plain.stains, RUIFROK)
    assert np.abs(shifted.stains - plain.stains).max() > 0.05
    tissue = plain.regions != BACKGROUND
    change = pixels(shifted)[tissue].mean(axis=0) - pixels(plain)[tissue].mean(axis=0)
    assert np.abs(change).max() > 3


# --- the counts -------------------------------------------------------------------


def test_counts_are_negative_binomial(simulated):
    means = simulated.mean_counts
    counts = simulated.section.counts(list(simulated.programmes.index))
    variance = means + DISPERSION * means**2
    scores = (counts - means) / np.sqrt(variance)
    # 4800 standardised values: the mean is within 0.06, four standard errors.
    assert abs(scores.mean()) < 0.06
    assert scores.var() == pytest.approx(1, abs=0.15)
    # Poisson counts would vary far less than that where means are large.
    assert ((counts - means) ** 2 / means)[means > 50].mean() > 4


def test_totals_are_those_of_a_real_spot(simulated):
    totals = simulated.section.total_counts()
    assert 2000 < np.median(totals) < 15000
    assert totals.std() / totals.mean() > 0.2


@pytest.mark.parametrize(("n_spots", "n_dead"), [(99, 0), (100, 1), (210, 2)])
def test_one_place_in_a_hundred_is_dead(n_spots, n_dead):
    loadings = transcripts.programmes(12)
    active = pd.DataFrame(1.0, index=range(n_spots), columns=loadings.columns)
    rng = np.random.default_rng(0)
    means = transcripts.mean_counts(active, loadings, np.full(n_spots, 40), rng)
    depth = means.sum(axis=1)
    np.testing.assert_allclose(depth[depth < 1000], [2.0] * n_dead)


def test_the_dead_place_of_a_section_is_in_its_truth():
    made = synthetic.section(n_spots=100, n_genes=12, mpp=2.0, seed=4)
    dead = made.mean_counts.sum(axis=1) < 1000
    totals = made.section.total_counts()
    assert dead.sum() == 1
    assert 1 <= totals[dead][0] <= 8
    assert (totals[~dead] > 500).all()
    made.section.validate()


def test_no_spot_is_drawn_without_transcripts():
    means = np.full((2000, 6), 0.1 / 6)  # nine in ten would be empty at first
    counts = transcripts.draw(means, np.random.default_rng(0))
    assert counts.sum(axis=1).min() == 1


def test_expression_is_the_log_of_the_mean_per_ten_thousand(simulated):
    per_ten_thousand = np.expm1(simulated.expression)
    np.testing.assert_allclose(per_ten_thousand.sum(axis=1), 1e4)
    np.testing.assert_allclose(
        per_ten_thousand[:, 0] / per_ten_thousand[:, 1],
        simulated.mean_counts[:, 0] / simulated.mean_counts[:, 1],
    )


def test_expression_is_activity_times_programmes(simulated):
    relative = simulated.activity @ simulated.programmes.T
    relative = relative.div(relative.sum(axis=1), axis=0)
    np.testing.assert_allclose(np.expm1(simulated.expression), 1e4 * relative)


@pytest.mark.parametrize("region", ["tumour", "stroma", "fat", "immune"])
def test_genes_follow_their_region(simulated, region):
    genes = simulated.programmes.index.str.startswith(region.upper())
    level = simulated.expression[:, genes].mean(axis=1)
    assert np.corrcoef(level, simulated.shares[region])[0, 1] > 0.5


def test_gradient_genes_do_not_show_in_the_image(simulated):
    gradient = np.log(simulated.activity["gradient"])
    others = simulated.shares[["tumour", "stroma", "fat", "immune"]]
    assert gradient.std() > 0.2
    # Neighbours agree: it is smooth.
    nearest = cKDTree(simulated.section.coords_um).query(
        simulated.section.coords_um, k=2
    )[1][:, 1]
    assert np.corrcoef(gradient, gradient.iloc[nearest])[0, 1] > 0.6
    assert others.corrwith(gradient).abs().max() < 0.6


@pytest.mark.parametrize("n_genes", [6, 7, 50, 300])
def test_every_programme_has_genes_with_made_up_names(n_genes):
    toy = synthetic.section(n_spots=1, n_genes=n_genes, mpp=2.0)
    names = toy.programmes.index
    assert len(names) == n_genes
    assert names.is_unique
    prefixes = set(names.str.rstrip("0123456789"))
    assert prefixes == {"TUMOUR", "STROMA", "FAT", "IMMUNE", "HOUSE", "GRADIENT"}
    assert list(names) == list(toy.section.adata.var_names)


# --- stacks -----------------------------------------------------------------------


def test_stack_has_the_frames_that_a_stack_demands():
    made = synthetic.stack(3, n_spots=6, n_genes=6, mpp=2.0, spacing_um=20)
    stack = made.stack
    assert stack.z_um == (0.0, 20.0, 40.0)
    assert stack.reference == "S1/um"
    assert [section.name for section in stack.sections] == ["S1", "S2", "S3"]
    np.testing.assert_array_equal(stack.to_reference[0].matrix, np.eye(3))
    for section in stack.sections:
        section.validate()


def test_same_seed_same_stack():
    first, again = (
        synthetic.stack(3, n_spots=4, n_genes=6, mpp=2.0, seed=8) for _ in range(2)
    )
    for one, other in zip(first.simulated, again.simulated, strict=True):
        assert pixels(one).tobytes() == pixels(other).tobytes()
        np.testing.assert_array_equal(one.mean_counts, other.mean_counts)
    for one, other in zip(first.warps, again.warps, strict=True):
        np.testing.assert_array_equal(one.rigid.matrix, other.rigid.matrix)


def test_structures_continue_and_drift():
    still = Handling(rotation_deg=0, shift_um=0, stain_shift=0)
    made = synthetic.stack(4, n_spots=12, n_genes=6, mpp=2.0, handling=still)
    first = made.simulated[0].regions
    agreement = [(first == later.regions).mean() for later in made.simulated]
    assert agreement[0] == 1
    assert 0.75 < agreement[1] < 0.97
    assert agreement[1] > agreement[2] > agreement[3]
    assert not np.array_equal(made.simulated[0].nuclei, made.simulated[1].nuclei)


def test_warps_map_the_tissue_onto_itself(same_height):
    reference, moved = same_height.simulated
    spots = reference.section.coords_um
    landmarks = same_height.warps[1].inverse(spots)
    np.testing.assert_allclose(same_height.warps[1](landmarks), spots, atol=1e-6)
    points = np.stack(np.meshgrid(*2 * [np.arange(300.0, 1400, 7)]), -1).reshape(-1, 2)
    mapped = same_height.warps[1].inverse(points)
    seen = inside(moved.regions, mapped)
    found = look_up(moved.regions, mapped[seen])
    expected = look_up(reference.regions, points[seen])
    assert (found == expected).mean() > 0.97
    unmapped = look_up(moved.regions, points[seen])
    assert (unmapped == expected).mean() < 0.7


def test_unwarping_brings_the_image_closer_than_the_rigid_map(same_height):
    reference, moved = same_height.simulated
    warp = same_height.warps[1]
    ticks = np.arange(250.0, 1450, 8)
    points = np.stack(np.meshgrid(ticks, ticks), axis=-1).reshape(-1, 2)
    fixed, moving = (ndimage.gaussian_filter(grey(s), 8) for s in (reference, moved))

    def similarity(mapped):
        seen = inside(moving, mapped)
        pair = look_up(moving, mapped[seen]), look_up(fixed, points[seen])
        return np.corrcoef(*pair)[0, 1]

    exact = similarity(warp.inverse(points))
    rigid = similarity(warp.rigid.inverse()(points))
    assert exact > 0.9
    assert exact > rigid + 0.1


def test_rotation_shift_and_mirror_stay_in_their_bounds(same_height):
    rigid = same_height.warps[1].rigid
    assert rigid.area_scale == pytest.approx(-1)
    centre = np.full((1, 2), same_height.simulated[0].section.slide.width / 2)
    assert np.abs(rigid(centre) - centre).max() <= 50
    plain = synthetic.stack(3, n_spots=1, n_genes=6, mpp=2.0)
    for warp in plain.warps:
        matrix = warp.rigid.matrix
        assert warp.rigid.area_scale == pytest.approx(1)
        assert abs(np.rad2deg(np.arctan2(matrix[1, 0], matrix[0, 0]))) <= 12


def test_displacement_is_bounded_and_smooth(same_height):
    warp = same_height.warps[1]
    points = np.stack(np.meshgrid(*2 * [np.arange(0.0, 1700, 50)]), -1).reshape(-1, 2)
    size = np.hypot(*warp.displacement(points).T)
    assert 15 < size.max() <= 60
    step = warp.displacement(points + np.array([1.0, 0.0])) - warp.displacement(points)
    assert np.hypot(*step.T).max() < 0.5  # far below 1: the tissue does not fold
    none = same_height.warps[0].displacement(points)
    np.testing.assert_array_equal(none, np.zeros_like(points))


def test_tear_by_hand():
    """A piece right of x = 10 was moved by 4 to the right."""
    rigid = Affine2D.identity("S2/um", "S1/um")
    none = np.zeros(2)
    still = Warp.rigid_only(rigid)
    torn = Warp(
        rigid,
        still.wave_vectors,
        still.phases,
        still.amplitudes_um,
        tear_at=np.array([10.0, 0.0]),
        tear_normal=np.array([1.0, 0.0]),
        tear_shift_um=np.array([4.0, 0.0]),
        hole=none,
        hole_radius_um=1.0,
    )
    section = np.array([[5.0, 3.0], [12.0, 3.0], [20.0, 3.0], [0.5, 0.0]])
    nan = np.nan
    block = np.array([[5.0, 3.0], [nan, nan], [16.0, 3.0], [nan, nan]])
    np.testing.assert_array_equal(torn(section), block)
    back = torn.inverse(np.array([[5.0, 3.0], [16.0, 3.0], [0.5, 0.0]]))
    np.testing.assert_array_equal(back, [[5.0, 3.0], [20.0, 3.0], [nan, nan]])
    assert (torn.source, torn.target) == ("S2/um", "S1/um")


def test_tear_and_missing_piece_show_as_glass():
    rough = Handling(tear_um=60, missing_um=150, stain_shift=0)
    made = synthetic.stack(
        2, n_spots=30, n_genes=6, mpp=2.0, handling=rough, spacing_um=1e-6
    )
    regions, warp = made.simulated[1].regions, made.warps[1]
    rows, columns = np.mgrid[: len(regions), : len(regions)]
    centres = np.column_stack([columns.ravel(), rows.ravel()]) * 2.0 + 1.0
    lost = np.isnan(warp(centres)).any(axis=1).reshape(regions.shape)
    # Fields are kept on 8 µm: away from the very edge, what is lost is glass.
    deep = ndimage.binary_erosion(lost, iterations=4)
    assert deep.sum() > 1000
    assert (regions[deep] == BACKGROUND).all()
    assert made.simulated[1].section.n_spots < 30
    assert not np.isnan(warp(made.simulated[1].section.coords_um)).any()
    without = np.isnan(warp.inverse(made.simulated[0].section.coords_um)).any(axis=1)
    assert 0 < without.sum() < 15


# --- errors -----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"n_spots": 0}, "n_spots is 0, expected 1 or more"),
        ({"n_genes": 5}, "n_genes is 5, expected 6 or more: one for each of the"),
        ({"mpp": 0.0}, "mpp is 0.0, expected µm per pixel above 0 and at most 2"),
        ({"mpp": 3.0}, "mpp is 3.0, .* Downsample the slide instead"),
        ({"mpp": float("nan")}, "mpp is nan"),
        ({"seed": -1}, "seed is -1, expected a whole number from 0"),
        ({"stain_shift": -0.1}, "stain_shift is -0.1, expected a finite number from 0"),
    ],
)
def test_section_refuses_what_cannot_be_made(arguments, message):
    with pytest.raises(ValueError, match=message):
        synthetic.section(**arguments)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"n_sections": 0}, "n_sections is 0, expected 1 or more"),
        ({"spacing_um": 0.0}, "spacing_um is 0.0, expected a distance above 0"),
        ({"spacing_um": float("inf")}, "spacing_um is inf"),
        ({"n_spots": -3}, "n_spots is -3"),
        (
            {"n_spots": 4, "handling": Handling(deformation_um=500)},
            "deformation_um is 500, expected at most 93, an eighth",
        ),
    ],
)
def test_stack_refuses_what_cannot_be_made(arguments, message):
    with pytest.raises(ValueError, match=message):
        synthetic.stack(**arguments)


@pytest.mark.parametrize(
    "name",
    ["rotation_deg", "shift_um", "deformation_um", "tear_um", "missing_um"],
)
@pytest.mark.parametrize("amount", [-1.0, float("inf")])
def test_handling_refuses_negative_and_endless_amounts(name, amount):
    with pytest.raises(ValueError, match=f"{name} is {amount}, expected a finite"):
        Handling(**{name: amount})

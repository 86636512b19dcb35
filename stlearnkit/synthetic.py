"""Tissue that is made up, with the truth about it: for tests, and where data lack.

`section` draws an H&E slide with tumour nests, stroma, fat and immune foci, and counts
that depend on them; `stack` cuts serial sections of one block and handles them as
badly as one asks. What a real experiment hides is returned beside: the region of each
pixel, each nucleus, the expression without noise, the map from section to block.

Genes have names such as ``"TUMOUR01"``, so that nobody takes them for real ones. Only
the tissue depends on `seed`; the genes' programmes are the same in every tissue, as
biology is. Pixel i covers the coordinates from i to i + 1.

Taught in the chapter "What a section is".
"""

__all__ = [
    "DISPERSION",
    "REGIONS",
    "Handling",
    "Simulated",
    "SimulatedStack",
    "Warp",
    "section",
    "stack",
]

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
import pandas as pd
from jaxtyping import Float, Int32, UInt8

from stlearnkit._synthetic import nuclei as _nuclei
from stlearnkit._synthetic import staining, tissue, transcripts
from stlearnkit._synthetic.tissue import PITCH_UM, REGIONS
from stlearnkit._synthetic.transcripts import DISPERSION, PROGRAMMES
from stlearnkit._synthetic.warp import Handling, Warp, check_amount
from stlearnkit.conventions import frame_um
from stlearnkit.geometry import Affine2D
from stlearnkit.sections import Section
from stlearnkit.slides import Slide
from stlearnkit.stacks import Stack

_SPOT_UM = 100.0  # diameter


@dataclass(frozen=True, eq=False)
class Simulated:
    """A made-up section and the truth about it.

    Parameters
    ----------
    section
        What an experiment would give.
    regions
        Number of the region of each pixel, in the order of `REGIONS`.
    nuclei
        One row per nucleus: centre `x_px`, `y_px`, half axes `major_px`, `minor_px`,
        direction of the major axis `angle_rad`, `darkness`, and `kind`: tumour,
        stroma or immune, wherever it lies.
    shares
        Share of each spot's area that lies in each region; rows sum to 1.
    activity
        How strongly each programme is on in each spot.
    programmes
        What each programme adds to each gene, genes × programmes.
    mean_counts
        Mean of the distribution that each count was drawn from.
    stains
        Absorption of red, green and blue by haematoxylin and eosin in this slide.
    """

    section: Section
    regions: UInt8[np.ndarray, "height width"]
    nuclei: pd.DataFrame
    shares: pd.DataFrame
    activity: pd.DataFrame
    programmes: pd.DataFrame
    mean_counts: Float[np.ndarray, "spots genes"]
    stains: Float[np.ndarray, "2 3"]

    @property
    def expression(self) -> Float[np.ndarray, "spots genes"]:
        """Expression without noise: log1p of transcripts per ten thousand."""
        total = self.mean_counts.sum(axis=1, keepdims=True)
        return np.log1p(1e4 * self.mean_counts / total)

    def nuclei_labels(self) -> Int32[np.ndarray, "height width"]:
        """Draw the nuclei as labels: row in `nuclei` plus 1, and 0 between them."""
        return _nuclei.labels(self.nuclei, self.regions.shape)


_CAREFUL = Handling()


@dataclass(frozen=True, eq=False)
class SimulatedStack:
    """Serial sections of one made-up block and the truth about them.

    Parameters
    ----------
    simulated
        The sections, in the order of the block.
    z_um
        Height of each.
    warps
        For each, the exact map from its µm frame to that of the first section.
    """

    simulated: tuple[Simulated, ...]
    z_um: tuple[float, ...]
    warps: tuple[Warp, ...]

    @property
    def to_reference(self) -> tuple[Affine2D, ...]:
        """The rigid part of each of the `warps`."""
        return tuple(warp.rigid for warp in self.warps)

    @property
    def stack(self) -> Stack:
        """The sections with their true rigid maps."""
        sections = tuple(simulated.section for simulated in self.simulated)
        return Stack(sections, self.z_um, self.to_reference)


@dataclass(frozen=True)
class _Order:
    """What the sections of one block have in common."""

    n_spots: int
    n_genes: int
    seed: int
    mpp: float
    patient: str
    stain_shift: float

    def __post_init__(self) -> None:
        """Refuse what cannot be made.

        Raises
        ------
        ValueError
            If a number is out of its range.
        """
        if self.n_spots < 1:
            raise ValueError(
                f"n_spots is {self.n_spots}, expected 1 or more. "
                "The sections on HER2ST arrays have about 180 to 600."
            )
        if self.n_genes < len(PROGRAMMES):
            raise ValueError(
                f"n_genes is {self.n_genes}, expected {len(PROGRAMMES)} or more: one "
                f"for each of the programmes {', '.join(PROGRAMMES)}."
            )
        if not 0 < self.mpp <= 2:
            raise ValueError(
                f"mpp is {self.mpp}, expected µm per pixel above 0 and at most 2: "
                "in larger pixels nuclei would merge. Downsample the slide instead."
            )
        if self.seed < 0:
            raise ValueError(
                f"seed is {self.seed}, expected a whole number from 0. "
                "Any other number gives another tissue."
            )
        check_amount("stain_shift", self.stain_shift)


def section(
    name: str = "S1",
    *,
    n_spots: int = 180,
    n_genes: int = 300,
    seed: int = 0,
    mpp: float = 1.0,
    patient: str = "SIM",
    stain_shift: float = 0.0,
) -> Simulated:
    r"""Make one section, as it comes from a tissue block.

    Parameters
    ----------
    name, patient
        Of the section.
    n_spots
        Number of spots of 100 µm under tissue, on a square grid of 200 µm.
    n_genes
        Number of genes; at least one for each of the six programmes.
    seed
        Of the tissue and of all noise. `stack` with this seed starts with this section.
    mpp
        µm per pixel, at most 2.
    stain_shift
        Spread of the logarithm of the amount of each stain; colours shift too.

    Raises
    ------
    ValueError
        If a number is out of its range.

    Notes
    -----
    Programme :math:`k` is on in spot :math:`s` with

    .. math:: a_{sk} = v_{sk} \exp(\sigma_k h_k(x_s)),

    where :math:`v` is seen in the image (share of the region; for immune genes, number
    of lymphocytes; 1 for the last two) and :math:`h` is a smooth field that it does not
    show. Gene :math:`g` has the share :math:`p_{sg} \propto \sum_k a_{sk} W_{gk}` of
    the :math:`N_s` transcripts. Counts are negative binomial, of mean
    :math:`\mu = N_s p_{sg}` and variance :math:`\mu + \varphi \mu^2` with
    :math:`\varphi` = `DISPERSION`.

    As on real arrays, one place in a hundred (rounded down) is dead: :math:`N_s` is 2,
    and at least one transcript is drawn. The sum of its `mean_counts` tells which.

    Examples
    --------
    >>> toy = section(n_spots=4, n_genes=12, mpp=2.0)
    >>> toy.section.n_spots, toy.section.n_genes, toy.section.mpp
    (4, 12, 2.0)
    >>> toy.regions.shape == toy.nuclei_labels().shape
    True
    """
    order = _Order(n_spots, n_genes, seed, mpp, patient, stain_shift)
    block = tissue.Block.grow(n_spots, 0.0, _generator(seed, 0))
    warp = Warp.rigid_only(Affine2D.identity(frame_um(name), frame_um(name)))
    return _cut(block, warp, 0.0, 1, order)


def stack(
    n_sections: int = 5,
    *,
    n_spots: int = 180,
    n_genes: int = 300,
    seed: int = 0,
    mpp: float = 1.0,
    spacing_um: float = 48.0,
    patient: str = "SIM",
    handling: Handling = _CAREFUL,
) -> SimulatedStack:
    """Cut serial sections of one block, named S1, S2 and so on.

    Structures continue from section to section and drift slowly; nuclei, which are
    thinner than the spacing, do not. The first section is the reference and has
    `n_spots`; the others have about as many.

    Parameters
    ----------
    n_sections
        How many.
    n_spots, n_genes, seed, mpp, patient
        As for `section`.
    spacing_um
        Distance of neighbouring sections along z.
    handling
        What happened to the sections on their way to the slide.

    Raises
    ------
    ValueError
        If a number is out of its range.

    Examples
    --------
    >>> pair = stack(2, n_spots=4, n_genes=12, mpp=2.0)
    >>> pair.stack.reference, pair.stack.z_um
    ('S1/um', (0.0, 48.0))
    """
    if n_sections < 1:
        raise ValueError(f"n_sections is {n_sections}, expected 1 or more.")
    if not (np.isfinite(spacing_um) and spacing_um > 0):
        raise ValueError(
            f"spacing_um is {spacing_um}, expected a distance above 0: sections of a "
            "stack have increasing heights. For replicates call section() instead."
        )
    order = _Order(n_spots, n_genes, seed, mpp, patient, handling.stain_shift)
    z_um = tuple(float(z) for z in spacing_um * np.arange(n_sections))
    block = tissue.Block.grow(n_spots, z_um[-1], _generator(seed, 0))
    numbers = range(1, n_sections + 1)
    warps = tuple(
        handling.draw(
            number, block.side_um, block.radius_um, _generator(seed, 1000 + number)
        )
        for number in numbers
    )
    with ThreadPoolExecutor(max_workers=2) as pool:  # more would fill the memory
        simulated = pool.map(
            lambda warp, z, number: _cut(block, warp, z, number, order),
            warps,
            z_um,
            numbers,
        )
    return SimulatedStack(tuple(simulated), z_um, warps)


def _cut(
    block: tissue.Block, warp: Warp, z_um: float, number: int, order: _Order
) -> Simulated:
    """Make the slide and the counts of the section at one height of a block."""
    rng = _generator(order.seed, number)
    mpp, name = order.mpp, warp.source.removesuffix("/um")
    scene = tissue.look(block, warp, z_um)
    nuclei = _nuclei.in_pixels(_nuclei.scatter(scene, block.side_um, rng), mpp)
    stains = staining.shift_stains(order.stain_shift, rng)
    image = staining.stain(scene, nuclei, mpp, stains, rng)
    regions = tissue.enlarge(scene.regions, len(image))

    places = block.places()
    places = places[block.tissue(warp(places), z_um) > 0]
    obs = _array_positions(places)
    radius_px = _SPOT_UM / 2 / mpp
    shares = transcripts.region_shares(regions, places / mpp, radius_px, obs.index)
    inside = transcripts.nuclei_inside(nuclei, places / mpp, radius_px)
    hidden = {
        programme: block.field(f"hidden_{programme}", warp(places), z_um)
        for programme in PROGRAMMES
        if programme != "housekeeping"
    }
    active = transcripts.activity(shares, inside["immune"].to_numpy(), hidden)
    loadings = transcripts.programmes(order.n_genes)
    n_nuclei = inside.sum(axis=1).to_numpy()
    means = transcripts.mean_counts(active, loadings, n_nuclei, rng)
    section = Section.build(
        transcripts.draw(means, rng),
        list(loadings.index),
        list(obs.index),
        places / mpp,
        name=name,
        patient=order.patient,
        slide=Slide.from_array(image, mpp),
        spot_diameter_um=_SPOT_UM,
        obs=obs,
    )
    return Simulated(section, regions, nuclei, shares, active, loadings, means, stains)


def _array_positions(places: Float[np.ndarray, "spots 2"]) -> pd.DataFrame:
    """Return row and column on the array, indexed by names such as ``"3x5"``."""
    columns, rows = np.floor(places / PITCH_UM).astype(int).T
    names = [f"{column}x{row}" for column, row in zip(columns, rows, strict=True)]
    return pd.DataFrame(
        {"array_row": rows, "array_col": columns, "in_tissue": 1}, index=names
    )


def _generator(seed: int, part: int) -> np.random.Generator:
    """Return the source of chance for one part of a tissue."""
    return np.random.default_rng([seed, part])

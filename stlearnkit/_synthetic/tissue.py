"""The tissue behind `synthetic`: a block with structures in three dimensions.

A `Block` is made of smooth random fields. Where a field exceeds its level there is
a structure: a nest, a focus, fat. Each field turns slowly into another along z, so
that what one section shows continues, a little changed, in the next.

A `Scene` is what one section sees of the block, as small images,; `nuclei`
are sown in it, and `staining` makes the slide of both.
"""

__all__ = [
    "PAINT_UM",
    "PITCH_UM",
    "REGIONS",
    "Block",
    "Scene",
    "enlarge",
    "look",
]

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, UInt8
from PIL import Image
from scipy import ndimage
from scipy.spatial import cKDTree

REGIONS = ("background", "tumour", "stroma", "fat", "immune")
"""What a pixel can lie in; a region's number is its place in this tuple."""
_BACKGROUND, _TUMOUR, _STROMA, _FAT, _IMMUNE = range(5)

PITCH_UM = 200.0
"""Distance of neighbouring spots."""
PAINT_UM = 2.0
"""Pixel of the images in a `Scene`."""
_TEXTURE = 512  # rows and columns of a texture
_STEP_UM = 8.0  # lattice on which fields are kept
_DRIFT_UM = 300.0  # height over which a field turns by one radian
_FAT_CELL_UM = 62.0  # between the centres of fat cells

# Smoothing length of each field in µm: about a third of the width of its structures.
_LENGTHS_UM = {
    "outline": 150.0,
    "frayed": 14.0,
    "nests": 60.0,
    "strands": 17.0,
    "fat": 230.0,
    "immune": 75.0,
    "oedema": 70.0,
    "across": 170.0,
    "along": 250.0,
    "hidden_tumour": 450.0,
    "hidden_stroma": 450.0,
    "hidden_fat": 450.0,
    "hidden_immune": 450.0,
    "hidden_gradient": 600.0,
}
# What each region takes of the tissue that those before it have left.
_SHARES = {"fat": 0.13, "immune": 0.08, "tumour": 0.45}


@dataclass(frozen=True, eq=False)
class Block:
    """A block of tissue that can be cut at any height.

    Parameters
    ----------
    side_um
        Side of the square that the image of a section shows.
    radius_um
        Half the width of the tissue, about.
    fields
        For each name, the two lattices that the field turns between.
    textures
        Of collagen: thin ``"fibre"`` and thick ``"bundle"``, along straight lines.
    fat_cells
        Centres (x, y, z) of the fat cells in µm.
    levels
        For ``"tissue"`` and for each region, the value above which it is there.
    """

    side_um: float
    radius_um: float
    fields: dict[str, tuple[np.ndarray, np.ndarray]]
    textures: dict[str, np.ndarray]
    fat_cells: Float[np.ndarray, "_ 3"]
    levels: dict[str, float]

    @classmethod
    def grow(cls, n_spots: int, depth_um: float, rng: np.random.Generator) -> "Block":
        """Make a block whose face at z = 0 covers exactly `n_spots` places."""
        n_cells = int(np.ceil((1.1 * np.sqrt(n_spots) + 1.5) * PITCH_UM / _STEP_UM))
        fields = {
            name: (_noise(rng, n_cells, length_um), _noise(rng, n_cells, length_um))
            for name, length_um in _LENGTHS_UM.items()
        }
        side_um = n_cells * _STEP_UM
        block = cls(
            side_um,
            PITCH_UM * np.sqrt(n_spots / 3.6),
            fields,
            {"fibre": _fibres(rng, 1.6, 45.0), "bundle": _fibres(rng, 8.0, 120.0)},
            _fat_cells(side_um, depth_um, rng),
            {},
        )
        block.levels.update(block._find_levels(n_spots))
        return block

    def field(
        self, name: str, points: Float[np.ndarray, "points 2"], z_um: float
    ) -> Float[np.ndarray, " points"]:
        """Return a field of mean 0 and deviation 1 at points (x, y) of the block."""
        if name == "tumour":  # nests, cut up by thin strands of stroma
            nests = self.field("nests", points, z_um)
            return (nests + 0.4 * self.field("strands", points, z_um)) / np.sqrt(1.16)
        turn = z_um / _DRIFT_UM
        start, end = self.fields[name]
        lattice = np.cos(turn) * start + np.sin(turn) * end
        rows_columns = np.nan_to_num(points[:, ::-1].T) / _STEP_UM - 0.5
        return ndimage.map_coordinates(lattice, rows_columns, order=1, mode="grid-wrap")

    def tissue(
        self, points: Float[np.ndarray, "points 2"], z_um: float
    ) -> Float[np.ndarray, " points"]:
        """Return how far inside the tissue points lie, in radii; NaN points are not."""
        away = np.abs(points - self.side_um / 2) / self.radius_um
        radius = (away**2.6).sum(axis=1) ** (1 / 2.6)
        bulges = 0.08 * self.field("outline", points, z_um)
        frays = 0.012 * self.field("frayed", points, z_um)
        inside = 1 - radius + bulges + frays - self.levels.get("tissue", 0.0)
        return np.nan_to_num(inside, nan=-1.0)

    def places(self) -> Float[np.ndarray, "points 2"]:
        """Return the centres (x, y) in µm of all places that a spot may take."""
        ticks = np.arange(PITCH_UM / 2, self.side_um - PITCH_UM / 4, PITCH_UM)
        return np.stack(np.meshgrid(ticks, ticks), axis=-1).reshape(-1, 2)

    def _find_levels(self, n_spots: int) -> dict[str, float]:
        """Choose levels so that the face has the wanted size and shares."""
        inside = np.sort(self.tissue(self.places(), 0.0))[::-1]
        tissue = float(inside[n_spots - 1 : n_spots + 1].mean())
        points = cell_centres(self.side_um, _STEP_UM)
        points = points[self.tissue(points, 0.0) > tissue]
        levels = {"tissue": tissue}
        for name, share in _SHARES.items():
            values = self.field(name, points, 0.0)
            levels[name] = float(np.quantile(values, 1 - share))
            points = points[values <= levels[name]]
        return levels


@dataclass(frozen=True, eq=False)
class Scene:
    """What a section sees of the block: images with pixels of `PAINT_UM`.

    Parameters
    ----------
    regions
        Number of the region of each pixel; see `REGIONS`.
    rims
        µm to the nearest border of a fat cell, in fat; 0 elsewhere.
    fields
        What shades the slide: ``"tumour"``, ``"immune"``, ``"oedema"``, ``"fibre"``,
        ``"bundle"``, and ``"across"``, which is constant along fibres.
    """

    regions: UInt8[np.ndarray, "height width"]
    rims: Float[np.ndarray, "height width"]
    fields: dict[str, np.ndarray]

    def at(
        self, image: np.ndarray, points_um: Float[np.ndarray, "points 2"]
    ) -> np.ndarray:
        """Return the pixels of one of the images at points (x, y) of the section."""
        columns, rows = np.floor(points_um / PAINT_UM).astype(int).T
        return image[rows, columns]


def look(
    block: Block,
    warp: Callable[[Float[np.ndarray, "points 2"]], Float[np.ndarray, "points 2"]],
    z_um: float,
) -> Scene:
    """See the block at height `z_um` through the `warp` of a section."""
    points = warp(cell_centres(block.side_um, _STEP_UM))
    n_cells = round(block.side_um / _STEP_UM)
    side_px = round(block.side_um / PAINT_UM)
    levels = block.levels
    coarse = {
        name: block.field(name, points, z_um) - levels.get(name, 0.0)
        for name in ("tumour", "immune", "fat", "oedema")
    }
    coarse["tissue"] = block.tissue(points, z_um)
    # Fibres run along lines of equal "across", which bend around the nests.
    x, y = np.nan_to_num(points).T
    bend = 110.0 * block.field("across", points, z_um)
    coarse["across"] = 0.5 * x + 0.85 * y + bend + 40.0 * coarse["tumour"]
    coarse["along"] = 0.85 * x - 0.5 * y + 100.0 * block.field("along", points, z_um)
    fine = {
        name: enlarge(values.reshape(n_cells, n_cells).astype(np.float32), side_px)
        for name, values in coarse.items()
    }
    row = fine["across"].astype(np.int32) % _TEXTURE
    column = (fine["along"] / 4).astype(np.int32) % _TEXTURE
    fine |= {name: texture[row, column] for name, texture in block.textures.items()}
    regions = np.full(fine["tissue"].shape, _STROMA, np.uint8)
    regions[fine["tumour"] > 0] = _TUMOUR
    regions[fine["immune"] > 0] = _IMMUNE
    regions[fine["fat"] > 0] = _FAT
    regions[fine["tissue"] <= 0] = _BACKGROUND
    rims = np.zeros(regions.shape, np.float32)
    rows, columns = np.nonzero(regions == _FAT)
    in_fat = warp((np.column_stack([columns, rows]) + 0.5) * PAINT_UM)
    rims[rows, columns] = _distance_to_rim(block.fat_cells, in_fat, z_um)
    return Scene(regions, rims, fine)


def cell_centres(side_um: float, step_um: float) -> Float[np.ndarray, "points 2"]:
    """Return the centres (x, y) of square cells that fill a square, row by row."""
    ticks = (np.arange(round(side_um / step_um)) + 0.5) * step_um
    return np.stack(np.meshgrid(ticks, ticks), axis=-1).reshape(-1, 2)


def _noise(
    rng: np.random.Generator, n_cells: int, length_um: float
) -> Float[np.ndarray, "height width"]:
    """Draw a smooth periodic field of mean 0 and deviation 1."""
    sigma = min(length_um / _STEP_UM, n_cells / 6)
    spectrum = np.fft.rfft2(rng.standard_normal((n_cells, n_cells)))
    spectrum = ndimage.fourier_gaussian(spectrum, sigma, n=n_cells)
    smooth = np.fft.irfft2(spectrum, s=(n_cells, n_cells))
    return (smooth - smooth.mean()) / smooth.std()


def _fibres(
    rng: np.random.Generator, width_um: float, length_um: float
) -> Float[np.ndarray, "height width"]:
    """Draw a periodic texture of fibres: rows of 1 µm across, columns of 4 µm along."""
    white = rng.standard_normal((_TEXTURE, _TEXTURE), dtype=np.float32)
    smooth = ndimage.gaussian_filter(white, (width_um, length_um / 4), mode="wrap")
    return smooth / smooth.std()


def _fat_cells(
    side_um: float, depth_um: float, rng: np.random.Generator
) -> Float[np.ndarray, "_ 3"]:
    """Place fat cells on a lattice, each moved a little so that none shows."""
    across = np.arange(-_FAT_CELL_UM, side_um + _FAT_CELL_UM, _FAT_CELL_UM)
    down = np.arange(-_FAT_CELL_UM, depth_um + 2 * _FAT_CELL_UM, _FAT_CELL_UM)
    z, y, x = np.meshgrid(down, across, across, indexing="ij")  # layer by layer
    lattice = np.stack([x, y, z], axis=-1).reshape(-1, 3)
    return lattice + rng.uniform(-0.4, 0.4, lattice.shape) * _FAT_CELL_UM


def _distance_to_rim(
    fat_cells: Float[np.ndarray, "_ 3"],
    points: Float[np.ndarray, "points 2"],
    z_um: float,
) -> Float[np.ndarray, " points"]:
    """Return µm to the membrane: fat cells are the Voronoi cells of their centres.

    Between the nearest centre at distance :math:`d_1` and the next at :math:`d_2` the
    wall is about :math:`(d_2 - d_1) / 2` away; a radius of at most half the spacing
    rounds the corners off.
    """
    if len(points) == 0:
        return np.zeros(0)
    at_height = np.column_stack([np.nan_to_num(points), np.full(len(points), z_um)])
    distances, _ = cKDTree(fat_cells).query(at_height, k=2)
    to_wall = (distances[:, 1] - distances[:, 0]) / 2
    to_corner = 0.72 * _FAT_CELL_UM - distances[:, 0]
    return np.clip(np.minimum(to_wall, to_corner), 0.0, None)


def enlarge(image: np.ndarray, side_px: int) -> np.ndarray:
    """Bring a square image to `side_px`, smoothly; an image of labels stays one."""
    smooth = image.dtype != np.uint8
    resampling = Image.Resampling.BILINEAR if smooth else Image.Resampling.NEAREST
    return np.array(Image.fromarray(image).resize((side_px, side_px), resampling))

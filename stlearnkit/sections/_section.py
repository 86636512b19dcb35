"""A table of spots and the image they lie on."""

__all__ = ["Section"]

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from anndata import AnnData
from jaxtyping import Bool, Float
from scipy import sparse

from stlearnkit import _spatialdata, _validation
from stlearnkit.conventions import (
    COUNTS,
    SPATIAL,
    SectionError,
    frame_px,
    frame_um,
)
from stlearnkit.geometry import Affine2D
from stlearnkit.slides import Slide

if TYPE_CHECKING:
    from spatialdata import SpatialData

_HIRES_SIDE_PX = 1000  # longer side of the thumbnail that scanpy draws


@dataclass(frozen=True, eq=False)
class Section:
    """One tissue section: a table of spots and the image they lie on.

    Parameters
    ----------
    adata
        Spots × genes. `layers["counts"]` holds raw counts, `obsm["spatial"]` the spot
        centres (x, y) in full-resolution pixels, `uns["spatial"][name]` thumbnail and
        scale factors as scanpy writes them.
    slide
        The H&E image, or None where only counts are at hand.
    name
        Name of the section, e.g. ``"C2"``.
    patient
        Name of the donor. Sections of one patient never stand on both sides of a
        split that claims to be about patients.

    Examples
    --------
    >>> section = Section.build(
    ...     np.array([[3, 0], [1, 2]]), ["GENE1", "GENE2"], ["1x1", "2x1"],
    ...     np.array([[20.0, 10.0], [40.0, 10.0]]), name="toy", patient="P",
    ...     slide=Slide.from_array(np.full((30, 60, 3), 255, np.uint8), mpp=5.0))
    >>> section.coords_um
    array([[100.,  50.],
           [200.,  50.]])
    """

    adata: AnnData
    slide: Slide | None
    name: str
    patient: str

    @classmethod
    def build(  # noqa: PLR0913 - the parts of a section are as many as they are
        cls,
        counts: Any,
        genes: Sequence[str],
        spots: Sequence[str],
        coords_px: Float[np.ndarray, "spots 2"],
        *,
        name: str,
        patient: str,
        slide: Slide | None = None,
        mpp: float | None = None,
        spot_diameter_um: float = 100.0,
        obs: pd.DataFrame | None = None,
    ) -> "Section":
        """Assemble a section under the keys of scanpy and squidpy, and validate it.

        Parameters
        ----------
        counts
            Raw counts, spots × genes; an array or a scipy sparse matrix.
        genes, spots
            Names of columns and rows.
        coords_px
            Spot centres (x, y) in full-resolution pixels of the slide.
        name, patient, slide
            As for the class.
        mpp
            µm per px of `coords_px`, to be known without a slide too. A slide's own
            scale goes first.
        spot_diameter_um
            Diameter of a spot, for drawing.
        obs
            Further columns, one row per spot, indexed by spot name; e.g. `array_row`,
            `array_col`, labels.

        Raises
        ------
        SectionError
            If the parts do not fit together; see `validate`.
        """
        _check_lengths(np.shape(counts), len(spots), len(genes), len(coords_px))
        _validation.check_matrix(counts)
        table = pd.DataFrame(index=pd.Index([str(spot) for spot in spots]))
        _validation.check_spots(table.index)
        if obs is not None:
            table = table.join(obs)
        adata = AnnData(
            sparse.csr_matrix(counts),
            obs=table,
            var=pd.DataFrame(index=pd.Index([str(gene) for gene in genes])),
        )
        adata.layers[COUNTS] = adata.X.copy()
        adata.obsm[SPATIAL] = np.asarray(coords_px, float)
        adata.uns[SPATIAL] = {name: _image_slot(slide, mpp, spot_diameter_um)}
        section = cls(adata, slide, name, patient)
        section.validate()
        return section

    @property
    def n_spots(self) -> int:
        """Number of spots."""
        return int(self.adata.n_obs)

    @property
    def n_genes(self) -> int:
        """Number of genes."""
        return int(self.adata.n_vars)

    @property
    def coords_px(self) -> Float[np.ndarray, "spots 2"]:
        """Spot centres (x, y) in full-resolution pixels."""
        return np.asarray(self.adata.obsm[SPATIAL], float)

    @property
    def mpp(self) -> float:
        """Micrometres per full-resolution pixel.

        Raises
        ------
        SectionError
            If neither the slide nor the table says.
        """
        if self.slide is not None and self.slide.mpp is not None:
            return float(self.slide.mpp)
        metadata = (
            self.adata.uns.get(SPATIAL, {}).get(self.name, {}).get("metadata", {})
        )
        if "mpp" in metadata:
            return float(metadata["mpp"])
        raise SectionError(
            f"section {self.name!r} has no µm scale. Give Slide(..., mpp=...); for an "
            "array of known pitch, mpp = pitch in µm / pitch in pixels."
        )

    @property
    def px_to_um(self) -> Affine2D:
        """The map from this section's pixels to its micrometres."""
        return Affine2D.scaling(
            self.mpp, source=frame_px(self.name), target=frame_um(self.name)
        )

    @property
    def coords_um(self) -> Float[np.ndarray, "spots 2"]:
        """Spot centres (x, y) in micrometres, in the frame of this section."""
        return self.px_to_um(self.coords_px)

    def require_slide(self, purpose: str) -> Slide:
        """Return the slide, for what cannot be done without one.

        Parameters
        ----------
        purpose
            What it is for, such as ``"to draw"``; the error says so.

        Raises
        ------
        SectionError
            If there is none.
        """
        if self.slide is None:
            raise SectionError(
                f"section {self.name!r} has no slide {purpose}. Load it with its "
                "image, or give Section.build(..., slide=Slide.open(...))."
            )
        return self.slide

    def counts(self, genes: Sequence[str]) -> Float[np.ndarray, "spots genes"]:
        """Return the raw counts of `genes`, in that order, as a dense array.

        Raises
        ------
        KeyError
            If a gene was not measured here.
        """
        columns = self.adata.var_names.get_indexer(list(genes))
        if (columns < 0).any():
            missing = [gene for gene, at in zip(genes, columns, strict=True) if at < 0]
            raise KeyError(
                f"{len(missing)} of {len(genes)} genes are not in section "
                f"{self.name!r}, first: {missing[0]!r}. Choose the panel among genes "
                "that all sections share: expression.shared_genes(sections)."
            )
        return _dense(self.adata.layers[COUNTS][:, columns])

    def total_counts(self) -> Float[np.ndarray, " spots"]:
        """Return the number of transcripts of each spot, over all genes."""
        return np.asarray(self.adata.layers[COUNTS].sum(axis=1), float).ravel()

    def subset(self, spots: Bool[np.ndarray, " spots"]) -> "Section":
        """Return the section with only the spots where the mask is true."""
        return type(self)(self.adata[spots].copy(), self.slide, self.name, self.patient)

    def validate(self) -> None:
        """Check that table, places and image fit together.

        Raises
        ------
        SectionError
            At the first thing that is wrong: no spots, repeated spot names, missing
            counts, counts that are negative or not whole, missing or non-finite
            centres, no µm scale, or centres outside the image (with a hint if
            swapping x and y would put them inside).
        """
        _validation.check_spots(self.adata.obs_names)
        _validation.check_counts(self.adata)
        _validation.check_coords(self.adata)
        if self.slide is not None:
            _ = self.mpp  # raises if there is no scale
            _validation.check_inside(self.adata, self.slide)

    def to_spatialdata(self) -> "SpatialData":
        """Return the section as a `SpatialData` with image, circles and table.

        The elements share the coordinate system named after the section, in µm.
        """
        part = _spatialdata.Part(self.adata, self.slide, self.name, self.patient)
        return _spatialdata.write(part, self.mpp)

    @classmethod
    def from_spatialdata(cls, data: "SpatialData") -> "Section":
        """Return the section that `to_spatialdata` wrote.

        Raises
        ------
        SectionError
            If `data` does not hold one section in that layout.
        """
        return cls(*_spatialdata.read(data))

    def __repr__(self) -> str:
        """Show size and origin."""
        image = "no image" if self.slide is None else repr(self.slide)
        return (
            f"Section({self.name!r}, patient {self.patient!r}: {self.n_spots} spots x "
            f"{self.n_genes} genes; {image})"
        )


def _check_lengths(
    shape: tuple[int, ...], n_spots: int, n_genes: int, n_centres: int
) -> None:
    """Refuse parts of a section that are not of the same length.

    Raises
    ------
    SectionError
        If counts, names and centres differ.
    """
    if shape != (n_spots, n_genes):
        raise SectionError(
            f"counts has shape {shape}, but there are {n_spots} spots and {n_genes} "
            "genes. Counts are spots x genes: transpose them, or check which rows "
            "were dropped."
        )
    if n_centres != n_spots:
        raise SectionError(
            f"coords_px has {n_centres} rows, but there are {n_spots} spots. Give one "
            "(x, y) per spot, in the order of the counts."
        )


def _image_slot(
    slide: Slide | None, mpp: float | None, spot_diameter_um: float
) -> dict[str, Any]:
    """Make the entry of `adata.uns["spatial"]` that scanpy's plots read."""
    if slide is not None and slide.mpp is not None:
        mpp = slide.mpp
    if mpp is None:
        return {"images": {}, "scalefactors": {}, "metadata": {}}
    slot: dict[str, Any] = {
        "images": {},
        "scalefactors": {"spot_diameter_fullres": spot_diameter_um / mpp},
        "metadata": {"mpp": mpp},
    }
    if slide is not None:
        hires = slide.thumbnail(_HIRES_SIDE_PX)
        slot["images"]["hires"] = hires
        slot["scalefactors"]["tissue_hires_scalef"] = hires.shape[1] / slide.width
    return slot


def _dense(matrix: Any) -> Float[np.ndarray, "spots genes"]:
    """Return a float array of a dense or sparse matrix."""
    return np.asarray(matrix.toarray() if sparse.issparse(matrix) else matrix, float)

"""Where spots of one section lie in the frame of another."""

__all__ = ["Placement"]

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal, get_args

import numpy as np
from jaxtyping import Float

from stlearnkit.registration import WorkingImage, align, coarse, deformable, rigid
from stlearnkit.sections import Section

How = Literal["as they lie", "centred", "rigid", "affine", "deformable"]


@dataclass(frozen=True)
class Placement:
    """How sections of one block are laid upon each other.

    Parameters
    ----------
    how
        From careless to careful: ``"as they lie"`` on their slides; ``"centred"``, the
        middle of the spots and their spread the same; or aligned by their images,
        ``"rigid"``, ``"affine"`` as by `registration.align`, or ``"deformable"``.
    z_um
        Height of each section in the block, by name. Without heights all sections lie
        at 0, which is right with one observed section: all its spots are then equally
        far below.

    Raises
    ------
    ValueError
        If there is no such way.

    Examples
    --------
    >>> from stlearnkit import synthetic
    >>> below, above = synthetic.stack(2, n_spots=9, n_genes=12, mpp=2.0).stack.sections
    >>> Placement("centred", {"S1": 0.0, "S2": 48.0}).places_um(below, above)[:2, 2]
    array([48., 48.])
    """

    how: How = "affine"
    z_um: Mapping[str, float] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Refuse ways that there are not.

        Raises
        ------
        ValueError
            See the class.
        """
        if self.how not in get_args(How):
            raise ValueError(f"how is {self.how!r}, expected one of {get_args(How)}.")

    def places_um(
        self, reference: Section, section: Section
    ) -> Float[np.ndarray, "spots 3"]:
        """Return (x, y, z) of the spots of a section in the frame of another.

        Parameters
        ----------
        reference
            The section whose µm frame it is. Its own spots stay where they are.
        section
            The section to place.

        Raises
        ------
        ValueError
            If `z_um` knows the height of other sections, and not of this one.
        RegistrationError
            If they cannot be aligned.
        SectionError
            If they are to be aligned, and one has no slide.
        """
        if self.z_um and section.name not in self.z_um:
            raise ValueError(
                f"z_um has heights of {list(self.z_um)}, not of section "
                f"{section.name!r}. Give the height of every section, or of none."
            )
        flat = section.coords_um
        if section.name != reference.name:
            flat = self._flat(reference, section)
        height = self.z_um.get(section.name, 0.0)
        return np.column_stack([flat, np.full(len(flat), height)])

    def _flat(
        self, reference: Section, section: Section
    ) -> Float[np.ndarray, "spots 2"]:
        """Return (x, y) of the spots of another section."""
        if self.how == "as they lie":
            return section.coords_um
        if self.how == "centred":
            return _centred(section.coords_um, reference.coords_um)
        if self.how == "affine":
            return align(reference, section).transform(section.coords_um)
        below, above = (WorkingImage.of_section(each) for each in (reference, section))
        if self.how == "rigid":
            start = coarse(below, above).best.transform
            return rigid(below, above, start)(section.coords_um)
        start = align(below, above).transform
        return deformable(below, above, start)(section.coords_um)


def _centred(
    moving: Float[np.ndarray, "spots 2"], fixed: Float[np.ndarray, "_ 2"]
) -> Float[np.ndarray, "spots 2"]:
    """Return places with the middle of others, and as far from it on average."""
    spread = [np.sqrt(np.var(places, axis=0).sum()) for places in (moving, fixed)]
    scale = spread[1] / spread[0] if spread[0] > 0 else 1.0
    return (moving - moving.mean(axis=0)) * scale + fixed.mean(axis=0)

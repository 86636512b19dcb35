"""How batches are made from sections."""

__all__ = ["PatchRecipe"]

from collections.abc import Sequence
from dataclasses import dataclass

from stlearnkit.batches import SectionBatch
from stlearnkit.patches import extract
from stlearnkit.sections import Section


@dataclass(frozen=True)
class PatchRecipe:
    """How to make the batch of any section from patches of one size.

    Parameters
    ----------
    side_um
        Side of the square around each spot in µm.
    output_px
        Side of the picture in pixels.

    Examples
    --------
    >>> import stlearnkit as stk
    >>> section = stk.synthetic.section(n_spots=60, seed=0).section
    >>> PatchRecipe(224.0, 64)(section, ["TUMOUR01"]).patches.shape
    torch.Size([60, 3, 64, 64])
    """

    side_um: float
    output_px: int = 224

    def __call__(self, section: Section, genes: Sequence[str]) -> SectionBatch:
        """Cut the patches of a section; there are no targets yet.

        Raises
        ------
        SectionError
            If the section has no slide.
        """
        slide = section.require_slide("to cut patches from")
        patches = extract(
            slide, section.coords_px, self.side_um, output_px=self.output_px
        )
        return SectionBatch.of_section(section, genes, patches=patches)

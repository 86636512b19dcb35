"""Three sections of mouse olfactory bulb."""

__all__ = ["mob2k"]

from stlearnkit._arrays import assemble, read_counts, read_spots
from stlearnkit.datasets._local import require_name
from stlearnkit.downloads import fetch, registry
from stlearnkit.sections import Section

_MOB2K_NAMES = ("MOB1", "MOB2", "MOB3")


def mob2k(name: str) -> Section:
    """Load one section of mouse olfactory bulb, with 1,000 genes.

    The array has spots of 100 µm on a grid of 200 µm and in the middle of its cells,
    so the pitch is 141 µm. Which section follows which in the block is not known:
    these are sections, not a stack.

    Parameters
    ----------
    name
        ``"MOB1"``, ``"MOB2"`` or ``"MOB3"``.

    Raises
    ------
    ValueError
        If there is no such section.

    Notes
    -----
    Kept are the spots under tissue, about 400 of 2,070. Genes are Ensembl identifiers
    with their version, as published.

    One step of 100 µm is 21.6 px along x and 24.0 px along y: the published images
    are not quite to scale. The µm per px given here, 4.39, keeps areas right; lengths
    are off by 5 % along an axis.

    References
    ----------
    Ståhl et al. (2016), Science 353:78-82, for the technology; the files are those of
    STUtility (Bergenstråhle et al. 2020, BMC Genomics 21:482).
    """
    require_name(name, _MOB2K_NAMES, "MOB 2k")
    folder = "mob2k/inst/extdata/counts"
    return assemble(
        read_counts(fetch(registry()[f"{folder}/{name}.tsv"])),
        read_spots(fetch(registry()[f"{folder}/alignment_table_{name}.tsv"])),
        fetch(registry()[f"{folder}/{name}.jpg"]),
        name=name,
        patient="MOB",
        dataset="mob2k",
        step_um=100.0,
    )

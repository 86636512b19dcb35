"""Batches: parts that belong together stay together."""

from dataclasses import fields, replace

import numpy as np
import pytest
import torch
import toys

from stlearnkit.batches import SectionBatch, check_same_genes
from stlearnkit.geometry import Affine2D
from stlearnkit.patches import extract
from stlearnkit.stacks import Stack
from stlearnkit.symmetries import SYMMETRIES, Symmetry


def parts(section, side=8):
    patches = extract(section.slide, section.coords_px, 60.0, output_px=side)
    return {
        "patches": patches,
        "features": np.arange(8.0).reshape(4, 2),
        "grids": {"map": np.arange(4 * 2 * 9, dtype=np.float16).reshape(4, 2, 3, 3)},
        "targets": np.arange(12.0).reshape(4, 3),
    }


def of_toy(name="toy"):
    section = toys.section(name)
    return SectionBatch.of_section(section, toys.GENES, **parts(section))


def test_batch_holds_what_it_was_given():
    section = toys.section()
    given = parts(section)
    batch = SectionBatch.of_section(section, toys.GENES, **given)
    assert (batch.sections, batch.patients) == (("toy",), ("P",))
    assert batch.genes == tuple(toys.GENES)
    assert (batch.n_spots, batch.n_queries) == (4, 4)
    assert batch.coords_um[:, :2].numpy() == pytest.approx(section.coords_um)
    assert batch.coords_um[:, 2].tolist() == [0, 0, 0, 0]
    assert batch.patches.shape == (4, 3, 8, 8)
    assert (batch.patches.permute(0, 2, 3, 1).numpy() == given["patches"]).all()
    assert batch.targets.tolist() == given["targets"].tolist()
    assert batch.features.tolist() == given["features"].tolist()
    assert (batch.grids["map"].numpy() == given["grids"]["map"]).all()
    assert batch.grids["map"].dtype == torch.float16  # as it came: maps are large


def test_batch_does_without_parts():
    batch = SectionBatch.of_section(toys.section(), toys.GENES)
    assert batch.patches is batch.features is batch.targets is None
    assert batch.grids == {}
    assert batch.subset([1]).transformed(SYMMETRIES[3]).queries.tolist() == [1]


def test_subset_keeps_the_context():
    batch = of_toy()
    some = batch.subset([3, 1])
    assert some.queries.tolist() == [3, 1]
    assert some.targets.equal(batch.targets[[3, 1]])
    assert some.patches.equal(batch.patches[[3, 1]])
    assert some.grids["map"].equal(batch.grids["map"][[3, 1]])
    assert some.coords_um.equal(batch.coords_um)
    assert some.features.equal(batch.features)
    assert some.subset([1]).queries.tolist() == [1]


def test_symmetry_moves_patches_and_places_but_not_what_was_measured():
    batch = of_toy()
    turned = batch.transformed(Symmetry(mirrored=False, quarter_turns=1))
    # The four spots sit on a square about (220, 200) µm: turning permutes them.
    assert turned.coords_um[0].tolist() == [120, 300, 0]
    assert turned.coords_um[1].tolist() == [120, 100, 0]
    assert turned.patches.equal(torch.rot90(batch.patches, 1, (2, 3)))
    assert turned.grids["map"].equal(torch.rot90(batch.grids["map"], 1, (2, 3)))
    assert turned.targets.equal(batch.targets)
    assert turned.features.equal(batch.features)


def test_to_moves_every_tensor():
    moved = of_toy().to("meta")
    tensors = [getattr(moved, field.name) for field in fields(moved)]
    tensors = [value for value in tensors if isinstance(value, torch.Tensor)]
    assert len(tensors) == 6
    assert all(value.device.type == "meta" for value in tensors)
    assert moved.grids["map"].device.type == "meta"


def test_to_returns_when_everything_has_arrived(monkeypatch):
    """A copy to the CPU that goes on in the background would be read half done."""
    given = []
    to = torch.Tensor.to
    monkeypatch.setattr(
        torch.Tensor, "to", lambda *where, **how: given.append(how) or to(*where, **how)
    )
    of_toy().to("cpu")
    assert given == [{}] * 7


def stack():
    sections = tuple(toys.section(name) for name in ("A", "B"))
    shift = np.array([[1.0, 0.0, 10.0], [0.0, 1.0, 0.0], [0.0, 0.0, 1.0]])
    return Stack(
        sections,
        (0.0, 16.0),
        (
            Affine2D.identity("A/um", "block"),
            Affine2D(shift, source="B/um", target="block"),
        ),
    )


def test_stack_joins_its_sections_in_one_frame():
    batches = [of_toy("A"), of_toy("B").subset([2])]
    joined = SectionBatch.of_stack(stack(), batches)
    assert joined.sections == ("A", "B")
    assert joined.patients == ("P", "P")
    assert joined.section_index.tolist() == [0] * 4 + [1] * 4
    assert joined.coords_um[0].tolist() == [120, 100, 0]
    assert joined.coords_um[4].tolist() == [130, 100, 16]
    assert joined.queries.tolist() == [0, 1, 2, 3, 6]
    assert joined.targets.shape == (5, 3)
    assert joined.features.shape == (8, 2)
    assert joined.grids["map"].shape == (5, 2, 3, 3)
    assert joined.grids["map"][4].equal(batches[1].grids["map"][0])


def test_stack_refuses_batches_in_another_order():
    with pytest.raises(ValueError, match=r"batches are of sections \['B', 'A'\], but"):
        SectionBatch.of_stack(stack(), [of_toy("B"), of_toy("A")])


def test_stack_refuses_parts_that_only_some_have():
    lacking = replace(of_toy("B"), patches=None)
    with pytest.raises(ValueError, match=r"sections \['B'\] have no patches"):
        SectionBatch.of_stack(stack(), [of_toy("A"), lacking])


def test_stack_refuses_grids_that_only_some_have():
    lacking = replace(of_toy("A"), grids={})
    with pytest.raises(ValueError, match=r"sections \['A'\] have no map"):
        SectionBatch.of_stack(stack(), [lacking, of_toy("B")])


@pytest.mark.usefixtures("unchecked")
@pytest.mark.parametrize("shape", [(4, 2, 3), (4, 1, 3, 2)])
def test_grids_must_be_square(shape):
    with pytest.raises(ValueError, match=rf"grids\['map'\] has shape \(4, {shape[1]}"):
        SectionBatch.of_section(
            toys.section(), toys.GENES, grids={"map": np.zeros(shape)}
        )


def test_grids_must_have_one_map_for_each_spot():
    with pytest.raises(ValueError, match="map has 3 rows, but section 'toy' has 4"):
        SectionBatch.of_section(
            toys.section(), toys.GENES, grids={"map": np.zeros((3, 1, 2, 2))}
        )


@pytest.mark.parametrize("part", ["patches", "features", "targets"])
@pytest.mark.usefixtures("unchecked")
def test_rows_must_match_the_spots(part):
    section = toys.section()
    with pytest.raises(ValueError, match=f"{part} has 3 rows, but section 'toy' has 4"):
        SectionBatch.of_section(section, toys.GENES, **{part: parts(section)[part][:3]})


@pytest.mark.parametrize("part", ["features", "targets"])
def test_entries_must_be_finite(part):
    section = toys.section()
    given = parts(section)
    given[part][1, 1] = np.nan
    with pytest.raises(ValueError, match=f"{part} of section 'toy' has entries that"):
        SectionBatch.of_section(section, toys.GENES, **given)


def test_columns_must_match_the_genes():
    with pytest.raises(ValueError, match="targets has 3 columns, but genes has 2"):
        SectionBatch.of_section(
            toys.section(), toys.GENES[:2], targets=np.zeros((4, 3))
        )


@pytest.mark.parametrize(
    ("genes", "difference"),
    [
        (("GENE1", "GENE3", "GENE2"), "3 genes against 3, first difference at 1"),
        (("GENE1", "GENE2"), "2 genes against 3, first difference at the end"),
    ],
)
def test_panels_must_not_differ(genes, difference):
    other = replace(of_toy("B"), genes=genes)
    with pytest.raises(ValueError, match=f"another panel than 'A': {difference}"):
        check_same_genes([of_toy("A"), other])

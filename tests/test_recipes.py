"""Recipes for views of spots and for graphs, with their models from end to end."""

from dataclasses import replace
from functools import cache, partial

import numpy as np
import pytest
import torch
import toys

from stlearnkit import benchmark, boundaries, synthetic
from stlearnkit.boundaries import BoundaryMaps
from stlearnkit.conventions import SectionError
from stlearnkit.encoders import Encoder, feature_maps, features, surroundings
from stlearnkit.expression import log_normalised
from stlearnkit.folds import leave_one_section_out
from stlearnkit.graphs import ScaleGraph, knn, radius
from stlearnkit.models.asign import Asign, AsignConfig
from stlearnkit.models.triplex import Triplex, TriplexConfig
from stlearnkit.patches import Scale, coverage, extract
from stlearnkit.predictors import MeanPredictor, NetworkPredictor
from stlearnkit.recipes import GraphRecipe, GuideRecipe, PatchRecipe, ViewsRecipe
from stlearnkit.sections import Section
from stlearnkit.slides import Slide
from stlearnkit.stains import RUIFROK, StainProfile
from stlearnkit.symmetries import SYMMETRIES
from stlearnkit.training import FitConfig, fit, load

SPOT, AROUND, FAR = Scale("spot", 80.0), Scale("around", 300.0), Scale("far", 160.0)


class Colour(torch.nn.Module):
    """The mean colour, of the picture or of each of its quarters."""

    num_features = 3

    def forward_features(self, images):
        return torch.nn.functional.adaptive_avg_pool2d(images, 2)

    def forward(self, images):
        return images.mean(dim=(2, 3))


def colour():
    return Encoder("colour", Colour(), 8, mean=(0.0,) * 3, std=(1.0,) * 3)


RECIPE = ViewsRecipe(
    colour, spot=SPOT, around=AROUND, n_cells=3, cell_px=4, section=(SPOT, FAR)
)


@pytest.fixture(autouse=True)
def own_cache(monkeypatch, tmp_path):
    """Nothing is kept beyond a test."""
    monkeypatch.setenv("STLEARNKIT_CACHE", str(tmp_path))


def slope():
    """Return maps of the toy section whose edges rise along x and y; one nucleus."""
    rise = np.add.outer(np.arange(240) // 2, np.arange(300) // 3)
    nuclei = np.zeros((240, 300), np.int32)
    nuclei[40:60, 50:70] = 1
    profile = StainProfile(RUIFROK, np.ones(2))
    return BoundaryMaps(rise.astype(np.uint8), nuclei, 2.0, 1.0, profile, "toy")


def guides(control=None, maps=slope):
    return GuideRecipe(lambda _: maps(), spot_px=8, surroundings_px=12, control=control)


def maps_of(control=None, section=None):
    """Return the two maps of a batch."""
    recipe = replace(RECIPE, guides=guides(control))
    grids = recipe(section or toys.section(), toys.GENES).grids
    return grids["spot_boundaries"].numpy(), grids["surroundings_boundaries"].numpy()


# Views.


def test_views_are_what_the_encoder_says_of_each():
    section = toys.section()
    batch = RECIPE(section, toys.GENES)
    encoder = colour()
    assert {name: tuple(grid.shape) for name, grid in batch.grids.items()} == {
        "surroundings": (4, 3, 3, 3),
        "inside": (4, 1, 3, 3),
        "spot": (4, 3, 2, 2),
    }
    own, far = (features(section, encoder, scale) for scale in (SPOT, FAR))
    assert batch.features.numpy() == pytest.approx(np.hstack([own, far]))
    spot = feature_maps(section, encoder, SPOT)
    assert (batch.grids["spot"].numpy() == spot).all()
    around = surroundings(section, replace(encoder, input_px=4), AROUND, n_cells=3)
    assert (batch.grids["surroundings"].numpy() == around).all()
    assert batch.genes == tuple(toys.GENES)
    assert batch.targets is batch.patches is None


def test_cells_as_large_as_the_encoder_wants_them():
    section = toys.section()
    batch = replace(RECIPE, cell_px=None)(section, toys.GENES)
    expected = surroundings(section, colour(), AROUND, n_cells=3)
    assert (batch.grids["surroundings"].numpy() == expected).all()


def at(*places):
    """Return a section with spots at these pixels of a black image of 300 x 240 px."""
    return Section.build(
        np.ones((len(places), 3), int),
        toys.GENES,
        [str(number) for number in range(len(places))],
        np.array(places, float),
        name="border",
        patient="P",
        slide=Slide.from_array(np.zeros((240, 300, 3), np.uint8), mpp=2.0),
    )


def test_inside_by_hand():
    """A cell is 50 px wide; of that of a spot in a corner a quarter is image."""
    batch = RECIPE(at((0, 0), (150, 120), (10, 120), (299.5, 200)), toys.GENES)
    inside = batch.grids["inside"][:, 0].int().tolist()
    assert inside[0] == [[0, 0, 0], [0, 0, 1], [0, 1, 1]]
    assert inside[1] == [[1, 1, 1]] * 3
    assert inside[2] == [[0, 1, 1]] * 3
    assert inside[3] == [[1, 1, 0], [1, 1, 0], [0, 0, 0]]
    # Black where they lie on the image, white where nothing of them does.
    cells = batch.grids["surroundings"].float().mean(dim=1)
    assert cells[0, 2, 2] == 0
    assert cells[0, 0, 0] == 1
    assert cells[3, 0, 0] == 0
    assert cells[3, 0, 2] == 1


def test_inside_is_coverage_by_half():
    section = toys.section()
    inside = RECIPE(section, toys.GENES).grids["inside"].numpy()
    centre = coverage(section.slide, section.coords_px, 100.0) >= 0.5
    assert (inside[:, 0, 1, 1] == centre).all()
    assert not inside.all()


def test_grids_turn_with_the_picture():
    section = toys.section()
    recipe = replace(RECIPE, guides=guides())
    batch = recipe(section, toys.GENES)
    turned = batch.transformed(SYMMETRIES[1])
    assert len(turned.grids) == 5
    for name, grid in turned.grids.items():
        assert grid.equal(torch.rot90(batch.grids[name], 1, (2, 3)))
    assert turned.features.equal(batch.features)


def test_patches_stand_in_for_the_frozen_map():
    section = toys.section()
    batch = replace(RECIPE, patches_px=16)(section, toys.GENES)
    assert set(batch.grids) == {"surroundings", "inside"}
    expected = extract(section.slide, section.coords_px, 80.0, output_px=16)
    assert (batch.patches.permute(0, 2, 3, 1).numpy() == expected).all()


def test_one_spot():
    batch = replace(RECIPE, guides=guides("shuffled"))(at((150, 120)), toys.GENES)
    assert {len(grid) for grid in batch.grids.values()} == {1}


def test_views_need_a_slide():
    with pytest.raises(SectionError, match="section 'toy' has no slide to look at"):
        RECIPE(toys.section(image=False), toys.GENES)


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ({"n_cells": 4}, "n_cells is 4, expected an odd number"),
        ({"n_cells": -1}, "n_cells is -1, expected an odd number"),
        ({"cell_px": 0}, "cell_px is 0, expected 1 or more, or None"),
        ({"patches_px": -8}, "patches_px is -8, expected 1 or more, or None"),
        ({"section": ()}, "section is empty, expected at least one patches.Scale"),
    ],
)
def test_views_that_cannot_be_meant(setting, message):
    with pytest.raises(ValueError, match=message):
        replace(RECIPE, **setting)


# Guides.


def test_guides_are_the_maps_around_the_spots():
    section, whole = toys.section(), slope()
    spot, around = maps_of()
    assert (spot == whole.patches(section.coords_px, 80.0, output_px=8)).all()
    assert (around == whole.patches(section.coords_px, 300.0, output_px=12)).all()
    assert spot.dtype == np.uint8
    assert spot[0, 1].any()  # the nucleus lies under the first spot alone
    assert not spot[1:, 1].any()


def test_nobody_keeps_his_own_maps_if_they_are_shuffled():
    own, shuffled = maps_of(), maps_of("shuffled")
    origin = []
    for before, after in zip(own, shuffled, strict=True):
        same = (before[:, None] == after[None]).all(axis=(2, 3, 4))
        assert same.sum(axis=0).tolist() == [1, 1, 1, 1]  # each comes from one spot
        origin.append(same.argmax(axis=0))
        assert sorted(origin[-1]) == [0, 1, 2, 3]
        assert (origin[-1] != np.arange(4)).all()
    assert (origin[0] == origin[1]).all()  # both views from the same other spot
    again = maps_of("shuffled")
    assert all((a == b).all() for a, b in zip(shuffled, again, strict=True))


def test_shuffling_depends_on_the_section():
    names = [f"S{number}" for number in range(8)]
    origins = {maps_of("shuffled", toys.section(name))[0].tobytes() for name in names}
    assert len(origins) > 1


def test_grey_replaces_the_edges_alone():
    section = toys.section()
    for own, grey, side_um in zip(
        maps_of(), maps_of("grey"), (80.0, 300.0), strict=True
    ):
        assert (grey[:, 1] == own[:, 1]).all()
        picture = extract(
            section.slide, section.coords_px, side_um, output_px=own.shape[-1]
        )
        assert (grey[:, 0] == 255 - picture[..., 0]).all()  # its colours are alike
        assert (grey[:, 0] != own[:, 0]).any()


def test_grey_is_brightness_and_dark_is_strong():
    section = at((150, 120))
    pixels = np.full((240, 300, 3), [200, 100, 50], np.uint8)
    section = replace(section, slide=Slide.from_array(pixels, mpp=2.0))
    spot, _ = maps_of("grey", section)
    assert (spot[0, 0] == 255 - round(0.299 * 200 + 0.587 * 100 + 0.114 * 50)).all()


def test_blank_maps_are_0():
    blank = maps_of("blank")
    assert [part.shape for part in blank] == [(4, 2, 8, 8), (4, 2, 12, 12)]
    assert not any(part.any() for part in blank)


def test_a_section_in_which_no_nucleus_is_found():
    """Plain eosin on glass, with the maps as they are made by default."""
    section = at((150, 120), (60, 60))
    pixels = np.full((240, 300, 3), 255, np.uint8)
    pixels[60:180, 60:240] = (230, 140, 190)
    section = replace(section, slide=Slide.from_array(pixels, mpp=2.0))
    assert boundaries.detect(section).n_nuclei == 0
    recipe = replace(RECIPE, guides=GuideRecipe(spot_px=8, surroundings_px=12))
    batch = recipe(section, toys.GENES)
    assert not batch.grids["spot_boundaries"][:, 1].any()


def test_guides_of_an_image_without_tissue():
    with pytest.raises(ValueError, match="no tissue found"):
        replace(RECIPE, guides=GuideRecipe())(at((150, 120)), toys.GENES)


def test_maps_with_other_pixels_than_the_slide():
    """Four pixels of the slide are one of the maps: places stay, detail goes."""
    fine = slope()

    def coarse():
        return replace(
            fine,
            edges=np.ascontiguousarray(fine.edges[::4, ::4]),
            nuclei=np.ascontiguousarray(fine.nuclei[::4, ::4]),
            mpp=8.0,
            downsample=4.0,
        )

    recipe = replace(RECIPE, guides=guides(maps=coarse))
    batch = recipe(toys.section(), toys.GENES)
    edges = batch.grids["surroundings_boundaries"][:, 0].numpy().astype(float)
    expected = maps_of()[1][:, 0].astype(float)
    assert np.abs(edges - expected).mean() < 3
    assert expected.std() > 10


def test_maps_of_another_slide():
    def other():
        whole = slope()
        return replace(whole, edges=whole.edges[:, :200], nuclei=whole.nuclei[:, :200])

    message = "maps show 200 x 240 px, but the slide of section 'toy' has 300 x 240"
    with pytest.raises(SectionError, match=message):
        replace(RECIPE, guides=guides(maps=other))(toys.section(), toys.GENES)


def test_sizes_of_maps_that_cannot_be_meant():
    with pytest.raises(ValueError, match="spot_px is 4, expected 8 or more"):
        GuideRecipe(spot_px=4)
    with pytest.raises(ValueError, match="surroundings_px is 0, expected 8 or more"):
        GuideRecipe(surroundings_px=0)


@pytest.mark.usefixtures("unchecked")
def test_unknown_control():
    with pytest.raises(
        ValueError, match="control is 'noise', expected 'shuffled', 'gr"
    ):
        GuideRecipe(control="noise")


# From sections to scores.

QUICK = FitConfig(max_epochs=2, spots_per_step=8, learning_rate=1e-3)
SMALL = TriplexConfig(
    width=8, n_heads=2, n_components=2, n_cells=3, guided=True, guide_width=4
)
TISSUE = replace(RECIPE, guides=GuideRecipe(spot_px=16, surroundings_px=24))
CPU = {"accelerator": "cpu"}


@cache
def tissue(name):
    """Return a small section of made-up tissue."""
    return synthetic.section(
        name, n_spots=16, n_genes=20, mpp=2.0, seed=int(name[1:]), patient="P"
    ).section


def taught(name, recipe=TISSUE):
    """Return the batch of a section, with what was measured."""
    section = tissue(name)
    genes = list(section.adata.var_names[:4])
    measured = torch.from_numpy(log_normalised(section, genes)).float()
    return replace(recipe(section, genes), targets=measured)


@pytest.mark.parametrize("precision", ["32-true", "bf16-mixed"])
def test_trained_loaded_and_gone_on_with(tmp_path, precision):
    train, validation = [taught("S0"), taught("S1")], [taught("S2")]
    profile = torch.cat([batch.targets for batch in train]).mean(dim=0).numpy()

    def run():
        torch.manual_seed(0)
        return fit(
            Triplex(profile, SMALL),
            train,
            validation,
            folder=tmp_path / "run",
            config=QUICK,
            progress=False,
            accelerator="cpu",
            precision=precision,
        )

    fitted = run()
    assert len(fitted.history) == 3
    assert fitted.history["train_loss"][1:].notna().all()
    expected = fitted.predict(validation[0], n_symmetries=2)
    loaded = load(tmp_path / "run", Triplex)
    assert loaded.model.config == SMALL
    found = loaded.predict(validation[0], n_symmetries=2)
    np.testing.assert_array_equal(found, expected)
    again = run().predict(validation[0], n_symmetries=2)  # finished: nothing is trained
    np.testing.assert_array_equal(again, expected)


def test_a_run_that_was_stopped_goes_on_with_the_same_components(tmp_path):
    class StopError(Exception):
        """The end of the world."""

    class Stopped(Triplex):
        n_steps = 0

        def forward(self, batch):
            self.n_steps += self.training
            if self.n_steps == 5:  # in the second epoch
                raise StopError
            return super().forward(batch)

    Stopped.__name__ = "Triplex"
    train, validation = [taught("S0"), taught("S1")], [taught("S2")]

    def run(model_class, folder):
        torch.manual_seed(0)
        model = model_class(np.zeros(4), SMALL)
        return fit(
            model, train, validation, folder=folder, config=QUICK, progress=False, **CPU
        )

    with pytest.raises(StopError):
        run(Stopped, tmp_path / "stopped")
    resumed = run(Triplex, tmp_path / "stopped").model.state_dict()
    whole = run(Triplex, tmp_path / "whole").model.state_dict()
    assert all(value.equal(resumed[name]) for name, value in whole.items())


def test_two_networks_in_a_benchmark(tmp_path):
    names = ("S0", "S1", "S2")
    network = NetworkPredictor(
        partial(Triplex, config=SMALL),
        TISSUE,
        QUICK,
        trainer=CPU,
        folder=tmp_path / "runs",
        n_networks=2,
        name="BG-TRIPLEX",
    )
    folds = leave_one_section_out(names)[:1]
    table = benchmark.evaluate(
        folds,
        [MeanPredictor(), network],
        load=tissue,
        folder=tmp_path / "results",
        n_genes=4,
    )
    ours = table[table["predictor"] == "BG-TRIPLEX"]
    assert len(ours) == 4
    assert ours[["mse", "pcc"]].notna().all(axis=None)
    (test,) = folds[0].test
    predicted = benchmark.predictions(tmp_path / "results", test, "BG-TRIPLEX")
    (found,) = predicted.values()
    runs = sorted((tmp_path / "runs").iterdir())
    fitted = [load(folder, Triplex) for folder in runs]
    assert {run.run.validated_on for run in fitted} == {(n,) for n in folds[0].train}
    batch = TISSUE(tissue(test), fitted[0].run.genes)
    mean = np.mean([run.predict(batch) for run in fitted], axis=0)
    np.testing.assert_allclose(found.to_numpy(float), mean, atol=1e-5)


def test_a_guided_model_on_real_maps_reads_them():
    """Maps made by the library reach the prediction, blank ones in their place not."""
    batch = taught("S0")
    assert batch.grids["spot_boundaries"][:, 1].any()  # nuclei were found
    maps = boundaries.detect(tissue("S0"))
    assert maps.n_nuclei > 0
    blank = replace(TISSUE, guides=replace(TISSUE.guides, control="blank"))
    torch.manual_seed(0)
    model = Triplex(np.zeros(4), SMALL).eval()
    model.prepare([batch])
    for parameter in model.parameters():
        if not parameter.any():
            torch.nn.init.normal_(parameter)
    with torch.inference_mode():
        difference = model(batch).expression - model(taught("S0", blank)).expression
    assert difference.abs().amax(dim=1).min() > 1e-4


# Graphs.

TILES = (Scale("region", 150.0), Scale("district", 300.0))
OF_GRAPH = GraphRecipe(colour, spot=(SPOT, FAR), tiles=TILES)


def test_graph_batches_are_what_the_encoder_says_of_spots_and_tiles():
    section = toys.section()
    batch = OF_GRAPH(section, toys.GENES)
    expected = [features(section, colour(), scale) for scale in (SPOT, FAR)]
    np.testing.assert_array_equal(batch.features, np.hstack(expected))
    scales = ScaleGraph.build(
        section.coords_um, {"region": 150.0, "district": 300.0}, self_loops=True
    )
    for level, tiles, scale in zip(batch.levels, scales.scales, TILES, strict=True):
        assert level.parents.tolist() == tiles.parents.tolist()
        # Of 600 x 480 µm; the last centres lie beyond it.
        centres = np.clip(tiles.centres_um, 0, [598, 478])
        seen = features(section, colour(), scale, centres_um=centres)
        np.testing.assert_array_equal(level.features, seen)
    graph = knn(section.coords_um, 8, self_loops=True)
    assert batch.edges.index.tolist() == graph.edge_index.tolist()
    assert batch.targets is None
    assert batch.patches is None


def test_graph_batches_with_another_graph_patches_and_no_tiles():
    section = toys.section()
    recipe = replace(
        OF_GRAPH,
        graph=partial(radius, radius_um=250.0, self_loops=False),
        tiles=(),
        patches=SPOT,
        patches_px=16,
    )
    batch = recipe(section, toys.GENES)
    assert batch.levels == ()
    assert batch.edges.index.shape == (2, 8)
    cut = extract(section.slide, section.coords_px, 80.0, output_px=16)
    assert (batch.patches.permute(0, 2, 3, 1).numpy() == cut).all()


def test_a_tile_whose_centre_lies_beyond_the_image():
    section = toys.section()
    wide = replace(OF_GRAPH, tiles=(Scale("block", 1500.0),))
    [level] = wide(section, toys.GENES).levels
    corner = features(
        section, colour(), Scale("block", 1500.0), centres_um=np.array([[598.0, 478.0]])
    )
    np.testing.assert_array_equal(level.features, corner)


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ({"spot": ()}, "spot is empty, expected at least one patches.Scale"),
        ({"patches_px": 0}, "patches_px is 0, expected 1 or more, or None"),
    ],
)
def test_graph_recipes_that_cannot_be_meant(setting, message):
    with pytest.raises(ValueError, match=message):
        GraphRecipe(**setting)


def test_graphs_need_a_slide():
    with pytest.raises(SectionError, match="has no slide to look at"):
        OF_GRAPH(toys.section(image=False), toys.GENES)


def test_tiles_that_do_not_lie_within_each_other():
    odd = replace(OF_GRAPH, tiles=(Scale("a", 100.0), Scale("b", 250.0)))
    with pytest.raises(ValueError, match="sides_um has 250"):
        odd(toys.section(), toys.GENES)


def test_asign_in_a_benchmark_with_blocks_and_with_whole_sections(tmp_path):
    recipe = GraphRecipe(colour, spot=(SPOT,), tiles=TILES)
    small = AsignConfig(
        width=8, n_heads=2, n_components=3, n_tile_components=3, line=True
    )
    competitors = [
        NetworkPredictor(
            partial(Asign, config=small),
            recipe,
            FitConfig(max_epochs=3, spots_per_step=spots, learning_rate=3e-3),
            name=f"ASIGN, {spots} at a time",
        )
        for spots in (5, 512)
    ]
    table = benchmark.evaluate(
        leave_one_section_out(("S0", "S1", "S2"))[:1],
        [MeanPredictor(), *competitors],
        load=tissue,
        folder=tmp_path / "scores",
        n_genes=4,
    )
    assert len(table) == 3 * 4
    assert table[["mse", "pcc"]].notna().all(axis=None)
    for competitor in competitors:
        made = benchmark.predictions(tmp_path / "scores", "S0", competitor.name)
        (found,) = made.values()
        assert (found.std() > 0).all()


# Patches.


def test_recipe_cuts_the_patches_of_any_section():
    section = toys.section()
    batch = PatchRecipe(60.0, 8)(section, toys.GENES)
    expected = extract(section.slide, section.coords_px, 60.0, output_px=8)
    assert (batch.patches.permute(0, 2, 3, 1).numpy() == expected).all()
    assert batch.targets is None


def test_recipe_needs_a_slide():
    with pytest.raises(SectionError, match="section 'toy' has no slide to cut patches"):
        PatchRecipe(60.0)(toys.section(image=False), toys.GENES)

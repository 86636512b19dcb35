"""Encoders: preprocessing, oracles, and a cache that survives what happens to files."""

import fcntl
import json
import logging
import os
import signal
import subprocess
import sys
import textwrap
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import timm
import torch
import toys
from colour import SCALE, MeanColour, big_section, colour_encoder
from safetensors.torch import save_file

from stlearnkit import _weights, encoders
from stlearnkit._store import read, user_folder, write
from stlearnkit.conventions import SectionError
from stlearnkit.encoders import Encoder
from stlearnkit.patches import Scale, extract
from stlearnkit.slides import Slide

TINY = "test_resnet.r160_in1k"  # timm's own network for tests, 0.5 M weights


def random_patches(n_spots, side, seed=0):
    rng = np.random.default_rng(seed)
    return rng.integers(0, 256, (n_spots, side, side, 3), dtype=np.uint8)


def save_folder(folder, **config):
    """Write a tiny timm network the way timm reads it, and return it."""
    torch.manual_seed(0)
    network = timm.create_model(TINY, pretrained=False)
    folder.mkdir(parents=True)
    save_file(network.state_dict(), folder / "model.safetensors")
    (folder / "config.json").write_text(
        json.dumps(
            {
                "architecture": "test_resnet",
                "num_classes": 1000,
                "pretrained_cfg": {
                    "input_size": [3, 96, 96],
                    "num_classes": 1000,
                    "first_conv": "conv1",
                    "classifier": "fc",
                }
                | config,
            }
        )
    )
    return network.eval()


# What a network is shown, and what comes out


def test_the_network_sees_normalised_colour():
    encoder = colour_encoder(mean=(0.5, 0.0, 0.5), std=(0.5, 1.0, 0.25))
    patches = np.full((1, 8, 8, 3), (255, 51, 0), np.uint8)
    assert np.allclose(encoder.encode(patches), [[1.0, 0.2, -2.0]])


def test_features_are_float32_in_the_order_of_the_patches():
    encoder, patches = colour_encoder(), random_patches(7, 8)
    rows = encoder.encode(patches)
    assert rows.dtype == np.float32
    assert np.allclose(rows, patches.mean(axis=(1, 2)) / 255, atol=1e-6)
    assert np.array_equal(encoder.encode(patches[::-1]), rows[::-1])


@pytest.mark.parametrize("batch_size", [1, 3, 7, 100])
def test_the_batch_size_does_not_change_features(batch_size):
    encoder, patches = colour_encoder(), random_patches(7, 8)
    whole = encoder.encode(patches)
    assert np.allclose(encoder.encode(patches, batch_size=batch_size), whole, atol=1e-6)


def test_a_folder_gives_the_features_that_its_network_gives(tmp_path):
    network = save_folder(tmp_path / "net", mean=[0.4, 0.5, 0.6], std=[0.2, 0.3, 0.4])
    encoder = Encoder.load(f"local-dir:{tmp_path / 'net'}", device="cpu")
    patches = random_patches(3, 96)
    assert encoder.input_px == 96
    batch = torch.from_numpy(patches).permute(0, 3, 1, 2).float() / 255
    mean, std = torch.tensor([0.4, 0.5, 0.6]), torch.tensor([0.2, 0.3, 0.4])
    batch = (batch - mean.view(3, 1, 1)) / std.view(3, 1, 1)
    with torch.no_grad():
        expected = network.forward_head(
            network.forward_features(batch), pre_logits=True
        )
    assert np.allclose(encoder.encode(patches), expected.numpy(), atol=1e-5)


def test_preprocessing_equals_timms_own(tmp_path):
    from PIL import Image

    save_folder(tmp_path / "net", mean=[0.4, 0.5, 0.6], crop_pct=1.0)
    encoder = Encoder.load(f"local-dir:{tmp_path / 'net'}", device="cpu")
    config = timm.data.resolve_model_data_config(encoder.network)
    transform = timm.data.create_transform(**config, is_training=False)
    patches = random_patches(2, 96)
    with torch.no_grad():
        batch = torch.stack([transform(Image.fromarray(p)) for p in patches])
        expected = encoder.network(batch).numpy()
    assert np.allclose(encoder.encode(patches), expected, atol=1e-5)


def test_the_network_is_frozen_and_does_not_learn_from_what_it_sees():
    network = torch.nn.Sequential(
        torch.nn.BatchNorm2d(3), torch.nn.Dropout(0.5), MeanColour()
    )
    encoder = Encoder("norm", network, input_px=8, mean=(0.0,) * 3, std=(1.0,) * 3)
    before = encoder.fingerprint
    first = encoder.encode(random_patches(4, 8))
    assert np.array_equal(first, encoder.encode(random_patches(4, 8)))
    assert not any(weight.requires_grad for weight in network.parameters())
    assert replace(encoder).fingerprint == before


# Maps, before they are averaged


@pytest.mark.parametrize(
    ("name", "side"), [("test_resnet", 3), ("test_vit", 6), ("test_convnext", 3)]
)
def test_the_mean_of_a_map_is_the_features_where_a_network_ends_in_a_mean(name, side):
    torch.manual_seed(0)
    pooled = timm.create_model(name, pretrained=False, num_classes=0)
    if name == "test_vit":  # ends in the token of no place: take the mean instead
        pooled = timm.create_model(
            name, num_classes=0, global_pool="avg", fc_norm=False
        )
    if name == "test_convnext":  # normalises after the mean
        pooled.head.norm = torch.nn.Identity()
    encoder = Encoder._of(name, pooled, "cpu")
    patches = random_patches(3, encoder.input_px)
    maps = encoder.encode_maps(patches, batch_size=2)
    assert maps.shape[0] == 3
    assert maps.shape[2] == maps.shape[3]
    np.testing.assert_allclose(
        maps.mean(axis=(2, 3)), encoder.encode(patches), atol=1e-5
    )


def test_the_map_says_where_something_lies():
    network = timm.create_model("test_resnet", pretrained=False, num_classes=0)
    encoder = replace(Encoder._of("tiny", network, "cpu"), input_px=192)
    plain = np.full((1, 192, 192, 3), 128, np.uint8)
    marked = plain.copy()
    marked[0, :20, 172:] = 0  # upper right
    change = encoder.encode_maps(marked) - encoder.encode_maps(plain)
    strength = np.abs(change[0]).sum(axis=0)
    assert np.unravel_index(strength.argmax(), strength.shape) == (0, len(strength) - 1)


def test_a_plain_module_has_no_maps():
    with pytest.raises(ValueError, match="a MeanColour has no forward_features"):
        colour_encoder().encode_maps(random_patches(1, 8))


@pytest.mark.parametrize("shape", [(2, 5, 3), (2, 3)])
def test_a_network_without_a_square_map_is_refused(shape):
    class Odd(MeanColour):
        def forward_features(self, images):
            return torch.zeros(shape)

    odd = Encoder("odd", Odd(), input_px=8, mean=(0.0,) * 3, std=(1.0,) * 3)
    with pytest.raises(ValueError, match=r"an? Odd returns features of shape .* not a"):
        odd.encode_maps(random_patches(2, 8))


def test_patches_of_the_wrong_side_are_refused():
    with pytest.raises(ValueError, match=r"\(2, 9, 9, 3\), but 'colour' expects .* 8"):
        colour_encoder().encode(random_patches(2, 9))
    with pytest.raises(ValueError, match="at least one patch"):
        colour_encoder().encode(random_patches(0, 8))


# Where weights come from


def test_a_random_encoder_is_the_same_for_the_same_seed():
    torch.manual_seed(3)
    state = torch.get_rng_state()
    one, again = (encoders.random_encoder(seed=1, device="cpu") for _ in range(2))
    assert torch.equal(torch.get_rng_state(), state)
    assert one.fingerprint == again.fingerprint
    other = encoders.random_encoder(seed=2, device="cpu")
    assert other.fingerprint != one.fingerprint
    rows = one.encode(random_patches(2, 224))
    assert rows.shape == (2, 1280)
    assert np.isfinite(rows).all()
    assert rows.std() > 0


def test_a_name_that_timm_does_not_know_is_refused_with_the_nearest():
    with pytest.raises(ValueError, match=r"'resnet19', which timm .* Nearest: \['res"):
        Encoder.load("resnet19")


def test_a_folder_without_configuration_is_refused(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"holds no config\.json"):
        Encoder.load(f"local-dir:{tmp_path}")


def test_pickled_weights_are_not_read(tmp_path):
    save_folder(tmp_path / "net")
    (tmp_path / "net" / "model.safetensors").rename(tmp_path / "net/pytorch_model.bin")
    with pytest.raises(FileNotFoundError, match=r"holds no \*\.safetensors.*pickled"):
        Encoder.load(f"local-dir:{tmp_path / 'net'}")


@pytest.fixture
def offline(monkeypatch):
    """No weights on this machine, and nobody answers."""

    def refuse(*_, **__):
        raise OSError("Name or service not known")

    monkeypatch.delenv("STLEARNKIT_WEIGHTS", raising=False)
    monkeypatch.setattr("huggingface_hub.HfApi.model_info", refuse)
    monkeypatch.setattr("huggingface_hub.try_to_load_from_cache", lambda *_: None)


@pytest.mark.usefixtures("offline")
def test_without_network_the_error_names_the_ways_out():
    with pytest.raises(
        ConnectionError,
        match=r"(?s)'mobilenetv2_100\.ra_in1k' are not .* not known\. Run once with a "
        r"network; or set STLEARNKIT_WEIGHTS .* or use encoders\.random_encoder",
    ):
        encoders.default_encoder()


@pytest.mark.usefixtures("offline")
def test_the_tutorial_goes_on_with_random_weights_and_says_so(caplog):
    with caplog.at_level(logging.WARNING, logger="stlearnkit"):
        encoder = encoders.tutorial_encoder(device="cpu")
    assert encoder.name == "random mobilenetv2_100, seed 0"
    assert [record.name for record in caplog.records] == ["stlearnkit"]
    assert "RANDOM WEIGHTS" in caplog.text


def test_weights_that_are_already_here_are_not_asked_for(monkeypatch, offline):
    network = MeanColour()
    monkeypatch.setattr("huggingface_hub.try_to_load_from_cache", lambda *_: "there")
    monkeypatch.setattr(timm, "create_model", lambda *_, **__: network)
    assert _weights.load_network(TINY) is network


def test_the_default_encoder_is_the_one_in_the_folder(tmp_path, monkeypatch, caplog):
    folder = tmp_path / "mobilenetv2_100.coral_in1k"
    save_folder(folder)
    monkeypatch.setenv("STLEARNKIT_WEIGHTS", str(tmp_path))
    encoder = encoders.default_encoder(device="cpu")
    assert encoder.name == f"local-dir:{folder}"
    assert encoders.tutorial_encoder(device="cpu").fingerprint == encoder.fingerprint
    assert not caplog.records
    monkeypatch.setenv("STLEARNKIT_WEIGHTS", str(tmp_path / "elsewhere"))
    assert _weights.default_name() == "mobilenetv2_100.ra_in1k"


def test_the_fastest_device_is_chosen_unless_one_is_asked_for(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: False)
    assert encoders._encoder._choose_device(None) == "cpu"
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: True)
    assert encoders._encoder._choose_device(None) == "mps"
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    assert encoders._encoder._choose_device(None) == "cuda"
    assert encoders._encoder._choose_device("cpu") == "cpu"


# The fingerprint: all that decides features, and nothing else


def test_the_fingerprint_follows_weights_layers_and_preprocessing():
    encoder = colour_encoder()
    assert colour_encoder().fingerprint == encoder.fingerprint
    assert replace(encoder, name="other").fingerprint == encoder.fingerprint
    louder = colour_encoder()
    louder.network.gain.data += 0.001
    wrapped = replace(encoder, network=torch.nn.Sequential(encoder.network))
    others = [
        louder,
        wrapped,
        colour_encoder(input_px=9),
        colour_encoder(mean=(0.1, 0.0, 0.0)),
        colour_encoder(std=(1.0, 1.0, 0.9)),
    ]
    prints = {encoder.fingerprint, *(other.fingerprint for other in others)}
    assert len(prints) == 1 + len(others)


# Features of a section, kept on disk


def test_features_are_those_of_the_patches(tmp_path):
    section, encoder = big_section(), colour_encoder()
    rows = encoders.features(section, encoder, SCALE, cache_folder=tmp_path)
    patches = extract(section.slide, section.coords_px, 100.0, output_px=8)
    assert np.array_equal(rows, encoder.encode(patches))
    assert len(list(tmp_path.iterdir())) == 3


def test_the_second_time_nothing_is_computed(tmp_path, monkeypatch):
    section, encoder = toys.section(), colour_encoder()
    rows = encoders.features(section, encoder, SCALE, cache_folder=tmp_path)
    monkeypatch.setattr(encoders._features, "extract", None)
    again = encoders.features(section, encoder, SCALE, cache_folder=tmp_path)
    assert np.array_equal(again, rows)
    assert again.dtype == np.float32
    assert encoder.network.n_seen == 4


def test_features_of_other_places_than_spots(tmp_path):
    section = toys.section()
    places = np.array([[100.0, 100.0], [300.0, 200.0], [120.5, 99.0]])
    found = encoders.features(
        section, colour_encoder(), SCALE, centres_um=places, cache_folder=tmp_path
    )
    patches = extract(section.slide, places / 2.0, 100.0, output_px=8)
    np.testing.assert_array_equal(found, colour_encoder().encode(patches))
    of_spots = encoders.features(
        section, colour_encoder(), SCALE, cache_folder=tmp_path
    )
    at_spots = encoders.features(
        section,
        colour_encoder(),
        SCALE,
        centres_um=section.coords_um,
        cache_folder=tmp_path,
    )
    np.testing.assert_array_equal(at_spots, of_spots)
    assert len(list(tmp_path.iterdir())) == 2  # the same places are the same file


@pytest.mark.parametrize(
    ("places", "message"),
    [
        (np.zeros((0, 2)), "centres_um has 0 rows, 0 of them finite, expected one or"),
        (np.array([[1.0, np.nan]]), "centres_um has 1 rows, 0 of them finite"),
    ],
)
def test_places_that_are_nowhere(tmp_path, places, message):
    with pytest.raises(ValueError, match=message):
        encoders.features(
            toys.section(),
            colour_encoder(),
            SCALE,
            centres_um=places,
            cache_folder=tmp_path,
        )


def test_surroundings_are_the_features_of_the_cells_of_a_square(tmp_path):
    section, encoder = toys.section(), colour_encoder()
    scale = Scale("square", 90.0)
    maps = encoders.surroundings(
        section, encoder, scale, n_cells=3, cache_folder=tmp_path
    )
    assert maps.shape == (4, 3, 3, 3)
    assert maps.dtype == np.float16
    step_px = 30.0 / section.mpp
    for row, column in [(0, 0), (0, 2), (1, 1), (2, 0)]:
        shift = np.array([column - 1, row - 1]) * step_px
        cell = extract(section.slide, section.coords_px + shift, 30.0, output_px=8)
        np.testing.assert_allclose(
            maps[:, :, row, column], encoder.encode(cell), atol=2e-3
        )
    encoder.network.n_seen = 0
    again = encoders.surroundings(
        section, encoder, scale, n_cells=3, cache_folder=tmp_path
    )
    assert np.array_equal(again, maps)
    assert encoder.network.n_seen == 0
    encoders.surroundings(section, encoder, scale, n_cells=1, cache_folder=tmp_path)
    assert encoder.network.n_seen == 4


@pytest.mark.parametrize("n_cells", [0, 4, -1])
def test_surroundings_need_a_cell_in_the_middle(n_cells):
    with pytest.raises(ValueError, match=f"n_cells is {n_cells}, expected an odd"):
        encoders.surroundings(toys.section(), colour_encoder(), SCALE, n_cells=n_cells)


def test_feature_maps_are_kept_apart_from_features(tmp_path):
    network = timm.create_model("test_resnet", pretrained=False, num_classes=0)
    encoder = replace(Encoder._of("tiny", network, "cpu"), input_px=64)
    section = toys.section()
    rows = encoders.features(section, encoder, SCALE, cache_folder=tmp_path)
    maps = encoders.feature_maps(section, encoder, SCALE, cache_folder=tmp_path)
    assert maps.dtype == np.float16
    np.testing.assert_allclose(maps.mean(axis=(2, 3)), rows, atol=5e-3)
    assert len(list(tmp_path.iterdir())) == 2


def test_whatever_decides_features_makes_them_computed_anew(tmp_path):
    section, encoder = toys.section(), colour_encoder()
    image = section.slide.crop(0, 0, 300, 240)

    def n_computed(of=section, by=encoder, scale=SCALE):
        before = by.network.n_seen
        encoders.features(of, by, scale, cache_folder=tmp_path)
        return by.network.n_seen - before

    assert n_computed() == 4
    assert n_computed(scale=Scale("another_name", 100.0)) == 0
    assert n_computed(of=replace(section, name="other", slide=section.slide)) == 0
    assert n_computed(scale=Scale("spot", 101.0)) == 4
    assert n_computed(of=replace(section, slide=Slide.from_array(image, 2.1))) == 4
    assert n_computed(of=replace(section, slide=Slide.from_array(255 - image, 2.0))) > 0
    assert n_computed(by=colour_encoder(std=(0.5, 1.0, 1.0))) == 4
    moved = toys.section()
    moved.adata.obsm["spatial"] = moved.coords_px + [[0.0, 0.25]] * 4
    assert n_computed(of=moved) == 4
    assert n_computed(of=section.subset(np.array([True, True, True, False]))) == 3
    assert n_computed() == 0


def damage_by_truncation(content):
    return content[: len(content) // 2]


def damage_of_one_bit(content):
    return content[:-40] + bytes([content[-40] ^ 1]) + content[-39:]


def damage_of_the_header(content):
    return content.replace(b"<f4", b"<i4")


@pytest.mark.parametrize(
    "damage",
    [damage_by_truncation, damage_of_one_bit, damage_of_the_header, lambda _: b""],
    ids=["truncated", "one bit", "header", "empty"],
)
def test_a_damaged_file_is_noticed_and_computed_again(tmp_path, caplog, damage):
    section, encoder = toys.section(), colour_encoder()
    rows = encoders.features(section, encoder, SCALE, cache_folder=tmp_path)
    (file,) = tmp_path.iterdir()
    whole = file.read_bytes()
    assert damage(whole) != whole
    file.write_bytes(damage(whole))
    again = encoders.features(section, encoder, SCALE, cache_folder=tmp_path)
    assert np.array_equal(again, rows)
    assert encoder.network.n_seen == 8
    assert f"{file} is damaged and will be computed again" in caplog.text
    assert file.read_bytes() == whole


def test_a_stored_file_is_a_plain_npy_file(tmp_path):
    array = np.arange(6, dtype=np.float32).reshape(2, 3)
    write(tmp_path / "deep" / "a.npy", array)
    assert np.array_equal(np.load(tmp_path / "deep" / "a.npy"), array)
    assert np.array_equal(read(tmp_path / "deep" / "a.npy"), array)
    assert read(tmp_path / "none.npy") is None


def test_a_folder_that_cannot_be_written_is_named_with_the_way_out(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(OSError, match=r"cannot write to .*file.*STLEARNKIT_CACHE"):
        encoders.features(
            toys.section(), colour_encoder(), SCALE, cache_folder=tmp_path / "file"
        )


def test_a_section_without_slide_is_refused(tmp_path):
    with pytest.raises(SectionError, match="section 'toy' has no slide to cut patches"):
        encoders.features(
            toys.section(image=False), colour_encoder(), SCALE, cache_folder=tmp_path
        )


def test_the_environment_says_where_features_are_kept(tmp_path, monkeypatch):
    monkeypatch.setenv("STLEARNKIT_CACHE", str(tmp_path))
    encoders.features(toys.section(), colour_encoder(), SCALE)
    assert len(list((tmp_path / "features").glob("*.npy"))) == 1
    monkeypatch.delenv("STLEARNKIT_CACHE")
    assert user_folder("features").parts[-2:] == ("stlearnkit", "features")


# Killed in the middle


def run_and_kill(code: str, is_time: str, folder: Path) -> None:
    """Run code in another process and kill it as soon as a file matches."""
    script = "import os, time\nfrom colour import *\nfrom stlearnkit import encoders\n"
    script += textwrap.dedent(code)
    tests = str(Path(__file__).parent)
    environment = os.environ | {"STLEARNKIT_CACHE": str(folder), "PYTHONPATH": tests}
    process = subprocess.Popen([sys.executable, "-c", script], env=environment)
    deadline = time.monotonic() + 120
    while not any((folder / "features").glob(is_time)):
        assert process.poll() is None, "it ended before it could be killed"
        assert time.monotonic() < deadline, "it never wrote a file"
        time.sleep(0.02)
    process.kill()
    assert process.wait() == -signal.SIGKILL


def test_a_killed_extraction_goes_on_where_it_was(tmp_path):
    run_and_kill(
        """
        encode = Encoder.encode
        def slow(self, patches, **settings):
            time.sleep(0.5)
            return encode(self, patches, **settings)
        Encoder.encode = slow
        encoders.features(big_section(), colour_encoder(), SCALE)
        """,
        "*.npy",
        tmp_path,
    )
    section, encoder, folder = big_section(), colour_encoder(), tmp_path / "features"
    n_whole = len(list(folder.glob("*.npy")))
    assert n_whole < 3
    rows = encoders.features(section, encoder, SCALE, cache_folder=folder)
    assert encoder.network.n_seen == 600 - 256 * n_whole
    fresh = encoders.features(
        section, colour_encoder(), SCALE, cache_folder=tmp_path / "fresh"
    )
    assert np.array_equal(rows, fresh)


def test_a_killed_write_leaves_nothing_under_a_final_name(tmp_path):
    run_and_kill(
        """
        os.fsync = lambda _: time.sleep(300)
        encoders.features(big_section(), colour_encoder(), SCALE)
        """,
        "*.tmp",
        tmp_path,
    )
    folder = tmp_path / "features"
    assert not list(folder.glob("*.npy"))
    (leftover,) = folder.glob("*.tmp")
    a_minute_ago = time.time() - 60
    os.utime(leftover, (a_minute_ago, a_minute_ago))
    section, encoder = big_section(), colour_encoder()
    with leftover.open("rb") as held:
        fcntl.flock(held, fcntl.LOCK_EX)  # as a process does that still writes
        rows = encoders.features(section, encoder, SCALE, cache_folder=folder)
        assert leftover.exists()
    patches = extract(section.slide, section.coords_px, 100.0, output_px=8)
    assert np.array_equal(rows, encoder.encode(patches))
    write(folder / "next.npy", rows)
    assert not list(folder.glob("*.tmp"))


@pytest.mark.parametrize("locks", [True, False])
def test_young_files_of_others_are_left_alone(tmp_path, monkeypatch, locks):
    if not locks:  # as on Windows
        monkeypatch.setattr("stlearnkit._store.fcntl", None)
    young, old = (tmp_path / f"a.{digit * 32}.tmp" for digit in "01")
    # Where there are locks a minute would be enough to tell; a clock may go wrong, too.
    for file, age_s in ((young, -60 if locks else 60), (old, 7200)):
        file.touch()
        os.utime(file, (time.time() - age_s,) * 2)
    write(tmp_path / "next.npy", np.zeros(1))
    assert (young.exists(), old.exists()) == (True, False)
    assert (tmp_path / "next.npy").exists()


def test_a_folder_that_moved_is_found_among_the_weights(tmp_path, monkeypatch):
    save_folder(tmp_path / "here" / "net")
    monkeypatch.setenv("STLEARNKIT_WEIGHTS", str(tmp_path / "here"))
    moved = _weights.load_network(f"local-dir:{tmp_path / 'gone' / 'net'}")
    there = _weights.load_network(f"local-dir:{tmp_path / 'here' / 'net'}")
    one, other = moved.state_dict(), there.state_dict()
    assert all(torch.equal(one[name], other[name]) for name in other)


def test_an_architecture_alone_needs_no_weights(offline):
    assert _weights.load_network(TINY, pretrained=False).num_features > 0

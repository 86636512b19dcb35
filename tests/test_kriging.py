"""Kriging: by hand, against scikit-learn, what leaving out means, and every error."""

import numpy as np
import pytest
from scipy.spatial.distance import cdist
from sklearn.gaussian_process import GaussianProcessRegressor
from sklearn.gaussian_process.kernels import RBF

from stlearnkit.models.kriging import Kriging


def toy(seed=0, n_spots=(30, 40), noise=0.3):
    """Sections in which four genes follow two programmes of the image and the place."""
    rng = np.random.default_rng(seed)
    loadings = rng.normal(size=(2, 4))
    features, targets, places, transcripts = [], [], [], []
    for n in n_spots:
        blocks = [rng.normal(3, 2, size=(n, 3)), rng.normal(size=(n, 2))]
        place = rng.uniform(0, 2000, size=(n, 2))
        scores = np.column_stack([blocks[0][:, 0], 3 * np.sin(place[:, 0] / 300)])
        features.append(blocks)
        places.append(place)
        targets.append(5 + scores @ loadings + noise * rng.normal(size=(n, 4)))
        transcripts.append(rng.integers(100, 5000, n).astype(float))
    return features, targets, transcripts, places


def standard(blocks):
    """Features of a section as the kernel wants them, column by column."""
    columns = np.hstack(blocks).T
    return np.array([(c - c.mean()) / c.std() for c in columns]).T / len(columns) ** 0.5


def test_two_spots_and_one_in_their_middle_by_hand():
    x, y = np.array([[0.0], [1.0]]), np.array([[10.0], [14.0]])
    fitted = Kriging(length=1.0, noises=(0.1,)).fit(
        [[x]], [y], transcripts=[np.ones(2)]
    )
    # Standardised, the two are at -1 and 1: covariance e^-2, and n σ² = 0.2.
    alike = np.exp(-2)
    weight = 2 / (1 + 0.2 - alike)  # of (-1, 1), an eigenvector: 1 - e^-2 + 0.2
    assert np.allclose(
        fitted.predict([x]).ravel(), 12 + np.array([-1, 1]) * weight * (1 - alike)
    )
    assert np.allclose(fitted.predict([np.array([[0.0], [0.5], [1.0]])])[1], 12)


@pytest.mark.parametrize("with_places", [False, True])
def test_one_programme_is_scikit_learns_gaussian_process(with_places):
    features, targets, transcripts, places = toy()
    model = Kriging(place=0.0, counting=0.0, noises=(0.01,), length=1.5)
    looks = np.concatenate([standard(blocks) for blocks in features])
    expression = np.concatenate(targets)
    oracle = GaussianProcessRegressor(
        RBF(1.5, "fixed"), alpha=0.01 * len(looks), optimizer=None
    ).fit(looks, expression - expression.mean(axis=0))
    fitted = model.fit(
        features,
        targets,
        transcripts=transcripts,
        places_um=places if with_places else None,
    )
    new, _, _, there = toy(seed=1)
    found = fitted.predict(new[0], there[0] if with_places else None)
    expected = oracle.predict(standard(new[0])) + expression.mean(axis=0)
    assert np.allclose(found, expected, atol=1e-8)


def test_place_adds_its_kernel():
    features, targets, transcripts, places = toy()
    model = Kriging(place=2.0, reach_um=400.0, length=1e6, counting=0, noises=(0.01,))
    fitted = model.fit(features, targets, transcripts=transcripts, places_um=places)
    there, expression = np.concatenate(places), np.concatenate(targets)
    mean = expression.mean(axis=0)

    def kernel(a, b):
        return 1 + 2 * np.exp(-cdist(a, b, "sqeuclidean") / (2 * 400**2))

    ridge = kernel(there, there) + 0.01 * len(there) * np.eye(len(there))
    solved = np.linalg.solve(ridge, expression - mean)
    expected = mean + kernel(places[0], there) @ solved
    assert np.allclose(fitted.predict(features[0], places[0]), expected, atol=1e-6)


def test_left_out_is_what_a_fit_without_the_spot_predicts():
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(12, 1)), rng.normal(size=(12, 1))
    # The mean, the weights and the standard size must not change by leaving out: a
    # target of mean 0 whose spots all count the same, a kernel of places alone.
    y -= y.mean()
    places = rng.uniform(0, 1000, size=(12, 2))
    model = Kriging(length=1e9, place=1.0, counting=0.0, noises=(0.05,))
    fitted = model.fit([[x]], [y], transcripts=[np.ones(12)], places_um=[places])
    near = np.exp(-cdist(places, places, "sqeuclidean") / (2 * 300**2))
    for out in range(12):
        rest = np.delete(np.arange(12), out)
        covariance = 1 + near + 0.05 * 12 * np.eye(12)
        solved = np.linalg.solve(covariance[np.ix_(rest, rest)], y[rest])
        expected = (1 + near)[out, rest] @ solved
        assert np.allclose(fitted.left_out[out], expected, atol=1e-7)


def test_each_programme_gets_its_own_noise():
    rng = np.random.default_rng(0)
    x = rng.normal(size=(200, 1))
    follows, noise = 10 * x[:, 0], rng.normal(size=200)
    fitted = Kriging().fit(
        [[x]], [np.column_stack([follows, noise])], transcripts=[np.ones(200)]
    )
    signal, rest = fitted.noise
    assert signal < rest == max(Kriging().noises)
    error = fitted.predict([x]) - np.column_stack([follows, np.full(200, noise.mean())])
    assert np.abs(error[:, 0]).mean() < 0.5
    assert np.abs(error[:, 1]).mean() < 0.1  # nothing to follow: it stays at the mean


def test_spots_with_few_transcripts_count_less():
    rng = np.random.default_rng(0)
    x = np.linspace(-1, 1, 60)[:, None]
    wrong = np.arange(60) % 2 == 0
    target = np.where(wrong[:, None], rng.normal(size=(60, 1)) * 9, 4 * x)
    few = np.where(wrong, 10.0, 10_000.0)

    def error(counting):
        model = Kriging(counting=counting)
        fitted = model.fit([[x]], [target], transcripts=[few])
        return np.abs(fitted.predict([x]) - 4 * x).mean()

    assert error(1.0) < 0.3 * error(0.0)


def test_light_and_stain_of_a_section_play_no_part():
    features, targets, transcripts, _ = toy()
    fitted = Kriging().fit(features, targets, transcripts=transcripts)
    new = toy(seed=1)[0][0]
    stained = [7 - 3 * new[0], 0.1 * new[1] + 2]
    back = [-stained[0], stained[1]]
    assert np.allclose(fitted.predict(new), fitted.predict(back), atol=1e-9)


def test_the_order_of_spots_and_sections_plays_no_part():
    features, targets, transcripts, places = toy()
    model = Kriging(max_spots=70)
    one = model.fit(features, targets, transcripts=transcripts, places_um=places)
    order = np.random.default_rng(0).permutation(40)
    other = model.fit(
        [[block[order] for block in features[1]], features[0]],
        [targets[1][order], targets[0]],
        transcripts=[transcripts[1][order], transcripts[0]],
        places_um=[places[1][order], places[0]],
    )
    new, _, _, there = toy(seed=1)
    mixed = np.random.default_rng(1).permutation(30)
    expected = one.predict(new[0], there[0])[mixed]
    found = other.predict([block[mixed] for block in new[0]], there[0][mixed])
    assert np.allclose(found, expected, atol=1e-8)


def test_more_spots_than_allowed_are_thinned_out():
    features, targets, transcripts, _ = toy(n_spots=(50, 51))
    fitted = Kriging(max_spots=40).fit(features, targets, transcripts=transcripts)
    assert len(fitted.known.looks) == 34  # every third
    assert fitted.predict(features[1]).shape == (51, 4)


def test_a_section_that_looks_the_same_everywhere_gets_nearly_the_mean():
    features, targets, transcripts, _ = toy()
    fitted = Kriging().fit(features, targets, transcripts=transcripts)
    same = [np.ones((5, 3)), np.ones((5, 2))]
    assert np.ptp(fitted.predict(same), axis=0).max() < 1e-12
    one = fitted.predict([np.full((1, 3), 9.0), np.zeros((1, 2))])
    assert np.allclose(one, fitted.predict(same)[:1])


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ({"length": 0.0}, "length is 0.0, expected above 0"),
        ({"reach_um": np.inf}, "reach_um is inf, expected above 0"),
        ({"place": -1.0}, "place is -1.0, expected 0 or more"),
        ({"counting": -0.1}, "counting is -0.1, expected 0 or more"),
        ({"n_programmes": 0}, "n_programmes is 0, expected 1 or more"),
        ({"max_spots": 1}, "max_spots is 1, expected 2 or more"),
        ({"noises": ()}, r"noises is \(\), expected one or more variances"),
        ({"noises": (0.1, 0.0)}, "expected one or more variances above 0"),
    ],
)
def test_settings_that_cannot_be_meant_are_refused(setting, message):
    with pytest.raises(ValueError, match=message):
        Kriging(**setting)


def test_training_that_does_not_match_is_refused():
    features, targets, transcripts, places = toy()
    with pytest.raises(ValueError, match=r"transcripts has \[30\] rows, expected"):
        Kriging().fit(features, targets, transcripts=transcripts[:1])
    with pytest.raises(ValueError, match=r"places_um has \[40, 30\] rows"):
        Kriging().fit(
            features, targets, transcripts=transcripts, places_um=places[::-1]
        )
    empty = [transcripts[0], np.append(transcripts[1][1:], 0)]
    with pytest.raises(ValueError, match="transcripts has 1 spots of 0 or less"):
        Kriging().fit(features, targets, transcripts=empty)
    nowhere = [places[0], places[1] * np.nan]
    with pytest.raises(ValueError, match="places_um of section 1 has values that are"):
        Kriging().fit(features, targets, transcripts=transcripts, places_um=nowhere)


def test_sections_that_do_not_match_training_are_refused():
    features, targets, transcripts, places = toy()
    fitted = Kriging().fit(features, targets, transcripts=transcripts)
    with pytest.raises(ValueError, match="blocks have 3 features, expected 5"):
        fitted.predict(features[0][:1])
    with pytest.raises(ValueError, match="given in training or for this section"):
        fitted.predict(features[0], places[0])
    placed = Kriging().fit(features, targets, transcripts=transcripts, places_um=places)
    with pytest.raises(ValueError, match="given in training or for this section"):
        placed.predict(features[0])
    with pytest.raises(ValueError, match=r"places_um has \[40\] rows, expected \[30\]"):
        placed.predict(features[0], places[1])

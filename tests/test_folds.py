"""Folds: by hand, the laws of a split, and every leak refused."""

import dataclasses

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.preprocessing import StandardScaler

from stlearnkit.expression import Panel
from stlearnkit.folds import (
    Fold,
    LeakError,
    Learnt,
    guard,
    inner_folds,
    leave_one_patient_out,
    leave_one_section_out,
    observed_section,
)

# Patients in mixed order, of three, two, one and two sections.
PATIENTS = {"C2": "C", "B4": "B", "C3": "C", "D1": "D"}
PATIENTS |= {"C4": "C", "B5": "B", "E1": "E", "E2": "E"}

many_patients = st.dictionaries(
    st.text("abcdefgh", min_size=1, max_size=2), st.sampled_from("PQR"), min_size=2
).filter(lambda patients: len(set(patients.values())) > 1)


def parts(fold):
    return fold.train, fold.observed, fold.test


# Constructors


def test_leave_one_section_out_by_hand():
    assert [parts(fold) for fold in leave_one_section_out(["C2", "C3", "B4"])] == [
        (("C3", "B4"), (), ("C2",)),
        (("C2", "B4"), (), ("C3",)),
        (("C2", "C3"), (), ("B4",)),
    ]


def test_leave_one_section_out_takes_the_mapping_of_patients_too():
    assert leave_one_section_out(PATIENTS) == leave_one_section_out(list(PATIENTS))


def test_leave_one_patient_out_by_hand():
    folds = leave_one_patient_out(PATIENTS)
    assert [fold.name for fold in folds] == ["C", "B", "D", "E"]
    assert parts(folds[0]) == (
        ("B4", "D1", "B5", "E1", "E2"),
        (),
        ("C2", "C3", "C4"),
    )
    assert {fold.claim for fold in folds} == {"patient"}


def test_observed_section_by_hand():
    first, second = observed_section(PATIENTS, ["C3", "B4"])
    others = ("B4", "D1", "B5", "E1", "E2")
    assert parts(first) == (others, ("C3",), ("C2", "C4"))
    assert parts(second)[1:] == (("B4",), ("B5",))
    assert (first.name, first.claim) == ("C from C3", "patient")


def test_observed_section_of_the_only_patient_has_no_training():
    (fold,) = observed_section({"C2": "C", "C3": "C", "C4": "C"}, ["C3"])
    assert parts(fold) == ((), ("C3",), ("C2", "C4"))
    assert fold.claim == "section"


@given(patients=many_patients)
def test_every_section_is_tested_once_and_no_constructor_leaks(patients):
    for folds in (leave_one_section_out(patients), leave_one_patient_out(patients)):
        tested = [name for fold in folds for name in fold.test]
        assert sorted(tested) == sorted(patients)
        for fold in folds:
            assert sorted((*fold.train, *fold.test)) == sorted(patients)
            guard(fold, patients)


def test_a_fold_is_plain_data_that_comes_back_from_a_dictionary():
    (fold, *_) = leave_one_patient_out(PATIENTS)
    assert Fold(**dataclasses.asdict(fold)) == fold


@pytest.mark.parametrize("names", [[], ["C2"]])
def test_fewer_than_two_sections_cannot_be_left_out(names):
    with pytest.raises(ValueError, match="expected at least two names"):
        leave_one_section_out(names)


def test_a_section_named_twice_is_refused():
    with pytest.raises(ValueError, match="a name stands twice"):
        leave_one_section_out(["C2", "C3", "C2"])


def test_one_patient_cannot_be_left_out():
    with pytest.raises(ValueError, match=r"are of 1 patient\(s\), expected at least"):
        leave_one_patient_out({"C2": "C", "C3": "C"})


def test_observed_sections_must_be_there_and_known():
    with pytest.raises(ValueError, match="observed is empty"):
        observed_section(PATIENTS, [])
    with pytest.raises(ValueError, match=r"observed names \['Z9'\], which are not in"):
        observed_section(PATIENTS, ["C3", "Z9"])
    with pytest.raises(ValueError, match="test of fold 'D from D1' is empty"):
        observed_section(PATIENTS, ["D1"])


# The fold itself


@pytest.mark.parametrize(
    ("train", "observed", "test", "where"),
    [
        (("C2",), (), ("C2",), "in train and in test"),
        (("C2",), ("C3",), ("C3",), "in observed and in test"),
        (("C2",), ("C2",), ("C4",), "in train and in observed"),
        (("C2", "C2"), (), ("C4",), "in train and in train"),
    ],
)
def test_a_section_in_two_places_is_a_leak(train, observed, test, where):
    with pytest.raises(LeakError, match=where):
        Fold("odd", train, test, observed)


def test_empty_parts_are_refused():
    with pytest.raises(ValueError, match="test of fold 'odd' is empty"):
        Fold("odd", ("C2",), ())
    with pytest.raises(ValueError, match="train of fold 'odd' is empty, and so is obs"):
        Fold("odd", (), ("C2",))


@pytest.mark.usefixtures("unchecked")
def test_unknown_claims_are_refused():
    with pytest.raises(ValueError, match="claim of fold 'odd' is 'world', expected"):
        Fold("odd", ("C2",), ("C3",), claim="world")


# Inner folds


def test_inner_folds_leave_a_patient_out_for_a_claim_about_patients():
    outer = leave_one_patient_out(PATIENTS)[0]  # C
    inner = inner_folds(outer, PATIENTS)
    assert [parts(fold) for fold in inner] == [
        (("D1", "E1", "E2"), (), ("B4", "B5")),
        (("B4", "B5", "E1", "E2"), (), ("D1",)),
        (("B4", "D1", "B5"), (), ("E1", "E2")),
    ]
    assert {fold.claim for fold in inner} == {"patient"}


def test_inner_folds_leave_a_section_out_for_a_claim_about_sections():
    outer = Fold("C4", train=("C2", "B4", "C3"), test=("C4",))
    inner = inner_folds(outer, PATIENTS)
    assert [fold.test for fold in inner] == [("C2",), ("B4",), ("C3",)]


def test_inner_folds_of_one_training_patient_leave_a_section_out():
    outer = Fold("B", train=("C2", "C3"), test=("B4",), claim="patient")
    inner = inner_folds(outer, PATIENTS)
    assert [(fold.train, fold.test, fold.claim) for fold in inner] == [
        (("C3",), ("C2",), "section"),
        (("C2",), ("C3",), "section"),
    ]


def test_inner_folds_observe_the_section_of_the_same_rank():
    (outer,) = observed_section(PATIENTS, ["C4"])  # third of three; B and E have two
    inner = inner_folds(outer, PATIENTS)
    assert [(fold.observed, fold.test) for fold in inner] == [
        (("B5",), ("B4",)),
        (("E2",), ("E1",)),  # D has but one section and is passed over
    ]
    assert inner[0].train == ("D1", "E1", "E2")
    (outer,) = observed_section(PATIENTS, ["C2"])
    assert [fold.observed for fold in inner_folds(outer, PATIENTS)] == [
        ("B4",),
        ("E1",),
    ]


def test_inner_folds_are_none_where_nothing_can_be_left_out():
    single = Fold("C2", train=("C3",), test=("C2",))
    (alone,) = observed_section({"C2": "C", "C3": "C"}, ["C3"])
    lonely = {"C2": "C", "C3": "C", "D1": "D", "F1": "F"}
    (strangers,) = observed_section(lonely, ["C3"])  # others have one section each
    assert inner_folds(single, PATIENTS) == ()
    assert inner_folds(alone, {"C2": "C", "C3": "C"}) == ()
    assert inner_folds(strangers, lonely) == ()


@given(patients=many_patients)
def test_inner_folds_never_touch_the_test(patients):
    outer_folds = (*leave_one_section_out(patients), *leave_one_patient_out(patients))
    for outer in outer_folds:
        for inner in inner_folds(outer, patients):
            assert {*inner.train, *inner.test} <= set(outer.train)
            guard(inner, patients)


# The guard, and planted leaks

FOLD = Fold("C4", train=("C2", "C3"), test=("C4",))
NEW_PATIENT = Fold("C", train=("B4", "B5"), test=("C3", "C4"), claim="patient")
FROM_ONE = Fold("C", ("B4", "B5"), ("C3", "C4"), observed=("C2",), claim="patient")


def test_the_guard_lets_honest_work_pass():
    panel = Panel(("GENE",), chosen_on=("C2", "C3"))
    guard(FOLD, PATIENTS, panel, Learnt("weights", seen=("ImageNet",)))
    guard(FROM_ONE, PATIENTS, Panel(("GENE",), chosen_on=("B4", "B5", "C2")))


def test_a_panel_chosen_on_the_test_is_a_leak():
    panel = Panel(("GENE",), chosen_on=("C2", "C3", "C4"))
    with pytest.raises(LeakError, match="Panel has seen 'C4', which fold 'C4' tests"):
        guard(FOLD, PATIENTS, panel)


def test_a_scaler_fitted_on_all_sections_is_a_leak():
    scaler = Learnt("scaler", seen=tuple(PATIENTS), value=StandardScaler())
    with pytest.raises(LeakError, match="scaler has seen 'C4'"):
        guard(FOLD, PATIENTS, Learnt("components", seen=("C2",)), scaler)


def test_a_checkpoint_chosen_on_the_test_is_a_leak():
    best = Learnt("best checkpoint", seen=("C2", "C3", "C4"))
    with pytest.raises(LeakError, match="best checkpoint has seen 'C4'"):
        guard(FOLD, PATIENTS, best)


def test_a_patient_on_both_sides_is_a_leak_if_the_claim_is_about_patients():
    both = Fold("C", train=("B4", "C2"), test=("C3", "C4"), claim="patient")
    with pytest.raises(LeakError, match=r"patient 'C' in train \('C2'\) and in test"):
        guard(both, PATIENTS)
    guard(dataclasses.replace(both, claim="section"), PATIENTS)


def test_what_saw_another_section_of_a_held_out_patient_is_a_leak():
    scaler = Learnt("scaler", seen=("B4", "C2"))
    with pytest.raises(LeakError, match="'C2', which fold 'C' holds out the patient"):
        guard(NEW_PATIENT, PATIENTS, scaler)
    guard(FROM_ONE, PATIENTS, scaler)  # there C2 is measured


def test_an_observed_section_excuses_no_test_section():
    with pytest.raises(LeakError, match="scaler has seen 'C3', which fold 'C' tests"):
        guard(FROM_ONE, PATIENTS, Learnt("scaler", seen=("C2", "C3")))


def test_observed_sections_of_other_patients_are_refused():
    odd = Fold("C", ("B4",), ("C3",), observed=("D1",), claim="patient")
    with pytest.raises(ValueError, match=r"observed of fold 'C' has \['D1'\], whose"):
        guard(odd, PATIENTS)


def test_sections_without_a_known_patient_are_refused():
    with pytest.raises(ValueError, match=r"fold 'C4' names \['C3'\], which are not in"):
        guard(FOLD, {"C2": "C", "C4": "C"})


@pytest.mark.usefixtures("unchecked")
def test_what_does_not_say_what_it_saw_is_refused():
    # A word in place of names would be read letter by letter: C, 4.
    for silent in (StandardScaler(), Learnt("StandardScaler", seen="C4")):
        with pytest.raises(ValueError, match="StandardScaler does not say which sec"):
            guard(FOLD, PATIENTS, silent)

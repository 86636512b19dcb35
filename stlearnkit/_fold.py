"""A fold as plain data, and the error of all that leaks."""

__all__ = ["Claim", "Fold", "LeakError"]

from dataclasses import dataclass
from typing import Literal, get_args

Claim = Literal["section", "patient"]
"""What a score is about: new sections of known patients, or new patients."""


class LeakError(ValueError):
    """Something that is to be judged on a section has already seen it."""


@dataclass(frozen=True)
class Fold:
    """One split of sections, by name.

    Parameters
    ----------
    name
        Of the fold, e.g. the section or patient left out.
    train
        Sections to learn from.
    test
        Sections to predict and to score.
    observed
        Sections of the test's own patients that are measured beforehand: known to the
        predictor, and not scored.
    claim
        ``"section"``: the score is about new sections of known patients. ``"patient"``:
        it is about new patients, so that none stands both in `train` and in `test`.

    Raises
    ------
    LeakError
        If a section stands in two places.
    ValueError
        If there is nothing to learn from or nothing to test, or the claim is unknown.

    Examples
    --------
    >>> Fold("C4", train=("C2", "C3"), test=("C4",)).claim
    'section'
    >>> try:
    ...     Fold("C4", train=("C2", "C4"), test=("C4",))
    ... except LeakError as leak:
    ...     print(leak)
    fold 'C4' has 'C4' in train and in test. Each section stands once, ...
    """

    name: str
    train: tuple[str, ...]
    test: tuple[str, ...]
    observed: tuple[str, ...] = ()
    claim: Claim = "section"

    def __post_init__(self) -> None:
        """Refuse splits that leak or say nothing.

        Raises
        ------
        LeakError
            If a section stands in two places.
        ValueError
            If a part is missing or the claim is unknown.
        """
        if self.claim not in get_args(Claim):
            raise ValueError(
                f"claim of fold {self.name!r} is {self.claim!r}, expected 'section' or "
                "'patient': what the score is to be about."
            )
        if not self.test:
            raise ValueError(
                f"test of fold {self.name!r} is empty: name at least one section to "
                "predict."
            )
        if not self.train and not self.observed:
            raise ValueError(
                f"train of fold {self.name!r} is empty, and so is observed: there is "
                "nothing to learn from. Name other sections, or other patients."
            )
        place: dict[str, str] = {}
        for part in ("train", "observed", "test"):
            for section in getattr(self, part):
                if section in place:
                    raise LeakError(
                        f"fold {self.name!r} has {section!r} in {place[section]} and "
                        f"in {part}. Each section stands once, in one of train, "
                        "observed and test."
                    )
                place[section] = part

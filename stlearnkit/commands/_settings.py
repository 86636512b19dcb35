"""All settings of a study: one dataclass for each table of the file.

Each field says what it is for, what is allowed, and what an example would have; the
reader, its messages and ``stlearnkit data --example`` are made of that.
"""

__all__ = [
    "About",
    "Study",
    "names_of",
]

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Annotated, Any

Texts = tuple[str, ...]
Numbers = tuple[float, ...]
Wholes = tuple[int, ...]


@dataclass(frozen=True)
class Rule:
    """What is allowed beyond the type."""

    words: str
    holds: Callable[[Any], bool]


def at_least(least: int) -> Rule:
    """Allow numbers from a least one on."""
    return Rule(f"{least} or more", lambda value: value >= least)


def one_of(*words: str) -> Rule:
    """Allow some words."""
    return Rule(" or ".join(map(repr, words)), lambda value: value in words)


@dataclass(frozen=True)
class About:
    """What the file says of a setting."""

    purpose: str
    rule: Rule | None = None
    example: Any = None
    """Where the default is not a good one."""


_POSITIVE = Rule("above 0", lambda values: all(value > 0 for value in values))
_NOT_EMPTY = Rule("one or more", bool)
_SHARE = Rule("between 0 and 1", lambda value: 0 < value < 1)


@dataclass(frozen=True)
class Features:
    """How sections are looked at."""

    encoder: Annotated[
        str,
        About('"default", a name of timm, or "local-dir:" and a folder of weights'),
    ] = "default"
    scales_um: Annotated[Numbers, About("sides of the patches", _POSITIVE)] = (
        112.0,
        224.0,
        560.0,
    )
    radii_um: Annotated[
        Numbers, About("discs over which features are averaged, too", _POSITIVE)
    ] = (250.0, 480.0)


@dataclass(frozen=True)
class Train:
    """What is fitted, on which sections."""

    predictor: Annotated[
        str, About("ridge, kriging, TRIPLEX, ASIGN or another; a wrong name lists all")
    ] = "ridge"
    sections: Annotated[
        Texts, About("sections to learn from", example=("C2", "C3"))
    ] = ()
    n_genes: Annotated[int, About("genes of the highest mean count", at_least(1))] = 250
    seed: Annotated[int, About("of all chance", at_least(0))] = 0


@dataclass(frozen=True)
class Predict:
    """Where it is asked for."""

    sections: Annotated[Texts, About("sections to predict", example=("C4",))] = ()


@dataclass(frozen=True)
class Align:
    """Serial sections of one block."""

    sections: Annotated[
        Texts, About("in the order of the block", example=("C2", "C3", "C4"))
    ] = ()
    z_um: Annotated[
        Numbers,
        About(
            "height of each: number of cuts times thickness", example=(0.0, 48.0, 96.0)
        ),
    ] = ()
    reference: Annotated[str, About("the section whose frame all share")] = "middle"


@dataclass(frozen=True)
class Impute:
    """Some sections of a block are measured, the others are not."""

    predictor: Annotated[
        str, About("observed mean, ASIGN in 3D or another; a wrong name lists all")
    ] = "kriging, image and place"
    observed: Annotated[Texts, About("measured sections", example=("C3",))] = ()
    sections: Annotated[Texts, About("sections to impute", example=("C2", "C4"))] = ()
    n_genes: Annotated[int, About("genes of the highest mean count", at_least(1))] = 250
    level: Annotated[float, About("share that intervals are to hold", _SHARE)] = 0.9
    block_um: Annotated[
        float, About("side of the squares left out to calibrate", at_least(1))
    ] = 800.0
    seed: Annotated[int, About("of all chance", at_least(0))] = 0


@dataclass(frozen=True)
class Evaluate:
    """Cross-validation."""

    predictors: Annotated[Texts, About("the competitors", _NOT_EMPTY)] = (
        "mean profile",
        "ridge",
        "kriging",
    )
    sections: Annotated[Texts, About("to share out", example=("C2", "C3", "C4"))] = ()
    folds: Annotated[
        str, About("what is left out, one at a time", one_of("sections", "patients"))
    ] = "sections"
    n_genes: Annotated[int, About("genes of the highest mean count", at_least(1))] = 250
    seeds: Annotated[
        Wholes, About("each predictor is fitted with each", _NOT_EMPTY)
    ] = (0,)
    min_transcripts: Annotated[
        int, About("spots with fewer are not scored", at_least(1))
    ] = 1


@dataclass(frozen=True)
class Report:
    """The page that is written at the end."""

    title: Annotated[str, About("heading of the page")] = "A study"
    n_maps: Annotated[int, About("genes drawn for each section", at_least(0))] = 3


@dataclass(frozen=True)
class Study:
    """The whole file."""

    sections: Annotated[
        Texts,
        About(
            'data set and name, such as "her2st:C2", or a folder "name.zarr"',
            _NOT_EMPTY,
            example=("her2st:C2", "her2st:C3", "her2st:C4"),
        ),
    ] = ()
    folder: Annotated[str, About("where results go, seen from this file")] = "study"
    features: Features = Features()
    train: Train = Train()
    predict: Predict = Predict()
    align: Align = Align()
    impute: Impute = Impute()
    evaluate: Evaluate = Evaluate()
    report: Report = Report()
    file: Path = Path("study.toml")

    @property
    def home(self) -> Path:
        """The folder of results."""
        return self.file.parent / self.folder

    @property
    def addresses(self) -> dict[str, str]:
        """Where each section comes from, by its name."""
        return dict(zip(names_of(self.sections), self.sections, strict=True))


def names_of(addresses: Texts) -> Texts:
    """Return the names of sections by where they come from."""
    return tuple(
        PurePosixPath(address.replace("\\", "/").rpartition(":")[2]).stem
        for address in addresses
    )

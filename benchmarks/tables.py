"""The tables of the section Models in README.md, from models.csv.

    python benchmarks/tables.py

Replaces what stands between `<!-- models -->` and `<!-- /models -->` in README.md,
next to this file. Seeds are averaged before anything else; intervals are a bootstrap
over the five sections of patient C.
"""

from pathlib import Path

import pandas as pd

from stlearnkit.reports import bootstrap_interval

FOLDER = Path(__file__).parent
START, END = "<!-- models -->\n", "<!-- /models -->"
SECTIONS = ["C2", "C3", "C4", "C5", "C6"]
PREDICTORS = [
    "mean profile",
    "ridge",
    "kriging",
    "ST-Net, short",
    "ST-Net",
    "TRIPLEX",
    "TRIPLEX, means",
    "TRIPLEX, no line",
    "TRIPLEX, varied",
    "BG-TRIPLEX",
    "BG-TRIPLEX, empty maps",
    "BG-TRIPLEX, others' maps",
    "BG-TRIPLEX, grey for edges",
    "ASIGN",
    "ASIGN, means",
    "ASIGN, no tiles",
    "ASIGN, no graph",
    "ASIGN, no consistency",
    "ASIGN, with line",
    "TRIPLEX and ASIGN",
    "TRIPLEX, epoch by error",
]
Pairs = tuple[tuple[str, str], ...]
PARTS: Pairs = (
    ("TRIPLEX", "TRIPLEX, means"),
    ("TRIPLEX", "TRIPLEX, no line"),
    ("TRIPLEX, varied", "TRIPLEX"),
    ("BG-TRIPLEX", "TRIPLEX"),
    ("BG-TRIPLEX", "BG-TRIPLEX, empty maps"),
    ("BG-TRIPLEX", "BG-TRIPLEX, others' maps"),
    ("BG-TRIPLEX", "BG-TRIPLEX, grey for edges"),
    ("ASIGN", "ASIGN, means"),
    ("ASIGN", "ASIGN, no tiles"),
    ("ASIGN", "ASIGN, no graph"),
    ("ASIGN", "ASIGN, no consistency"),
    ("ASIGN", "ASIGN, with line"),
    ("ASIGN", "TRIPLEX"),
    ("TRIPLEX", "TRIPLEX, epoch by error"),
    ("TRIPLEX and ASIGN", "ASIGN"),
    ("kriging", "TRIPLEX"),
    ("kriging", "ASIGN"),
    ("kriging", "TRIPLEX and ASIGN"),
)
"""What is compared section by section: a model and what it is to be better than."""


def read() -> pd.DataFrame:
    """Return a column for each section; rows by spots kept, score, predictor, seed."""
    rows = pd.read_csv(FOLDER / "models.csv")
    rows["name"] = rows["name"].replace("B", "B4")
    rows["predictor"] = pd.Categorical(rows["predictor"], PREDICTORS)
    keys = ["least", "score", "predictor", "seed"]
    return rows.set_index([*keys, "name"])["value"].unstack("name").sort_index()


def table(head: list[str], rows: list[list[str]]) -> str:
    """Return a table of Markdown."""
    lines = [head, ["---"] * len(head), *rows]
    return "".join(f"| {' | '.join(cells)} |\n" for cells in lines)


def number(value: float) -> str:
    """Return four decimals, or nothing if there is no number."""
    return "" if pd.isna(value) else f"{value:.4f}"


def of_score(scores: pd.DataFrame, score: str) -> str:
    """Return the table of one score: sections, their mean, its interval, and B4."""
    rows = []
    for name, seeds in scores.loc[1, score].groupby("predictor", observed=True):
        of = seeds.mean()
        low, high, _ = bootstrap_interval(of[SECTIONS].to_numpy())
        rows.append(
            [
                str(name),
                str(len(seeds)),
                *map(number, of[SECTIONS]),
                f"**{number(of[SECTIONS].mean())}**",
                f"{low:.2f} to {high:.2f}",
                number(of["B4"]),
            ]
        )
    return table(["", "seeds", *SECTIONS, "C2–C6", "95 %", "B4"], rows)


def difference(scores: pd.DataFrame, one: str, other: str) -> str:
    """Return the mean difference over seeds in common, its interval and its signs."""
    ours, theirs = scores.loc[one], scores.loc[other]
    if other != "ridge":  # which knows no chance, and one seed only
        theirs = theirs[theirs.index.isin(ours.index)]
        ours = ours.loc[theirs.index]
    apart = (ours.mean() - theirs.mean())[SECTIONS]
    low, high, _ = bootstrap_interval(apart.to_numpy())
    share = f"above 0 in {(apart > 0).sum()}"
    text = f"{apart.mean():+.4f} ({low:+.3f} to {high:+.3f}; {share})"
    return text.replace("-", "−")


def differences(scores: pd.DataFrame, pairs: Pairs) -> str:
    """Return a table of differences, in correlation and in squared error."""
    known = set(scores.loc[1, "pcc"].index.get_level_values("predictor"))
    rows = [
        [
            f"{one} less {other}",
            difference(scores.loc[1, "pcc"], one, other),
            difference(scores.loc[1, "mse"], one, other),
        ]
        for one, other in pairs
        if {one, other} <= known
    ]
    return table(["", "PCC", "MSE"], rows)


def beyond(scores: pd.DataFrame, least: int) -> str:
    """Return what is left beyond the library size, in short, for both claims."""
    kinds = ["pcc", "pcc_beyond", "skill", "mse"]
    kept = scores.loc[least].groupby(["score", "predictor"], observed=True).mean()
    rows = [
        [
            str(name),
            *(number(kept.loc[(kind, name), SECTIONS].mean()) for kind in kinds),
            *(number(kept.loc[(kind, name), "B4"]) for kind in kinds),
        ]
        for name in kept.loc["pcc"].index
    ]
    words = ["PCC", "beyond", "skill", "MSE"]
    heads = [f"{word}, {place}" for place in ("C2–C6", "B4") for word in words]
    return table(["", *heads], rows)


def limits(scores: pd.DataFrame, least: int, words: str) -> str:
    """Return a sentence on what the library size and a noiseless model would reach."""
    kept = scores.loc[least].xs("ridge", level="predictor").groupby("score").mean()
    (library, library_b4), (ceiling, ceiling_b4) = (
        (number(kept.loc[kind, SECTIONS].mean()), number(kept.loc[kind, "B4"]))
        for kind in ("pcc_library_size", "ceiling")
    )
    return (
        f"Beyond the library size, {words}. That of the test spots itself,\n"
        f"which no model is given, would reach a PCC of {library} on C2–C6 and "
        f"{library_b4} on B4;\nthe noise ceiling is {ceiling} and {ceiling_b4}."
    )


def written() -> str:
    """Return all tables with a line before each."""
    scores = read()
    names = scores.loc[1, "pcc"].index.get_level_values("predictor")
    over = tuple((name, "ridge") for name in PREDICTORS[2:] if name in names)
    parts = {
        "PCC:": of_score(scores, "pcc"),
        "Mean squared error:": of_score(scores, "mse"),
        "Differences from ridge, paired over the five sections, with 95 % bootstrap,\n"
        "and in how many sections they are above 0, which is good for PCC and bad for "
        "MSE:": differences(scores, over),
        "What parts are worth, in the same way, with the seeds that both have:": (
            differences(scores, PARTS)
        ),
        limits(scores, 1, "all spots"): beyond(scores, 1),
        limits(scores, 100, "spots of 100 transcripts or more"): beyond(scores, 100),
    }
    return "\n".join(f"{words}\n\n{text}" for words, text in parts.items())


def main() -> None:
    """Put the tables in their place."""
    path = FOLDER / "README.md"
    before, rest = path.read_text().split(START)
    after = rest.split(END)[1]
    path.write_text(f"{before}{START}\n{written()}\n{END}{after}")


if __name__ == "__main__":
    main()

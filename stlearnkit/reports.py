"""Reports: from a benchmark's long table to a few numbers that can be believed.

The table has one row for each fold, test section, predictor, seed and gene, as
`benchmark.evaluate` returns it. It is averaged in steps: over seeds and folds, then
over genes, then over sections. What is left, one value for each *unit*, is what
intervals and comparisons are about. The unit is the patient where the claim is about
new patients, else the section: spots, genes and seeds are no units, as they say nothing
about the next tumour. An interval over sections is about further sections of the *same*
patients, whose scores are alike; it says nothing about others.

Taught in the chapter "Judging a map".
"""

__all__ = [
    "Interval",
    "against_best_trivial",
    "bootstrap_interval",
    "overview",
    "paired_difference",
    "per_gene",
    "per_unit",
    "printed",
]

from collections.abc import Sequence

import pandas as pd

from stlearnkit._averages import Interval, bootstrap_interval, check_same, over_seeds


def per_unit(table: pd.DataFrame, *, score: str = "pcc") -> pd.DataFrame:
    """Average a score over seeds and folds, then genes, then sections of a unit.

    Genes without a score, because they are constant in the measurement, are left out.

    Parameters
    ----------
    table
        From `benchmark.evaluate`.
    score
        Which column.

    Returns
    -------
    One row for each claim and predictor and unit, with the columns `claim`,
    `predictor`, `unit`, `name` and `value`.

    Raises
    ------
    ValueError
        If the table lacks a column, or predictors were not scored on the same genes
        and sections.

    Examples
    --------
    >>> table = pd.DataFrame({
    ...     "claim": "section", "predictor": "ridge", "patient": "C",
    ...     "section": "C2", "gene": ["X", "Y"], "pcc": [0.1, 0.3]})
    >>> per_unit(table)
         claim predictor     unit name  value
    0  section     ridge  section   C2    0.2
    """
    averaged = over_seeds(table, score)
    check_same(averaged, score)
    keys = ["claim", "predictor", "patient", "section"]
    sections = averaged.groupby(keys, sort=False, as_index=False)[score].mean()
    parts = []
    for claim, rows in sections.groupby("claim", sort=False):
        unit = str(claim)
        of_unit = rows.groupby(["claim", "predictor", unit], sort=False, as_index=False)
        part = of_unit[score].mean().rename(columns={unit: "name", score: "value"})
        parts.append(part.assign(unit=unit))
    joined = pd.concat(parts, ignore_index=True)
    return joined[["claim", "predictor", "unit", "name", "value"]]


def overview(table: pd.DataFrame, *, score: str = "pcc", seed: int = 0) -> pd.DataFrame:
    """Return the mean of a score for each claim and predictor, with an interval.

    Parameters
    ----------
    table
        From `benchmark.evaluate`.
    score
        Which column.
    seed
        Of the bootstrap.

    Returns
    -------
    Indexed by claim and predictor: `mean`, `low`, `high`, the kind of `interval`, how
    many units (`n`), what they are (`unit`), and how many genes per section had no
    score (`n_excluded`, a mean).

    Raises
    ------
    ValueError
        As for `per_unit`.

    Examples
    --------
    >>> table = pd.DataFrame({
    ...     "claim": "section", "predictor": "ridge", "patient": "C", "gene": "X",
    ...     "section": ["C2", "C3"], "pcc": [0.1, 0.3]})
    >>> overview(table)[["mean", "low", "high", "interval", "n", "unit"]]
                       mean  low  high interval  n     unit
    claim   predictor
    section ridge       0.2  0.1   0.3    range  2  section
    """
    result = _summarised(per_unit(table, score=score), seed)
    averaged = over_seeds(table, score)
    missing = averaged[score].isna().groupby([averaged["claim"], averaged["predictor"]])
    sections = averaged.groupby(["claim", "predictor"])["section"].nunique()
    return result.assign(n_excluded=missing.sum() / sections)


def paired_difference(
    table: pd.DataFrame, a: str, b: str, *, score: str = "pcc", seed: int = 0
) -> pd.DataFrame:
    """Return by how much predictor `a` scores above `b`, unit by unit.

    Both are judged on the same units, so what makes a tumour hard for both cancels,
    and the difference is known better than either score.

    Parameters
    ----------
    table
        From `benchmark.evaluate`.
    a, b
        Names of predictors.
    score
        Which column.
    seed
        Of the bootstrap.

    Returns
    -------
    Indexed by claim: `mean`, `low`, `high`, `interval`, `n`, `unit` as for `overview`,
    and in how many units `a` is above (`n_above`).

    Raises
    ------
    ValueError
        If a predictor is not in the table, or as for `per_unit`.

    Examples
    --------
    >>> table = pd.DataFrame({
    ...     "claim": "section", "predictor": ["ridge", "ridge", "mean", "mean"],
    ...     "patient": "C", "gene": "X", "section": ["C2", "C3"] * 2,
    ...     "pcc": [0.1, 0.3, 0.0, 0.1]})
    >>> paired_difference(table, "ridge", "mean")[["mean", "n", "n_above"]]
             mean  n  n_above
    claim
    section  0.15  2        2
    """
    units = per_unit(table, score=score)
    _require_predictors(units, [a, b])
    keys = ["claim", "unit", "name"]
    wide = units.pivot(index=keys, columns="predictor", values="value")
    gain = (wide[a] - wide[b]).dropna().rename("value").reset_index()
    result = _summarised(gain.assign(predictor=a), seed).droplevel("predictor")
    return result.assign(n_above=(gain["value"] > 0).groupby(gain["claim"]).sum())


def against_best_trivial(
    table: pd.DataFrame, trivial: Sequence[str], *, score: str = "pcc", seed: int = 0
) -> pd.DataFrame:
    """Compare each predictor with the best of the trivial ones.

    The best is the one of the highest mean on these very tests, for each claim: the
    hardest bar of them, even if nobody could have known which it is.

    Parameters
    ----------
    table
        From `benchmark.evaluate`.
    trivial
        Names of the predictors that need no model.
    score
        Which column; higher must be better.
    seed
        Of the bootstrap.

    Returns
    -------
    Indexed by claim and predictor: `best_trivial`, and the columns of
    `paired_difference`.

    Raises
    ------
    ValueError
        If a trivial predictor is not in the table, nothing else is, or as for
        `per_unit`.
    """
    units = per_unit(table, score=score)
    _require_predictors(units, trivial)
    rivals = [name for name in units["predictor"].unique() if name not in trivial]
    if not trivial or not rivals:
        raise ValueError(
            f"trivial is {list(trivial)}, expected at least one of the predictors "
            f"{list(units['predictor'].unique())}, and not all."
        )
    parts = {}
    for claim, rows in units.groupby("claim", sort=False):
        means = rows.groupby("predictor")["value"].mean()
        # Rounded, so that among equals the first named is taken, not rounding noise.
        best = str(means.reindex(list(trivial)).round(9).idxmax())
        of_claim = table[table["claim"] == claim]
        for rival in means.index.intersection(rivals):
            gain = paired_difference(of_claim, rival, best, score=score, seed=seed)
            gain.insert(0, "best_trivial", best)
            parts[claim, rival] = gain.loc[claim]
    result = pd.DataFrame(parts).T.infer_objects()
    return result.rename_axis(["claim", "predictor"])


def per_gene(table: pd.DataFrame) -> pd.DataFrame:
    """Average the scores of each gene beside the ceiling that noise sets it.

    Parameters
    ----------
    table
        From `benchmark.evaluate`.

    Returns
    -------
    Indexed by claim, predictor and gene, best first: means over units of `pcc`,
    `pcc_beyond`, `pcc_library_size` and `ceiling`, `share`, which is the part of the
    ceiling that `pcc` reaches, and in how many sections the gene was in the panel.

    Raises
    ------
    ValueError
        If the table lacks a column.
    """
    scores = ["pcc", "pcc_beyond", "pcc_library_size", "ceiling"]
    averaged = over_seeds(table, *scores)
    parts = []
    for claim, rows in averaged.groupby("claim", sort=False):
        keys = ["claim", "predictor", "gene", str(claim)]
        of_units = rows.groupby(keys, sort=False, as_index=False)[scores].mean()
        parts.append(of_units.groupby(keys[:-1], sort=False)[scores].mean())
    result = pd.concat(parts)
    result["share"] = result["pcc"] / result["ceiling"].where(result["ceiling"] > 0)
    keys = ["claim", "predictor", "gene"]
    result["n_sections"] = averaged.groupby(keys)["section"].nunique()
    return result.sort_values(
        ["claim", "predictor", "pcc"], ascending=[True, True, False], kind="stable"
    )


def printed(result: pd.DataFrame, *, digits: int = 2) -> str:
    """Return a table of this room as lines for print.

    Parameters
    ----------
    result
        From `overview`, `paired_difference` or `against_best_trivial`.
    digits
        Decimals of the scores.

    Examples
    --------
    >>> table = pd.DataFrame({
    ...     "claim": "section", "predictor": "ridge", "patient": "C", "gene": "X",
    ...     "section": ["C2", "C3"], "pcc": [0.1, 0.3]})
    >>> print(printed(overview(table)))
                      score                between        over
    claim   predictor
    section ridge      0.20  0.10 and 0.30 (range)  2 sections
    """

    def number(value: float) -> str:
        """Round; adding 0 turns -0 into 0."""
        return f"{round(value, digits) + 0.0:.{digits}f}"

    lines = pd.DataFrame(index=result.index)
    if "best_trivial" in result:
        lines["against"] = result["best_trivial"]
    lines["score"] = [number(value) for value in result["mean"]]
    lines["between"] = [
        f"{number(low)} and {number(high)} ({kind})"
        for low, high, kind in zip(
            result["low"], result["high"], result["interval"], strict=True
        )
    ]
    lines["over"] = [
        f"{n} {unit}{'s' if n > 1 else ''}"
        for n, unit in zip(result["n"], result["unit"], strict=True)
    ]
    if "n_above" in result:
        pairs = zip(result["n_above"], result["n"], strict=True)
        lines["above 0"] = [f"{above} of {n}" for above, n in pairs]
    return lines.to_string()


def _summarised(units: pd.DataFrame, seed: int) -> pd.DataFrame:
    """Return mean, interval and number of units for each claim and predictor."""
    rows = {}
    for key, some in units.groupby(["claim", "predictor"], sort=False):
        values = some["value"].to_numpy(float)
        low, high, kind = bootstrap_interval(values, seed=seed)
        rows[key] = (values.mean(), low, high, kind, len(values), some["unit"].iloc[0])
    columns = ["mean", "low", "high", "interval", "n", "unit"]
    result = pd.DataFrame.from_dict(rows, orient="index", columns=columns)
    result.index = pd.MultiIndex.from_tuples(rows, names=["claim", "predictor"])
    return result


def _require_predictors(units: pd.DataFrame, names: Sequence[str]) -> None:
    """Refuse names of predictors that are not in the table.

    Raises
    ------
    ValueError
        If so.
    """
    known = list(units["predictor"].unique())
    unknown = [name for name in names if name not in known]
    if unknown:
        raise ValueError(f"the table has no predictors {unknown}, only {known}.")

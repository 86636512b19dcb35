"""When two printed outputs are the same result.

Another number of threads or another processor adds up in another order, which moves a
float by a millionth and, now and then, a rounded number by one unit in its last place.
"""

import re

DECIMAL = re.compile(r"-?\d+\.\d+")


def agree(found: str, committed: str) -> bool:
    """Tell whether texts differ at most by a unit in the last place of decimals.

    Everything else, whole numbers included, must be the same; runs of spaces count as
    one, for a minus sign moves a column.

    Examples
    --------
    >>> agree("PCC 0.22 of 5", "PCC  0.21 of 5")
    True
    >>> agree("PCC 0.23 of 5", "PCC 0.21 of 5"), agree("0.22 of 6", "0.22 of 5")
    (False, False)
    """
    if _words(found) != _words(committed):
        return False
    pairs = zip(DECIMAL.findall(found), DECIMAL.findall(committed), strict=True)
    return all(_within_a_unit(*pair) for pair in pairs)


def _words(text: str) -> list[str]:
    """Return all but the decimals, with runs of white space as one."""
    return DECIMAL.sub(" # ", text).split()


def _within_a_unit(found: str, committed: str) -> bool:
    """Tell whether two decimals of equal precision are at most a unit apart."""
    places = len(committed.split(".")[1])
    if len(found.split(".")[1]) != places:
        return False
    return abs(round((float(found) - float(committed)) * 10**places)) <= 1

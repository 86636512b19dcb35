"""The checker that jaxtyping applies to every signature of the library in tests."""

from beartype import BeartypeConf, beartype

# Python's own rule: an int may stand where a float is expected (PEP 484).
check = beartype(conf=BeartypeConf(is_pep484_tower=True))

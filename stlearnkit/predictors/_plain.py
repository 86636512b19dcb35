"""Objects of the library as plain words and arrays, and back."""

__all__ = ["Reader", "Writer"]

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields, is_dataclass
from functools import partial
from importlib import import_module
from inspect import isclass, isroutine
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from sklearn.preprocessing import StandardScaler

from stlearnkit.encoders import Encoder

_PACKAGE = "stlearnkit."


@dataclass(frozen=True)
class Writer:
    """Takes objects apart; arrays are gathered under numbers."""

    arrays: dict[str, np.ndarray] = field(default_factory=dict)

    def plain(self, value: Any) -> Any:
        """Return a value as JSON knows it.

        Raises
        ------
        TypeError
            If it, or something in it, is not of this library.
        """
        if isinstance(value, bool | int | float | str):
            return value
        if value is None or isinstance(value, Path):  # of this machine, not of the fit
            return None
        if isinstance(value, np.generic):
            return value.item()
        for kind, (type_, taken_apart) in self._kinds.items():
            if isinstance(value, type_):
                return {kind: taken_apart(value)}
        if is_dataclass(value) and not isclass(value):
            return {"class": _address(type(value)), "fields": self._fields(value)}
        if isclass(value) or isroutine(value):
            return {"name": _address(value)}
        if _is_model(value):
            return {"model": self._model(value)}
        raise TypeError(
            f"a {type(value).__name__} cannot be written to a file. Give predictors "
            "the library's own classes and functions, or a functools.partial of them."
        )

    @property
    def _kinds(self) -> dict[str, tuple[type, Any]]:
        """What each kind of value is taken apart by."""
        return {
            "array": (np.ndarray, self._array),
            "encoder": (Encoder, lambda encoder: encoder.fingerprint),
            "scaler": (StandardScaler, lambda scaler: self._pairs(vars(scaler))),
            "table": (pd.DataFrame, self._table),
            "mapping": (Mapping, self._pairs),
            "partial": (partial, lambda p: self._all(p.func, p.args, p.keywords)),
            "tuple": (Sequence, lambda items: self._all(*items)),
        }

    def _all(self, *values: Any) -> list[Any]:
        """Return several values."""
        return [self.plain(value) for value in values]

    def _array(self, array: np.ndarray) -> str:
        """Put an array aside and return its number."""
        number = str(len(self.arrays))
        self.arrays[number] = np.ascontiguousarray(array)
        return number

    def _table(self, table: pd.DataFrame) -> list[list[Any]]:
        """Return the columns of a table."""
        return [[name, self._array(table[name].to_numpy())] for name in table]

    def _pairs(self, mapping: Mapping[Any, Any]) -> list[list[Any]]:
        """Return keys beside values."""
        return [self._all(key, value) for key, value in mapping.items()]

    def _fields(self, value: Any) -> dict[str, Any]:
        """Return the fields of a dataclass."""
        return {f.name: self.plain(getattr(value, f.name)) for f in fields(value)}

    def _model(self, model: Any) -> dict[str, Any]:
        """Return what a network is built and filled from."""
        state = model.state_dict().items()
        return {
            "class": _address(type(model)),
            "n_genes": model.n_genes,
            "config": self.plain(model.config),
            "weights": {name: self._array(t.cpu().numpy()) for name, t in state},
        }


@dataclass(frozen=True)
class Reader:
    """Puts together again what a `Writer` took apart."""

    arrays: Mapping[str, np.ndarray]
    source: str
    """Word for where it comes from, for messages."""

    def value(self, plain: Any) -> Any:
        """Return the object of some plain words.

        Raises
        ------
        ValueError
            If they name nothing of this library, or an encoder that is not the same.
        """
        if not isinstance(plain, dict):
            return plain
        if "class" in plain:
            return self._object(plain)
        ((kind, parts),) = plain.items()
        return getattr(self, f"_{kind}")(parts)

    def _array(self, number: str) -> np.ndarray:
        """Return an array."""
        return self.arrays[number]

    def _scaler(self, pairs: list[list[Any]]) -> StandardScaler:
        """Return scikit-learn's object with what it learnt."""
        scaler = StandardScaler()
        vars(scaler).update(self._mapping(pairs))
        return scaler

    def _table(self, columns: list[list[Any]]) -> pd.DataFrame:
        """Return a table."""
        return pd.DataFrame({name: self.arrays[number] for name, number in columns})

    def _mapping(self, pairs: list[list[Any]]) -> dict[Any, Any]:
        """Return a dictionary."""
        return {self.value(key): self.value(value) for key, value in pairs}

    def _tuple(self, items: list[Any]) -> tuple[Any, ...]:
        """Return a tuple."""
        return tuple(self.value(item) for item in items)

    def _partial(self, parts: list[Any]) -> Any:
        """Return a function with some of its arguments."""
        function, arguments, keywords = (self.value(part) for part in parts)
        return partial(function, *arguments, **keywords)

    def _name(self, address: str) -> Any:
        """Return a class or function of this library."""
        return self._found(address)

    def _model(self, parts: dict[str, Any]) -> Any:
        """Return a network with its weights."""
        import torch

        config = self.value(parts["config"])
        model = self._found(parts["class"]).blank(parts["n_genes"], config)
        weights = {
            name: torch.from_numpy(self.arrays[number].copy())
            for name, number in parts["weights"].items()
        }
        model.load_state_dict(weights)
        return model.eval()

    def _object(self, plain: dict[str, Any]) -> Any:
        """Return a dataclass; its encoder is made by the predictor beside it.

        Raises
        ------
        ValueError
            If that encoder is not the same any more.
        """
        values: dict[str, Any] = {}
        for name, part in plain["fields"].items():
            if not (isinstance(part, dict) and "encoder" in part):
                values[name] = self.value(part)
                continue
            encoder = values["predictor"].encoder()
            if encoder.fingerprint != part["encoder"]:
                raise ValueError(
                    f"{self.source} was fitted on features of another encoder than "
                    f"{encoder.name!r} is here and now: weights or preprocessing "
                    "differ. Set STLEARNKIT_WEIGHTS as it was, or fit it again."
                )
            values[name] = encoder
        return self._found(plain["class"])(**values)

    def _found(self, address: str) -> Any:
        """Return what an address names.

        Raises
        ------
        ValueError
            If it is not of this library.
        """
        module, _, name = address.partition(":")
        found: Any = None
        if module.startswith(_PACKAGE):
            try:
                found = import_module(module)
                for part in name.split("."):
                    found = getattr(found, part)
            except (ImportError, AttributeError):
                found = None
        if not getattr(found, "__module__", "").startswith(_PACKAGE):
            raise ValueError(
                f"{self.source} names {address!r}, which this version of stlearnkit "
                "does not have. Fit and save the predictor again."
            )
        return found


def _address(thing: Any) -> str:
    """Return where a class or function of this library is found.

    Raises
    ------
    TypeError
        If it is not of this library, or has no place in it.
    """
    module, name = thing.__module__ or "", thing.__qualname__
    if not module.startswith(_PACKAGE) or "<" in name:
        raise TypeError(
            f"{name} of {module} cannot be written to a file. Give predictors the "
            "library's own classes and functions, or a functools.partial of them."
        )
    return f"{module}:{name}"


def _is_model(value: Any) -> bool:
    """Tell whether a value is a network of this library."""
    return hasattr(value, "state_dict") and hasattr(type(value), "blank")

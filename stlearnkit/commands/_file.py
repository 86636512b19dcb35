"""The file of settings: read with one clear error, and written as an example."""

__all__ = ["example", "read"]

import json
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, fields, is_dataclass, replace
from difflib import get_close_matches
from pathlib import Path
from types import GenericAlias
from typing import Annotated, Any, get_args, get_origin, get_type_hints

from stlearnkit.commands._errors import SettingsError
from stlearnkit.commands._settings import About, Study, names_of

_KINDS: dict[type, tuple[str, tuple[type, ...]]] = {
    str: ("text in quotes", (str,)),
    int: ("a whole number", (int,)),
    float: ("a number", (float, int)),
}


def read(file: Path) -> Study:
    """Return the settings of a study.

    Raises
    ------
    SettingsError
        At the first thing that is wrong.
    """
    try:
        found = tomllib.loads(file.read_text("utf-8"))
    except OSError as error:
        raise SettingsError(
            f"cannot read {file}: {error.strerror}. Write an example with "
            "'stlearnkit data --example > study.toml'."
        ) from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise SettingsError(
            f"{file} is not TOML: {error}. Compare with 'stlearnkit data --example'."
        ) from error
    study = replace(_table(Study, found, f"{file}: "), file=file)
    _check_names(study)
    return study


def _table(kind: type, found: Mapping[str, Any], place: str) -> Any:
    """Return a dataclass of a table.

    Raises
    ------
    SettingsError
        If a key is unknown, or a value cannot be meant.
    """
    known = {each.name: each for each in _settings(kind)}
    for key in found:
        if key not in known:
            near = get_close_matches(key, known, n=1)
            hint = f" Did you mean {near[0]!r}?" if near else ""
            raise SettingsError(
                f"{place}{key} is no setting; expected one of {', '.join(known)}.{hint}"
            )
    values = {
        key: setting.read(found[key], f"{place}{key}")
        if key in found
        else setting.left_out(f"{place}{key}")
        for key, setting in known.items()
    }
    return kind(**values)


@dataclass(frozen=True)
class _Setting:
    """One value of the file."""

    name: str
    kind: Any
    about: About
    default: Any

    @property
    def line(self) -> str:
        """Return a line that could stand in the file."""
        shown = self.about.example
        return f"{self.name} = {_shown(self.default if shown is None else shown)}"

    def read(self, found: Any, place: str) -> Any:
        """Return a value of the type that is wanted.

        Raises
        ------
        SettingsError
            If it is of another, or breaks a rule.
        """
        of_list = isinstance(self.kind, GenericAlias)
        kind = get_args(self.kind)[0] if of_list else self.kind
        words, accepted = _KINDS[kind]
        items = found if of_list else [found]
        if not isinstance(items, list) or not all(type(i) in accepted for i in items):
            wanted = f"a list, each {words}" if of_list else words
            raise SettingsError(
                f"{place} is {_shown(found)}, expected {wanted}. For example: "
                f"{self.line}"
            )
        value = tuple(map(kind, items)) if of_list else kind(found)
        return self._allowed(value, place, f"is {_shown(found)}")

    def left_out(self, place: str) -> Any:
        """Return the default, if there can be one.

        Raises
        ------
        SettingsError
            If not.
        """
        return self._allowed(self.default, place, "is missing")

    def _allowed(self, value: Any, place: str, found: str) -> Any:
        """Return a value, if the rule holds.

        Raises
        ------
        SettingsError
            If not.
        """
        rule = self.about.rule
        if rule is not None and not rule.holds(value):
            raise SettingsError(
                f"{place} {found}, expected {rule.words}. For example: {self.line}"
            )
        return value


@dataclass(frozen=True)
class _Table:
    """A table in the file."""

    name: str
    kind: type

    def read(self, found: Any, place: str) -> Any:
        """Return the dataclass of the table.

        Raises
        ------
        SettingsError
            If it is no table, or something in it cannot be meant.
        """
        if not isinstance(found, dict):
            raise SettingsError(
                f"{place} is {_shown(found)}, expected a table. Write [{self.name}] on "
                "a line of its own, and its settings below."
            )
        return _table(self.kind, found, f"{place}.")

    def left_out(self, place: str) -> Any:
        """Return the table with all its defaults."""
        return _table(self.kind, {}, f"{place}.")


def _settings(kind: type) -> list[_Setting | _Table]:
    """Return what may stand in a table of the file."""
    hints = get_type_hints(kind, include_extras=True)
    found: list[_Setting | _Table] = []
    for each in fields(kind):
        hint = hints[each.name]
        if is_dataclass(hint):
            found.append(_Table(each.name, hint))  # type: ignore[arg-type]
        elif get_origin(hint) is Annotated:
            type_, about = get_args(hint)
            found.append(_Setting(each.name, type_, about, each.default))
    return found


def _check_names(study: Study) -> None:
    """Refuse names of sections that the study does not have.

    Raises
    ------
    SettingsError
        If so, or a name stands twice.
    """
    known = names_of(study.sections)
    lists = {"sections": known}
    for table in ("train", "predict", "align", "impute", "evaluate"):
        lists[f"{table}.sections"] = getattr(study, table).sections
    lists["impute.observed"] = study.impute.observed
    for place, names in lists.items():
        for name in names:
            if name not in known:
                raise SettingsError(
                    f"{study.file}: {place} names {name!r}, expected some of "
                    f"{', '.join(known)}. Add it to sections, or correct the name."
                )
            if names.count(name) > 1:
                raise SettingsError(
                    f"{study.file}: {place} has {name!r} twice, expected each once. "
                    "Leave one out; files of sections are told apart by their names."
                )


def example() -> str:
    """Return a file of settings that works, with what each is for."""
    lines = ["# A study for stlearnkit: every setting, and what it is for."]
    for setting in sorted(_settings(Study), key=lambda each: isinstance(each, _Table)):
        if isinstance(setting, _Table):
            lines += ["", f"# {setting.kind.__doc__}", f"[{setting.name}]"]
            lines += [line for each in _settings(setting.kind) for line in _lines(each)]
        else:
            lines += _lines(setting)
    return "\n".join(lines) + "\n"


def _lines(setting: _Setting | _Table) -> list[str]:
    """Return what a setting is for, and a value."""
    assert isinstance(setting, _Setting)  # there are no tables in tables
    rule = setting.about.rule
    allowed = f": {rule.words}" if rule else ""
    return [f"# {setting.about.purpose}{allowed}", setting.line]


def _shown(value: Any) -> str:
    """Return a value as TOML has it."""
    return json.dumps(value, ensure_ascii=False, default=str)

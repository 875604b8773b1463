"""The YAML description of your own data set: docs/own-data.md has every key, with examples.

Only the YAML file is read here; :mod:`saltext.data.sources.custom` reads the files it describes.
"""

import os
import re
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException

from saltext.data.files import FIXATION_ENDINGS, MAP_ENDINGS
from saltext.data.report import DataReport
from saltext.data.splits import PARTS
from saltext.data.yaml_files import read_yaml
from saltext.errors import DataError, InvalidFileError, near
from saltext.images import check_file, reason

ANY_ENDING = ".*"
"""At the end of a pattern: any of the supported endings."""

_KEYS: Mapping[str, Collection[str]] = {
    "": ("images", "conditions", "texts", "fixations", "density", "split"),
    "texts": ("table", "columns"),
    "fixations": ("table", "columns", "files", "counted_from", "outside"),
    "density": ("files", "sigma_pixels", "sigma_degrees", "pixels_per_degree"),
    "split": ("table", "columns", *PARTS),
}
_COLUMNS: Mapping[str, Collection[str]] = {
    "texts": ("image", "text", "condition"),
    "fixations": ("image", "x", "y", "condition"),
    "split": ("image", "part"),
}
_READS_TEXT = {"with text": True, "without text": False}
_ENVIRONMENT = re.compile(r"\$\{oc\.env:\w+(,[^${}]*)?\}")
_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_-]*")


@dataclass(frozen=True)
class Table:
    """A CSV file.

    Attributes:
        path: Path of the file.
        columns: Meaning of a column -> its heading.
        needs_condition: Whether the column of conditions is required; otherwise it is optional.
    """

    path: Path
    columns: Mapping[str, str]
    needs_condition: bool = False


@dataclass(frozen=True)
class Description:
    """The content of a description; every path is absolute or relative to the working directory.

    Attributes:
        path: The YAML file.
        root: Folder that the file's paths are relative to.
        images: A folder, or a pattern of files.
        conditions: Name -> whether a text was read, in the order of tables.
        texts: Table of all texts; None where no condition has one.
        fixations: Points in a table, or a pattern of files with ``{image}`` and perhaps ``{condition}``.
        counted_from: The coordinate of the first pixel in that table, 0 or 1.
        drop_outside: Whether fixations outside the image are dropped.
        density: Pattern of the files of maps; None where the fixations are to be blurred.
        sigma: Standard deviation in pixels of the Gaussian that blurs the maps, or blurred them.
        split: Images of train, val and test: a table, or image names by part; None to draw a split.
    """

    path: Path
    root: Path
    images: str
    conditions: Mapping[str, bool]
    texts: Table | None
    fixations: Table | str
    counted_from: Literal[0, 1]
    drop_outside: bool
    density: str | None
    sigma: float | None
    split: Table | Mapping[str, Collection[str]] | None


def read_description(path: Path | str, root: Path | str | None = None) -> Description:
    """Read the YAML file, but not the files it describes.

    Args:
        path: The YAML file.
        root: Folder that its paths are relative to; the file's own folder by default.

    Raises:
        DataError: No such file, no YAML, or invalid keys and values, all in one error.
    """
    path = Path(path)
    content = _load_mapping(path)
    issues = DataReport()
    parser = _SpecParser(content, path.parent if root is None else Path(root), issues)
    description = parser.parse(path)
    issues.raise_if_any(f"The description {path}", "docs/own-data.md lists what a description may hold.")
    return description


def _load_mapping(path: Path) -> dict[str, Any]:
    """The YAML file's keys and values, environment variables resolved."""
    if not os.path.lexists(path):
        raise DataError(
            f"There is no description {path}. Write one, as docs/own-data.md shows, and name it: "
            "data=own data.description=FILE."
        )
    try:
        content = read_yaml(path)
        if unsupported := sorted(set(_unsupported_interpolations(OmegaConf.to_container(content)))):
            raise InvalidFileError("interpolations other than ${oc.env:NAME}", ", ".join(unsupported[:3]))
        content = OmegaConf.to_container(content, resolve=True)
    except (InvalidFileError, OmegaConfBaseException, ValueError) as error:  # ValueError: nothing is in the file
        raise DataError(f"The description {path} cannot be read as YAML: {reason(error)}") from error
    if not isinstance(content, dict) or not content:
        raise DataError(f"The description {path} holds no keys. docs/own-data.md lists what it may hold.")
    return {key if isinstance(key, str) else _short_repr(key): value for key, value in content.items()}


def _unsupported_interpolations(content: Any) -> Iterator[str]:
    """Every string with an interpolation other than an environment variable: such a short text can expand endlessly."""
    if isinstance(content, str) and "${" in _ENVIRONMENT.sub("", content):
        yield content[:80]
    if isinstance(content, list):
        for value in content:
            yield from _unsupported_interpolations(value)
    if isinstance(content, dict):
        for key, value in content.items():
            yield from _unsupported_interpolations(key)
            yield from _unsupported_interpolations(value)


def _short_repr(value: object) -> str:
    """A value as Python writes it, in at most a hundred characters."""
    try:
        written = repr(value)
    except ValueError:  # Python writes no number of more than 4,300 digits
        return "a number of more than 4,300 digits"
    return written if len(written) <= 100 else f"{written[:100]} ..."


class _SpecParser:
    """Parses a description; everything that is wrong with it is added to ``issues``."""

    def __init__(self, content: Mapping[str, Any], root: Path, issues: DataReport) -> None:
        self.content = content
        self.root = root
        self.issues = issues

    def parse(self, path: Path) -> Description:
        """The whole description; only valid if there are no issues."""
        self._check_keys("", self.content, _KEYS[""])
        texts, fixations, density = (self._read_section(name) for name in ("texts", "fixations", "density"))
        conditions = self._read_conditions()
        return Description(
            path=path,
            root=self.root,
            images=str(self.root / self._read_string("", self.content, "images", needed=True)),
            conditions=conditions,
            texts=self._read_texts(texts, conditions),
            fixations=self._read_fixations(fixations, conditions),
            counted_from=self._read_choice("fixations", fixations, "counted_from", {0: 0, 1: 1}, default=0),
            drop_outside=self._read_choice("fixations", fixations, "outside", {"refuse": False, "drop": True}, False),
            density=self._read_pattern("density", density, MAP_ENDINGS, conditions) if "files" in density else None,
            sigma=self._read_sigma(density),
            split=self._read_split(),
        )

    def _read_section(self, name: str) -> Mapping[str, Any]:
        """The keys of a section; none where it is missing or invalid."""
        value = self.content.get(name)
        if value is None:
            return {}
        if not isinstance(value, Mapping):
            self._add_invalid(name, value, f"keys ({', '.join(_KEYS[name])})")
            return {}
        self._check_keys(f"{name}.", value, _KEYS[name])
        return value

    def _check_keys(self, prefix: str, given: Mapping[Any, Any], known: Collection[str]) -> None:
        unknown = [key if isinstance(key, str) else _short_repr(key) for key in given if key not in known]
        self.issues.add("unknown keys", *(f"{prefix}{key}{near(key, known)}" for key in unknown))

    def _add_invalid(self, key: str, value: object, expected: str) -> None:
        self.issues.add("values that cannot be used", f"{key}: {_short_repr(value)}, expected {expected}")

    def _read_string(self, section: str, given: Mapping[str, Any], key: str, needed: bool = False) -> str:
        name = f"{section}.{key}" if section else key
        value = given.get(key)
        if value is None and needed:
            self.issues.add("missing keys", name)
        elif value is not None and (not isinstance(value, str) or not value.strip()):
            self._add_invalid(name, value, "a text")
        return value if isinstance(value, str) else ""

    def _read_number(self, key: str, value: object) -> float:
        if isinstance(value, int | float) and not isinstance(value, bool) and 0 < value < 1e12:
            return float(value)
        self._add_invalid(key, value, "a number above 0")
        return 1.0

    def _read_choice(
        self, section: str, given: Mapping[str, Any], key: str, choices: Mapping[Any, Any], default: Any
    ) -> Any:
        value = given.get(key)
        if value is None:
            return default
        if isinstance(value, bool) or not isinstance(value, int | str) or value not in choices:
            self._add_invalid(f"{section}.{key}", value, " or ".join(map(str, choices)))
            return default
        return choices[value]

    def _read_conditions(self) -> dict[str, bool]:
        given = self.content.get("conditions")
        if given is None:
            return {"text": True} if self.content.get("texts") is not None else {"pure": False}
        expected = "each condition with one of " + ", ".join(map(repr, _READS_TEXT))
        if not isinstance(given, Mapping) or not given:
            self._add_invalid("conditions", given, expected)
            return {}
        names = [name for name in given if not isinstance(name, str) or not _NAME.fullmatch(name)]
        self.issues.add("names of conditions that are not letters, digits, _ and -", *map(_short_repr, names))
        for name, value in given.items():
            if not isinstance(value, str) or value not in _READS_TEXT:
                self._add_invalid(
                    f"conditions.{name if isinstance(name, str) else _short_repr(name)}",
                    value,
                    " or ".join(map(repr, _READS_TEXT)),
                )
        return {
            name: isinstance(value, str) and _READS_TEXT.get(value, False)
            for name, value in given.items()
            if isinstance(name, str)
        }

    def _read_texts(self, given: Mapping[str, Any], conditions: Mapping[str, bool]) -> Table | None:
        with_text = [name for name, reads in conditions.items() if reads]
        if not given:
            if with_text:
                self.issues.add("missing keys", f"texts (of {', '.join(with_text)})")
            return None
        if not with_text:
            self._add_invalid("texts", given.get("table"), "no texts, since no condition is 'with text'")
        return self._read_table("texts", given, several=len(with_text) > 1)

    def _read_fixations(self, given: Mapping[str, Any], conditions: Mapping[str, bool]) -> Table | str:
        if ("table" in given) == ("files" in given):
            self.issues.add("missing keys", "fixations.table or fixations.files, one of them")
            return ""
        if "table" in given:
            return self._read_table("fixations", given, several=len(conditions) > 1)
        tabular = [key for key in ("columns", "counted_from") if key in given]
        self.issues.add("keys that go with fixations.table only", *(f"fixations.{key}" for key in tabular))
        return self._read_pattern("fixations", given, FIXATION_ENDINGS, conditions)

    def _read_table(self, section: str, given: Mapping[str, Any], several: bool = False) -> Table:
        """A table with its headings; the condition is required where there are several, or if its heading is given."""
        path = self.root / self._read_string(section, given, "table", needed=True)
        headings = given.get("columns") or {}
        if not isinstance(headings, Mapping) or not all(isinstance(name, str) for name in headings.values()):
            self._add_invalid(f"{section}.columns", headings, f"headings of {', '.join(_COLUMNS[section])}")
            headings = {}
        self._check_keys(f"{section}.columns.", headings, _COLUMNS[section])
        columns = {name: str(headings.get(name, name)) for name in _COLUMNS[section]}
        return Table(path, columns, several or "condition" in headings)

    def _read_pattern(
        self, section: str, given: Mapping[str, Any], endings: Collection[str], conditions: Mapping[str, bool]
    ) -> str:
        """A pattern of files. A folder means files named like the images, in sub-folders for several conditions."""
        pattern = self._read_string(section, given, "files", needed=True)
        if "{image}" not in pattern:
            folders = "/{condition}" if len(conditions) > 1 and "{condition}" not in pattern else ""
            pattern = f"{pattern.rstrip('/')}{folders}/{{image}}{ANY_ENDING}"
        if not pattern.endswith(ANY_ENDING) and Path(pattern).suffix.lower() not in endings:
            self._add_invalid(f"{section}.files", pattern, f"an ending of {', '.join(endings)}, or {ANY_ENDING}")
        if len(conditions) > 1 and "{condition}" not in pattern:
            self._add_invalid(f"{section}.files", pattern, "{condition} in it, since there are several")
        return str(self.root / pattern)

    def _read_sigma(self, given: Mapping[str, Any]) -> float | None:
        """Standard deviation in pixels of the blur of the maps; None where it is not given."""
        in_degrees = [key for key in ("sigma_degrees", "pixels_per_degree") if key in given]
        if "sigma_pixels" in given and in_degrees:
            self._add_invalid("density", ", ".join(given), "sigma_pixels, or sigma_degrees with pixels_per_degree")
        if "sigma_pixels" in given:
            return self._read_number("density.sigma_pixels", given["sigma_pixels"])
        if len(in_degrees) == 1:
            self.issues.add("missing keys", "density.sigma_degrees and density.pixels_per_degree, both of them")
        elif in_degrees:
            sigma, scale = (self._read_number(f"density.{key}", given[key]) for key in in_degrees)
            return sigma * scale
        elif "files" not in given:
            self.issues.add("missing keys", "density.files, density.sigma_pixels or density.sigma_degrees, one of them")
        return None

    def _read_split(self) -> Table | Mapping[str, Collection[str]] | None:
        given = self._read_section("split")
        if not given:
            return None
        if "table" in given:
            listed = [part for part in PARTS if part in given]
            self.issues.add("keys that do not go with split.table", *(f"split.{part}" for part in listed))
            return self._read_table("split", given)
        for part in ("train", "test"):
            if part not in given:
                self.issues.add("missing keys", f"split.{part}")
        return {part: self._read_image_names(f"split.{part}", given[part]) for part in PARTS if part in given}

    def _read_image_names(self, key: str, value: object) -> list[str]:
        """Image names, from a list or from a text file with one name per line."""
        if isinstance(value, list):
            for name in value:
                if not isinstance(name, str):  # YAML reads 0012 as a number, without its zeros
                    self._add_invalid(key, name, "names of images, in quotes where they are numbers")
            return [name for name in value if isinstance(name, str)]
        if not isinstance(value, str):
            self._add_invalid(key, value, "a list of images, or a text file with one in each line")
            return []
        try:
            check_file(self.root / value)
            lines = (self.root / value).read_text(encoding="utf-8-sig").splitlines()
        except (InvalidFileError, OSError, UnicodeDecodeError) as error:
            self._add_invalid(key, value, f"a text file with an image in each line ({reason(error)})")
            return []
        return [line.strip() for line in lines if line.strip()]

"""What an explanation carries to defend itself."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import MISSING, asdict, dataclass, field, fields, replace
from functools import cache
from typing import Any, Final, final

from whybox.errors import ExplanationFileError, OptionError, did_you_mean, quoted_list
from whybox.explanation.files_before_ids import method_before_ids
from whybox.explanation.spot_checks import SpotChecks, merge_spot_checks
from whybox.models.categories import UnseenCategories, merge_unseen
from whybox.models.links import PREDICTION_UNITS

__all__ = ["EVIDENCE_LINES", "Evidence", "library_versions", "merge_evidence"]

# What evidence says to people, line by line: whoever shows some of the lines names them so, never by their English.
EVIDENCE_LINES: Final = (
    "method", "kernel", "index", "estimand", "options", "rows", "additivity", "agreement", "spot_checks", "model", "verdict", "model_calls", "passes", "operators", "seed",
    "fingerprint", "versions", "seconds", "note", "unknown",
)  # fmt: skip
_EvidenceLine = tuple[str, str, str]  # one of EVIDENCE_LINES, its label, its text


@final
@dataclass(frozen=True)
class Evidence:
    """How the numbers were made and how they were checked.

    Attributes:
        method: the method in words. kernel: the routine that computed it.
        method_id: the method by its id in the registry of methods, ``"effects.ale"``: what decides, where something has to. Empty: none is known.
        quantity: what one number is, as the axis of a figure says it. signed: whether the numbers have a sign about zero.
        exact: whether the numbers are exact for what was asked (else see ``std_error`` or `notes`).
        estimand: what "absent" means: ``path-dependent`` or ``interventional``.
        index: which value of cooperative games. additive: whether attributions must add up to prediction minus base.
        residual: largest ``|base + sum of attributions - prediction|`` over all rows, in `residual_units`; 0 where `additive` is false.
        residual_against: whose prediction that is: the model's own predict, or for a file our reading of it.
        agreement: largest difference between our prediction and the model's own on the rows explained, on the scale of its predict; of networks, how far
            the first row's answer moves with the rows beside it.
        tolerance: the largest residual that rounding explains, or what the caller asked.
        model: the model in words. verdict: how the reading of the model was verified.
        model_calls: rows the model's own predict was called on. seed: as given; exact methods draw nothing.
        rows, background_rows: how many. fingerprints: SHA-256 of model, background, rows and their truth.
        versions: of whybox, Python, numpy and the model's library. seconds: wall time.
        notes: what the reader should know.
        passes: of networks: rows that went forward and backward, rows together. operators: those met that had no rule of their own.
        settings: of networks: the method's name and options and what else was asked, as plain data, so that it can be asked again.
        by_position: of tables: whether columns that have names were taken by position, because the model knows no names.
        unseen: of tables: column -> what its rows hold of categories that training did not have (``rows``, ``different``, ``categories`` by name).
        spot_checks: what was recomputed of this answer by a second way; None: a file from before there were such checks.
        parts: of several methods side by side: method -> its own evidence.
        unknown: fields of a file that a newer version of whybox wrote, as they stand there; they are shown, and saved again.
    """

    method: str
    kernel: str
    exact: bool
    estimand: str
    index: str
    additive: bool
    residual: float
    residual_units: str
    residual_against: str
    agreement: float
    tolerance: float
    model: str
    verdict: dict[str, Any] = field(default_factory=dict)
    model_calls: int = 0
    seed: int = 0
    rows: int = 0
    background_rows: int = 0
    fingerprints: dict[str, str] = field(default_factory=dict)
    versions: dict[str, str] = field(default_factory=dict)
    seconds: float = 0.0
    notes: tuple[str, ...] = ()
    passes: dict[str, int] = field(default_factory=dict)
    operators: tuple[str, ...] = ()
    settings: dict[str, Any] = field(default_factory=dict)
    by_position: bool = False
    unseen: dict[str, dict[str, Any]] = field(default_factory=dict)
    method_id: str = ""
    quantity: str = "attribution"
    signed: bool = True
    spot_checks: SpotChecks | None = None
    parts: dict[str, Evidence] = field(default_factory=dict)
    unknown: dict[str, Any] = field(default_factory=dict)

    def __str__(self) -> str:
        return "\n".join(f"{label}: {text}" for label, text in self.lines())

    def _repr_html_(self) -> str:
        from whybox.explanation.lines_html import lines_table

        return lines_table(self.lines())

    def to_dict(self) -> dict[str, Any]:
        """Return plain data, as it is saved."""
        data = asdict(self)
        unknown: dict[str, Any] = data.pop("unknown")
        return data | {"parts": {name: part.to_dict() for name, part in self.parts.items()}} | unknown

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> Evidence:
        """Rebuild from plain data: fields that are missing get their defaults, those that this version does not know are kept in ``unknown``.

        Raises:
            ExplanationFileError: a field is missing that every version writes; nothing can be assumed in its place.
        """
        if not isinstance(data, dict):
            raise ExplanationFileError("the saved evidence is no table of fields; the file was edited.")
        declared = {f.name: f for f in fields(cls) if f.name != "unknown"}
        needed = [n for n, f in declared.items() if f.default is MISSING and f.default_factory is MISSING]
        lost = [name for name in needed if name not in data]
        if lost:
            raise ExplanationFileError(
                f"the saved evidence lacks {quoted_list(lost)}, which every version of whybox writes; the file was edited."
            )
        values: dict[str, Any] = {name: value for name, value in data.items() if name in declared}
        values |= {name: tuple(values[name]) for name in ("notes", "operators") if name in values}
        if isinstance(values.get("spot_checks"), dict):
            values["spot_checks"] = SpotChecks.from_dict(values["spot_checks"])
        if "parts" in values:
            values["parts"] = {name: cls.from_dict(part) for name, part in values["parts"].items()}
        if "method_id" not in values:
            values |= method_before_ids(data)
        return cls(**values, unknown={name: value for name, value in data.items() if name not in declared})

    @property
    def warnings(self) -> list[str]:
        """Marks of notes about numbers that may not be trusted: words in capitals before a colon (``NOT CONVERGED: ...``), sorted."""
        marks = {note.partition(":")[0] for note in self.notes}
        return sorted(
            {mark for mark in marks if mark.isupper()}.union(*(part.warnings for part in self.parts.values()))
        )

    @property
    def caution(self) -> str:
        """What a picture should say below itself in a few words; empty if there is nothing."""
        unseen = {c: u["rows"] for c, u in self.unseen.items() if u["complete"]}
        rows = max(unseen.values(), default=0)
        columns = ", ".join(repr(c) for c in list(unseen)[:3]) + (" ..." if len(unseen) > 3 else "")
        of = f"unseen categories of {columns} in {'up to ' * (len(unseen) > 1)}{rows:,} row{'s' * (rows != 1)}"
        return "; ".join([*(["columns taken by position"] if self.by_position else []), *([of] if rows else [])])

    def lines(self, *keys: str) -> list[tuple[str, str]]:
        """Return (label, text) pairs for people: what the report and the notebook show.

        Args:
            keys: which of them, by names of EVIDENCE_LINES; none: all. Those that an explanation does not have are left out.

        Raises:
            OptionError: a key that is none of EVIDENCE_LINES.
        """
        for key in keys:
            if key not in EVIDENCE_LINES:
                raise OptionError(f"evidence has no line {key!r}.{did_you_mean(key, EVIDENCE_LINES)}")
        own = [*(self._of_network() if self.passes else self._of_model()), *self._method_lines()]
        shown = [(label, text) for key, label, text in own if not keys or key in keys]
        of_parts = [(name, line) for name, part in self.parts.items() for line in part.lines(*keys)]
        return [*shown, *((f"{line[0]} ({name})", line[1]) for name, line in of_parts if line not in shown)]

    def _method_lines(self) -> list[_EvidenceLine]:
        return [
            ("seed", "Seed", str(self.seed)),
            *(("fingerprint", f"SHA-256 of {name}", digest) for name, digest in self.fingerprints.items()),
            ("versions", "Versions", ", ".join(f"{k} {w}" for k, w in self.versions.items())),
            ("seconds", "Wall time", f"{self.seconds:.3g} s"),
            *(("note", "Note", note) for note in self.notes),
            *(
                ("unknown", f"{name} (written by a newer version of whybox)", str(value))
                for name, value in self.unknown.items()
            ),
        ]

    def _of_network(self) -> list[_EvidenceLine]:
        p = self.passes
        adds = f"{self.residual:.2g} {self.residual_units} at worst ({self.tolerance:.2g} allowed at most), against {self.residual_against}"
        options = {**self.settings.get("options", {}), **{k: self.settings.get(k) for k in ("reduce", "dtype")}}
        return [
            ("method", "Method", self.method + (", exact" if self.exact else ", not exact")),
            ("kernel", "Kernel", self.kernel),
            *([("index", "Index", self.index)] if self.index != "none" else []),
            ("estimand", "What is absent, or measured", self.estimand),
            ("options", "Options", ", ".join(f"{k}={v!r}" for k, v in options.items() if v is not None)),
            ("rows", "Rows explained", f"{self.rows:,}"),
            (
                "additivity",
                "Maps add up to score less baseline score within",
                adds if self.additive else "does not apply to this method",
            ),
            ("agreement", "A row's answer moves with the rows beside it by", f"{self.agreement:.2g}"),
            *self._of_spot_checks(),
            ("model", "Network", self.model),
            (
                "passes",
                "Rows through the network",
                f"{p['forward']:,} forward, {p['backward']:,} backward, {p['rows together']:,} together",
            ),
            *(
                [("operators", "Operators without a rule of their own", ", ".join(self.operators))]
                if self.operators
                else []
            ),
        ]

    def _of_spot_checks(self) -> list[_EvidenceLine]:
        return [] if self.spot_checks is None else [("spot_checks", "Spot checks", str(self.spot_checks))]

    def _of_model(self) -> list[_EvidenceLine]:
        v = self.verdict
        tested = (
            f"{v['thresholds']:,} of {v['thresholds_total']:,} split points"
            if v.get("thresholds_total")
            else "made rows"
        )
        mixed = f" ({v['mixed']:,} mixed of two others)" if v.get("mixed") else ""
        mixed_calls = f", {v['mixed_rows']:,} of them mixed of two rows" if v.get("mixed_rows") else ""
        verdict = (
            f"{tested}, {v['rows']:,} made rows{mixed}, largest difference {v['difference']:.2g}; compared with {v['against']}"
            if v.get("rows")
            else f"compared with {v.get('against', 'nothing')}"
        )
        units = "" if self.residual_units == PREDICTION_UNITS else f" {self.residual_units}"
        residual = f"{self.residual:.2g}{units} ({self.tolerance:.2g} allowed), against {self.residual_against}"
        index = ("index", "Index", self.index)
        additivity = (
            "additivity",
            f"Attributions add up to the {'loss' if self.settings.get('loss') else 'prediction'} within",
            residual if self.additive else "does not apply: this index does not add up, by design",
        )
        return [
            ("method", "Method", self.method + (", exact" if self.exact else ", not exact")),
            ("kernel", "Kernel", self.kernel),
            (
                "estimand",
                "Absent features" if self.index != "none" else "Estimand",
                self.estimand + (f", {self.background_rows:,} background rows" if self.background_rows else ""),
            ),
            *([index] if self.index != "none" else []),
            ("rows", "Rows explained", f"{self.rows:,}"),
            *([additivity] if self.index != "none" or self.additive else []),
            (
                "agreement",
                "Our predictions of these rows differ from the model's own by",
                f"{self.agreement:.2g}"
                if self.model_calls
                else f"not compared: there {'is no live model' if self.rows else 'are no rows'}",
            ),
            *self._of_spot_checks(),
            ("model", "Model", self.model),
            ("verdict", "Reading of the model verified", verdict),
            ("model_calls", "Rows given to the model's own predict", f"{self.model_calls:,}{mixed_calls}"),
        ]


_ROW_FINGERPRINTS: Final = ("rows", "y", "offset")  # of what each part has for itself
_COMMON_FIELDS: Final = {  # what parts of one explanation have in common, in words
    "method": "method",
    "method_id": "id of the method",
    "exact": "exactness",
    "estimand": "estimand",
    "index": "index",
    "additive": "additivity",
    "residual_units": "scale",
    "model": "model",
    "seed": "seed",
    "background_rows": "background",
}


_FOUND_SETTINGS: Final = ("draws",)  # of the settings, what a method finds enough and parts may differ in
_SUMMED_SETTINGS: Final = ("predictions",)  # what each part spent


def merge_evidence(parts: Sequence[Evidence]) -> Evidence:
    """Return the evidence of an explanation made in several parts (batches of a stream).

    Sums of rows, calls, passes and seconds; the worst of every check and the weakest verdict; kernels, versions and operators are listed where
    they differ, and so is what predictions were compared with.

    Raises:
        OptionError: no parts, or parts of different models, backgrounds, methods or questions, which no one evidence can speak for; the message says what differs.
    """
    if not parts:
        raise OptionError("there is no evidence to put together: give at least one part.")
    first = parts[0]
    for p in parts[1:]:
        _refuse_differing(first, p)
    digests = {name: _joint_digest([p.fingerprints.get(name, "") for p in parts]) for name in _ROW_FINGERPRINTS}
    columns = dict.fromkeys(c for p in parts for c in p.unseen)
    unseen = {c: merge_unseen(UnseenCategories(**p.unseen[c]) for p in parts if c in p.unseen) for c in columns}
    counted = {UnseenCategories(**u).describe(c) for p in parts for c, u in p.unseen.items()}  # of one batch each
    notes = dict.fromkeys(note for p in parts for note in p.notes)
    return replace(
        first,
        kernel=_distinct_text(p.kernel for p in parts),
        residual=max(p.residual for p in parts),
        residual_against=_distinct_text(p.residual_against for p in parts),
        agreement=max(p.agreement for p in parts),
        tolerance=max(p.tolerance for p in parts),
        model_calls=sum(p.model_calls for p in parts),
        rows=sum(p.rows for p in parts),
        seconds=sum(p.seconds for p in parts),
        fingerprints={**first.fingerprints, **{name: digest for name, digest in digests.items() if digest}},
        verdict=min((p.verdict for p in parts), key=lambda verdict: verdict.get("rows", 0)),
        versions={
            name: _distinct_text(p.versions[name] for p in parts if name in p.versions)
            for name in dict.fromkeys(name for p in parts for name in p.versions)
        },
        notes=(*(note for note in notes if note not in counted), *(u.describe(c) for c, u in unseen.items())),
        by_position=any(p.by_position for p in parts),
        unseen={c: asdict(u) for c, u in unseen.items()},
        spot_checks=merge_spot_checks(p.spot_checks for p in parts),
        passes=_total_passes([p.passes for p in parts if p.passes]),
        operators=tuple(dict.fromkeys(name for p in parts for name in p.operators)),
        unknown={name: value for p in reversed(parts) for name, value in p.unknown.items()},
        settings={name: _merge_setting(name, value, parts) for name, value in first.settings.items()},
    )


def _joint_digest(digests: Sequence[str]) -> str:
    """The SHA-256 of several, in order; that of the only one; "" where there are none."""
    if len(digests) == 1 or not any(digests):
        return digests[0]
    return hashlib.sha256("".join(digests).encode()).hexdigest()


def _refuse_differing(one: Evidence, other: Evidence) -> None:
    """Refuse parts that do not belong to one explanation.

    Raises:
        OptionError: they differ in what was explained, or how.
    """
    differing = {label: (getattr(one, name), getattr(other, name)) for name, label in _COMMON_FIELDS.items()}
    differing["settings"] = _asked_settings(one), _asked_settings(other)
    for name in ("model", "background"):
        differing[f"SHA-256 of the {name}"] = (one.fingerprints.get(name), other.fingerprints.get(name))
    for label, (first_value, second_value) in differing.items():
        if first_value != second_value:
            raise OptionError(
                f"these parts are not of one explanation: their {label} differs ({first_value!r} and {second_value!r}). "
                "Put together only what the same model, background and options gave."
            )


def _merge_setting(name: str, value: Any, parts: Sequence[Evidence]) -> Any:
    if name in _SUMMED_SETTINGS:
        return sum(p.settings.get(name, 0) for p in parts)
    return min(p.settings.get(name, value) for p in parts) if name in _FOUND_SETTINGS else value


def _asked_settings(evidence: Evidence) -> dict[str, Any]:
    found = (*_FOUND_SETTINGS, *_SUMMED_SETTINGS)
    return {name: value for name, value in evidence.settings.items() if name not in found}


def _distinct_text(values: Iterable[str]) -> str:
    """All different values, in order."""
    return "; ".join(dict.fromkeys(values))


def _total_passes(parts: Sequence[dict[str, int]]) -> dict[str, int]:
    """Passes of all parts; of rows together the most."""
    names = dict.fromkeys(name for p in parts for name in p)
    return {name: (max if name == "rows together" else sum)(p.get(name, 0) for p in parts) for name in names}


def library_versions(library: str | None = None) -> dict[str, str]:
    """Return the versions that made the numbers."""
    import platform

    out = {"python": platform.python_version()}
    installed = {name: _installed_version(name) for name in ("whybox", "numpy", *([library] if library else []))}
    return out | {name: version for name, version in installed.items() if version is not None}


@cache
def _installed_version(package: str) -> str | None:
    from importlib.metadata import PackageNotFoundError, version

    try:
        return version(package)
    except PackageNotFoundError:
        return None

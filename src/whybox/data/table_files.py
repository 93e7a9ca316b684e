"""Tables on disk: CSV and Parquet in, in batches where the format allows; Parquet, CSV and Arrow out."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from csv import Error as CsvError
from csv import reader as csv_reader
from pathlib import Path
from typing import Any, Final

from whybox.data.series import same_codes
from whybox.errors import DtypeError, InputError, OptionError, shown

__all__ = ["column_names", "count_rows", "read_batches", "read_table", "table_writer"]

ROWS_PER_BATCH: Final = 100_000
READABLE_SUFFIXES: Final = (".csv", ".tsv", ".parquet", ".pq")
# What pandas.read_csv takes for missing, in text as in numbers, so that a file means the same here and there.
MISSING_TEXTS: Final = (
    "", "#N/A", "#N/A N/A", "#NA", "-1.#IND", "-1.#QNAN", "-NaN", "-nan", "1.#IND", "1.#QNAN", "<NA>", "N/A", "NA", "NULL", "NaN", "None", "n/a",
    "nan", "null",
)  # fmt: skip
_NUMBER: Final = r"(?i)^\s*[+-]?(\d+\.?\d*(e[+-]?\d+)?|\.\d+(e[+-]?\d+)?|inf|infinity|nan)\s*$"
WRITABLE_SUFFIXES: Final = (".parquet", ".pq", ".csv", ".arrow", ".feather")


Spellings = Mapping[str, Callable[[str], bool]]


def read_table(path: str | Path, spelled: Spellings | None = None) -> Any:
    """Read a whole CSV or Parquet file as a pyarrow Table.

    Args:
        path: the file.
        spelled: columns of a CSV whose cells are text whatever they look like ("01234", "True", "2020-01-01"), each with what tells whether a text is a value of
            it: one that usually stands for a missing value ("NA") then stays text.

    Raises:
        InputError: no such file, an unknown ending, or contents that are not such a table.
    """
    import pyarrow as pa

    file = _file(path)
    try:
        if file.suffix.lower() in (".parquet", ".pq"):
            import pyarrow.parquet as pq

            return pq.read_table(file)
        from pyarrow import csv

        with file.open("rb") as source:
            if source.read(2) in (b"\xff\xfe", b"\xfe\xff"):
                raise InputError(f"{file.name}: it is UTF-16; convert it to UTF-8.")
        options = csv.ParseOptions(delimiter=_delimiter(file), newlines_in_values=True)
        kept = {name: [b for b in MISSING_TEXTS if known(b)] for name, known in (spelled or {}).items()}
        blanks = csv.ConvertOptions(
            strings_can_be_null=not any(kept.values()),
            null_values=list(MISSING_TEXTS),
            column_types=dict.fromkeys(kept, pa.string()),
        )
        table = _checked(csv.read_csv(file, parse_options=options, convert_options=blanks), file)
        return _without_blanks(table, kept) if any(kept.values()) else table
    except (pa.ArrowException, OSError, UnicodeDecodeError) as error:
        why = _csv_fault(file) if file.suffix.lower() in (".csv", ".tsv") else ""
        raise InputError(f"{file.name} cannot be read as a table: {why or str(error).splitlines()[0][:300]}") from None


def _no_value(text: str) -> bool:
    """No text is a value of the column rather than a blank."""
    del text
    return False


def _copied(cells: Any) -> Any:
    """Return a column of text that is only to be copied: as whole numbers where these are written exactly so, else as it is spelled."""
    import pyarrow as pa

    cells = cells.combine_chunks()
    try:
        numbers = cells.cast(pa.int64())
    except pa.ArrowInvalid:
        return cells
    return numbers if numbers.cast(pa.string()).equals(cells) else cells


def _without_blanks(table: Any, kept: Mapping[str, Sequence[str]]) -> Any:
    """Make missing values of the blanks in columns of text, but for those that are values of their column."""
    import pyarrow as pa
    import pyarrow.compute as pc

    for at, field in enumerate(table.schema):
        if pa.types.is_string(field.type):
            blank = pa.array([b for b in MISSING_TEXTS if b not in kept.get(field.name, ())], pa.string())
            cells = table.column(at)
            table = table.set_column(
                at, field.name, pc.if_else(pc.is_in(cells, blank), pa.scalar(None, pa.string()), cells)
            )
    return table


def column_names(path: str | Path) -> list[str]:
    """Return the names of a file's columns; [] where reading it will say what is wrong with it.

    Raises:
        InputError: no such file, or an unknown ending.
    """
    import pyarrow as pa

    file = _file(path)
    try:
        if file.suffix.lower() in (".parquet", ".pq"):
            import pyarrow.parquet as pq

            return list(pq.read_schema(file).names)
        with file.open(encoding="utf-8-sig", newline="") as source:
            return next(csv_reader(source, delimiter=_delimiter(file)), [])
    except (pa.ArrowException, OSError, UnicodeDecodeError, CsvError):
        return []


def _delimiter(file: Path) -> str:
    return "\t" if file.suffix.lower() == ".tsv" else ","


def _checked(table: Any, file: Path) -> Any:
    """Refuse a CSV that was read, but not as what it is: not UTF-8, or cut at another sign than it was written with."""
    import pyarrow as pa

    try:
        names = table.column_names
    except UnicodeDecodeError:
        raise InputError(f"{file.name}: the line of column names is not UTF-8; {_convert(file)}") from None
    broken = [name for name, field in zip(names, table.schema, strict=True) if pa.types.is_binary(field.type)]
    if broken:
        raise InputError(f"{file.name}: column {broken[0]!r} is not UTF-8; {_convert(file)}")
    if table.num_columns == 1:
        other = next((s for s in (";", "\t", "|", ",") if s != _delimiter(file) and s in table.column_names[0]), None)
        if other:
            raise InputError(f"{file.name} has one column, {table.column_names[0]!r}. {_separator(file, other)}")
    return table


def _convert(file: Path) -> str:
    return f"convert the file, for example: iconv -f LATIN1 -t UTF-8 {file.name}"


def _separator(file: Path, found: str) -> str:
    here = "tabs" if _delimiter(file) == "\t" else "','"
    return (
        f"Its columns seem to be separated by {'tabs' if found == chr(9) else repr(found)}, but a {file.suffix.lower()} file is cut at {here}: "
        + ("name it .tsv." if found == "\t" else "write it with commas, or as Parquet.")
    )


def _csv_fault(file: Path) -> str:
    """Say what is wrong with a CSV file, with the line it is wrong in; empty when that cannot be told."""
    import csv

    with file.open(encoding="utf-8-sig", errors="surrogateescape", newline="") as source:
        lines = csv.reader(source, delimiter=_delimiter(file))
        try:
            head = next(lines, [])
            for cells in lines:
                if cells and len(cells) != len(head):
                    hint = " " + _separator(file, ";") if any(";" in h for h in head) else ""
                    return f"line {lines.line_num:,} has {len(cells)} values where the first line names {len(head)} columns.{hint}"
        except csv.Error as error:
            return f"line {lines.line_num:,}: {error}."
    return ""


def odd_cell(path: str | Path, said: str) -> str | None:
    """Say which cell makes a column of a CSV text where nearly all the others are numbers, for an error about that column.

    Args:
        path: the file. said: the error's message; only columns it names are looked at.
    """
    import pyarrow.compute as pc

    file = _file(path)
    if file.suffix.lower() not in (".csv", ".tsv"):
        return None
    table = read_table(file)
    for name in table.column_names:
        cells = table.column(name)
        if repr(name) not in said or str(cells.type) != "string":
            continue
        odd = pc.indices_nonzero(pc.invert(pc.fill_null(pc.match_substring_regex(cells, _NUMBER), True)))
        if 0 < len(odd) <= max(1, 0.1 * (len(cells) - cells.null_count)):
            more = f" ({len(odd):,} such cells)" if len(odd) > 1 else ""
            row = odd[0].as_py()
            return f"{cells[row].as_py()!r} in row {row + 1:,} of column {name!r} of {file.name} is not a number{more}; the model needs numbers there."
    return None


def count_rows(path: str | Path) -> int | None:
    """Return how many rows a Parquet file has; None where that takes reading it."""
    file = _file(path)
    if file.suffix.lower() not in (".parquet", ".pq"):
        return None
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        return int(pq.read_metadata(file).num_rows)
    except (pa.ArrowException, OSError) as error:
        raise InputError(f"{file.name} cannot be read as a table: {str(error).splitlines()[0][:300]}") from None


def read_batches(
    path: str | Path, spelled: Spellings | None = None, coded: Sequence[str] = (), copied: Sequence[str] = ()
) -> Iterator[Any]:
    """Yield pyarrow Tables of at most 100,000 rows; CSV is read whole, because its column types depend on all of it.

    Args:
        path: the file. spelled: as for :func:`read_table`.
        coded: dictionary columns of a Parquet file whose codes matter: all batches get the one dictionary of the file.
        copied: columns of a CSV that are only to be copied: "007" does not become 7.

    Raises:
        DtypeError: the file has no such dictionary, because its parts give a value different codes.
        InputError: as :func:`read_table`.
    """
    import pyarrow as pa

    file = _file(path)
    if file.suffix.lower() not in (".parquet", ".pq"):
        table = read_table(file, {**dict.fromkeys(copied, _no_value), **(spelled or {})})
        for at, name in enumerate(table.column_names):
            if name in copied and name not in (spelled or {}):
                table = table.set_column(at, name, _copied(table.column(at)))
        for start in range(0, max(table.num_rows, 1), ROWS_PER_BATCH):
            yield table.slice(start, ROWS_PER_BATCH)
        return
    import pyarrow.parquet as pq

    try:
        with pq.ParquetFile(file) as source:
            if source.metadata.num_rows == 0:
                yield source.read()
            words = _dictionaries(source, coded, file)
            for batch in source.iter_batches(batch_size=ROWS_PER_BATCH):
                table = pa.Table.from_batches([batch])
                for name, dictionary in words.items():
                    at = table.column_names.index(name)
                    table = table.set_column(at, table.schema.field(at), _in_dictionary(table.column(at), dictionary))
                yield table
    except (pa.ArrowException, OSError) as error:
        raise InputError(f"{file.name} cannot be read as a table: {str(error).splitlines()[0][:300]}") from None


def _dictionaries(source: Any, coded: Sequence[str], file: Path) -> dict[str, Any]:
    """The one dictionary of each of some columns, over all row groups, before the first batch is read."""
    import pyarrow as pa

    out = {}
    for name in (f.name for f in source.schema_arrow if f.name in coded and pa.types.is_dictionary(f.type)):
        lists: list[Any] = []
        for batch in source.iter_batches(batch_size=ROWS_PER_BATCH, columns=[name]):
            words = batch.column(0).dictionary
            if not any(words.equals(known) for known in lists):
                lists.append(words)
        longest = max(lists, key=len)
        other = next((w for w in lists if not same_codes(w.to_pylist(), longest.to_pylist())), None)
        if other is not None:
            raise DtypeError(
                f"column {name!r} of {file.name}: the model stores no category names and reads the codes of the column's dictionary, but parts of the file have different "
                f"ones ({shown(longest.to_pylist())}; {shown(other.to_pylist())}), so that the codes cannot be known. Write the file with one dictionary, "
                "that of training in its order (pandas.CategoricalDtype, polars.Enum), or with the codes themselves as numbers."
            )
        out[name] = longest
    return out


def _in_dictionary(column: Any, dictionary: Any) -> Any:
    """Give a column of one batch, whose codes are those of a longer dictionary, that dictionary."""
    import pyarrow as pa

    chunks = [pa.DictionaryArray.from_arrays(c.indices, dictionary, ordered=column.type.ordered) for c in column.chunks]
    return pa.chunked_array(chunks, type=column.type)


def _file(path: str | Path) -> Path:
    file = Path(path)
    if not file.is_file():
        raise InputError(f"there is no file {str(file)!r}.")
    if file.suffix.lower() not in READABLE_SUFFIXES:
        raise InputError(
            f"{file.name}: tables are read from {shown(READABLE_SUFFIXES)}; convert it, or load it yourself and use whybox from Python."
        )
    return file


def check_output(path: str | Path) -> Path:
    """Check, before any work, that results can be written there.

    Raises:
        OptionError: an unknown ending. InputError: a folder that does not exist.
    """
    file = Path(path)
    if file.suffix.lower() not in WRITABLE_SUFFIXES:
        raise OptionError(f"{file.name}: results are written to {shown(WRITABLE_SUFFIXES)}.")
    if not file.parent.is_dir():
        raise InputError(f"the folder {str(file.parent)!r} does not exist.")
    return file


class table_writer:  # noqa: N801  # used like a function: with table_writer(path) as write
    """Write pyarrow Tables of one schema to a file, one after another; the ending of `name` decides the format."""

    def __init__(self, part: Path, name: Path) -> None:
        self._part, self._kind = part, name.suffix.lower()
        self._writer: Any = None

    def __call__(self, table: Any) -> None:
        """Append a table."""
        if self._writer is None:
            self._writer = self._open(table.schema)
        self._writer.write_table(table.cast(self._schema) if table.schema != self._schema else table)

    def _open(self, schema: Any) -> Any:
        import pyarrow as pa

        self._schema = schema
        if self._kind in (".parquet", ".pq"):
            import pyarrow.parquet as pq

            return pq.ParquetWriter(self._part, schema)
        if self._kind == ".csv":
            from pyarrow import csv

            return csv.CSVWriter(str(self._part), schema)
        return pa.ipc.new_file(str(self._part), schema)

    def about(self, key: str, value: str) -> None:
        """Add a note to the file, where the format has room for one."""
        if self._kind in (".parquet", ".pq") and self._writer is not None:
            self._writer.add_key_value_metadata({key: value})

    def close(self) -> None:
        """Finish the file."""
        if self._writer is not None:
            self._writer.close()

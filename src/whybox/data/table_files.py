"""Read tables from CSV and Parquet files, in batches where the format allows; write Parquet, CSV and Arrow."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from csv import Error as CsvError
from csv import reader as csv_reader
from pathlib import Path
from typing import Any, Final

from whybox.data.file_formats import (
    PARQUET,
    READABLE_SUFFIXES,
    TEXT,
    kind_of_file,
    open_text,
    read_excel,
    text_format,
)
from whybox.data.series import same_codes
from whybox.errors import DtypeError, InputError, quoted_list

__all__ = ["column_names", "count_rows", "read_batches", "read_table", "table_writer"]

ROWS_PER_BATCH: Final = 100_000
# The texts that pandas.read_csv reads as missing, so that both read a file alike.
MISSING_TEXTS: Final = (
    "", "#N/A", "#N/A N/A", "#NA", "-1.#IND", "-1.#QNAN", "-NaN", "-nan", "1.#IND", "1.#QNAN", "<NA>", "N/A", "NA", "NULL", "NaN", "None", "n/a",
    "nan", "null",
)  # fmt: skip
_OTHER_NOTATION: Final = (
    r"^\s*[+-]?\d[\d.,' \x{a0}\x{202f}]*$"  # digits, and what may stand before decimals or between thousands
)
_NUMBER_PATTERN: Final = r"(?i)^\s*[+-]?(\d+\.?\d*(e[+-]?\d+)?|\.\d+(e[+-]?\d+)?|inf|infinity|nan)\s*$"
WRITABLE_SUFFIXES: Final = (".parquet", ".pq", ".csv", ".arrow", ".feather")


TextColumns = Mapping[str, Callable[[str], bool]]


def read_table(path: str | Path, text_columns: TextColumns | None = None) -> Any:
    """Read a whole CSV, Parquet or Excel file as a pyarrow Table; text as whybox.data.file_formats says.

    Args:
        path: the file.
        text_columns: columns of a CSV that are read as text even if they look otherwise ("01234", "True", "2020-01-01"), each with a test whether a text is a value of
            the column; such values are kept even if they usually mean missing ("NA").

    Raises:
        InputError: no such file, an unknown suffix, or content that is not a table of that format.
    """
    import pyarrow as pa

    file = _existing_file(path)
    try:
        if kind_of_file(file) in PARQUET:
            import pyarrow.parquet as pq

            return pq.read_table(file)
        if kind_of_file(file) not in TEXT:
            return read_excel(file)
        from pyarrow import csv

        form = text_format()
        with _bytes_of(file) as source:
            if form.encoding is None and source.read(2) in (b"\xff\xfe", b"\xfe\xff"):
                raise InputError(f"{file.name}: it is UTF-16; say so with --encoding utf-16, or convert it to UTF-8.")
        options = csv.ParseOptions(delimiter=_delimiter_of(file), newlines_in_values=True)
        value_texts = {
            name: [text for text in MISSING_TEXTS if is_value(text)] for name, is_value in (text_columns or {}).items()
        }
        convert_options = csv.ConvertOptions(
            decimal_point=form.decimal or ".",
            strings_can_be_null=not any(value_texts.values()),
            null_values=list(MISSING_TEXTS),
            column_types=dict.fromkeys(value_texts, pa.string()),
        )
        read_options = csv.ReadOptions(encoding=form.encoding or "utf8")
        table = _check_csv(csv.read_csv(_bytes_of(file), read_options, options, convert_options), file)
        return _without_blanks(table, value_texts) if any(value_texts.values()) else table
    except (pa.ArrowException, OSError, UnicodeDecodeError) as error:
        reason = _csv_fault(file) if kind_of_file(file) in TEXT else ""
        raise InputError(
            f"{file.name} cannot be read as a table: {reason or str(error).splitlines()[0][:300]}"
        ) from None


def _no_text_is_value(text: str) -> bool:
    """Return False: no text that usually means missing is a value of the column."""
    del text
    return False


def _restore_integers(cells: Any) -> Any:
    """Return a text column as integers if their text is exactly the same, else unchanged."""
    import pyarrow as pa

    cells = cells.combine_chunks()
    try:
        integers = cells.cast(pa.int64())
    except pa.ArrowInvalid:
        return cells
    return integers if integers.cast(pa.string()).equals(cells) else cells


def _without_blanks(table: Any, value_texts: Mapping[str, Sequence[str]]) -> Any:
    """Replace texts that mean missing by missing values in text columns, except where they are values of the column."""
    import pyarrow as pa
    import pyarrow.compute as pc

    for position, field in enumerate(table.schema):
        if pa.types.is_string(field.type):
            blank_texts = pa.array(
                [text for text in MISSING_TEXTS if text not in value_texts.get(field.name, ())], pa.string()
            )
            cells = table.column(position)
            table = table.set_column(
                position, field.name, pc.if_else(pc.is_in(cells, blank_texts), pa.scalar(None, pa.string()), cells)
            )
    return table


def column_names(path: str | Path) -> list[str]:
    """Return the column names of a file; [] if it cannot be read (reading it raises the error).

    Raises:
        InputError: no such file, or an unknown suffix.
    """
    import pyarrow as pa

    file = _existing_file(path)
    try:
        if kind_of_file(file) in PARQUET:
            import pyarrow.parquet as pq

            return list(pq.read_schema(file).names)
        if kind_of_file(file) not in TEXT:
            return list(read_excel(file).column_names)
        with open_text(file) as source:
            return next(csv_reader(source, delimiter=_delimiter_of(file)), [])
    except (pa.ArrowException, OSError, EOFError, UnicodeDecodeError, CsvError):
        return []


def _bytes_of(file: Path) -> Any:
    """The bytes of a text file of rows, decompressed, as a stream of pyarrow."""
    import pyarrow as pa

    return pa.input_stream(str(file), compression="gzip" if kind_of_file(file).endswith(".gz") else None)


def _delimiter_of(file: Path) -> str:
    return text_format().separator or ("\t" if kind_of_file(file).startswith(".tsv") else ",")


def _check_csv(table: Any, file: Path) -> Any:
    """Refuse a CSV that was read wrongly: not UTF-8, or with another separator."""
    import pyarrow as pa

    try:
        names = table.column_names
    except UnicodeDecodeError:
        raise InputError(f"{file.name}: the line of column names is not UTF-8; {_how_to_convert(file)}") from None
    broken = [name for name, field in zip(names, table.schema, strict=True) if pa.types.is_binary(field.type)]
    if broken:
        raise InputError(f"{file.name}: column {broken[0]!r} is not UTF-8; {_how_to_convert(file)}")
    if len(names) == 1 and (hint := _separator_hint(file, names)):
        raise InputError(f"{file.name} has one column, {names[0]!r}.{hint}")
    return table


def _how_to_convert(file: Path) -> str:
    return f"say what it is, for example --encoding latin1, or convert it: iconv -f LATIN1 -t UTF-8 {file.name}"


def _separator_hint(file: Path, names: Sequence[str]) -> str:
    """Which separator the names of the columns seem to have, and how to say so; "" if none is seen."""
    cut_at = _delimiter_of(file)
    candidates = (";", "\t", "|", ",") if len(names) == 1 else (";",)
    separator = next((c for c in candidates if c != cut_at and any(c in name for name in names)), None)
    if separator is None:
        return ""
    seen, expected = ("tabs" if c == "\t" else repr(c) for c in (separator, cut_at))
    if text_format().separator is not None:
        why, how = (
            f"the file is cut at {expected}, as --sep says",
            f"say --sep {'tab' if separator == chr(9) else seen}.",
        )
    else:
        why = f"a {kind_of_file(file)} file is cut at {expected}"
        how = (
            "name it .tsv." if separator == "\t" else f"say --sep {seen} on the command line, or write it with commas."
        )
    return f" Its columns seem to be separated by {seen}, but {why}: {how}"


def _csv_fault(file: Path) -> str:
    """Return the first fault of a CSV file with its line number, or "" if none is found."""
    import csv

    with open_text(file, "surrogateescape") as source:
        lines = csv.reader(source, delimiter=_delimiter_of(file))
        try:
            header = next(lines, [])
            for cells in lines:
                if cells and len(cells) != len(header):
                    return f"line {lines.line_num:,} has {len(cells)} values where the first line names {len(header)} columns.{_separator_hint(file, header)}"
        except csv.Error as error:
            return f"line {lines.line_num:,}: {error}."
        except (UnicodeDecodeError, EOFError, OSError):
            return ""
    return ""


def non_numeric_cell(path: str | Path, message: str) -> str | None:
    """Return a sentence about the cell that makes a nearly numeric column of a CSV text, or None.

    Args:
        path: the file. message: text of an error; only columns that it names are checked.
    """
    import pyarrow.compute as pc

    file = _existing_file(path)
    if kind_of_file(file) not in TEXT:
        return None
    table, decimal = read_table(file), text_format().decimal or "."
    number = _NUMBER_PATTERN if decimal == "." else _NUMBER_PATTERN.replace(r"\.", decimal)
    for name in table.column_names:
        cells = table.column(name)
        if repr(name) not in message or str(cells.type) != "string":
            continue
        row_numbers = pc.indices_nonzero(pc.invert(pc.fill_null(pc.match_substring_regex(cells, number), True)))
        few = len(row_numbers) <= max(1, 0.1 * (len(cells) - cells.null_count))
        of_notation = pc.all(pc.match_substring_regex(cells.take(row_numbers), _OTHER_NOTATION)).as_py()
        if len(row_numbers) and (few or of_notation):
            count_text = f" ({len(row_numbers):,} such cells)" if len(row_numbers) > 1 else ""
            how = f", with {decimal!r} before decimals (--decimal) and nothing between thousands" if of_notation else ""
            row = row_numbers[0].as_py()
            return f"{cells[row].as_py()!r} in row {row:,} (counted from 0) of column {name!r} of {file.name} is not a number{count_text}; the model needs numbers there{how}."
    return None


def count_rows(path: str | Path) -> int | None:
    """Return the number of rows of a Parquet file; None for CSV, which would have to be read."""
    file = _existing_file(path)
    if kind_of_file(file) not in PARQUET:
        return None
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        return int(pq.read_metadata(file).num_rows)
    except (pa.ArrowException, OSError) as error:
        raise InputError(f"{file.name} cannot be read as a table: {str(error).splitlines()[0][:300]}") from None


def read_batches(
    path: str | Path,
    text_columns: TextColumns | None = None,
    dictionary_columns: Sequence[str] = (),
    passthrough_columns: Sequence[str] = (),
) -> Iterator[Any]:
    """Yield pyarrow Tables of at most 100,000 rows; a CSV is read whole, because its column types depend on all rows.

    Args:
        path: the file. text_columns: as for :func:`read_table`.
        dictionary_columns: dictionary columns of a Parquet file whose codes the model reads: all batches get one dictionary.
        passthrough_columns: columns of a CSV that are only copied to the output: "007" does not become 7.

    Raises:
        DtypeError: parts of the file give one value different codes.
        InputError: as :func:`read_table`.
    """
    import pyarrow as pa

    file = _existing_file(path)
    if kind_of_file(file) not in PARQUET:
        table = read_table(file, {**dict.fromkeys(passthrough_columns, _no_text_is_value), **(text_columns or {})})
        for position, name in enumerate(table.column_names):
            if name in passthrough_columns and name not in (text_columns or {}):
                table = table.set_column(position, name, _restore_integers(table.column(position)))
        for start in range(0, max(table.num_rows, 1), ROWS_PER_BATCH):
            yield table.slice(start, ROWS_PER_BATCH)
        return
    import pyarrow.parquet as pq

    try:
        with pq.ParquetFile(file) as source:
            if source.metadata.num_rows == 0:
                yield source.read()
            dictionaries = _file_dictionaries(source, dictionary_columns, file)
            for batch in source.iter_batches(batch_size=ROWS_PER_BATCH):
                table = pa.Table.from_batches([batch])
                for name, dictionary in dictionaries.items():
                    position = table.column_names.index(name)
                    table = table.set_column(
                        position, table.schema.field(position), _in_dictionary(table.column(position), dictionary)
                    )
                yield table
    except (pa.ArrowException, OSError) as error:
        raise InputError(f"{file.name} cannot be read as a table: {str(error).splitlines()[0][:300]}") from None


def _file_dictionaries(source: Any, dictionary_columns: Sequence[str], file: Path) -> dict[str, Any]:
    """The common dictionary of each column over all row groups, before the first batch is read."""
    import pyarrow as pa

    longest_by_column = {}
    for name in (
        f.name for f in source.schema_arrow if f.name in dictionary_columns and pa.types.is_dictionary(f.type)
    ):
        dictionaries: list[Any] = []
        for batch in source.iter_batches(batch_size=ROWS_PER_BATCH, columns=[name]):
            dictionary = batch.column(0).dictionary
            if not any(dictionary.equals(seen) for seen in dictionaries):
                dictionaries.append(dictionary)
        longest = max(dictionaries, key=len)
        different = next(
            (candidate for candidate in dictionaries if not same_codes(candidate.to_pylist(), longest.to_pylist())),
            None,
        )
        if different is not None:
            raise DtypeError(
                f"column {name!r} of {file.name}: the model stores no category names and reads the codes of the column's dictionary, but parts of the file have different "
                f"ones ({quoted_list(longest.to_pylist())}; {quoted_list(different.to_pylist())}), so that the codes cannot be known. Write the file with one dictionary, "
                "that of training in its order (pandas.CategoricalDtype, polars.Enum), or with the codes themselves as numbers."
            )
        longest_by_column[name] = longest
    return longest_by_column


def _in_dictionary(column: Any, dictionary: Any) -> Any:
    """Replace the dictionary of a batch column by the longer dictionary with the same codes."""
    import pyarrow as pa

    chunks = [
        pa.DictionaryArray.from_arrays(chunk.indices, dictionary, ordered=column.type.ordered)
        for chunk in column.chunks
    ]
    return pa.chunked_array(chunks, type=column.type)


def _existing_file(path: str | Path) -> Path:
    file = Path(path)
    if not file.is_file():
        raise InputError(f"there is no file {str(file)!r}.")
    if kind_of_file(file) not in READABLE_SUFFIXES:
        raise InputError(
            f"{file.name}: tables are read from {quoted_list(READABLE_SUFFIXES)}; convert it, or load it yourself and use whybox from Python."
        )
    return file


class table_writer:  # noqa: N801  # used like a function: with table_writer(path) as write
    """Write pyarrow Tables of one schema to a file, one after another; the suffix of `name` decides the format."""

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

            # numbers computed differ in nearly every row: a dictionary of them takes three times as long to write, and more space
            repeated = [f.name for f in schema if not pa.types.is_floating(f.type)]
            return pq.ParquetWriter(self._part, schema, use_dictionary=repeated)
        if self._kind == ".csv":
            from pyarrow import csv

            return csv.CSVWriter(str(self._part), schema)
        return pa.ipc.new_file(str(self._part), schema)

    def add_metadata(self, key: str, value: str) -> None:
        """Add metadata to the file, if the format has a place for it."""
        if self._kind in (".parquet", ".pq") and self._writer is not None:
            self._writer.add_key_value_metadata({key: value})

    def close(self) -> None:
        """Finish the file."""
        if self._writer is not None:
            self._writer.close()

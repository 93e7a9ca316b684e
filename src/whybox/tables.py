"""Tables on disk: CSV and Parquet in, in batches where the format allows; Parquet, CSV and Arrow out."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

from whybox.errors import InputError, shown

__all__ = ["count_rows", "read_batches", "read_table", "table_writer"]

BATCH: Final = 100_000
READS: Final = (".csv", ".tsv", ".parquet", ".pq")
WRITES: Final = (".parquet", ".pq", ".csv", ".arrow", ".feather")


def read_table(path: str | Path) -> Any:
    """Read a whole CSV or Parquet file as a pyarrow Table.

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

        options = csv.ParseOptions(delimiter="\t" if file.suffix.lower() == ".tsv" else ",", newlines_in_values=True)
        return csv.read_csv(file, parse_options=options)
    except (pa.ArrowException, OSError, UnicodeDecodeError) as error:
        raise InputError(f"{file.name} cannot be read as a table: {str(error).splitlines()[0][:300]}") from None


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


def read_batches(path: str | Path) -> Iterator[Any]:
    """Yield pyarrow Tables of at most 100,000 rows; CSV is read whole, because its column types depend on all of it.

    Raises:
        InputError: as :func:`read_table`.
    """
    import pyarrow as pa

    file = _file(path)
    if file.suffix.lower() not in (".parquet", ".pq"):
        table = read_table(file)
        for start in range(0, max(table.num_rows, 1), BATCH):
            yield table.slice(start, BATCH)
        return
    import pyarrow.parquet as pq

    try:
        with pq.ParquetFile(file) as source:
            if source.metadata.num_rows == 0:
                yield source.read()
            for batch in source.iter_batches(batch_size=BATCH):
                yield pa.Table.from_batches([batch])
    except (pa.ArrowException, OSError) as error:
        raise InputError(f"{file.name} cannot be read as a table: {str(error).splitlines()[0][:300]}") from None


def _file(path: str | Path) -> Path:
    file = Path(path)
    if not file.is_file():
        raise InputError(f"there is no file {str(file)!r}.")
    if file.suffix.lower() not in READS:
        raise InputError(
            f"{file.name}: tables are read from {shown(READS)}; convert it, or load it yourself and use whybox from Python."
        )
    return file


def check_output(path: str | Path) -> Path:
    """Check, before any work, that results can be written there.

    Raises:
        InputError: an unknown ending, or a folder that does not exist.
    """
    file = Path(path)
    if file.suffix.lower() not in WRITES:
        raise InputError(f"{file.name}: results are written to {shown(WRITES)}.")
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

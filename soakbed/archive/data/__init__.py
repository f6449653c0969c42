"""A target's evidence as tables: spools become Parquet by the hour, read back as arrays.

`collate` writes `results/<run_id>/<target>/data/`, `TargetData` reads it; the spools stay what
they are, the evidence, so the tables can be made again at any time.
"""

from soakbed.archive.data.collate import collate
from soakbed.archive.data.reading import Blocks, Columns, TargetData
from soakbed.records.collated import Collated

__all__ = ["Blocks", "Collated", "Columns", "TargetData", "collate"]

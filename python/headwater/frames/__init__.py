"""Frames: values as polars columns, expressions over them, and topics as frames. The only place that imports polars.

* `ValueSchema` says which columns the values of a serde have; `decode_frame` and `encode_json` go there and back.
* `check_row_wise` and `check_columns` refuse expressions that would depend on the batch size or on an unknown column.
* `filter_mask`, `select`, `combine` run row-wise expressions; `agg_plan` splits aggregations into folds and the rest.
* `read_frame`, `entries_frame` and `to_records` are the doors for people.

Every frame of values has one hidden column, which tells tombstones from values (see `columns`).
"""

from headwater.frames.aggregations import AggPlan, Buffered, Fold, agg_plan, aggregated_serde
from headwater.frames.columns import key, offset, partition, timestamp, value
from headwater.frames.decoding import decode_frame, key_series
from headwater.frames.encoding import encode_json, set_arguments, set_json
from headwater.frames.row_wise import check_columns, check_row_wise, needed_columns, root_names
from headwater.frames.schema import ValueSchema
from headwater.frames.stages import combine, combined_serde, filter_mask, select, selected_serde
from headwater.frames.topics import entries_frame, read_frame, to_records

__all__ = [
    "AggPlan",
    "Buffered",
    "Fold",
    "ValueSchema",
    "agg_plan",
    "aggregated_serde",
    "check_columns",
    "check_row_wise",
    "combine",
    "combined_serde",
    "decode_frame",
    "encode_json",
    "entries_frame",
    "filter_mask",
    "key",
    "key_series",
    "needed_columns",
    "offset",
    "partition",
    "read_frame",
    "root_names",
    "select",
    "selected_serde",
    "set_arguments",
    "set_json",
    "timestamp",
    "to_records",
    "value",
]

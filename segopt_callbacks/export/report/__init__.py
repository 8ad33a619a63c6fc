"""What came out of an export, told."""

from segopt_callbacks.export.report.beside import beside_float32
from segopt_callbacks.export.report.made import made
from segopt_callbacks.export.report.pictures import drawn
from segopt_callbacks.export.report.report import REPORTS, add_baseline, told_of_ranges, weighed, write_report
from segopt_callbacks.export.report.shown import ShownReport
from segopt_callbacks.export.report.text import table
from segopt_callbacks.records import Report

__all__ = [
    "REPORTS",
    "Report",
    "ShownReport",
    "add_baseline",
    "beside_float32",
    "drawn",
    "made",
    "table",
    "told_of_ranges",
    "weighed",
    "write_report",
]

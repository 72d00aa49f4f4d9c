"""Histories of anybody: JSON Lines, one event a line, judged by the same passes as our own.

The order of reading: `jsonl` (lines), `columns` (what was read), `matching` (which store a load
met), `windows` (where a cycle may lie), `inference` (orders that nobody recorded), `verdict`.
"""
